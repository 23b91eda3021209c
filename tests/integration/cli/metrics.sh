#!/bin/sh
# auditwell stats and metrics: of a running process, of one that ended, of one that was killed; and what promtool says.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
configure m
mkfifo fifo

# ---- none yet ----
exits "no figures yet" 3 "$aw" metrics -c m/audit.conf
has "says where" err "m/journal/metrics: is not there"
exits "stats of a journal that does not exist" 3 "$aw" stats --path "$work/none"

# ---- a running process ----
"$aw" -c m/audit.conf log -q <fifo 2>/dev/null &
holder=$!
exec 3>fifo
events 20 >&3
wait_until 20 sh -c '[ "$(wc -l <m/audit.jsonl 2>/dev/null)" -ge 20 ]' || fail "the holder works"
exits "stats, live" 0 "$aw" stats -c m/audit.conf
matches "who" out "^process +$holder, since 20..-..-..T..:..:..Z\$"
matches "events" out '^events ever taken +20$'
wait_until 20 sh -c '"$1" stats -c m/audit.conf | grep -Eq "^trail +file +20 +0 +0.0 +0  ok$"' sh "$aw" || fail "the sink's row: $("$aw" stats -c m/audit.conf)"
events 5 >&3
wait_until 20 sh -c '"$1" stats -c m/audit.conf | grep -Eq "^events ever taken +25$"' sh "$aw" && pass "it goes on" || fail "it goes on"
exits "JSON" 0 "$aw" stats -c m/audit.conf --json
has "running" out "\"process\":{\"pid\":$holder,\"running\":true,"
has "adds up" out '"imbalance":0'
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "is JSON" 0 "$PYTHON3" -c '
import json
d = json.load(open("json"))
assert d["journal"]["headSeq"] == 25 and d["callers"]["accepted"] == 25 and d["process"]["endedAt"] is None
s = d["sinks"][0]
assert s["accepted"] == s["written"] + s["duplicates"] + s["found"] + s["waiting"] + s["deadLetters"] + s["lost"]'
else
    skip "is JSON" "python3 is not there"
fi
exits "metrics, live" 0 "$aw" metrics -c m/audit.conf
matches "is up" out '^audit_up 1$'
matches "events" out '^audit_events_total 25$'
matches "the sink" out '^audit_sink_batches_total\{sinkName="trail"\} [1-9]'
matches "the balance" out '^audit_conservation_imbalance\{sinkName="trail"\} 0$'
matches "time of calls" out '^audit_log_duration_seconds_count [1-9]'
exits "by its directory" 0 "$aw" metrics --path "$work/m/journal"
matches "the same" out '^audit_events_total 25$'

# ---- again and again ----
timeout -k 5 20 "$aw" stats -c m/audit.conf --watch 1 >watched 2>watcherr &
watcher=$!
wait_until 20 sh -c '[ "$(grep -c "^events ever taken" watched)" -ge 2 ]' && pass "watch shows it twice" || fail "watch: $(cat watched watcherr)"
kill -TERM $watcher 2>/dev/null
wait $watcher
hasnt "no terminal, no escapes" watched "$(printf '\033')"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    TERM=xterm timeout -k 5 20 script -qec "timeout --foreground -k 2 2 '$aw' stats -c m/audit.conf -w 1" /dev/null \
        >screen 2>&1 </dev/null
    has "on a terminal the screen is cleared" screen "$(printf '\033[H\033[2J')"
else
    skip "on a terminal the screen is cleared" "script (of util-linux) is not installed"
fi
for wrong in "x" "0" "1 2" "99999999999999999999" "-- -1"; do
    # shellcheck disable=SC2086
    exits "watch $wrong" 2 "$aw" stats -c m/audit.conf --watch $wrong
done
exits "seconds without watch" 2 "$aw" stats -c m/audit.conf 3
exits "metrics as JSON" 2 "$aw" metrics -c m/audit.conf --json
has "says where it is" err "stats --json"

# ---- killed, and ended ----
kill -9 $holder
exec 3>&-
wait $holder 2>/dev/null
exits "stats of a killed process" 0 "$aw" stats -c m/audit.conf
matches "says so" out "^process +$holder, since .*; not running: it was killed, and these are its last figures\$"
matches "its figures" out '^events ever taken +25$'
exits "its metrics" 0 "$aw" metrics -c m/audit.conf
matches "is not up" out '^audit_up 0$'
events 3 | "$aw" -c m/audit.conf log -q
exits "stats of one that ended" 0 "$aw" stats -c m/audit.conf
matches "says so" out '; not running: these are the figures of its end, 20..-..-..T..:..:..Z$'
matches "counts since its start" out '^accepted since start +3$'
exits "as JSON" 0 "$aw" stats -c m/audit.conf --json
matches "ended at" out '"running":false,"startedAt":"[^"]*","endedAt":"20[^"]*"'

# ---- the file cannot be made: all else works ----
rm m/journal/metrics
mkdir m/journal/metrics.new
events 1 | "$aw" -c m/audit.conf log -q 2>err
status=$?
is "logging without the file" 0 $status
has "a warning says why" err '"metrics" cannot be made'
rmdir m/journal/metrics.new
echo garbage >m/journal/metrics
exits "garbage" 3 "$aw" metrics -c m/audit.conf
has "says what to do" err "the next process that opens the journal makes it anew"
events 1 | "$aw" -c m/audit.conf log -q
exits "made anew" 0 "$aw" metrics -c m/audit.conf

# ---- names, labels and text as Prometheus wants them ----
cat >flaky.conf <<CONF
service = "test";
journal = { path = "$work/flaky-journal"; };
retry = { base = "1ms"; cap = "2ms"; };
batch = { events = 5; };
sinks = ( { plugin = "flaky"; name = "moody"; fail_every = 2; reject_every = 7;
            plugin_file = "$(cd "$top_builddir" && pwd)/tests/plugins/.libs/sink_flaky.so"; },
          { plugin = "null"; } );
CONF
events 40 | "$aw" -c flaky.conf log -q 2>/dev/null
exits "with a plugin's own metrics" 0 "$aw" metrics -c flaky.conf
cp out text
matches "refused events" text '^audit_sink_dead_letters_total\{sinkName="moody"\} 5$'
matches "permanent" text '^audit_sink_event_failures_total\{sinkName="moody",errorType="PERMANENT"\} 5$'
matches "transient" text '^audit_sink_event_failures_total\{sinkName="moody",errorType="TRANSIENT"\} [1-9]'
has "labels" text 'audit_sink_calls_total{sinkName="moody",result="good",why="a \"quoted\\ one\"\nin two lines"}'
is "no series twice" "" "$(grep -v '^#' text | sed 's/ [^ ]*$//' | sort | uniq -d)"
is "no family twice" "" "$(grep '^# TYPE' text | sort | uniq -d)"
if command -v promtool >/dev/null 2>&1; then
    # The names of the labels are a contract; promtool would like them in snake_case. Anything else it says is a fault.
    promtool check metrics <text >lint 2>&1
    status=$?
    grep -v "label names should be written in 'snake_case' not 'camelCase'" lint >faults
    empty "promtool finds no fault" faults
    is "promtool can read it" 3 $status
    # that it can find one
    sed '0,/^# TYPE audit_up gauge/s//# TYPE audit_up counter/' text | promtool check metrics >lint 2>&1
    has "promtool looks" lint "audit_up counter metrics should have"
else
    skip "promtool finds no fault" "promtool (of prometheus) is not there"
fi
finish
