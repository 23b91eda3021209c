#!/bin/sh
# auditwell query and tail: filters, formats, cursors, following, hostile events. The same over every kind of store.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

# "plain" is a store that leaves every filter, limit and direction to the host.
AUDITWELL_PLUGIN_PATH=$AUDITWELL_PLUGIN_PATH:$top_builddir/tests/integration/cli/.libs
export AUDITWELL_PLUGIN_PATH
kinds="file plain"
have_plugin sqlite && kinds="file plain sqlite"
configure s "${kinds#file plain }"
events 200 | "$aw" -c s/audit.conf log -q || fail "events"
now_event='{"action":"invoice.pay","outcome":"ERROR","actor":{"type":"user","id":"ev\u00e9\"x"},"target":{"type":"invoice"},"context":{"tenantId":"t\u00fc"}}'
echo "$now_event" | "$aw" -c s/audit.conf log -q || fail "event"

ns() { # the "n" of JSON lines
    sed -n 's/.*"metadata":{"n":\([0-9]*\)}.*/\1/p' "$1" | tr '\n' ' '
}
for kind in $kinds; do
    case $kind in
    file) store=s/audit.jsonl ;;
    plain) store=plain:s/audit.jsonl ;;
    sqlite) store=s/audit.db ;;
    esac
    q() { # NAME COUNT FILTER…
        name="$kind: $1"
        count=$2
        shift 2
        run "$aw" query --json "$store" "$@"
        if [ "$status" = 0 ] && [ "$(lines out)" = "$count" ]; then
            pass "$name: $count"
        else
            fail "$name: $count" "exit $status, $(lines out) events" "$(cat err)"
        fi
    }
    q "all" 201
    q "outcome" 40 -o DENIED
    q "action" 1 -a invoice.pay
    q "action glob" 200 -a 'user.*'
    q "action glob with ?" 200 -a 'use?.?ogin'
    q "action glob that misses" 0 -a 'user'
    q "actor" 28 --actor u0
    q "actor with escapes" 1 --actor 'evé"x'
    q "tenant" 1 --tenant 'tü'
    q "target" 50 --target a3
    q "several" 2 --target a3 --tenant t1 --actor u0 -o SUCCESS --until 2030-01-01
    q "text" 1 --text '"n":77}'
    q "text that is nowhere" 0 --text 'nowhere'
    q "since" 30 --since 2026-01-02T03:04:50Z --until 2026-01-03
    q "since with offset" 30 --since 2026-01-02T04:04:50+01:00 --until 2026-01-03
    q "until is exclusive" 19 --until 2026-01-02T03:04:05Z
    q "date" 0 --until 2026-01-02
    q "back from now" 1 --since 1h
    q "limit" 7 -n 7
    is "$kind: the first ones" "1 2 3 4 5 6 7 " "$(ns out)"
    has "$kind: how to go on" err "--after '"
    q "limit 0" 0 -n 0
    q "limit with filter" 3 -n 3 -o DENIED
    is "$kind: the first of those" "5 10 15 " "$(ns out)"
    q "reverse" 3 -n 3 -R -o DENIED
    is "$kind: the last, newest first" "200 195 190 " "$(ns out)"
    q "reverse, all" 201 -R
    is "$kind: is the same backwards" "$("$aw" query --json "$store" | tac | cksum)" "$(cksum <out)"
    is "$kind: in the order taken" "$(seq 200 | tr '\n' ' ')" "$("$aw" query --json "$store" >all; ns all)"

    # pages
    : >pages
    cursor=
    while :; do
        "$aw" query --json --json-cursor -n 17 -a 'user.*' ${cursor:+--after "$cursor"} "$store" >page || break
        cursor=$(sed -n 's/^{"nextCursor":"\(.*\)"}$/\1/p' page)
        [ -n "$cursor" ] || break
        grep -v nextCursor page >>pages
    done
    is "$kind: pages give everything once" "$(seq 200 | tr '\n' ' ')" "$(ns pages)"
    is "$kind: the end has no cursor" '{"nextCursor":null}' "$(cat page)"
    : >pages
    cursor=
    while :; do
        "$aw" query --json --json-cursor -n 17 -a 'user.*' -R ${cursor:+--after "$cursor"} "$store" >page || break
        cursor=$(sed -n 's/^{"nextCursor":"\(.*\)"}$/\1/p' page)
        [ -n "$cursor" ] || break
        grep -v nextCursor page >>pages
    done
    is "$kind: pages backwards, too" "$(seq 200 -1 1 | tr '\n' ' ')" "$(ns pages)"
    exits "$kind: wrong cursor" 2 "$aw" query --after nonsense "$store"
    exits "$kind: wrong time" 2 "$aw" query --since yesterday "$store"
    has "$kind: says what would be right" err "RFC 3339"

    # tail
    exits "$kind: tail" 0 "$aw" tail --json -a 'user.*' "$store"
    is "$kind: the last ten" "$(seq 191 200 | tr '\n' ' ')" "$(ns out)"
    exits "$kind: tail -n" 0 "$aw" tail --json -n 2 -a 'user.*' "$store"
    is "$kind: the last two" "199 200 " "$(ns out)"
    exits "$kind: tail -n 0" 0 "$aw" tail -n 0 --json "$store"
    empty "$kind: nothing" out
    exits "$kind: tail -R" 0 "$aw" tail -R --json -n 2 -a 'user.*' "$store"
    is "$kind: newest first" "200 199 " "$(ns out)"

    # formats
    exits "$kind: table" 0 "$aw" query -n 2 "$store"
    matches "$kind: head" out '^TIME +OUTCOME +ACTION +ACTOR +TARGET +TENANT$'
    matches "$kind: row" out '^2026-01-02T03:04:01.000Z +SUCCESS +user.login +user:u1 +app:a1 +t1$'
    exits "$kind: columns" 0 "$aw" query -n 1 --columns seq,metadata.n,id,hash,location "$store"
    matches "$kind: head" out '^SEQ +metadata.n +ID +HASH +LOCATION$'
    matches "$kind: row" out '^1 +1 +[0-9a-f-]{36}  [0-9a-f]{64}  .*1$'
    exits "$kind: CSV" 0 "$aw" query --csv --columns action,actor,target,tenant -a 'invoice.*' "$store"
    is "$kind: CSV" "$(printf 'action,actor,target,tenant\r\ninvoice.pay,"user:evé""x",invoice,tü\r\n' | od -c)" "$(od -c <out)"
    exits "$kind: empty CSV has its head" 0 "$aw" query --csv --columns action -a none "$store"
    is "$kind: CSV" "action" "$(tr -d '\r' <out)"
    exits "$kind: stored bytes" 0 "$aw" query --json "$store"
    is "$kind: are those of the file" "$(cksum <s/audit.jsonl)" "$(cksum <out)"
