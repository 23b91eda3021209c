#!/bin/sh
# auditwell journal: inspect, fsck, cursors and trim.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

configure j
conf=j/audit.conf
dir=$work/j/journal
# COUNT: takes events, without delivering them.
take() {
    events "$1" | "$aw" log -q --no-flush -c $conf
}
jn() { # VERB ARGUMENT…
    verb=$1
    shift
    run "$aw" journal "$verb" -c $conf "$@"
}
state() { # what there is, with all its bytes
    find "$1" -type f -exec cksum {} + | sort
}

# ---- usage ----
exits "no journal yet" 3 "$aw" journal inspect -c $conf
has "it is said" err "there is no journal"
exits "no verb" 2 "$aw" journal -c $conf
exits "unknown verb" 2 "$aw" journal -c $conf burn
exits "two seqs" 2 "$aw" journal inspect 3 4 -c $conf
exits "config and path" 2 "$aw" journal inspect -c $conf --path j
exits "no configuration" 3 "$aw" journal inspect -c missing.conf
exits "no directory" 3 "$aw" journal fsck --path missing
exits "a file" 3 "$aw" journal fsck --path $conf

# ---- inspect ----
take 20
jn inspect
is "inspect" 0 "$status"
matches "a segment" out '^seg-0000000000000001\.awj +20 +[0-9]+  20.*Z 20.*Z 1-20  closed$'
matches "the journal's id" out '^id +[0-9a-f]{32}$'
matches "closed" out '^state +closed$'
matches "chains" out '^chains +3, [0-9]+ snapshots? of their heads$'
matches "ring" out '^ring +(trusted|of an earlier.*), 0 of [0-9]+ bytes used, 0 events not in a segment yet, newest seq 20$'
jn inspect --json
matches "JSON" out '^\{"segments":\[\{"file":"seg-0000000000000001.awj","firstSeq":1,"lastSeq":20,"events":20,.*"state":"closed",.*"findingCount":0,"knownCount":0\}$'
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "is JSON" 0 "$PYTHON3" -c 'import json; json.load(open("json"))'
else
    skip "is JSON" "python3 is not there"
fi
jn inspect 7
is "a record" 0 "$status"
matches "its file" out '^file +seg-0000000000000001\.awj$'
matches "its scope" out '^scope +tenant:t1$'
matches "its event" out '^\{"action":"user.login",.*"integrity":\{.*"seq":7\}'
jn inspect 7 --json
matches "as JSON" out '^\{"file":"seg-0000000000000001.awj","offset":[0-9]+,"length":[0-9]+,"seq":7,.*"event":\{"action"'
jn inspect 21
is "no such record" 3 "$status"
has "said" err "there is no record of event 21"
state j >before
jn fsck
is "fsck" 0 "$status"
is "the verdict" "$dir: good: 0 findings; 20 events in 1 segment" "$(cat out)"
jn fsck --json
matches "JSON" out '^\{"findings":\[\],"repaired":false,"verdict":"good",'
exits "by path" 0 "$aw" journal fsck --path "$dir"
state j >after
if cmp -s before after; then pass "looking changes nothing"; else fail "looking changes nothing"; fi

# ---- a byte of every record ----
seg=seg-0000000000000001.awj
for seq in 1 2 7 13 19 20; do
    rm -rf bad && cp -r j/journal bad
    [ $seq -eq 13 ] || rm bad/ring # it may have a copy of what a segment lost
    "$aw" journal inspect $seq --path bad >record
    offset=$(sed -n 's/^offset *//p' record)
    length=$(sed -n 's/^length *//p' record)
    for at in 0 5 17 70 $((length / 2)) $((length - 1)); do
        cp j/journal/$seg bad/$seg
        flip bad/$seg $((offset + at))
        run "$aw" journal fsck --path bad
        line="damaged: $seg: offset $offset, length $length: $length bytes are no record; missing: seq $seq"
        [ "$status" = 1 ] && grep -q -x -F -e "$line" out || fail "event $seq, byte $at" "status $status" "$(cat out)"
    done
    pass "event $seq: fsck names file, offset, length and seq"
    exits "event $seq: repair" 0 "$aw" journal fsck --repair --path bad
    has "says what it did" out "repaired; what is left:"
    is "no byte was changed" "$(cksum <bad/$seg | cut -d' ' -f2)" "$(cksum <j/journal/$seg | cut -d' ' -f2)"
    dd if=bad/$seg bs=1 skip="$offset" count="$length" 2>/dev/null >bytes
    if cmp -s bytes bad/quarantine/seg-0000000000000001-"$offset".bin; then pass "and they are set aside"; else fail "and they are set aside"; fi
    exits "again: known" 0 "$aw" journal fsck --path bad
    has "known" out "known: damaged: $seg: offset $offset, length $length"
    # all other records are there, and are delivered
    missing=0
    for other in 1 2 7 12 13 14 19 20; do
        [ $other -eq $seq ] || "$aw" journal inspect $other --path bad >/dev/null 2>&1 || missing=$((missing + 1))
    done
    is "no other record is lost" 0 $missing
