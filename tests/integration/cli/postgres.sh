#!/bin/sh
# The command with a real PostgreSQL: check, migrate, log, verify, query, export, retention; down, wrong password, tampering.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

unset PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGSSLMODE PGOPTIONS PGPASSFILE PGSSLROOTCERT
if ! have_plugin postgres; then
    skip "postgres" "the plugin is not there"
    finish
fi
mkfifo orders
"$top_builddir/pg_server" server <orders >server.log 2>&1 &
server=$!
exec 9>orders
trap 'exec 9>&-; wait $server; rm -rf "$work"' EXIT
there() {
    [ -f server ] || ! kill -0 $server 2>/dev/null
}
wait_until 60 there
if [ ! -f server ]; then
    wait $server
    [ $? = 77 ] && skip "postgres" "PostgreSQL's server is not installed: install postgresql-15" || fail "server" "$(cat server.log)"
    finish
fi
# shellcheck disable=SC1091 # made just now
. ./server
touch server.answers
order() { # stop, kill or start
    orders=$((${orders:-0} + 1))
    echo "$1" >&9
    wait_until 60 answered
}
answered() {
    [ "$(lines server.answers)" -ge "$orders" ]
}
sql() {
    "$bin/psql" -X -q -At -h "$host" -p "$port" -U postgres -d audit -v ON_ERROR_STOP=1 -c "$1"
}
# conf FILE USER MORE-OPTIONS
conf() {
    cat >"$1.conf" <<CONF
service = "test";
journal = { path = "$work/$1.journal"; };
retry = { base = "20ms"; cap = "100ms"; };
breaker = { cooldown = "100ms"; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/$1.jsonl"; },
  { plugin = "postgres"; name = "db"; pii = "keep"; host = "$host"; port = "$port"; dbname = "audit"; user = "$2";
    grant_write = "writer"; grant_read = "reader"; ${3-} }
);
CONF
}

# ---- before there is a table ----
conf a writer ''
exits "check without a table" 1 "$aw" check -c a.conf
cat out err >both
has "says which table" both "public.audit_events: there is no such table in database audit"
has "and what to do" both 'run `auditwell migrate`'
has "and where it is named" both "a.conf:7"
events 5 | "$aw" -c a.conf log -q >out 2>err && fail "a start without the table"
has "log says the same" err "there is no such table"

# ---- migrate ----
conf owner owner ''
exits "a role that may not" 3 "$aw" migrate -c a.conf
has "permission" err "permission denied for schema public (SQLSTATE 42501): this takes a role that owns the table"
exits "dry run" 0 "$aw" migrate -c owner.conf --dry-run
has "tells" out 'CREATE TABLE "public"."audit_events"'
is "makes nothing" 0 "$(sql "SELECT count(*) FROM pg_class WHERE relname = 'audit_events'")"
exits "migrate" 0 "$aw" migrate -c owner.conf
exits "once more" 0 "$aw" migrate -c owner.conf
has "up to date" out "db: up to date"
exits "check, as the writer" 0 "$aw" check -c a.conf

# ---- log, verify, query, export ----
rm -rf a.journal a.jsonl
events 300 | "$aw" -c a.conf log -q || fail "events"
echo '{"action":"a.b","outcome":"ERROR","actor":{"type":"user","id":"ev\u0000\u00e9\"x","displayName":"a\u0000b"},"context":{"tenantId":"t\u0000"},"metadata":{"k\u0000":"\\u0000"}}' |
    "$aw" -c a.conf log -q || fail "an event with U+0000"
conf reader reader ''
exits "verify" 0 "$aw" verify db -c reader.conf
"$aw" query --json a.jsonl >file.out 2>err
"$aw" query --json db -c reader.conf >db.out 2>err
is "301 events" 301 "$(lines db.out)"
if cmp -s file.out db.out; then pass "the bytes of the file"; else fail "the bytes of the file"; fi
for filter in "-o DENIED" "--tenant t1" "--actor u3" "--target a2" "-a user.*" "--since 2026-01-02T03:04:30Z --until 2026-01-03" "-R -n 7" "--text \"n\":77}"; do
    # shellcheck disable=SC2086
    "$aw" query --json a.jsonl $filter >file.out 2>err
    # shellcheck disable=SC2086
    "$aw" query --json db -c reader.conf $filter >db.out 2>err
    if [ -s db.out ] && cmp -s file.out db.out; then pass "query $filter"; else fail "query $filter" "$(lines file.out) and $(lines db.out)" "$(cat err)"; fi
done
for format in json csv; do
    "$aw" export --format $format a.jsonl >file.out 2>err
    "$aw" export --format $format db -c reader.conf >db.out 2>err
    if [ -s db.out ] && cmp -s file.out db.out; then pass "export as $format"; else fail "export as $format" "$(lines file.out) and $(lines db.out)" "$(cat err)"; fi
done
exits "a writer cannot read" 3 "$aw" verify db -c a.conf
has "says why" err "may write and not read"