done

# ---- by configuration ----
exits "the first sink of the configuration" 0 "$aw" -c s/audit.conf query -n 1
exits "-s" 0 "$aw" query -c s/audit.conf -s trail -n 1
exits "no such sink" 3 "$aw" query -c s/audit.conf -s nosuch
exits "two ways at once" 2 "$aw" query -s a.jsonl b.jsonl
exits "missing" 3 "$aw" query missing.jsonl
exits "missing, with a slash" 3 "$aw" query ./missing.jsonl

# ---- stores that fail ----
events 10 | sed 's/^{/{"eventId":"x",/' >failing
exits "a store that fails in mid-read" 3 "$aw" query --json plain:failing
has "gives its reason" err "the disk is on fire"
is "what was read before is printed" 3 "$(lines out)"
exits "backwards" 3 "$aw" query --json -R -n 2 plain:failing
cp failing lying
exits "a store that returns more than was asked for" 3 "$aw" query plain:lying
exits "a store that is not there" 3 "$aw" query plain:missing
has "the plugin's words" err "No such file or directory"

# ---- output that fails ----
"$aw" query s/audit.jsonl >&- 2>err
is "closed standard output: exit 3" 3 $?
if [ -c /dev/full ]; then
    "$aw" query s/audit.jsonl >/dev/full 2>err
    is "full standard output: exit 3" 3 $?
    has "says so" err "standard output: cannot write: No space left"
