#!/bin/sh
# The http sink passes the conformance kit, with a receiver on this host: auditwell plugins check, read back from what the receiver has.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
. "$(dirname "$0")/judge.sh"
[ -f "$top_builddir/.libs/sink_http.so" ] || { echo "1..0 # SKIP the http sink is not built, or built in"; exit 0; }
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
mkdir peer && mkfifo peer/in && : >peer/out
"$PYTHON3" "$top_srcdir/tests/integration/sinks/http_peer.py" "$work/peer" <peer/in >peer/out 2>peer/err 9>&- &
peer_pid=$!
exec 9>peer/in
wait_until 30 grep -q '^port' peer/out || { echo "Bail out! the peer does not start"; exit 99; }
url=http://127.0.0.1:$(sed 's/port //' peer/out)

# Its own allocations fail; those of its libraries are theirs to survive.
check_sink http "flush position position-order query query-cursor transaction transaction-kill migrate retention reconfigure" \
    --option "url=$url/store/{id}-{instance}.jsonl" --option format=events --option ack=durable --option bearer_token=canary-secret-token \
    --slow-option "url=$url/stall" --verify-command "cat '$work/peer/{id}-{instance}.jsonl'"
hasnt "the secret is in no output" out canary-secret-token
finish
