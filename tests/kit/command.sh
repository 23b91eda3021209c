#!/bin/sh
# auditwell plugins check and new: the command around the conformance kit.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
defect=$top_builddir/tests/kit/.libs/sink_defect.so

# ---- wrong use ----
exits "no name" 2 "$aw" plugins check
has "no name" err "expected a plugin's name or file"
exits "a file that is not there" 3 "$aw" plugins check ./none.so
has "which" err "./none.so: No such file"
exits "a name that is not there" 3 "$aw" plugins check nosuch
has "which" err "nosuch"
exits "an unknown check" 2 "$aw" plugins check "$defect" --only nosuch
has "which" err "there is no check 'nosuch'"
exits "an option without a value" 2 "$aw" plugins check "$defect" --option path
has "which" err "expected KEY=VALUE, found 'path'"
exits "an unknown setting" 1 "$aw" plugins check "$defect" --only create --option colour=red
has "which" out 'the sink has no option "colour"'
exits "options of check with list" 2 "$aw" plugins list --tap
exits "--sink alone" 2 "$aw" plugins check "$defect" --sink db
AUDITWELL_LIBEXEC_PATH=$work exits "without the kit" 3 "$aw" plugins check "$defect"
has "which" err "auditwell-plugin-check: No such file"

# ---- what it prints ----
exits "the list" 0 "$aw" plugins check --list
matches "of checks" out '^flush-kill +what flush'
exits "a table" 0 "$aw" plugins check "$defect" --only cycle --only secrets
matches "one that passes" out '^ok +cycle +create, start, write, stop, destroy$'
matches "one that does not apply" out '^n/a +secrets '
is "the last line" "1 passed, 0 failed, 1 not applicable" "$(tail -n 1 out)"
exits "a finding" 1 "$aw" plugins check "$defect" --only cycle --option defect=write-crash
matches "FAIL" out '^FAIL +cycle'
has "what" out "found: died of signal 6 (Aborted) in write() of instance 0"
has "what to do" out "fix: "
exits "TAP" 1 "$aw" plugins check "$defect" --tap --only trust --only cycle --option defect=write-crash
is "TAP" "1..2" "$(tail -n 1 out)"
matches "TAP" out '^not ok 2 - cycle: '
exits "JSON" 1 "$aw" plugins check "$defect" --json --only cycle --option defect=write-crash
if command -v jq >/dev/null 2>&1; then
    is "JSON" "failed cycle 1" "$(jq -r '"\(.checks[0].result) \(.checks[0].check) \(.failed)"' out)"
else
    skip "JSON" "jq is not installed"
fi
# What a plugin prints cannot drive a terminal, and nothing is left behind.
exits "TMPDIR" 0 env TMPDIR="$work" "$aw" plugins check "$defect" --only query
is "nothing is left behind" "" "$(ls -d "$work"/auditwell-check-* 2>/dev/null)"

# ---- settings of a configuration; reading back by a command ----
cat >audit.conf <<CONF
journal = { path = "$work/journal"; };
sinks = ( { plugin = "file"; name = "other"; path = "$work/other.jsonl"; },
          { plugin = "defect"; name = "db"; pii = "keep"; path = "$work/store-{instance}.jsonl"; } );
CONF
exits "settings of a sink" 0 "$aw" plugins check "$defect" -c audit.conf --sink db --only cycle
is "were used" 3 "$(lines store-0.jsonl)"
exits "a sink that is not there" 3 "$aw" plugins check "$defect" -c audit.conf --sink nosuch
has "which" err 'there is no sink "nosuch"'
exits "a command reads back" 0 "$aw" plugins check "$defect" --only flush-kill --verify-command 'cat {dir}/path-{instance}'
exits "and finds what is missing" 1 "$aw" plugins check "$defect" --only flush-kill --verify-command 'head -n 3 {dir}/path-{instance}'
has "which" out "events that were claimed are not in the store"
exits "a command that fails" 1 "$aw" plugins check "$defect" --only flush-kill --verify-command 'exit 5'
has "which" out "ended with status 5"
# The events of the kit are sealed as auditwell seals them.
exits "a store filled by the kit" 0 "$aw" plugins check "$defect" --only query --option "path=$work/kept.jsonl"
exits "verifies" 0 "$aw" verify --partial "$work/kept.jsonl"

# ---- new ----
exits "new" 0 "$aw" plugins new courier
has "where" out "sink-courier/"
is "its files" "Makefile.am README.md autogen.sh check.sh configure.ac sink_courier.c" "$(ls sink-courier | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
is "no trace of the template" "" "$(grep -ril hello sink-courier)"
matches "a licence to fill in" sink-courier/sink_courier.c 'SPDX-License-Identifier: YOUR-LICENCE'
exits "not twice" 1 "$aw" plugins new courier
exits "not any name" 2 "$aw" plugins new 'Bad-Name'
exits "elsewhere" 0 "$aw" plugins new courier two
# shellcheck disable=SC2086
exits "it compiles" 0 ${CC:-cc} ${CFLAGS-} -Wall -Wextra -Werror -D_GNU_SOURCE -fPIC -shared -fvisibility=hidden -I"$top_srcdir/include" \
    -Wl,-z,now -o two/sink_courier.so two/sink_courier.c ${LDFLAGS-}
exits "and passes" 0 "$aw" plugins check two/sink_courier.so --patience 4
finish
