#!/bin/sh
# auditwell retention: what goes, beside running processes, killed anywhere, and what verify says afterwards.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
if ! have_plugin sqlite; then
    echo "1..0 # SKIP the sqlite plugin is not built"
    exit 0
fi

# conf DIR [MORE]: a database, and a file that rotates often.
conf() {
    mkdir -p "$1"
    cat >"$1/audit.conf" <<EOT
service = "test";
journal = { path = "$work/$1/journal"; };
sinks = (
  { plugin = "sqlite"; name = "db"; path = "$work/$1/audit.db"; },
  { plugin = "file"; name = "trail"; path = "$work/$1/audit.jsonl"; rotate_size = "8KiB"; }${2-}
);
EOT
}
# of_days FIRST LAST: 20 events of each of these days of January, by turns of three tenants.
of_days() {
    awk -v a="$1" -v n="$2" 'BEGIN { for (d = a; d <= n; d++) for (i = 0; i < 20; i++)
        printf "{\"action\":\"doc.read\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u%d\"},\"context\":{\"tenantId\":\"t%d\",\"occurredAt\":\"2026-01-%02dT03:04:%02d.000Z\"},\"metadata\":{\"n\":%d}}\n", i % 7, i % 3, d, i, i }'
}
verified() { # NAME DIR: both stores verify, and are what the configuration says they are
    for store in db trail; do
        exits "$1: $store verifies" 0 "$aw" -c "$2/audit.conf" verify -q $store
    done
}
count() { # DIR STORE: events in it
    "$aw" -c "$1/audit.conf" query --json "$2" 2>/dev/null | wc -l | tr -d ' '
}

# ---- a dry run changes nothing ----
conf a
of_days 1 20 | "$aw" -c a/audit.conf log -q || fail "events"
cp -r a/audit.jsonl a/saved.jsonl
exits "dry run" 0 "$aw" -c a/audit.conf retention --before 2026-01-11
has "of the database" out "db: 200 events, seq 1 to 200, of 2026-01-01T03:04:00Z to 2026-01-10T03:04:19Z"
has "what stays first" out "what stays begins at seq 201 of 2026-01-11T03:04:00Z"
has "and that nothing was done" out "nothing was removed: --apply does it"
is "all is there" "400 400" "$(count a db) $(count a trail)"
exits "dry run as JSON" 0 "$aw" -c a/audit.conf retention --before 2026-01-11 --sink db --json
has "one stream" out '{"streams":[{"sink":"db","slot":0,"stream":0,"count":200,'
has "not applied" out '"applied":false,"count":200,"removed":0,"records":0,"findings":0}'
exits "nothing old enough" 0 "$aw" -c a/audit.conf retention --before 2025-01-01 --apply
has "it is said" out "nothing can go; the oldest event is seq 1"
has "and no record is sealed" out "0 events removed, 0 records sealed"
exits "a time to come" 2 "$aw" -c a/audit.conf retention --before 2126-01-01
exits "an unknown sink" 3 "$aw" -c a/audit.conf retention --keep 1d --sink nobody

# ---- it is done, and verify says so ----
exits "apply" 0 "$aw" -c a/audit.conf retention --before 2026-01-11 --apply --json
has "records of both" out '"records":2'
verified "afterwards" a
exits "verify" 0 "$aw" -c a/audit.conf verify -q db
has "says what went" out 'begins at seq 201: 200 events of before 2026-01-11T00:00:00Z were removed from sink "db", as the sealed record at audit.db: seq 401 says'
exits "verify as JSON" 0 "$aw" -c a/audit.conf verify --json db
has "too" out '"removed":200,"removedBefore":"2026-01-11T00:00:00Z","removedSink":"db","removedRecord":"audit.db: seq 401"'
exits "not complete" 1 "$aw" -c a/audit.conf verify -q --complete db
is "what is left" 202 "$(count a db)"
exits "again: nothing more goes" 0 "$aw" -c a/audit.conf retention --before 2026-01-11 --apply
has "no record" out "0 events removed, 0 records sealed"
exits "further" 0 "$aw" -c a/audit.conf retention --before 2026-01-16 --apply
verified "twice" a
exits "verify twice" 0 "$aw" -c a/audit.conf verify -q db
has "the total" out "begins at seq 301: 300 events"

# ---- what was not recorded is found ----
cp -r a b
cp a/audit.db plain.db
first=$(ls b/audit-*.jsonl | head -n 1)
rm "$first"
exits "an archive removed by hand" 1 "$aw" verify -q b/audit.jsonl
exits "the findings" 1 "$aw" verify b/audit.jsonl
has "by how much" out "stays:"
exits "a cut-off file as such" 0 "$aw" verify -q --midchain b/audit.jsonl
exits "another sink's record" 1 "$aw" verify -q --sink trail plain.db
exits "the true one of it" 0 "$aw" verify -q --sink db plain.db
exits "the true one" 0 "$aw" verify -q --sink trail a/audit.jsonl
grep -h . a/audit-*.jsonl a/audit.jsonl >whole.jsonl
exits "all in one file" 0 "$aw" verify -q whole.jsonl
sed 's/"keepSeq":\([0-9]*\)/"keepSeq":1\1/' whole.jsonl >edited.jsonl
exits "an edited record" 1 "$aw" verify edited.jsonl
has "is no record" out "no sealed record says"
grep -v 'auditwell.retention' whole.jsonl >without.jsonl
exits "no record" 1 "$aw" verify -q without.jsonl
sed 1d whole.jsonl >shorter.jsonl
exits "one event more" 1 "$aw" verify -q --sink trail shorter.jsonl

