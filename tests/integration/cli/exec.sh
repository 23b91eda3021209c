#!/bin/sh
# The exec sink under the command: the examples, and a writer that is killed while it writes.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
if ! have_plugin exec; then
    echo "1..0 # SKIP the exec plugin is not built"
    exit 0
fi
for example in to_sqlite.py append.sh; do # others may not change what is run
    install -m 755 "$top_srcdir/examples/exec-sink/$example" "$example"
done

conf() { # DIR SETTINGS: a file sink as the oracle beside it
    mkdir -p "$1"
    cat >"$1/audit.conf" <<END
service = "test";
journal = { path = "$work/$1/journal"; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/$1/audit.jsonl"; },
  { plugin = "exec"; name = "program"; pii = "keep"; $2 }
);
END
}
ids() {
    sed -n 's/.*"eventId":"\([^"]*\)".*/\1/p' "$1" | sort
}
# Programs of this test still there: its directory is in their command lines.
programs() {
    pgrep -f "$work/"
}
none_left() {
    [ -z "$(programs)" ]
}

# ---- the examples ----
conf py "command = ( \"$work/to_sqlite.py\", \"$work/py/table.db\" ); ack_timeout = \"5m\";"
exits "check" 0 "$aw" check -c py/audit.conf
[ ! -e py/table.db ]
is "check does not run the program" 0 $?
events 300 >in
exits "example in Python" 0 "$aw" log -q -c py/audit.conf in
"${PYTHON3:-python3}" -c 'import sqlite3, sys
for (event,) in sqlite3.connect(sys.argv[1]).execute("SELECT event FROM events ORDER BY rowid"): print(event)' py/table.db >py/got
is "all events, in order, byte for byte" "$(cksum <py/audit.jsonl)" "$(cksum <py/got)"
"${PYTHON3:-python3}" -c 'import sqlite3, sys
t = sqlite3.connect(sys.argv[1]); t.execute("DROP TABLE events"); t.execute("CREATE VIEW events AS SELECT 1"); t.commit()' py/table.db
head -n 1 py/got | ./to_sqlite.py py/table.db >out 2>err
is "a table that is none: its exit status says so" 1 $?
./to_sqlite.py /nonexistent/table.db </dev/null >out 2>err
is "no such place: configuration" 78 $?

conf shell "command = ( \"$work/append.sh\", \"$work/shell/copy.jsonl\" ); durability = \"on_flush\"; ack_timeout = \"5m\";"
events 50 >few
exits "example in shell" 0 "$aw" log -q -c shell/audit.conf few
run "$aw" log -q -c shell/audit.conf few
is "the same bytes" "$(cksum <shell/audit.jsonl)" "$(cksum <shell/copy.jsonl)"
is "no program is left" "" "$(programs)"

# ---- wrong settings ----
conf none "command = ( \"$work/nowhere\" );"
exits "check asks whether the program is there" 1 "$aw" check -c none/audit.conf
has "names the sink, its place and the program" err "none/audit.conf:5: sink \"program\" (exec): would not work: $work/nowhere: No such file"
events 3 | "$aw" log -c none/audit.conf >out 2>err
has "a program that is not there is named" err "$work/nowhere: No such file"
conf rel "command = ( \"cat\" );"
exits "a path that is not absolute" 1 "$aw" check -c rel/audit.conf
has "with its place" err "rel/audit.conf:5"
has "and the remedy" err "not an absolute path"

# ---- the writer is killed while it writes, again and again ----
conf kill "command = ( \"$top_builddir/exec_peer\", \"good\", \"$work/kill/store\" ); ack_timeout = \"5m\";"
events 15000 >many
stored() {
    [ -e kill/store ] && [ "$(lines kill/store)" -ge "$1" ]
}
killed=0
for round in 1 2 3; do
    "$aw" log -q -c kill/audit.conf many >out 2>err &
    writer=$!
    wait_until 60 stored $((round * 1500)) || fail "round $round: something is stored" "$(cat err)"
    kill -9 $writer 2>/dev/null && killed=$((killed + 1))
    wait $writer 2>/dev/null
    wait_until 20 none_left
    is "round $round: no program outlives the writer" "" "$(programs)"
done
is "it was killed in mid-load" 3 $killed
"$aw" log -q -c kill/audit.conf </dev/null >out 2>err
is "one more start delivers the rest" 0 $?
ids kill/audit.jsonl | uniq >want
ids kill/store | uniq >got
is "nothing is lost, and nothing is there that was not logged" "$(cksum <want)" "$(cksum <got)"
is "which is more than one writer's" 1 $(($(lines want) > 4500))
LC_ALL=C grep -v -c '^{.*}$' kill/store >torn
is "no event is torn" 0 "$(cat torn)"
wait_until 20 none_left
is "no program is left" "" "$(programs)"
finish
