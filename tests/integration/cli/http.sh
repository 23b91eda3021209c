#!/bin/sh
# The http sink in whole: events through the command to a receiver, whose file is a trail that verifies; a receiver that
# is away; dead letters; what is wrong in audit.conf. SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
have_plugin http || { echo "1..0 # SKIP the http sink is not built"; exit 0; }
: "${PYTHON3:=python3}"
peer_pid=
end_peer() {
    [ -n "$peer_pid" ] || return 0
    exec 9>&-
    kill "$peer_pid" 2>/dev/null
    wait "$peer_pid" 2>/dev/null
    peer_pid=
}
trap 'end_peer; rm -rf "$work"' EXIT
mkdir peer
mkfifo peer/in
# start_peer [ARGUMENT…]: its port is then in $port. It ends with its standard input, so with this script.
start_peer() {
    : >peer/out
    "$PYTHON3" "$top_srcdir/tests/integration/sinks/http_peer.py" "$work/peer" "$@" <peer/in >peer/out 2>peer/err 9>&- &
    peer_pid=$!
    exec 9>peer/in
    wait_until 30 grep -q '^port' peer/out || { echo "Bail out! the peer does not start"; exit 99; }
    port=$(sed 's/port //' peer/out)
}
# conf URL [SETTINGS]
conf() {
    {
        echo 'service = "test";'
        echo "journal = { path = \"$work/journal\"; };"
        echo 'sinks = ('
        echo "  { plugin = \"http\"; name = \"net\"; url = \"$1\"; pii = \"keep\"; ${2-}"
        echo '    retry = { base = "10ms"; cap = "50ms"; }; breaker = { cooldown = "50ms"; }; }'
        echo ');'
    } >audit.conf
}

# ---- a trail at the other end ----
start_peer
printf 'token-canary-0123456789\n' >token
chmod 600 token
conf "http://127.0.0.1:$port/store/trail.jsonl" "format = \"ndjson\"; compression = \"gzip\"; bearer_token = \"file:$work/token\"; batch = { events = 40; };"
exits "a good configuration" 0 "$aw" -c audit.conf check
events 500 >ev
exits "500 events are logged" 0 "$aw" -c audit.conf log ev
is "all are at the receiver" 500 "$(lines peer/trail.jsonl)"
exits "where they verify" 0 "$aw" verify peer/trail.jsonl
matches "every one" out '500'
has "with the token" peer/log 'Bearer token-canary-0123456789'
is "in batches" 1 "$(($(lines peer/log) >= 13))"
sed '100s/u[0-9]/u9/' peer/trail.jsonl >changed.jsonl
exits "a changed one does not" 1 "$aw" verify changed.jsonl

# ---- the same in the other format ----
conf "http://127.0.0.1:$port/store/events.jsonl" 'format = "events";'
rm -rf journal
exits "{\"events\":[…]}" 0 "$aw" -c audit.conf log ev
exits "verifies, too" 0 "$aw" verify peer/events.jsonl

# ---- away, and back ----
end_peer
conf "http://127.0.0.1:$port/store/late.jsonl" 'format = "ndjson";'
rm -rf journal
run "$aw" -c audit.conf log --timeout 300ms ev
is "the receiver is away: the events are accepted" 0 "$status"
matches "with its name and the place" err "net.*http://127\.0\.0\.1:$port/store/late\.jsonl: .*[Cc]onnect"
start_peer "port=$port"
echo '{"action":"one.more","outcome":"SUCCESS","actor":{"type":"user","id":"u"}}' >more
exits "it is back" 0 "$aw" -c audit.conf log more
is "and gets all it missed" 501 "$(lines peer/late.jsonl)"
exits "which verifies" 0 "$aw" verify peer/late.jsonl

# ---- one bad event ----
conf "http://127.0.0.1:$port/file/200"
rm -rf journal
echo '{"results":[{"index":0,"status":"ok"},{"index":1,"status":"rejected","error":"no such tenant"},{"index":2,"status":"duplicate"}]}' >peer/reply
events 3 >three
run "$aw" -c audit.conf log three
is "one event is rejected" 1 "$status"
matches "it is the second" journal/deadletter/net.jsonl '"n":2[,}]'
has "with the receiver's reason" journal/deadletter/net.jsonl 'no such tenant'
is "and it alone" 1 "$(lines journal/deadletter/net.jsonl)"

# ---- wrong settings: the events wait ----
conf "http://127.0.0.1:$port/echo/401/plain?key=url-canary" "bearer_token = \"file:$work/token\";"
rm -rf journal
run "$aw" -c audit.conf log --timeout 5s three
has "refused credentials: said, and what to look at" err 'status 401'
hasnt "without the token" err canary
conf "http://127.0.0.1:$port/store/waited.jsonl" 'format = "ndjson";'
exits "mended" 0 "$aw" -c audit.conf log more
is "nothing was lost" 4 "$(lines peer/waited.jsonl)"
# ---- check asks the receiver ----
before=$(lines peer/log)
conf "http://127.0.0.1:$port/store/none.jsonl"
exits "check connects" 0 "$aw" -c audit.conf check
is "and sends nothing" "$before" "$(lines peer/log)"
conf "http://127.0.0.1:$port/store/none.jsonl" "health_url = \"http://127.0.0.1:$port/ok\"; bearer_token = \"file:$work/token\";"
exits "or gets health_url" 0 "$aw" -c audit.conf check
matches "with GET" peer/log '"method":"GET".*"path":"/ok"'
conf "http://127.0.0.1:$port/store/none.jsonl" "health_url = \"http://127.0.0.1:$port/echo/401/plain\"; bearer_token = \"file:$work/token\";"
exits "refused credentials" 1 "$aw" -c audit.conf check
matches "are said with the place" err '^auditwell: audit\.conf:4: .*net.*/echo/401/plain: status 401.*bearer_token'
hasnt "and without the token" err canary
is "nothing was posted" 0 "$([ -e peer/none.jsonl ] && lines peer/none.jsonl || echo 0)"
conf "http://127.0.0.1:1/away"
exits "no receiver" 1 "$aw" -c audit.conf check
matches "is said" err '^auditwell: audit\.conf:4: .*net.*http://127\.0\.0\.1:1/away'

refused() { # NAME URL SETTINGS TEXT
    conf "$2" "$3"
    exits "$1" 1 "$aw" -c audit.conf check
    matches "$1: file and line" err '^audit\.conf:4: '
    has "$1: why" err "$4"
    hasnt "$1: no secret" err canary
}
refused "plain http abroad" "http://collector.example/" "" 'insecure_plain = true'
refused "a password in the URL" "https://u:canary@collector.example/" "" 'use the options username and password'
refused "an unknown option" "https://collector.example/" 'bearer_tokn = "canary";' 'bearer_token'
refused "no such file of a secret" "https://collector.example/" "bearer_token = \"file:$work/none\";" "$work/none"
refused "Authorization in the open" "https://collector.example/" 'headers = ( "Authorization: canary" );' 'secret_headers'

end_peer
finish