# ---- findings stop it ----
conf c
of_days 1 10 | "$aw" -c c/audit.conf log -q || fail "events"
first=$(ls c/audit-*.jsonl | head -n 1)
sed -i '2s/doc.read/doc.reap/' "$first"
exits "a trail with findings" 1 "$aw" -c c/audit.conf retention --before 2026-01-06 --apply --sink trail
has "the finding" err "the content does not have the hash it carries"
has "and why nothing goes" err "nothing of it was removed before somebody has looked"
is "nothing went" 200 "$(count c trail)"
exits "in spite of it" 0 "$aw" -c c/audit.conf retention --before 2026-01-06 --apply --sink trail --despite-findings
exits "the record says so" 0 "$aw" -c c/audit.conf query --json -a auditwell.retention trail
has "how many" out '"findings":1'
exits "and the rest verifies" 0 "$aw" -c c/audit.conf verify -q trail

# ---- beside a process that has the journal ----
conf d
of_days 1 10 | "$aw" -c d/audit.conf log -q || fail "events"
mkfifo d/pipe
"$aw" -c d/audit.conf log -q <d/pipe &
pid=$!
exec 9>d/pipe
of_days 11 12 >&9
wait_until 20 test -e d/journal/metrics
wait_until 20 sh -c "'$aw' -c d/audit.conf stats --json | grep -q '\"headSeq\":240'"
exits "beside it" 0 "$aw" -c d/audit.conf retention --before 2026-01-06 --apply
has "records" out "2 records sealed"
of_days 13 14 >&9
exec 9>&-
wait $pid || fail "log"
verified "beside a process" d
exits "its record is of its own slot" 0 "$aw" -c d/audit.conf query --json -a auditwell.retention db
hasnt "no stream" out '"stream":1}'
is "nothing is left in the inbox" "" "$(ls d/journal/inbox)"
is "and no slot was made" 1 "$([ -d d/journal/slots ] && echo 0 || echo 1)"

# ---- stores of several slots ----
conf s
mkfifo s/pipe
"$aw" -c s/audit.conf log -q <s/pipe &
pid=$!
exec 9>s/pipe
of_days 1 10 >&9
wait_until 20 test -e s/journal/metrics # stats would open the journal
wait_until 20 sh -c "'$aw' -c s/audit.conf stats --json | grep -q '\"headSeq\":200'"
of_days 1 10 | "$aw" -c s/audit.conf log -q || fail "events of another slot"
exec 9>&-
wait $pid || fail "log"
exits "of both slots" 0 "$aw" -c s/audit.conf retention --before 2026-01-06 --apply
has "each is told" out "db (stream 1): 100 events"
has "four records" out "4 records sealed"
exits "all slots verify" 0 "$aw" -c s/audit.conf verify -q
has "slot 1, too" out "trail (slot 1): good"
exits "by path" 0 "$aw" verify -q s/audit.slot1.db s/audit.slot1.jsonl s/audit.db s/audit.jsonl

# ---- a sink that comes later ----
conf l
of_days 1 5 | "$aw" -c l/audit.conf log -q || fail "events"
conf l ",
  { plugin = \"file\"; name = \"late\"; path = \"$work/l/late.jsonl\"; start_from = \"now\"; }"
of_days 6 7 | "$aw" -c l/audit.conf log -q || fail "events"
exits "it verifies from there on" 0 "$aw" -c l/audit.conf verify -q late
is "its first event says so" 1 "$(head -n 1 l/late.jsonl | grep -c '"auditwell.begin".*"sink":"late","streams":\[{"keepSeq":101,')"
sed 1d l/late.jsonl >later.jsonl
exits "not from later on" 1 "$aw" verify -q later.jsonl

# ---- a sink that gets views ----
conf v ",
  { plugin = \"sqlite\"; name = \"view\"; path = \"$work/v/view.db\"; pii = \"drop\"; }"
sed -i 's/^journal/pii = ( "metadata" );\njournal/' v/audit.conf
of_days 1 10 | "$aw" -c v/audit.conf log -q || fail "events of views"
exits "of views" 0 "$aw" -c v/audit.conf retention --before 2026-01-06 --apply
exits "views verify" 0 "$aw" -c v/audit.conf verify -q --views view
has "by a record that is whole" out 'removed from sink "view"'

# ---- killed anywhere ----
conf k
of_days 1 30 | "$aw" -c k/audit.conf log -q || fail "events"
rounds=0 bad=0
for ms in 002 004 006 008 010 013 016 020 025 030 040 050 060 080 100; do
    day=$((2 + rounds))
    "$aw" -c k/audit.conf retention --before "2026-01-$(printf %02d $day)" --apply -q >/dev/null 2>&1 &
    pid=$!
    sleep "0.$ms"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    for store in db trail; do
        "$aw" -c k/audit.conf verify -q $store >out 2>err || { bad=$((bad + 1)); sed 's/^/# /' out err; }
    done
    rounds=$((rounds + 1))
done
is "after each kill the trails verify" 0 $bad
exits "the next one goes on" 0 "$aw" -c k/audit.conf retention --before 2026-01-21 --apply
verified "killed and gone on" k
exits "from where it should" 0 "$aw" -c k/audit.conf query --json db -n 1
has "the first that stays" out '"seq":401'
is "no list of removals is left" 0 "$(ls k | grep -c removing)"

# ---- two at once, and one that cannot be recorded ----
flock -x k/journal/retention.lock "$aw" -c k/audit.conf retention --before 2026-01-22 --apply >out 2>err
is "another one is under way: exit" 3 $?
has "it is said" err "another retention is under way"
sed -i 's/name = "trail";/name = "trail"; enabled = false;/' k/audit.conf
exits "a sink that is off" 2 "$aw" -c k/audit.conf retention --before 2026-01-22 --apply --sink trail
has "cannot be given the record" err "is not enabled"
finish