done
sed "s|$dir|$work/bad|" $conf >bad.conf
sed -i "s|$work/j/audit.jsonl|$work/bad.jsonl|" bad.conf
run "$aw" log -q -c bad.conf -a a.b --actor u:1
is "the next start delivers the others, and goes on" "19 21" "$(sed -n 's/.*"seq":\([0-9]*\).*/\1/p' bad.jsonl | sort -n | tail -n 2 | tr '\n' ' ' | sed 's/ $//')"
is "all of them" 20 "$(lines bad.jsonl)"
# several at once, headers, the ring, a cursor, strange files
rm -rf bad && cp -r j/journal bad
flip bad/$seg 20
run "$aw" journal fsck --path bad
is "one header: exit" 1 "$status"
has "one header" out "header: $seg: offset 0, length 4096: one copy of its header is damaged; the other one is used"
flip bad/$seg 2068
run "$aw" journal fsck --path bad
has "both headers" out "every copy of its header is damaged"
rm -rf bad && cp -r j/journal bad
for seq in 3 4 9; do
    offset=$("$aw" journal inspect $seq --path bad | sed -n 's/^offset *//p')
    flip bad/$seg $((offset + 30))
done
run "$aw" journal fsck --path bad
has "neighbours are one place" out "missing: seq 3-4"
has "and the third another" out "missing: seq 9"
is "verdict" "bad: FINDINGS: 2 findings; 17 events in 1 segment" "$(tail -n 1 out)"
flip bad/ring 10
printf 'x' >bad/cursors/trail
mkdir bad/seg-00000000000000ff.awj
run "$aw" journal fsck --path bad --json
is "more: exit" 1 "$status"
has "ring" out '{"kind":"ring","known":false,"file":"ring","offset":0'
has "cursor" out '{"kind":"cursor","known":false,"file":"cursors/trail"'
has "strange" out '{"kind":"strange","known":false,"file":"seg-00000000000000ff.awj"'
exits "repair mends these, too" 0 "$aw" journal fsck --path bad --repair --json
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "is JSON" 0 "$PYTHON3" -c 'import json; d = json.load(open("json")); assert d["repaired"] and d["verdict"] == "good"'
else
    skip "is JSON" "python3 is not there"
fi
rm -rf bad && cp -r j/journal bad
flip bad/$seg $(("$("$aw" journal inspect 20 --path bad | sed -n 's/^offset *//p')" + 30))
exits "the last event" 1 "$aw" journal fsck --path bad
hasnt "the ring has a copy" out "missing: seq"
has "which counts" out "bad: FINDINGS: 1 finding; 20 events in 1 segment"
exits "and is taken" 0 "$aw" journal fsck --path bad --repair
exits "it is there again" 0 "$aw" journal inspect 20 --path bad
cp j/journal/$seg first # all sinks have it, and it may be removed at any time
take 5
rm -rf bad && cp -r j/journal bad && mv bad/seg-0000000000000015.awj bad/seg-0000000000000019.awj
exits "a segment under another name" 1 "$aw" journal fsck --path bad
has "is noticed" out "it was renamed: its header says that it begins with event 21"
rm -rf bad && take 5 && cp -r j/journal bad && rm -f bad/seg-0000000000000015.awj && cp first bad/$seg
exits "a segment is gone" 1 "$aw" journal fsck --path bad
has "it is said which events" out "missing: journal: events are missing, and no record of them is left; missing: seq 21-25"

# ---- beside a process ----
mkfifo fifo
"$aw" -c $conf log -q <fifo 2>/dev/null &
holder=$!
exec 3>fifo
events 40 >&3
wait_until 20 sh -c '[ "$(wc -l <j/audit.jsonl)" -ge 70 ]' || fail "the holder works"
jn inspect
is "inspect beside a writer" 0 "$status"
matches "names it" out "^state +open \(process $holder; "
for i in 1 2 3 4 5; do
    events 200 >&3
    jn fsck
    is "fsck beside a writer, $i" 0 "$status"
