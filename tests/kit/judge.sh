# judge.sh - runs the conformance kit on one of our sinks, and each of its checks is a test. Sourced, after lib.sh.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
grep -q '^#define AW_SANITIZED 1' "$top_builddir/config.h" && memory='create-oom oom' || memory=

check_sink() { # NAME NOT-APPLICABLE OPTION…
    name=$1 without=$2
    shift 2
    run "$aw" plugins check "$top_builddir/.libs/sink_$name.so" --tap --patience 4 "$@"
    grep -E '^(not )?ok ' out >results
    while read -r line; do
        check=$(echo "$line" | sed 's/^[notk ]*[0-9]* - \([a-z-]*\): .*/\1/')
        case $line in
        ok*' # SKIP '*)
            case " $without $memory " in
            *" $check "*) pass "$name: $check does not apply" ;;
            *) fail "$name: $check" "was skipped: $line" ;;
            esac ;;
        ok*) pass "$name: $check" ;;
        *) fail "$name: $check" "$(sed -n "/ - $check: /,/^[no]/p" out)" ;;
        esac
    done <results
    is "$name: exit 0" 0 "$status"
    if [ ! -s results ]; then fail "$name: there are results" "$(cat out err)"; fi
}
