#!/bin/sh
# fanout = "all_or_nothing" by the command: both stores, rejected events, what is refused, and back to best_effort.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

AUDITWELL_PLUGIN_PATH=$AUDITWELL_PLUGIN_PATH:$top_builddir/tests/plugins/.libs
export AUDITWELL_PLUGIN_PATH

# together DIR FANOUT MORE-SINKS: file, sqlite, and more
together() {
    mkdir -p "$1"
    cat >"$1/audit.conf" <<CONF
service = "test";
fanout = "$2";
journal = { path = "$work/$1/journal"; };
batch = { events = 7; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/$1/audit.jsonl"; },
  { plugin = "sqlite"; name = "db"; path = "$work/$1/audit.db"; }$3
);
CONF
}

if ! have_plugin sqlite || [ "${BUILTIN_SINKS-}" ]; then
    skip "all_or_nothing" "the sqlite sink is not there, or plugins are built in"
    finish
fi

# ---- refused ----
together two all_or_nothing ',
  { plugin = "m_good"; name = "first"; },
  { plugin = "m_good"; name = "second"; }'
exits "two that cannot stage" 1 "$aw" check -c two/audit.conf
has "says which, and where" err "two/audit.conf:9"
has "and what to do" err 'sinks.second: plugin "m_good" cannot stage events, and neither can sinks.first (plugin "m_good", '
has "in words" err 'remove one of them, or write fanout = "best_effort"'
together two best_effort ',
  { plugin = "m_good"; name = "first"; },
  { plugin = "m_good"; name = "second"; }'
exits "with best_effort they are good" 0 "$aw" check -c two/audit.conf

# ---- in both ----
together a all_or_nothing ',
  { plugin = "m_good"; name = "plain"; }'
exits "one that cannot is good" 0 "$aw" check -c a/audit.conf
events 100 | "$aw" -c a/audit.conf log -q || fail "events"
exits "the file verifies" 0 "$aw" verify a/audit.jsonl
exits "the database verifies" 0 "$aw" verify sqlite:a/audit.db
"$aw" query --json a/audit.jsonl >file.out 2>err
"$aw" query --json sqlite:a/audit.db >db.out 2>err
is "100 events" 100 "$(lines file.out)"
if cmp -s file.out db.out; then pass "the same in both"; else fail "the same in both"; fi
is "nothing is left staged" "" "$(ls a | grep staged)"
exits "the decision is kept" 0 test -f a/journal/together
"$aw" stats -c a/audit.conf >out 2>err
matches "stats: file" out 'trail'

# ---- back and forth ----
together a best_effort ''
events 50 | "$aw" -c a/audit.conf log -q || fail "events"
exits "no decision is kept" 1 test -f a/journal/together
together a all_or_nothing ''
events 50 | "$aw" -c a/audit.conf log -q || fail "events"
exits "the file still verifies" 0 "$aw" verify a/audit.jsonl
exits "the database, too" 0 "$aw" verify sqlite:a/audit.db
is "each event once" 200 "$("$aw" query --json sqlite:a/audit.db 2>err | wc -l | tr -d ' ')"
is "in both" 200 "$(lines a/audit.jsonl)"

# ---- one sink cannot start for good: the start says so, and no sink is left open ----
mkdir a/dir.db
together a all_or_nothing ",
  { plugin = \"sqlite\"; name = \"wrong\"; path = \"$work/a/dir.db\"; }"
events 10 | "$aw" -c a/audit.conf log -q >out 2>err && fail "a start that cannot be"
has "which one, and why" err "dir.db: is no regular file"
is "the file got nothing" 200 "$(lines a/audit.jsonl)"

# ---- one sink is down: none gets anything, and nothing is lost ----
together a all_or_nothing ",
  { plugin = \"file\"; name = \"far\"; start_from = \"oldest\"; path = \"$work/gone/deep/far.jsonl\"; }"
events 10 | "$aw" -c a/audit.conf log -q --timeout 1s >out 2>err
has "it says who is not there" err "gone/deep/far.jsonl"
is "the file got nothing" 200 "$(lines a/audit.jsonl)"
is "the database, too" 200 "$("$aw" query --json sqlite:a/audit.db 2>err | wc -l | tr -d ' ')"
mkdir -p gone/deep
events 10 | "$aw" -c a/audit.conf log -q || fail "events"
is "then all get all" "220 220" "$(grep -vc auditwell.begin a/audit.jsonl) $("$aw" query --json sqlite:a/audit.db 2>err | grep -vc auditwell.begin)"
far=$(lines gone/deep/far.jsonl) # how much that is depends on what the journal still had to keep
[ "$far" -ge 20 ] && [ "$far" -le 220 ] && tail -n "$far" a/audit.jsonl | cmp -s - gone/deep/far.jsonl &&
    pass "a new one gets what is kept" || fail "a new one gets what is kept" "$far events"
exits "the file verifies at the end" 0 "$aw" verify a/audit.jsonl

# ---- one of them does not get personal data ----
together v all_or_nothing ",
  { plugin = \"file\"; name = \"view\"; pii = \"drop\"; path = \"$work/v/view.jsonl\"; }"
sed -i 's/^fanout/pii = ( "actor.ip" );\nfanout/' v/audit.conf
for i in 1 2 3; do
    printf '{"action":"a.b","outcome":"SUCCESS","actor":{"type":"user","id":"u%d","ip":"192.0.2.77"}}\n' $i
done | "$aw" -c v/audit.conf log -q || fail "events"
is "each sink has all" "3 3" "$(lines v/audit.jsonl) $(lines v/view.jsonl)"
is "the one in full" 3 "$(grep -c -F 192.0.2.77 v/audit.jsonl)"
is "the other without" 0 "$(grep -c -F 192.0.2.77 v/view.jsonl)"
exits "which agree" 0 "$aw" verify file:v/view.jsonl --against file:v/audit.jsonl

# ---- the journal's last event is gone: nobody waits for it ----
together g all_or_nothing ",
  { plugin = \"file\"; name = \"far\"; path = \"$work/g/gone/far/far.jsonl\"; }"
events 3 | "$aw" -c g/audit.conf log -q --timeout 1ms >out 2>err
is "the events wait" 0 "$(lines g/audit.jsonl)"
offset=$("$aw" journal inspect 3 --path g/journal | sed -n 's/^offset *//p')
flip g/journal/seg-0000000000000001.awj $((offset + 300)) # its header still tells its number
rm g/journal/ring
mkdir -p g/gone/far
exits "the next flush ends" 0 "$aw" -c g/audit.conf log -q --timeout 5s </dev/null
hasnt "and lacks nothing" err "not yet delivered"
is "with what there is" "2 2" "$(lines g/audit.jsonl) $(lines g/gone/far/far.jsonl)"
finish
