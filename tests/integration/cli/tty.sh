#!/bin/sh
# On a terminal: progress, colours, widths, escapes. script(1) makes the terminal.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
if ! script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    echo "1..0 # SKIP script (of util-linux) is not installed"
    exit 0
fi
TERM=xterm
export TERM
# What COMMAND prints on a terminal of 80 columns; its exit code is $status.
on_terminal() {
    script -qec "stty cols 80 2>/dev/null; $1" /dev/null >screen 2>&1 </dev/null
    status=$?
}
configure t
events 200000 >many.jsonl
on_terminal "'$aw' log -c t/audit.conf many.jsonl"
is "log on a terminal: exit 0" 0 $status
tr '\r' '\n' <screen >screens
matches "progress with rate, part and ETA" screens '^[0-9]+ events, [0-9]+/s, [0-9]+%, ETA [0-9]+ s'
matches "and a closing line" screens '200000 events taken, [0-9.]+ s, [0-9]+/s'
on_terminal "'$aw' log -q -c t/audit.conf many.jsonl"
is "quiet: nothing" "" "$(cat screen)"

head -n 300 many.jsonl | "$aw" log -q -c t/audit.conf
on_terminal "'$aw' verify t/audit.jsonl"
has "colours" screen "$(printf '\033[32mgood')"
on_terminal "NO_COLOR=1 '$aw' verify t/audit.jsonl"
tr -d '\r' <screen | sed "s/^.*$(printf '\033')\[K//" >plain
hasnt "NO_COLOR: none" plain "$(printf '\033')"
on_terminal "TERM=dumb '$aw' verify -q t/audit.jsonl"
hasnt "TERM=dumb: none" screen "$(printf '\033[32m')"

printf '{"action":"%s","outcome":"SUCCESS","actor":{"type":"user","id":"%s"},"context":{"tenantId":"\302\2332J\342\200\256\177"},"eventId":"1"}\n' \
    "$(printf 'long%.0s' $(seq 30))" "$(printf '漢字%.0s' $(seq 30))" >wide.jsonl
on_terminal "NO_COLOR=1 '$aw' query wide.jsonl"
is "exit 0" 0 $status
tr -d '\r' <screen >plain
if [ -n "${PYTHON3-}" ]; then
    exits "no line is wider than the terminal" 0 "$PYTHON3" -c '
import unicodedata
for l in open("plain", encoding="utf-8"):
    w = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in l.rstrip("\n"))
    assert w <= 80, (w, l)'
else
    skip "no line is wider than the terminal" "python3 is not there"
fi
has "what was cut has an ellipsis" plain "…"
on_terminal "'$aw' query --json wide.jsonl"
has "JSON on a terminal: C1 controls are escaped" screen '\u009b2J\u202e\u007f'
is "nothing drives it" "" "$(LC_ALL=C tr -d '\r\n -~\200-\377' <screen)"
on_terminal "LC_ALL=C '$aw' query --columns tenant,actor wide.jsonl"
has "without UTF-8: ASCII" screen '\u{6f22}'
finish
