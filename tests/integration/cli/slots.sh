#!/bin/sh
# Several processes with one configuration: --slot.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

configure s
mkfifo fifo
"$aw" -c s/audit.conf log -q <fifo &
holder=$!
exec 3>fifo
events 6 >&3
wait_until 30 sh -c '[ -f s/audit.jsonl ] && [ "$(wc -l <s/audit.jsonl)" -ge 6 ]' || fail "the holder works"
events 9 >more
exits "log beside a running process" 0 "$aw" log -c s/audit.conf -q more
is "its trail" 9 "$(grep -c '"stream":1' s/audit.slot1.jsonl)"
is "the other's" 6 "$(lines s/audit.jsonl)"

exits "stats" 0 "$aw" stats -c s/audit.conf
has "says that there is more" err "there is more in slot 1: --slot N"
exits "stats --slot" 0 "$aw" stats -c s/audit.conf --slot 1
matches "that one's" out '^events ever taken +9$'
empty "and only that" err
exits "metrics --slot" 0 "$aw" metrics -c s/audit.conf --slot 1
matches "of it" out '^audit_sink_written_total\{sinkName="trail"\} 9$|written_total.* 9$'
exits "query" 0 "$aw" query -c s/audit.conf --json
is "slot 0" 6 "$(lines out)"
has "says that there is more" err "there is more in slot 1: --slot N"
exits "query --slot" 0 "$aw" query -c s/audit.conf --json --slot 1
is "slot 1" 9 "$(lines out)"
empty "no note" err
exits "journal --slot" 0 "$aw" journal -c s/audit.conf cursors --slot 1
matches "its cursor" out 'trail'
exits "deadletter --slot" 0 "$aw" deadletter -c s/audit.conf list --slot 1
exits "a slot that is not there" 3 "$aw" journal -c s/audit.conf inspect --slot 7
exits "no number" 2 "$aw" query -c s/audit.conf --slot x
exec 3>&-
wait "$holder"

exits "verify" 0 "$aw" verify -c s/audit.conf --heads heads
has "one verdict" out "trail (slot 1)"
is "all chains" 6 "$(lines heads)"
is "of both" 3 "$(grep -c '(stream 1)=' heads)"
exits "the heads are found again" 0 "$aw" verify -c s/audit.conf --expect-file heads
exits "verify --slot" 0 "$aw" verify -c s/audit.conf --slot 1
matches "only that" out '9 events'
exits "JSON" 0 "$aw" verify -c s/audit.conf --json
has "two stores" out '"store":"trail (slot 1)"'
# the end of the other slot's trail is cut off: only the heads tell
sed '$d' s/audit.slot1.jsonl >cut
cp cut s/audit.slot1.jsonl
exits "a cut trail" 1 "$aw" verify -c s/audit.conf --expect-file heads
# an event of a slot that is put into the other's trail
tail -n 1 cut >>s/audit.jsonl
exits "an event that was put elsewhere" 1 "$aw" verify -c s/audit.conf
rm s/audit.slot1.jsonl
exits "a slot's trail is gone" 3 "$aw" verify -c s/audit.conf
finish
