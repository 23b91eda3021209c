#!/bin/sh
# Each defect of tests/kit/defect.c, and of the mock plugins, is found by the check named for it.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
kit=$top_builddir/auditwell-plugin-check
chmod -R go-w "$top_builddir/tests/kit/.libs" 2>/dev/null
sanitized=no
grep -q '^#define AW_SANITIZED 1' "$top_builddir/config.h" && sanitized=yes

# NAME FILE CHECK WORDS OPTION…: the check fails, and says these words.
finds() {
    name=$1 file=$2 check=$3 words=$4
    shift 4
    run "$kit" --plugin "$file" --only "$check" --patience 4 "$@"
    if [ "$status" = 1 ] && grep -q -F -e "$words" out; then
        pass "$name: found by $check"
    elif [ "$status" = 1 ] && [ $sanitized = yes ] && [ "$name" = shared-buffer ] && grep -q 'ThreadSanitizer: data race' out; then
        pass "$name: found by $check" # the sanitizer came first
    else
        fail "$name: found by $check" "exit $status, expected 1 and: $words" "$(cat out err)"
    fi
}

defect=$top_builddir/tests/kit/.libs/sink_defect.so
# Nothing is found where nothing is wrong; all extensions are there, so that no check is left out but those that ask for more.
run "$kit" --plugin "$defect" --patience 4 --fail-libraries --option password=canary-secret --slow-option defect=none \
    --host-command "$aw" --tap
is "without a defect: exit 0" 0 "$status"
[ "$status" = 0 ] || sed 's/^/# /' out
grep ' # SKIP ' out >skipped
if [ $sanitized = yes ]; then
    is "all checks ran, but those of memory" "create-oom oom" "$(sed 's/.* - \([a-z-]*\): .*/\1/' skipped | tr '\n' ' ' | sed 's/ $//')"
else
    is "all checks ran" "" "$(cat skipped)"
fi
"$kit" --list | awk '{ print $1 }' | sort >checks

while read -r name check words; do
    case $name in '#'*) continue ;; esac
    echo "$check" >>tried
    set -- --option "defect=$name" --option password=canary-secret
    case $name in
    create-oom | oom-write) [ $sanitized = no ] || continue ;;
    ignores-deadline | fork-lock | health-locks) set -- "$@" --patience 1 ;;
    hang) set -- "$@" --time-limit 1 --patience 1 ;;
    esac
    finds "$name" "$defect" "$check" "$words" "$@"
done <"$top_srcdir/tests/kit/defects.list"

# ---- what is wrong with a file or a descriptor ----
plugins=$top_builddir/tests/plugins/.libs
finds "an export too many" "$top_builddir/tests/kit/.libs/sink_d_export.so" exports "exports defect_helper"
finds "no entry" "$plugins/sink_m_noentry.so" exports "exports no auditwell_plugin_v1"
finds "a constructor" "$top_builddir/tests/kit/.libs/sink_d_constructor.so" load "calls open(/dev/null)"
finds "linked with the library" "$top_builddir/tests/kit/.libs/sink_d_linked.so" needed "libauditwell"
finds "bound lazily" "$plugins/sink_m_undefined.so" binding "bound at the first call"
finds "an undefined symbol" "$plugins/sink_m_undefined.so" load "mock_function_that_nobody_has"
finds "wrong magic" "$plugins/sink_m_magic.so" load "magic is"
finds "another generation" "$plugins/sink_m_major.so" load "abi_major is"
finds "a NULL descriptor" "$plugins/sink_m_nullentry.so" load "returned NULL"
finds "a bad class name" "$plugins/sink_m_badname.so" descriptor '"Bad Name"'
finds "an unknown thread model" "$plugins/sink_m_threads.so" descriptor "thread_model is"
finds "a need that nobody has" "$plugins/sink_m_needs.so" descriptor "which this host does not have"
finds "a bad schema" "$plugins/sink_m_badschema.so" schema "min is greater than max" --class m_badschema
finds "the host's opinion" "$plugins/sink_m_badschema.so" host "auditwell refuses it" --host-command "$aw"
mkdir open && cp "$defect" open/ && chmod 777 open
finds "a directory that all may write to" "$work/open/sink_defect.so" trust "others may write to it"
chmod 755 open && chmod 664 open/sink_defect.so
finds "a file that the group may write to" "$work/open/sink_defect.so" trust "mode 0664"
printf 'exports\nload\nneeded\nbinding\ndescriptor\nschema\nhost\ntrust\n' >>tried
is "there is a defect for every check" "" "$(sort -u tried | comm -23 checks - | tr '\n' ' ')"
finish