# ---- tampering ----
tampered() { # NAME SQL UNDO TEXT
    sql "$2"
    exits "$1" 1 "$aw" verify db -c reader.conf
    cat out err >both
    has "$1: is named" both "$4"
    sql "$3"
    exits "$1: undone" 0 "$aw" verify db -c reader.conf
}
sql "CREATE TABLE safe AS SELECT * FROM audit_events"
restore="DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM safe"
tampered "one byte" "UPDATE audit_events SET canonical = set_byte(canonical, 20, get_byte(canonical, 20) # 1) WHERE seq = 17" "$restore" "seq 17"
tampered "a row is gone" "DELETE FROM audit_events WHERE seq = 18" "$restore" "seq"
tampered "two events change places" "UPDATE audit_events SET seq = 25 - seq WHERE seq IN (10, 15)" "$restore" "seq"
# What the columns say is not what was sealed: verification does not ask them, and shows what is true.
sql "UPDATE audit_events SET metadata = '{}', action = 'forged', tenant_id = 'none', integrity = '{}', outcome = 'DENIED', scope = 'x'"
exits "columns are not believed" 0 "$aw" verify db -c reader.conf
"$aw" query --json db -c reader.conf >db.out 2>err
"$aw" query --json a.jsonl >file.out 2>err
if cmp -s file.out db.out; then pass "nor shown"; else fail "nor shown"; fi
sql "$restore"

# ---- the server is away: events wait ----
order stop
events 50 | "$aw" -c a.conf log -q --timeout 500ms >out 2>err
exits "check while it is down" 1 "$aw" check -c a.conf
cat out err >both
has "says so" both "events would wait in the journal meanwhile"
order start
events 1 | "$aw" -c a.conf log -q || fail "afterwards"
is "all are there" 352 "$(sql "SELECT count(*) FROM audit_events")"
exits "and verify" 0 "$aw" verify db -c reader.conf

# ---- a wrong password: said, not shown, and nothing is lost ----
conf a writer "password = \"env:SECRET\"; sslmode = \"verify-full\"; sslrootcert = \"$ca\";"
sed -i "s|host = \"$host\"|host = \"localhost\"|" a.conf
SECRET=hunter2hunter2
export SECRET
exits "check with a wrong password" 1 "$aw" check -c a.conf
cat out err >both
has "says what" both "28P01: password authentication failed"
has "and where" both "a.conf:7"
hasnt "not the password" both hunter2
SECRET=writer
exits "with the right one, over TLS" 0 "$aw" check -c a.conf
events 10 | "$aw" -c a.conf log -q || fail "over TLS"
is "stored" 362 "$(sql "SELECT count(*) FROM audit_events")"

# ---- retention ----
conf a writer ''
exits "retention, only told" 0 "$aw" retention -c owner.conf --sink db --before 2026-01-02T03:04:30Z
is "nothing went" 362 "$(sql "SELECT count(*) FROM audit_events")"
cat out err >both
has "29 could" both "29"
conf owner owner ''
sed -i "s|/owner.journal|/a.journal|; s|/owner.jsonl|/a.jsonl|" owner.conf
exits "retention" 0 "$aw" retention -c owner.conf --sink db --before 2026-01-02T03:04:30Z --apply
is "29 went, and a record came" "334 30" "$(sql "SELECT count(*) || ' ' || min(seq) FROM audit_events")"
exits "what is left verifies" 0 "$aw" verify db -c reader.conf
sql "DELETE FROM audit_events WHERE seq < 35"
exits "what was cut off otherwise does not" 1 "$aw" verify db -c reader.conf

# ---- all or nothing, with the file ----
conf b writer 'table = "two";'
sed -i 's/^service/fanout = "all_or_nothing"; service/' b.conf
sed 's/user = "writer"/user = "owner"/; s/fanout[^;]*;//' b.conf >bowner.conf
exits "migrate another table" 0 "$aw" migrate -c bowner.conf
events 100 | "$aw" -c b.conf log -q || fail "events"
order kill
events 20 | "$aw" -c b.conf log -q --timeout 500ms >out 2>err
is "the file has nothing that the table has not" 100 "$(lines b.jsonl)"
order start
events 1 | "$aw" -c b.conf log -q || fail "events"
is "then both have all: file" 121 "$(lines b.jsonl)"
is "then both have all: table" 121 "$(sql "SELECT count(*) FROM two")"
is "nothing is left staged" 0 "$(sql "SELECT count(*) FROM two_staged")"
sed 's/user = "writer"/user = "reader"/' b.conf >breader.conf
exits "both verify: file" 0 "$aw" verify b.jsonl
exits "both verify: table" 0 "$aw" verify db -c breader.conf

# ---- two processes, two slots, one table ----
conf c writer 'table = "shared"; partition = "monthly";'
sed 's/user = "writer"/user = "owner"/' c.conf >cowner.conf
sed 's/user = "writer"/user = "reader"/' c.conf >creader.conf
exits "migrate a partitioned table" 0 "$aw" migrate -c cowner.conf
mkfifo hold
"$aw" -c c.conf log -q <hold >hold.log 2>&1 &
holder=$!
exec 7>hold
events 40 >&7
stored() { # at least so many
    [ "$(sql "SELECT count(*) FROM shared")" -ge "$1" ]
}
wait_until 30 stored 40
events 30 | "$aw" -c c.conf log -q || fail "the second process" "$(cat hold.log)"
exec 7>&-
wait $holder
is "all of both, and two streams" "70 2" "$(sql "SELECT count(*) || ' ' || count(DISTINCT stream) FROM shared")"
exits "they verify" 0 "$aw" verify db -c creader.conf
is "migrate moves them to their month" 0 "$("$aw" migrate -c cowner.conf >out 2>err; echo $?)"
is "there" "70" "$(sql "SELECT count(*) FROM shared_2026_01")"
exits "and they still verify" 0 "$aw" verify db -c creader.conf
finish