done
has "and says what that means" out "process $holder has it open: what it is writing was not judged"
jn cursors
is "cursors beside a writer" 0 "$status"
state j/journal/quarantine >before
exits "repair needs the lock" 3 "$aw" journal fsck --repair -c $conf
has "who has it" err "in use by process $holder"
exits "release needs it" 3 "$aw" journal cursors --path "$dir" --release trail --force
exits "trim needs it" 3 "$aw" journal trim --force -c $conf
exits "its dry run does not" 0 "$aw" journal trim -c $conf
exec 3>&-
wait "$holder"
jn fsck
is "closed again" 0 "$status"

# ---- cursors ----
cat >two.conf <<CONF
service = "test";
journal = { path = "$dir"; };
sinks = ( { plugin = "file"; name = "trail"; path = "$work/j/audit.jsonl"; },
          { plugin = "file"; name = "old-sink"; path = "$work/j/old.jsonl"; } );
CONF
run "$aw" log -q -c two.conf -a a.b --actor u:1
is "a second sink came" 0 "$status"
take 7
jn cursors
is "an orphan: exit" 1 "$status"
matches "an orphan" out '^old-sink +[0-9]+ +7  orphan: no such sink; it holds back trimming$'
matches "a sink" out '^trail +[0-9]+ +7  sink$'
exits "with its configuration it is none" 0 "$aw" journal cursors -c two.conf
exits "by path nobody knows" 0 "$aw" journal cursors --path "$dir" --json
matches "JSON" out '^\{"cursors":\[\{"name":"old-sink","owner":"unknown","seq":[0-9]+,"lag":7,"damaged":false\},'
exits "a configured one is not released" 2 "$aw" journal cursors -c $conf --release trail --force
has "it is said" err "is a sink of"
exits "one that is not there" 3 "$aw" journal cursors -c $conf --release nosuch
has "it is said, too" err 'has no cursor "nosuch"'
exits "one that is owed something" 1 "$aw" journal cursors -c $conf --release old-sink
has "how much" err "7 events were never delivered to it"
[ -f j/journal/cursors/old-sink ] && pass "it is there still" || fail "it is there still"
exits "with --force" 0 "$aw" journal cursors -c $conf --release old-sink --force
has "what it owed" out "old-sink: released; it still owed 7 events"
jn cursors
is "only the sink's is left" 0 "$status"
hasnt "the other is gone" out old-sink
matches "its file is kept, with the reason" j/journal/quarantine/old-sink-*.txt 'released by command at seq [0-9]+ of [0-9]+; 7 events'
is "and its bytes" 128 "$(wc -c <"$(ls j/journal/quarantine/old-sink-*.bin)" | tr -d ' ')"
run "$aw" log -q -c $conf -a a.b --actor u:2
is "the trail has all" "$(sed -n 's/.*"seq":\([0-9]*\).*/\1/p' j/audit.jsonl | sort -n | tail -n 1)" "$(lines j/audit.jsonl)"

# ---- trim ----
configure t
sed "s|^);|  , { plugin = \"file\"; name = \"second\"; path = \"$work/t/second.jsonl\"; } );|" t/audit.conf >t/both.conf
events 10 | "$aw" log -q -c t/both.conf
for i in 1 2 3 4 5 6; do
    events 10 | "$aw" log -q -c t/audit.conf
done
exits "trim: what a cursor wants stays" 0 "$aw" journal trim -c t/audit.conf
has "it is said which" out "would remove 0 segments, 0 bytes; furthest behind is cursor second at seq 10"
exits "trim --force" 0 "$aw" journal trim --force -c t/audit.conf
has "nothing went" out "removed 0 segments"
exits "its sink is gone" 0 "$aw" journal cursors --release second --force -c t/audit.conf
exits "trim: what is delivered" 0 "$aw" journal trim -c t/audit.conf
cp out dry
has "goes, when told to" dry "; --force does it"
exits "JSON" 0 "$aw" journal trim -c t/audit.conf --json
matches "JSON" out '^\{"segments":\[\{"file":"seg-[0-9a-f]*.awj",.*\],"dryRun":true,"count":[1-9][0-9]*,"bytes":[0-9]+,"heldBy":"trail","heldSeq":70\}$'
exits "trim --force" 0 "$aw" journal trim -c t/audit.conf --force
is "removes what the dry run said" "$(sed 's/would remove/removed/; s/; --force does it//' dry)" "$(cat out)"
exits "what is left is good" 0 "$aw" journal fsck -c t/audit.conf
events 3 | "$aw" log -q -c t/audit.conf
exits "and the chains go on" 0 "$aw" verify -q t/audit.jsonl
finish
