#!/bin/sh
# auditwell deadletter: list, show, replay and purge.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
module=$top_builddir/tests/integration/cli/.libs/sink_picky.so
[ -f "$module" ] || { echo "Bail out! the test's plugin is not built: $module"; exit 1; }
mkdir plugins && cp "$module" plugins/ && chmod 755 plugins && chmod 644 plugins/sink_picky.so
AUDITWELL_PLUGIN_PATH=$work/plugins${AUDITWELL_PLUGIN_PATH:+:$AUDITWELL_PLUGIN_PATH}
export AUDITWELL_PLUGIN_PATH

# A configuration in directory $1 whose sink "box" is of plugin $2.
box() {
    mkdir -p "$1"
    {
        echo "service = \"test\";"
        echo "journal = { path = \"$work/$1/journal\"; };"
        echo "retry = { base = \"10ms\"; cap = \"50ms\"; };"
        echo "sinks = ( { plugin = \"$2\"; name = \"box\"; path = \"$work/$1/box.$2\"; } );"
    } >"$1/audit.conf"
}
# Events of which every third is bad: 3, 6, 9 …
some_bad() {
    awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++)
        printf "{\"action\":\"%s\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u%d\"},\"eventId\":\"event-%04d\",\"context\":{\"tenantId\":\"t%d\"},\"metadata\":{\"text\":\"a \\\"quoted\\\" \\u00e9\"}}\n", i % 3 ? "good.one" : "bad.one", i, i, i % 2 }'
}
# DIR COUNT: a fresh directory with as many events, of which a third is refused.
refused() {
    rm -rf "$1"
    box "$1" picky
    some_bad "$2" | "$aw" log -q -c "$1/audit.conf"
}
dead() { # VERB ARGUMENT…: of directory $dir
    verb=$1
    shift
    run "$aw" deadletter "$verb" -c "$dir/audit.conf" "$@"
}
file() {
    echo "$dir/journal/deadletter/box.jsonl"
}

# ---- usage ----
dir=none
box none picky
exits "no verb" 2 "$aw" deadletter -c none/audit.conf
exits "unknown verb" 2 "$aw" deadletter -c none/audit.conf bury
exits "replay of what?" 2 "$aw" deadletter -c none/audit.conf replay
exits "purge of what?" 2 "$aw" deadletter -c none/audit.conf purge --all
exits "purge what?" 2 "$aw" deadletter -c none/audit.conf purge --sink box
exits "purge not both" 2 "$aw" deadletter -c none/audit.conf purge --sink box --all --replayed
exits "purge: time that is none" 2 "$aw" deadletter -c none/audit.conf purge --sink box --before soon
exits "seqs that are none" 2 "$aw" deadletter -c none/audit.conf show --seq 5-3
exits "unknown sink" 3 "$aw" deadletter -c none/audit.conf show --sink nosuch
has "named" err "nosuch"
exits "a name that leads elsewhere" 2 "$aw" deadletter -c none/audit.conf show --sink ../x
exits "no configuration" 3 "$aw" deadletter -c missing.conf list
exits "nothing yet" 0 "$aw" deadletter -c none/audit.conf list
matches "zeros" out '^box +0 +0 +0 +- +0  -$'
is "and nothing was made" "audit.conf" "$(ls none)"

# ---- list and show ----
dir=a
refused a 9
is "the sink has the others" 6 "$(lines a/box.picky)"
dead list
is "list: good" 0 "$status"
matches "list: counts" out '^box +3 +0 +0 +[0-9]s +[0-9]+  3-9$'
dead list --sink box --json
matches "list: JSON" out '^\{"sinks":\[\{"sink":"box","path":".*/box.jsonl","configured":true,"letters":3,"waiting":3,"replayed":0,"purged":0,"firstSeq":3,"lastSeq":9,"oldest":[0-9]+,"newest":[0-9]+,"bytes":[0-9]+,"findingCount":0,"unfinishedBytes":0,"setAside":0\}\],"verdict":"good"\}$'
dead list --verify --json
matches "list --verify: JSON" out '^\{"sinks":\[\{"findings":\[\],"sink":"box",'
dead show
is "show: lines" 6 "$(lines out)"
matches "show: a letter" out '^box seq 3 20.*Z, 1 attempt, waiting: it is a "bad" one: bad.one$'
has "show: its event" out "    bad.one event-0003"
dead show --sink box --seq 6 --json
is "show --seq: one" 1 "$(lines out)"
matches "show: JSON" out '^\{"sink":"box","n":2,"line":2,"seq":6,"time":"20[^"]*","attempts":1,"state":"waiting","reason":"it is a \\"bad\\" one: bad.one","event":\{"action":"bad.one",.*"integrity":\{"alg":"SHA-256",.*\}\}$'
dead show --seq 6-9
is "show --seq: a range" 4 "$(lines out)"
dead show --seq 100
is "show --seq: none" "0 0" "$status $(lines out)"
has "it is said" err "no such letter"

