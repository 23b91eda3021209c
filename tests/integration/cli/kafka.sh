#!/bin/sh
# The kafka sink under the real library, while brokers of a mock cluster go and come back: nothing acknowledged is lost.
# SPDX-License-Identifier: Apache-2.0
. "${top_srcdir:?}/tests/integration/cli/lib.sh"
# Under ThreadSanitizer the library's threads must be made by functions that it knows: see c11_threads.c.
if nm "$aw" 2>/dev/null | grep -q __tsan_init; then
    printf '#!/bin/sh\nLD_PRELOAD="%s" exec "%s" "$@"\n' "$top_builddir/tests/integration/sinks/.libs/c11_threads.so" "$aw" >aw
    chmod +x aw
    aw=$work/aw
fi
mkfifo to from
"$top_builddir/kafka-mockd" 3 audit 4 <to >from 2>mockd.err &
mockd=$!
trap 'kill $mockd 2>/dev/null; wait $mockd 2>/dev/null; rm -rf "$work"' EXIT
exec 8>to 9<from
read -r brokers <&9 || { echo "Bail out! the mock cluster did not start"; exit 1; }
mock() { # COMMAND…
    echo "$*" >&8
    read -r answer <&9 || answer=gone
    [ "$answer" = done ]
}
config() { # DIRECTORY PASSWORD-LINE
    mkdir -p "$1"
    cat >"$1/audit.conf" <<END
service = "test";
journal = { path = "$work/$1/journal"; };
retry = { base = "50ms"; cap = "200ms"; }; breaker = { cooldown = "300ms"; };
sinks = (
  { plugin = "kafka"; name = "stream"; topic = "audit"; brokers = [ "$(echo "$brokers" | sed 's/,/", "/g')" ]; $2 },
  { plugin = "file"; name = "trail"; path = "$work/$1/audit.jsonl"; }
);
END
}
config a ''
exits "the configuration is good" 0 "$aw" -c a/audit.conf check

# 3 runs of 1500 events; meanwhile each broker goes and comes back, all go, leaders move, connections break.
(
    for run in 1 2 3; do
        events 1500 >"events$run"
        "$aw" -c a/audit.conf log <"events$run" >"out$run" 2>"err$run" || echo "run $run: $?" >>log-status
    done
    : >log-ended
) &
loader=$!
rounds=0
while [ ! -e log-ended ] && [ $rounds -lt 15 ]; do
    broker=$((rounds % 3 + 1))
    { [ $((rounds % 4)) -ne 0 ] || mock down -1; } && mock down $broker && mock error -195 &&
        mock leader $((rounds % 4)) $broker && sleep 0.05 && mock up -1 || { echo "Bail out! the mock cluster: $answer"; exit 1; }
    rounds=$((rounds + 1))
    sleep 0.3
done
mock up -1
wait $loader
echo "# $rounds rounds of disturbance"
[ $rounds -ge 2 ]
is "there were disturbances" 0 $?
# A last event takes along what was left in the journal.
exits "what waited is delivered" 0 "$aw" -c a/audit.conf log -a user.logout --actor user:alice
# The file has what was accepted; the topic must have all of it.
jq -r .eventId a/audit.jsonl | sort >accepted
is "all events were accepted" 4501 "$(lines accepted)"
mock read "$work/topic" && cut -d' ' -f3 topic | sort -u >stored
is "0 lost" 0 "$(comm -23 accepted stored | wc -l | tr -d ' ')"
is "none that nobody sent" 0 "$(comm -13 accepted stored | wc -l | tr -d ' ')"
# Within a partition the first copies of each scope are in order: here a partition's events are of whole scopes.
jq -r '[.eventId, .context.tenantId] | @tsv' a/audit.jsonl | awk '
    NR == FNR { scope[$1] = $2; next }
    !($3 in seen) { seen[$3] = 1; s = scope[$3]; if ($2 < last[s]) bad++; last[s] = $2; if (!(s in at)) at[s] = $1; if (at[s] != $1) bad++ }
    END { print bad + 0 }' - topic >disorder
is "each scope is in order, in one partition" 0 "$(cat disorder)"
echo "# $(lines topic) records of $(lines accepted) events"

# What the operator sees when something is wrong; never a secret.
config b 'security_protocol = "sasl_plaintext"; sasl_mechanism = "SCRAM-SHA-256"; sasl_username = "u"; sasl_password = "canary-51b2";
    properties = [ "debug=security,broker" ]; connect_timeout = "3s";'
run "$aw" -c b/audit.conf check
[ "$status" != 0 ]
is "a cluster without SASL is no good" 0 $?
has "which sink" err stream
"$aw" -c b/audit.conf log -a user.logout --actor user:alice >>out 2>>err
hasnt "no secret in the output" out canary
hasnt "no secret in the messages" err canary
config c 'properties = [ "acks=1" ];'
exits "a property that breaks the promise" 1 "$aw" -c c/audit.conf check
matches "is named with its place" err 'audit.conf:[0-9]+.*acks cannot be set'
finish
