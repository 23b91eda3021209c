#!/bin/sh
# auditwell log: one event, JSON lines, bad lines, every way in which reading and writing can fail.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

seqs() { # seqs in a trail, on one line
    sed -n 's/.*"seq":\([0-9]*\).*/\1/p' "$1" | tr '\n' ' '
}

# ---- one event ----
configure one
exits "one event" 0 "$aw" -c one/audit.conf log -a user.login --actor user:alice --target app:web:1 --tenant acme \
    --set context.requestId=r1 --set 'metadata.text=a=b' --set-json 'metadata.list=[1,"two",null]' -o DENIED --receipts
matches "its receipt: id, seq, hash" out '^[0-9a-f-]{36}	1	[0-9a-f]{64}$'
is "one line" 1 "$(lines out)"
empty "and nothing else" err
is "one event in the trail" 1 "$(lines one/audit.jsonl)"
for part in '"action":"user.login"' '"outcome":"DENIED"' '"actor":{"id":"alice","type":"user"}' '"id":"web:1","type":"app"' \
    '"tenantId":"acme"' '"requestId":"r1"' '"text":"a=b"' '"list":[1,"two",null]' '"sourceService":"test"'; do
    has "the event has $part" one/audit.jsonl "$part"
done
has "the receipt's hash is the event's" one/audit.jsonl "\"hash\":\"$(cut -f3 out)\""
has "the receipt's id is the event's" one/audit.jsonl "\"eventId\":\"$(cut -f1 out)\""
exits "target without id" 0 "$aw" -c one/audit.conf log -a a.b --actor user:1 --target app
exits "bad value" 1 "$aw" -c one/audit.conf log -a a.b --actor user:1 --set-json 'metadata.x={'
has "says where" err "metadata.x"
exits "no actor" 1 "$aw" -c one/audit.conf log -a a.b
has "says which" err "actor"
exits "empty action" 1 "$aw" -c one/audit.conf log -a '' --actor user:1
is "nothing of those in the trail" 2 "$(lines one/audit.jsonl)"
exits "as JSON" 0 "$aw" -c one/audit.conf log --json -r -a a.b --actor user:1
matches "a receipt" out '^\{"eventId":"[0-9a-f-]{36}","seq":3,"hash":"[0-9a-f]{64}"\}$'
matches "and a summary" out '^\{"summary":\{"accepted":1,"rejected":0,"dropped":0,"warnings":0,"undelivered":0,"seconds":[0-9.]+\}\}$'

# ---- lines ----
configure lines
events 50 >good.jsonl
exits "standard input" 0 "$aw" -c lines/audit.conf log <good.jsonl
empty "no output" out
matches "a closing line" err '^50 events taken, [0-9.]+ s, [0-9]+/s$'
is "all in the trail" 50 "$(lines lines/audit.jsonl)"
exits "a file" 0 "$aw" -c lines/audit.conf log good.jsonl
exits "'-'" 0 "$aw" -c lines/audit.conf log - <good.jsonl
exits "files" 0 "$aw" -c lines/audit.conf log -q good.jsonl - good.jsonl <good.jsonl
empty "quiet" err
is "seqs are dense" "$(seq 300 | tr '\n' ' ')" "$(seqs lines/audit.jsonl)"
exits "a pipe, with receipts" 0 sh -c 'cat good.jsonl | "$1" log -c lines/audit.conf -r' sh "$aw"
is "a receipt for each" 50 "$(lines out)"
exits "empty input" 0 "$aw" -c lines/audit.conf log </dev/null
matches "is no event" err '^0 events taken'
printf '' >nothing
exits "empty file" 0 "$aw" -c lines/audit.conf log nothing

configure forms
one='{"action":"a.b","outcome":"SUCCESS","actor":{"type":"user","id":"1"}}'
{
    printf '%s\r\n' "$one"
    printf '\n   \n\t\r\n'
    printf '  %s  \n' "$one"
    printf '%s' "$one"
} >forms.jsonl
exits "CR LF, empty lines, spaces, no last newline" 0 "$aw" -c forms/audit.conf log forms.jsonl
is "three events" 3 "$(lines forms/audit.jsonl)"

# ---- bad lines ----
configure bad
{
    echo "$one"
    echo '{"action":"a.b","outcome":"MAYBE","actor":{"type":"user"}}'
    echo 'not json'
    printf '{"action":"a\000b","outcome":"SUCCESS","actor":{"type":"user","id":"1"}}\n'
    printf '{"action":"a\377b","outcome":"SUCCESS","actor":{"type":"user","id":"1"}}\n'
    echo "$one"
    echo "$one$one"
    echo '[]'
    echo '{"action":"a.b","action":"c.d","outcome":"SUCCESS","actor":{"type":"user","id":"1"}}'
    echo "$one"
} >bad.jsonl
exits "bad lines" 1 "$aw" -c bad/audit.conf log <bad.jsonl
is "the rest went through" 3 "$(lines bad/audit.jsonl)"
has "line 2: the outcome" err "stdin:2: outcome: "
has "line 2: the actor's id, too" err "stdin:2: actor.id: "
for line in 3 4 5 7 8 9; do
    matches "line $line is reported" err "^stdin:$line: .+"
done
for line in 1 6 10; do
    hasnt "line $line is not" err "stdin:$line:"
done
has "and counted" err "3 events taken, 7 left out"
is "no control character is printed" "" "$(LC_ALL=C tr -d '\n -~\200-\377' <err)"
exits "in a file of another name" 1 "$aw" -c bad/audit.conf log bad.jsonl
has "it is named" err "bad.jsonl:3: "
exits "as JSON" 1 "$aw" -c bad/audit.conf log --json bad.jsonl
has "each bad line" out '{"file":"bad.jsonl","line":2,"error":"INVALID_EVENT","problems":[{"path":"'
is "all seven, and the summary" 8 "$(lines out)"
has "the summary" out '"accepted":3,"rejected":7,'
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "each line is JSON" 0 "$PYTHON3" -c 'import json; [json.loads(l) for l in open("json")]'
else
    skip "each line is JSON" "python3 is not there"
