#!/bin/sh
# Our own sinks pass the conformance kit, with every check that is not named in sinks.list as one that does not apply.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
. "$(dirname "$0")/judge.sh"
case " ${BUILTIN_SINKS-} " in "  ") ;; *) echo "1..0 # SKIP sinks are built in: there are no files"; exit 0 ;; esac

set -f # a * in the list is no pattern
while IFS='|' read -r name without options; do
    name=${name%% *}
    case $name in '#'* | '') continue ;; esac
    [ -f "$top_builddir/.libs/sink_$name.so" ] || continue # switched off at configure time
    if [ "$(echo $without)" = '*' ]; then
        test=$(echo $options)
        if grep -q 'plugins check' "$top_srcdir/$test"; then pass "$name: is checked by $test"; else
            fail "$name: is checked by $test" "it does not say 'plugins check'"; fi
        continue
    fi
    # shellcheck disable=SC2086 # a list of options
    check_sink "$name" "$without" --fail-libraries $options
done <"$top_srcdir/tests/kit/sinks.list"
set +f

# Every sink that was built is in the list.
for so in "$top_builddir"/.libs/sink_*.so; do
    name=$(basename "$so" .so)
    name=${name#sink_}
    grep -q "^$name *|" "$top_srcdir/tests/kit/sinks.list" && pass "$name is in sinks.list" ||
        fail "$name is in sinks.list" "add a line for it to tests/kit/sinks.list"
done
finish
