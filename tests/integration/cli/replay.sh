#!/bin/sh
# Dead letters that are replayed into a real file with rotation and into a real database: the trail verifies afterwards,
# and whatever is done to it by hand does not.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
module=$top_builddir/tests/integration/cli/.libs/sink_picky.so
[ -f "$module" ] || { echo "Bail out! the test's plugin is not built: $module"; exit 1; }
mkdir plugins && cp "$module" plugins/ && chmod 755 plugins && chmod 644 plugins/sink_picky.so
AUDITWELL_PLUGIN_PATH=$work/plugins${AUDITWELL_PLUGIN_PATH:+:$AUDITWELL_PLUGIN_PATH}
export AUDITWELL_PLUGIN_PATH
other=null
have_plugin sqlite && other=sqlite

# conf PLUGIN PLUGIN: of the sinks "box", whose store is box.file, and "db". The test's own sink refuses what begins with
# "bad." and writes lines as the file does, so that the file can go on behind it.
conf() {
    {
        echo "service = \"test\"; retry = { base = \"10ms\"; cap = \"50ms\"; };"
        echo "journal = { path = \"$work/journal\"; };"
        if [ "$1" = file ]; then
            echo "sinks = ( { plugin = \"file\"; name = \"box\"; path = \"$work/box.file\"; rotate_size = \"8KiB\"; compress = \"none\"; },"
        else
            echo "sinks = ( { plugin = \"$1\"; name = \"box\"; path = \"$work/box.file\"; },"
        fi
        case $2 in
        null) echo "{ plugin = \"null\"; name = \"db\"; } );" ;;
        *) echo "{ plugin = \"$2\"; name = \"db\"; path = \"$work/db.$2\"; } );" ;;
        esac
    } >audit.conf
}
# FROM TO: every third is bad; the tenants t0 and t1 take turns, and each fifth event is of the service itself.
events() {
    awk -v a="$1" -v b="$2" 'BEGIN { for (i = a; i <= b; i++)
        printf "{\"action\":\"%s\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u%d\"},\"eventId\":\"event-%04d\"%s}\n", i % 3 ? "good.one" : "bad.one", i, i, i % 5 ? ",\"context\":{\"tenantId\":\"t" i % 2 "\"}" : "" }'
}
verify() { # ARGUMENT…
    run "$aw" verify --complete "$@"
}
good() { # NAME ARGUMENT…
    name=$1
    shift
    verify "$@"
    if [ "$status" = 0 ]; then pass "$name"; else fail "$name" "$(head -c 3000 out)" "$(cat err)"; fi
}
found() { # NAME PATTERN ARGUMENT…
    name=$1
    pattern=$2
    shift 2
    verify "$@"
    is "$name: exit" 1 "$status"
    matches "$name: said" out "$pattern"
}

conf picky picky
events 1 9 | sed 's/good\.one/bad.too/' >zero
exits "both sinks refuse all" 1 "$aw" log -q -c audit.conf zero
conf picky $other
events 10 40 >first
exits "a sink refuses some" 1 "$aw" log -q -c audit.conf first
conf file $other
events 41 60 | sed 's/bad\.one/good.two/' >second
exits "the file goes on" 0 "$aw" log -q -c audit.conf second
verify box.file
is "the store lacks them: exit" 1 "$status"
matches "it is said" out 'hole: '
ls | grep "^box" >files
[ "$(lines files)" -gt 1 ] && pass "the file was rotated" || fail "the file was rotated" "$(cat files)"

# ---- replay ----
exits "replay of some" 0 "$aw" deadletter replay -c audit.conf --sink box --seq 9-27
verify box.file
is "some are still missing" 1 "$status"
hasnt "but nothing was moved" out ": reordered: "
hasnt "nor inserted" out ": inserted: "
exits "replay of the rest" 0 "$aw" deadletter replay -c audit.conf --sink box
has "it was replayed" out "refused again, 0 left"
good "an honest trail verifies" box.file
has "and it is said what stands late" out ", 19 replayed dead letters of sink \"box\""
run "$aw" verify --json box.file
has "in JSON" out '"replayed":19,"replayedSink":"box"' 
good "with the sink's name" --sink box box.file
found "it is another sink's" ': (hole|inserted|reordered): ' --sink db box.file
events 61 80 | sed 's/bad\.one/good.two/' >third
exits "it goes on" 0 "$aw" log -q -c audit.conf third
good "and still verifies" box.file
is "nothing is there twice" "" "$(cat box*file | grep -o '"eventId":"event-[0-9]*"' | sort | uniq -d)"
is "all are there" 80 "$(cat box*file | grep -c '"eventId":"event-')"
if [ $other = sqlite ]; then
    exits "replay into the database" 0 "$aw" deadletter replay -c audit.conf --sink db
    exits "the database verifies" 0 "$aw" verify --complete --sink db sqlite:db.sqlite
    hasnt "and needs no excuse" out "replayed dead letter"
else
    skip "replay into the database" "not built"
fi
good "the file does, too" box.file