fi
events 20000 | sed 's/a\.b/x.y/' >many.jsonl
exits "a reader that has seen enough" 3 sh -c '{ "$1" query --json many.jsonl; echo $? >code; } | head -n 1 >/dev/null; exit "$(cat code)"' sh "$aw"
empty "needs no message" err

# ---- follow ----
configure f
events 5 | "$aw" -c f/audit.conf log -q
"$aw" tail -f --json -n 2 f/audit.jsonl >follow 2>follow.err &
child=$!
wait_until 20 sh -c '[ "$(wc -l <follow)" -ge 2 ]' || fail "tail -f begins" "$(cat follow.err)"
events 9 | "$aw" -c f/audit.conf log -q
if wait_until 20 sh -c '[ "$(wc -l <follow)" -ge 11 ]'; then
    is "tail -f: what was there and what came" "4 5 1 2 3 4 5 6 7 8 9 " "$(ns follow)"
else
    fail "tail -f sees what comes" "$(cat follow follow.err)"
fi
kill -INT "$child" 2>/dev/null || kill "$child"
kill -TERM "$child" 2>/dev/null # a shell may start it with SIGINT ignored
wait "$child"
is "interrupted: exit 0" 0 $?
"$aw" query -f --json -a 'none.*' f/audit.jsonl 2>err | sleep 0.1 &
child=$!
wait_until 20 sh -c '! kill -0 '"$child"' 2>/dev/null' && pass "query -f ends when nobody reads, even if nothing comes" ||
    { kill "$child"; fail "query -f ends when nobody reads"; }
# -f over a file that is not written yet
exits "follow: missing" 3 "$aw" tail -f missing.jsonl

# ---- hostile events ----
{
    printf '{"action":"a\\u001b[2J","outcome":"SUCCESS","actor":{"type":"user","id":"\\u009b31m\\u202egnp.exe"},"context":{"tenantId":"=cmd|x"},"eventId":"1"}\n'
    printf '{"action":"\302\233;\177\342\200\256","outcome":"SUCCESS","actor":{"type":"u","id":"@SUM(A1)"},"context":{"tenantId":"-1+1\\n\\"q\\",x"},"eventId":"2"}\n'
    printf '{"action":"bad\377\033]0;title\007","outcome":"SUCCESS"}\n'
    printf 'not json \033[31m at all\n'
    printf '{"action":"ok","outcome":"SUCCESS","actor":{"type":"u","id":"\\ud83d\\ude00"},"context":{"tenantId":"t"},"eventId":"3"}\n'
} >hostile.jsonl
exits "hostile events" 1 "$aw" query hostile.jsonl
is "table: no control character" "" "$(LC_ALL=C tr -d '\n -~\200-\377' <out)"
is "messages: nothing but printable" "" "$(LC_ALL=C tr -d '\n -~' <err)"
has "escape" out 'a\x1b[2J'
has "C1 control and direction" out '\x9b31m\u{202e}gnp.exe'
has "raw C1, DEL" out '\x9b;\x7f\u{202e}'
has "what is seen stays" out '😀'
has "rows that are no events are told" err "hostile.jsonl:3: not an event"
has "with their text" err 'hostile.jsonl:4: not an event: not json \x1b[31m at all'
exits "CSV" 1 "$aw" query --csv --columns tenant,actor hostile.jsonl
has "formulas are disarmed" out "\"'=cmd|x\","
has "and quoted" out "\"'-1+1"
has "quotes doubled" out '""q"",x"'
exits "JSON" 1 "$aw" query --json hostile.jsonl
is "only events" 3 "$(lines out)"

# ---- a big one ----
exits "20,000 events as a table" 0 "$aw" query many.jsonl
is "all of them" 20001 "$(lines out)"
exits "the newest of 20,000" 0 "$aw" query -R -n 3 --json many.jsonl
is "are the last" "20000 19999 19998 " "$(ns out)"
finish
