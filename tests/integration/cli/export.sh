#!/bin/sh
# auditwell export: formats, files that are whole, cursors, one tenant and nobody else. And migrate, and check's probes.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
: "${PYTHON3:=python3}"

configure a
events 200 | "$aw" -c a/audit.conf log -q || fail "events"
"$aw" -c a/audit.conf log -q -a '=cmd|calc' --actor 'user:"quoted", and more' --tenant t0 --set metadata.text='two
lines' --set target.type=app --set actor.displayName='@sum' || fail "a nasty event"
"$aw" -c a/audit.conf query --json trail >all.jsonl
is "all" 201 "$(lines all.jsonl)"

# ---- formats ----
exits "to standard output" 0 "$aw" -c a/audit.conf export
is "what was sealed" "" "$(cmp out all.jsonl)"
exits "to a file" 0 "$aw" -c a/audit.conf export -o jsonl
is "the same" "" "$(cmp jsonl all.jsonl)"
has "how much, and where to go on" err "201 events exported to jsonl; go on behind it with --after f1."
is "only for its owner" 600 "$(stat -c %a jsonl)"
exits "it verifies" 0 "$aw" verify -q file:jsonl
exits "one array" 0 "$aw" -c a/audit.conf export --format json -o array.json
exits "CSV" 0 "$aw" -c a/audit.conf export --format csv -o all.csv
exits "CSV for people" 0 "$aw" -c a/audit.conf export --format csv --spreadsheet -o people.csv
exits "columns" 0 "$aw" -c a/audit.conf export --format csv --columns seq,action,metadata.n -n 2 -o few.csv
is "these" "$(printf 'seq,action,metadata.n\r\n1,user.login,1\r\n2,user.login,2\r')" "$(cat few.csv)"
exits "nothing as an array" 0 "$aw" -c a/audit.conf export --format json --tenant nobody
is "is empty" "[]" "$(cat out)"
if "$PYTHON3" -c '' 2>/dev/null; then
    cat >check.py <<'EOT'
import csv, json
events = [json.loads(line) for line in open("all.jsonl", encoding="utf-8")]
assert json.load(open("array.json", encoding="utf-8")) == events
def field(event, path):
    for name in path.split("."):
        if not isinstance(event, dict) or name not in event:
            return ""
        event = event[name]
    return event if isinstance(event, str) else json.dumps(event, separators=(",", ":"), ensure_ascii=False)
raw = open("all.csv", newline="", encoding="utf-8").read()
rows = list(csv.reader(open("all.csv", newline="", encoding="utf-8"), strict=True))
assert len(rows) == len(events) + 1 and len(rows[0]) == 27, (len(rows), len(rows[0]))
for row, event in zip(rows[1:], events):
    assert row == [field(event, name) for name in rows[0]], (row, event)
assert raw.count("\r\n") == len(rows) and raw.endswith("\r\n")
safe = list(csv.reader(open("people.csv", newline="", encoding="utf-8"), strict=True))
for plain, cells in zip(rows, safe):
    for a, b in zip(plain, cells):
        assert b == ("'" + a if a[:1] in ("=", "+", "-", "@", "\t", "\r") and a else a), (a, b)
assert "'=cmd|calc" in safe[-1] and "'@sum" in safe[-1]
EOT
    exits "other readers agree" 0 "$PYTHON3" check.py
    cat err
else
    skip "other readers agree" "python3 is not there"
fi

# ---- filters, one tenant ----
exits "filters" 0 "$aw" -c a/audit.conf export --outcome DENIED --actor u1 --since 2026-01-01
"$aw" -c a/audit.conf query --json -o DENIED --actor u1 --since 2026-01-01 trail >same
is "as query has them" "" "$(cmp out same)"
exits "one tenant" 0 "$aw" -c a/audit.conf export --tenant-strict --tenant t1 -o t1.jsonl
is "all of it" "$(grep -c '"tenantId":"t1"' all.jsonl)" "$(lines t1.jsonl)"
is "and nothing else" "$(lines t1.jsonl)" "$(grep -c '"tenantId":"t1"' t1.jsonl)"
exits "an excerpt verifies" 0 "$aw" verify -q --partial t1.jsonl
exits "a sink by name" 0 "$aw" -c a/audit.conf export --sink trail -n 1
exits "a path" 0 "$aw" export a/audit.jsonl -n 1

# ---- pages ----
cursor= pages=0
: >paged.jsonl
while [ $pages -lt 10 ]; do
    # shellcheck disable=SC2086
    "$aw" -c a/audit.conf export -n 47 ${cursor:+--after "$cursor"} -o page --json >page.json 2>err || fail "a page"
    cat page >>paged.jsonl
    pages=$((pages + 1))
    [ "$(lines page)" -eq 47 ] || break
    cursor=$(sed -n 's/.*"nextCursor":"\([^"]*\)".*/\1/p' page.json)