fi
configure strict
exits "strict" 1 "$aw" -c strict/audit.conf log --strict bad.jsonl
is "stops at the first" 1 "$(lines strict/audit.jsonl)"
hasnt "and says no more" err "bad.jsonl:3: "

# ---- long lines ----
configure long
{
    echo "$one"
    printf '{"action":"a.b","outcome":"SUCCESS","actor":{"type":"user","id":"1"},"metadata":{"x":"'
    head -c 9000000 /dev/zero | tr '\000' x
    printf '"}}\n'
    echo "$one"
    head -c 20000000 /dev/zero | tr '\000' y
} >long.jsonl
exits "lines over 8 MiB" 1 "$aw" -c long/audit.conf log long.jsonl
has "the first" err "long.jsonl:2: the line is longer than 8 MiB"
has "the last, which has no end" err "long.jsonl:4: the line is longer than 8 MiB"
is "what stands between is taken" 2 "$(lines long/audit.jsonl)"
# A line of 1 byte more than a read, cut at every place around it.
for size in 262143 262144 262145 524288; do
    printf '%s\n%*s\n%s\n' "$one" "$size" "" "$one" >cut.jsonl
    exits "a blank line of $size bytes between" 0 "$aw" -c long/audit.conf log cut.jsonl
    matches "both taken" err "^2 events taken"
done
head -c 300000 /dev/zero | tr '\000' x >filler
printf '{"action":"a.b","outcome":"SUCCESS","actor":{"type":"user","id":"1","displayName":"%s"}}\n' "$(cat filler)" >large.jsonl
exits "an event over limits.event" 1 "$aw" -c long/audit.conf log large.jsonl
has "is called so" err "large.jsonl:1: "

# ---- what fails ----
exits "file that is not there" 3 "$aw" -c lines/audit.conf log missing.jsonl
has "it is named" err "missing.jsonl: cannot be read: No such file"
exits "directory" 3 "$aw" -c lines/audit.conf log .
exits "closed standard input" 3 "$aw" -c lines/audit.conf log <&-
exits "no configuration" 3 "$aw" -c missing.conf log </dev/null
has "it is named, too" err "missing.conf"
"$aw" -c lines/audit.conf log -r good.jsonl >&- 2>err
is "closed standard output: exit 3" 3 $?
if [ -c /dev/full ]; then
    "$aw" -c lines/audit.conf log -r good.jsonl >/dev/full 2>err
    is "full standard output: exit 3" 3 $?
    has "says so" err "standard output: cannot write: No space left"
fi
exits "reader that went away" 3 sh -c '{ "$1" -c lines/audit.conf log -r good.jsonl; echo $? >code; } | :; exit "$(cat code)"' sh "$aw"

# ---- a journal that another process has ----
configure busy
sed 's/journal = {/& slots = 1;/' busy/audit.conf >busy/one.conf
mkfifo fifo
"$aw" -c busy/one.conf log -q <fifo 2>holder.err &
holder=$!
exec 3>fifo
echo "$one" >&3
wait_until 20 test -s busy/audit.jsonl || fail "the holder works" "$(cat holder.err)"
exits "journal in use" 3 "$aw" -c busy/one.conf log good.jsonl
pid=$(sed -n 's/.*process \([0-9]*\);.*/\1/p' err)
is "the pid that has it" "$holder" "$pid"
exec 3>&-
wait "$holder"
is "the holder ends well: exit 0" 0 $?

# ---- a sink that cannot take anything ----
mkdir stuck
cat >stuck/audit.conf <<CONF
service = "test";
journal = { path = "$work/stuck/journal"; };
sinks = ( { plugin = "file"; name = "trail"; path = "$work/stuck/no/such/directory/audit.jsonl"; } );
CONF
exits "undelivered events are no failure" 0 "$aw" -c stuck/audit.conf log --timeout 300ms good.jsonl
has "but said" err "50 events are not yet delivered to sink trail"
has "with what becomes of them" err "the journal keeps them for the next run"
exits "nor with --no-flush" 0 "$aw" -c stuck/audit.conf log --no-flush good.jsonl
mkdir -p stuck/no/such/directory
exits "the next run delivers them" 0 "$aw" -c stuck/audit.conf log </dev/null
is "all of them" 100 "$(lines stuck/no/such/directory/audit.jsonl)"

# ---- signals ----
configure signal
mkfifo fifo2
"$aw" -c signal/audit.conf log <fifo2 >out 2>err &
child=$!
exec 3>fifo2
echo "$one" >&3
if wait_until 20 test -s signal/audit.jsonl; then
    mv signal/audit.jsonl signal/first.jsonl
    kill -HUP "$child"
    wait_until 20 test -f signal/audit.jsonl && pass "SIGHUP: the store is opened anew" || fail "SIGHUP: the store is opened anew"
    cat signal/audit.jsonl >>signal/first.jsonl # as it was, for what follows
    mv signal/first.jsonl signal/audit.jsonl
    kill -TERM "$child"
    wait "$child"
    is "SIGTERM ends it as a signal" 143 $?
    matches "after saying what was taken" err '^1 event taken'
else
    kill "$child"
    fail "an event from a pipe is delivered while it waits for more" "$(cat err)"
fi
exec 3>&-
exits "its journal is good" 0 "$aw" -c signal/audit.conf log -q good.jsonl
is "with all events" 51 "$(lines signal/audit.jsonl)"
finish