# ---- a sink that does not get personal data ----
dir=v
rm -rf v && box v picky
sed -i 's/^sinks = ( {/pii = ( "actor.id", "metadata.text" );\npseudonym_key = "file:key";\nsinks = ( { pii = "pseudonymize";/' v/audit.conf
echo "0123456789abcdef0123456789abcdef" >v/key && chmod 600 v/key
some_bad 6 | "$aw" log -q -c v/audit.conf
has "a letter is the whole event" v/journal/deadletter/box.jsonl '"id":"u3"'
: >v/box.picky.tolerant
dead replay --sink box
is "replay of a view" 0 "$status"
is "the sink has all" 6 "$(grep -c '"eventId":"event-' v/box.picky)"
has "and the record, whole" v/box.picky '"count":2,"events":[{"hash":"'
exits "the trail of views verifies" 0 "$aw" verify --views --complete --sink box v/box.picky
! grep -E '"u[0-9]"|quoted' v/box.picky >leaked && pass "and no personal data" || fail "and no personal data" "$(cat leaked)"

# ---- replay: refused again, then taken ----
dir=a
dead replay --sink box --dry-run
is "dry run" 0 "$status"
is "dry run: counts" "3 letters would be replayed" "$(tail -n 1 out)"
is "dry run: touches nothing" 3 "$(lines "$(file)")"
dead replay --sink box
is "refused again: exit" 1 "$status"
has "refused again: said" out 'seq 6: refused again: it is a "bad" one: bad.one'
is "refused again: counts" "3 letters: 0 written, 0 duplicates, 3 refused again, 0 left" "$(tail -n 1 out)"
dead show --seq 3
matches "it stays, with one attempt more" out '^box seq 3 .*, 2 attempts, refused again: '
: >a/box.picky.tolerant
dead replay --sink box --seq 3-6 --json
is "replay of a range" 0 "$status"
is "replay: JSON" '{"letters":[{"n":1,"seq":3,"outcome":"written"},{"n":2,"seq":6,"outcome":"written"}],"dryRun":false,"count":2,"written":2,"duplicates":0,"refused":0,"left":0}' "$(cat out)"
dead list
matches "one waits" out '^box +1 +2 +0 .*  9-9$'
dead replay --sink box
is "the rest" "1 letter: 1 written, 0 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
dead replay --sink box
is "nothing is left to do" "0 letters: 0 written, 0 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
is "the sink has all" 9 "$(grep -c '"eventId":"event-' a/box.picky)"
exits "the trail verifies" 0 "$aw" verify --complete --sink box a/box.picky
has "with what stands late" out ', 2 replayed dead letters of sink "box"'
"$aw" deadletter show -c a/audit.conf --seq 3 --json | sed 's/.*,"event":\(.*\)}$/\1/' >event
if grep -q -x -F -f event a/box.picky; then pass "byte for byte"; else fail "byte for byte" "$(cat event)"; fi
dead list --verify
is "the file verifies" 0 "$status"

# ---- a sink that is down; one that dies after the write; one that does not say which ----
dir=b
refused b 12
: >b/box.picky.down
dead replay --sink box --timeout 200ms
is "down: exit" 3 "$status"
has "down: why" err "does not take the record of this replay, which must stand before it: nothing was replayed"
is "down: counts" "4 letters: 0 written, 0 duplicates, 0 refused again, 4 left" "$(tail -n 1 out)"
rm b/box.picky.down
: >b/box.picky.tolerant
: >b/box.picky.dies
dead replay --sink box
is "killed between write and mark" 9 "$status"
rm b/box.picky.dies
dead replay --sink box
is "the next replay" "4 letters: 0 written, 4 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
is "nothing is there twice" 12 "$(grep -c '"eventId":"event-' b/box.picky)"
exits "the trail verifies after all that" 0 "$aw" verify --complete b/box.picky
dead list --verify
is "the file verifies" 0 "$status"
dir=c
refused c 12
: >c/box.picky.blunt
dead replay --sink box
is "the whole call is refused" "4 letters: 0 written, 0 duplicates, 4 refused again, 0 left" "$(tail -n 1 out)"