# ---- by hand ----
# One file is easier to tamper with: archives oldest first, then the current one.
for f in $(ls | grep "^box-.*\.file$" | sort) box.file; do cat "$f"; done >whole
good "in one file" whole
late=$(grep -n -m 1 '"eventId":"event-0021"' whole | cut -d : -f 1)
plain=$(grep -n -m 1 '"eventId":"event-0032"' whole | cut -d : -f 1)
record=$(grep -n -m 1 'auditwell.replay' whole | cut -d : -f 1)
last=$(lines whole)
[ "$record" -lt "$late" ] && pass "the record stands first" || fail "the record stands first" "$record $late"
# FROM TO: the line FROM is put behind the line TO.
move() {
    awk -v from="$1" -v to="$2" 'NR == FNR { if (FNR == from) kept = $0; next } FNR != from { print } FNR == to { print kept }' whole whole >changed
}
move "$plain" $((plain + 4))
found "a line is moved" 'reordered: ' changed
move "$plain" "$last"
found "a line is moved behind the replays" '(reordered|hole): ' changed
move "$late" $((record - 1))
found "a replayed line is moved before its record" '(reordered|hole|inserted): ' changed
move "$record" "$last"
found "the record is moved behind the replays" '(reordered|hole|inserted): ' changed
awk -v n="$late" '{ print } NR == n { print }' whole >changed
found "a replayed line is there twice" 'duplicate: ' changed
awk -v n="$late" '{ l[NR] = $0; print } END { print l[n] }' whole >changed
found "it is there twice, far away" 'duplicate: ' changed
sed "${late}s/bad.one/bad.two/" whole >changed
found "a replayed line is changed" 'edited: ' changed
sed "${late}s/\"seq\":21}/\"seq\":999}/" whole >changed
found "its number is changed" '(edited|hole): ' changed
sed "${late}d" whole >changed
found "a replayed line is removed" 'hole: .*dead letter, seq 21' changed
sed "${record}d" whole >changed
found "the record is removed" '(reordered|hole|inserted): ' changed
sed '/auditwell.replay/d' whole >changed
found "all records are removed" '(reordered|hole|inserted): ' changed
hash=$(sed -n "${plain}p" whole | grep -o '"hash":"[0-9a-f]*"')
seq=$(sed -n "${plain}p" whole | grep -o '"seq":[0-9]*}')
sed "${record}s/\"events\":\\[/&{$hash,$seq,/" whole >named
awk -v from="$plain" -v to="$last" 'NR == FNR { if (FNR == from) kept = $0; next } FNR != from { print } FNR == to { print kept }' named named >changed
found "a record names one more, which is moved" 'edited: ' changed
matches "and the move is found as well" out '(reordered|hole): '
sed -n "${record}p" whole | sed "s/\"events\":\\[.*\\]/\"events\":[{$hash,$seq]/" >forged
awk -v from="$plain" -v at="$record" 'NR == FNR { kept = kept $0; next } FNR == from { moved = $0; next } { print } FNR == at { print kept } END { print moved }' forged whole >changed
found "a forged record, and a line moved" '(edited|duplicate): ' changed
matches "that is found as well" out '(reordered|hole): '

# ---- beside a process that has the journal; a sink that does not take the record ----
conf picky $other
events 81 83 >fourth
mv box.file box.kept
exits "another one is refused" 1 "$aw" log -q -c audit.conf fourth
cp box.file picky.before
: >box.file.down
run "$aw" deadletter replay -c audit.conf --sink box --timeout 300ms
is "the sink is down: exit" 3 "$status"
has "why" err "does not take the record of this replay"
cmp -s box.file picky.before && pass "nothing was replayed" || fail "nothing was replayed"
rm box.file.down
mkfifo fifo
"$aw" -c audit.conf log -q <fifo 2>/dev/null &
holder=$!
exec 3>fifo
wait_until 20 sh -c '"$1" stats -c audit.conf | grep -q "process *$2, since [^;]*\$"' sh "$aw" "$holder" || fail "the holder has the journal"
run "$aw" deadletter replay -c audit.conf --sink box
has "it is said that there is no record" err "this replay cannot be recorded"
exec 3>&-
wait "$holder"

# ---- all or nothing: what one refuses none has, and each gets it by a replay of its own ----
{
    echo "service = \"test\"; fanout = \"all_or_nothing\"; retry = { base = \"10ms\"; cap = \"50ms\"; };"
    echo "journal = { path = \"$work/group\"; };"
    echo "sinks = ( { plugin = \"picky\"; name = \"one\"; path = \"$work/one.jsonl\"; },"
    echo "{ plugin = \"file\"; name = \"two\"; path = \"$work/two.jsonl\"; } );"
} >group.conf
exits "the group refuses some" 1 "$aw" log -q -c group.conf first
: >one.jsonl.tolerant
exits "it goes on" 0 "$aw" log -q -c group.conf third
exits "replay into one" 0 "$aw" deadletter replay -c group.conf --sink one
good "one verifies" --sink one one.jsonl
is "the other lacks them still" 0 "$(grep -c '"action":"bad.one"' two.jsonl)"
found "and verify says so" 'hole: ' --sink two two.jsonl
exits "replay into the other" 0 "$aw" deadletter replay -c group.conf --sink two
good "the other verifies" --sink two two.jsonl
good "one still does" --sink one one.jsonl
is "each has all" "$(grep -c . one.jsonl)" "$(grep -c . two.jsonl)"

# ---- nobody else may say so ----
echo '{"action":"auditwell.replay","outcome":"SUCCESS","actor":{"type":"user","id":"u"}}' >own
run "$aw" log -c audit.conf own
[ "$status" != 0 ] && pass "a caller cannot log a record" || fail "a caller cannot log a record"
has "why not" err "is reserved"
finish