done
is "five pages" 5 $pages
is "are all, each once" "" "$(cmp paged.jsonl all.jsonl)"
is "the summary" '{"file":"page","events":13,"whole":true,' "$(sed 's/"nextCursor.*//' page.json)"
exits "a wrong cursor" 2 "$aw" -c a/audit.conf export --after nonsense -o never
is "no file" 1 "$([ -e never ] && echo 0 || echo 1)"

# ---- a file is whole, or as it was ----
echo before >kept
exits "a store that is not there" 3 "$aw" export gone/audit.jsonl -o kept
is "the old file stays" before "$(cat kept)"
exits "a directory that is not there" 3 "$aw" -c a/audit.conf export -o gone/file
printf 'no event\n' >>a/audit.jsonl
exits "a row that is no event" 1 "$aw" -c a/audit.conf export -o damaged
has "is told" err "not an event"
is "and left out" "" "$(cmp damaged all.jsonl)"
is "no temporary file is left" "" "$(ls ./*.tmp 2>/dev/null)"
if [ -c /dev/full ]; then
    "$aw" export -q all.jsonl >/dev/full 2>err
    is "no room: exit" 3 $?
fi

# ---- interrupted, and gone on with ----
configure big
events 60000 | "$aw" -c big/audit.conf log -q || fail "events"
tries=0 code=0
while [ $tries -lt 50 ]; do
    "$aw" -c big/audit.conf export -q -o whole --json >said 2>err &
    pid=$!
    while [ ! -s whole.$pid.tmp ] && kill -0 $pid 2>/dev/null; do :; done # it takes some hundredths of a second
    kill -INT $pid 2>/dev/null
    wait $pid
    code=$?
    [ ! -e whole.part ] || break
    rm -f whole
    tries=$((tries + 1))
done
is "interrupted: exit" 3 $code
is "no whole file" 1 "$([ -e whole ] && echo 0 || echo 1)"
has "it is said" said '"file":"whole.part","events":'
cursor=$(sed -n 's/.*"nextCursor":"\([^"]*\)".*/\1/p' said)
exits "the rest" 0 "$aw" -c big/audit.conf export -q --after "$cursor" -o rest
"$aw" -c big/audit.conf export -q -o once
is "makes the whole" "" "$(cat whole.part rest | cmp - once)"
is "of this many" 60000 "$(lines once)"

# ---- migrate ----
if have_plugin sqlite; then
    configure m sqlite
    exits "migrate: dry run" 0 "$aw" -c m/audit.conf migrate --dry-run
    has "the table" out "db: CREATE TABLE audit_events("
    has "to be done" out "db: to be done"
    is "nothing was made" "audit.conf" "$(ls m)"
    exits "migrate" 0 "$aw" -c m/audit.conf migrate --json
    has "as JSON" out '"sink":"db","slot":0,"steps":["create the database '
    exits "again" 0 "$aw" -c m/audit.conf migrate --sink db
    is "up to date" "db: up to date" "$(cat out)"
    exits "a sink without" 2 "$aw" -c m/audit.conf migrate --sink trail
    has "says so" err "has nothing to migrate"
    echo "this is some text, and no database at all" >m/audit.db
    exits "no database" 3 "$aw" -c m/audit.conf migrate
    has "is named" err "audit.conf:4: db: cannot be migrated:"
    exits "check finds it" 1 "$aw" -c m/audit.conf check
    has "with file and line, sink and reason" err 'm/audit.conf:4: sink "db" (sqlite): would not work: '
    has "what SQLite says" err "file is not a database"
    exits "without a probe" 0 "$aw" -c m/audit.conf check --no-probe
    exits "as JSON" 1 "$aw" -c m/audit.conf check --json
    has "the verdict" out '{"verdict":"findings",'
    has "the outcome" out '"probes":[{"sink":"db","path":"m/audit.conf:4","outcome":"wrong","message":"would not work: '
    has "the other is good" out '{"sink":"trail","path":"m/audit.conf:5","outcome":"good","message":""}'
else
    skip "migrate" "the sqlite plugin is not built"
fi
mkdir m2
sed "s#$work/a/audit.jsonl#$work/no/such/dir/audit.jsonl#" a/audit.conf >m2/audit.conf
exits "check: no directory" 1 "$aw" -c m2/audit.conf check
has "which, and what to do" err "no/such/dir: the directory cannot be written: No such file or directory; make it, or give this user the right to"
is "and makes none" 1 "$([ -e no ] && echo 0 || echo 1)"
finish