# ---- while a process has the journal open ----
mkfifo fifo
"$aw" -c c/audit.conf log -q <fifo 2>/dev/null &
holder=$!
exec 3>fifo
some_bad 3 >three
sed 's/event-/more-/' three >&3
wait_until 20 sh -c '[ "$(wc -l <c/journal/deadletter/box.jsonl)" -ge 9 ]' || fail "the holder works"
wait_until 20 sh -c '"$1" journal cursors -c c/audit.conf --json | grep -q "\"lag\":0"' sh "$aw" || fail "the holder's cursor passes it"
rm c/box.picky.blunt
: >c/box.picky.tolerant
dead replay --sink box
has "replay beside a writer: no record" err "this replay cannot be recorded"
is "replay beside a writer" "5 letters: 5 written, 0 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
dead purge --sink box --replayed --force
is "purge beside a writer" 0 "$status"
rm c/box.picky.tolerant
sed 's/event-/again-/' three >&3
wait_until 20 sh -c '[ "$(wc -l <c/journal/deadletter/box.jsonl)" -ge 2 ]' || fail "the holder finds the new file"
exec 3>&-
wait "$holder"
dead list --verify
is "what both wrote verifies" 0 "$status"
matches "and is there" out '^box +1 +0 +5 .*  19-19$'

# ---- a letter that delivery has not passed ----
dir=e
refused e 6
: >e/box.picky.tolerant
cp e/journal/cursors/box cursor
rm e/journal/cursors/box
dead replay --sink box
is "the cursor has not passed it" 3 "$status"
has "it is said" err "2 letters cannot be replayed yet: delivery to the sink has come to seq 0"
is "nothing was given to the sink" 4 "$(lines e/box.picky)"
cp cursor e/journal/cursors/box
dead replay --sink box
is "and when it has" "2 letters: 2 written, 0 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"

# ---- into the sinks of this package ----
for plugin in file sqlite; do
    have_plugin $plugin || { skip "replay into $plugin" "not built"; continue; }
    dir=real-$plugin
    refused "$dir" 30
    box "$dir" $plugin
    dead replay --sink box
    is "replay into $plugin" "10 letters: 10 written, 0 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
    exits "$plugin: query" 0 "$aw" query --json "$plugin:$dir/box.$plugin"
    grep -v '"action":"auditwell.replay"' out >got
    is "$plugin: has them" 10 "$(lines got)"
    "$aw" deadletter show -c "$dir/audit.conf" --json | sed 's/.*,"event":\(.*\)}$/\1/' >want
    if cmp -s want got; then pass "$plugin: byte for byte"; else fail "$plugin: byte for byte"; fi
    run "$aw" verify --partial "$plugin:$dir/box.$plugin"
    hasnt "$plugin: none is edited" out ": edited: "
    # The marks are lost, as if the process had died: they are given to the sink once more.
    head -n 10 "$(file)" >kept && cat kept >"$(file)" && rm "$dir/journal/deadletter/box.head"
    dead replay --sink box
    is "$plugin: once more: exit" 0 "$status"
    [ $plugin = sqlite ] || continue
    is "sqlite: knows their ids" "10 letters: 0 written, 10 duplicates, 0 refused again, 0 left" "$(tail -n 1 out)"
done
dir=real-file
mkfifo fifo2
"$aw" -c real-file/audit.conf log -q <fifo2 2>/dev/null &
holder=$!
exec 4>fifo2
some_bad 1 >&4
if wait_until 20 sh -c 'grep -q event-0001 real-file/box.file'; then pass "the holder works"; else fail "the holder works"; fi
printf '' >"$(file)"
rm "$dir/journal/deadletter/box.head"
cat kept >"$(file)"
dead replay --sink box --timeout 1s
is "a sink with one writer: exit" 3 "$status"
has "who has it" err "process $holder writes to this file already"
has "what to do" err "while the others are stopped"
exec 4>&-
wait "$holder"

