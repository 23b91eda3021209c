#!/bin/sh
# The mongodb sink under the real library, while the server goes and comes back: nothing accepted is lost.
# SPDX-License-Identifier: Apache-2.0
. "${top_srcdir:?}/tests/integration/cli/lib.sh"
python=
for p in "${PYTHON3-}" /usr/bin/python3 python3; do
    if [ -n "$p" ] && [ -z "$python" ] && "$p" -c 'import bson.codec_options' 2>/dev/null; then python=$p; fi
done
[ -n "$python" ] || { echo "Bail out! python3-bson is not installed"; exit 1; }
mkfifo to from
"$python" "$top_srcdir/tests/integration/sinks/mongo_double.py" <to >from 2>double.err &
double=$!
trap 'kill $double 2>/dev/null; wait $double 2>/dev/null; rm -rf "$work"' EXIT
exec 8>to 9<from
read -r address <&9 || { echo "Bail out! the double did not start"; exit 1; }
double_does() { # COMMAND…
    echo "$*" >&8
    read -r answer <&9 && [ "$answer" = done ]
}
mkdir a
cat >a/audit.conf <<END
service = "test";
journal = { path = "$work/a/journal"; };
retry = { base = "50ms"; cap = "200ms"; }; breaker = { cooldown = "300ms"; };
sinks = (
  { plugin = "mongodb"; name = "store"; hosts = [ "$address" ]; database = "audit"; timeout = "2s";
    username = "u"; password = "canary-8c1d"; },
  { plugin = "file"; name = "trail"; path = "$work/a/audit.jsonl"; }
);
END
run "$aw" -c a/audit.conf check
[ "$status" != 0 ]
is "a server that knows no user is no good" 0 $?
has "which sink" err store
hasnt "no secret in the output" out canary
hasnt "no secret in the messages" err canary
grep -v canary a/audit.conf | sed 's/timeout = "2s";$/timeout = "2s"; },/' >a/plain.conf
exits "without the index" 1 "$aw" -c a/plain.conf check
has "what to do" err "auditwell migrate"
exits "migrate" 0 "$aw" -c a/plain.conf migrate
exits "with the index" 0 "$aw" -c a/plain.conf check
(
    for run in 1 2 3; do
        events 1000 >"events$run"
        "$aw" -c a/plain.conf log <"events$run" >"out$run" 2>"err$run"
    done
    : >log-ended
) &
loader=$!
rounds=0
while [ ! -e log-ended ] && [ $rounds -lt 12 ]; do
    case $((rounds % 4)) in
    0) double_does down && sleep 0.2 && double_does up ;;
    1) double_does drop after ;;
    2) double_does fail 189 3 ;;
    3) double_does concern 64 ;;
    esac || { echo "Bail out! the double: $answer"; exit 1; }
    rounds=$((rounds + 1))
    sleep 0.2
done
wait $loader
echo "# $rounds rounds of disturbance"
exits "what waited is delivered" 0 "$aw" -c a/plain.conf log -a user.logout --actor user:alice
jq -r .eventId a/audit.jsonl | sort >accepted
is "all events were accepted" 3001 "$(lines accepted)"
double_does dump "$work/documents" && cut -f2 documents | sort >stored
is "each event is stored once" "" "$(diff accepted stored)"
cut -f1,3 documents | sort -n | cut -f2 >canonical.jsonl
exits "what is stored verifies" 0 "$aw" verify canonical.jsonl
finish