# ---- purge ----
dir=p
refused p 18
: >p/box.picky.tolerant
dead replay --sink box --seq 6-9
dead purge --sink box --replayed
is "purge asks" 1 "$status"
is "purge: says what goes" "would purge 2 letters (seq 6-9): 2 replayed, 0 that the sink never took" "$(cat out)"
has "purge: how" err "give --force"
dead list
matches "nothing went" out '^box +4 +2 +0 '
dead purge --sink box --replayed --force
is "purge --replayed" "purged 2 letters (seq 6-9): 2 replayed, 0 that the sink never took" "$(cat out)"
dead list --verify
is "it verifies" 0 "$status"
matches "counts" out '^box +4 +0 +2 .*  3-18$'
matches "the record" "$(file)" '"type":"purged","time":"20[^"]*","what":"replayed","letters":2,"replayed":2,"ranges":\[\[2,3,"[0-9a-f]{64}"\],\[7,7,"[0-9a-f]{64}"\]\]'
dead purge --sink box --before 1h --force
is "purge --before: none so old" "no letter to purge" "$(cat out)"
dead purge --sink box --before 2100-01-01 --force --json
is "purge --before" '{"purged":true,"letters":4,"replayed":0,"firstSeq":3,"lastSeq":18}' "$(cat out)"
dead list --verify
is "it verifies still" 0 "$status"
matches "all are gone" out '^box +0 +0 +6 '
some_bad 3 | sed 's/event-/new-/' >new
rm p/box.picky.tolerant
"$aw" log -q -c p/audit.conf new
dead list --verify
is "and goes on" 0 "$status"
matches "with the new one" out '^box +1 +0 +6 .*  22-22$'
sed -i 's/plugin = "picky"; name = "box"/plugin = "picky"; name = "other"/' p/audit.conf
dead list
matches "a sink that is gone" out '^box +1 .*not in the configuration'
dead replay --sink box
is "cannot be replayed into" 3 "$status"
has "it is said" err "is not in"
dead purge --sink box --all --force
is "but purged" "purged 1 letter (seq 22-22): 0 replayed, 1 that the sink never took" "$(cat out)"

# ---- damage ----
dir=d
refused d 12
cp "$(file)" whole
# a byte of each line, each line gone, two change places
for i in 1 2 3 4; do
    awk -v i=$i 'NR == i { sub(/good|bad\.one/, "Bad.one") } { print }' whole >"$(file)"
    dead list --verify
    is "line $i edited: exit" 1 "$status"
    has "line $i edited: named" out "box.jsonl:$i: record $i does not have the hash it bears"
    sed "${i}d" whole >"$(file)"
    dead list --verify --json
    is "line $i gone: exit" 1 "$status"
    matches "line $i gone: said" out '"message":"(record .* missing|ends with record)'
done
sed -e '2{h;d}' -e '3{G}' whole >"$(file)"
dead list --verify
is "lines moved" 1 "$status"
sed '2s/bad.one/BAD.one/' whole >"$(file)"
dead list
is "list sees it, too" 1 "$status"
has "and says how to go on" err "1 finding: --verify prints them"
dead show --seq 6
is "show marks it" 1 "$status"
matches "damaged" out '^box seq 6 .*, damaged: '
some_bad 3 | sed 's/event-/later-/' >later
run "$aw" log -c d/audit.conf later
has "the next letter finds it" err "is damaged (line 2: "
dead list --verify
is "and begins anew" 0 "$status"
matches "with the whole ones" out '^box +4 +0 +0 .*  3-15$'
has "one file is beside it" err "1 damaged or unfinished part of it stands beside it"
sed '2s/bad.one/BAD.one/' whole | cmp -s - "$(ls "$(file)".damaged-*)" && pass "which is the old one" || fail "which is the old one"
if [ -n "${PYTHON3-}" ]; then
    exits "all lines are JSON" 0 "$PYTHON3" -c 'import json, sys; [json.loads(l) for l in open(sys.argv[1])]' "$(file)"
else
    skip "all lines are JSON" "python3 is not there"
fi
finish
