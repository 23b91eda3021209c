#!/bin/sh
# The test lanes of ./setup check; see CONTRIBUTING.md. Two run at a time, each in build-check/LANE with its own log.
#
# SPDX-License-Identifier: Apache-2.0
#
#   sh scripts/check.sh [LANE…]     runs the lanes (all without names)
#   sh scripts/check.sh --list      prints the names
#   sh scripts/check.sh --known …   tells whether all names are lanes
#
# A skipped test and a lane that did not run count as failed. The last line is "N passed, N failed".
# JOBS=N lanes at a time (the number of processors), FUZZ_SECONDS=N a fuzz target (60).
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)
out=$top/build-check
# Long lanes first, so that the two processors finish at about the same time.
all_lanes="tsan asan distcheck gcc valgrind fuzz cppcheck format"
: "${FUZZ_SECONDS:=60}"
: "${JOBS:=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}"

# Tools that ./setup took out of their packages.
PATH=$out/tools:$PATH
export PATH

is_lane() {
    case " $all_lanes " in
    *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

case ${1-} in
--list)
    echo "$all_lanes"
    exit 0
    ;;
--known)
    shift
    for lane in "$@"; do
        is_lane "$lane" || { echo "setup: no lane '$lane'; there are: $all_lanes" >&2; exit 1; }
    done
    exit 0
    ;;
esac

# ---- counting ------------------------------------------------------------------------------------------------------------
# A lane notes each test as a line "PASS name", "FAIL name" or "SKIP name" in its results file.
note() {
    printf '%s %s\n' "$1" "$2" >>"$results"
}

# note_command NAME COMMAND…: one test that is one command.
note_command() {
    name=$1
    shift
    if "$@"; then note PASS "$name"; else note FAIL "$name"; fi
}

# What automake's drivers left in DIR: every single test of every .trs file, and the logs of those that did not pass.
collect_trs() {
    find "$1" -name '*.trs' | sort >"$out/$lane.trs-list"
    while read -r trs; do
        test_name=$(basename "$trs" .trs)
        awk -v name="$test_name" '
            /^:test-result: *(PASS|XFAIL)/ { print "PASS " name ": " substr($0, index($0, $2) + length($2) + 1); n++ }
            /^:test-result: *SKIP/ { print "SKIP " name ": " substr($0, index($0, $2) + length($2) + 1); n++ }
            /^:test-result: *(FAIL|XPASS|ERROR)/ { print "FAIL " name ": " substr($0, index($0, $2) + length($2) + 1); n++ }
            END { if (!n) print "FAIL " name ": no result" }' "$trs" >>"$results"
        if grep -Eq '^:test-result: *(FAIL|XPASS|ERROR|SKIP)' "$trs" || ! grep -q '^:test-result:' "$trs"; then
            { echo "---- $lane: $test_name"; tail -n 200 "${trs%.trs}.log"; } >>"$out/$lane.failures" 2>&1
        fi
    done <"$out/$lane.trs-list"
    [ -s "$out/$lane.trs-list" ] || note FAIL "no test ran"
    rm -f "$out/$lane.trs-list"
}

# ---- building ------------------------------------------------------------------------------------------------------------
# Memory layouts that the sanitizers' run times cannot handle are avoided by fixed addresses, where the machine allows that.
fixed_addresses() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then setarch "$(uname -m)" -R "$@"; else "$@"; fi
}

# configure_in DIR OPTION…: keeps a configured directory, so that a second run is quick.
configure_in() {
    dir=$1
    shift
    mkdir -p "$dir"
    if [ "$dir/config.status" -nt "$top/configure" ] && [ "$(cat "$dir/.configured-with" 2>/dev/null)" = "$*" ]; then
        return 0
    fi
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && "$top/configure" -q "$@") || return 1
    echo "$*" >"$dir/.configured-with"
}

# suite OPTION…: build and make check in build-check/LANE.
suite() {
    configure_in "$out/$lane" "$@" || { note FAIL configure; return 0; }
    find "$out/$lane" -name '*.trs' -delete
    make -C "$out/$lane" -j2 all check_build=1 || { note FAIL "make all"; return 0; }
    rc=0
    fixed_addresses make -C "$out/$lane" -j2 -k check || rc=$?
    collect_trs "$out/$lane"
    if [ $rc -ne 0 ] && ! grep -Eq '^(FAIL|SKIP)' "$results"; then note FAIL "make check (status $rc)"; fi
}

# ---- lanes ---------------------------------------------------------------------------------------------------------------
lane_gcc() {
    suite --enable-werror CC=gcc CFLAGS='-O2 -g'
}

lane_asan() {
    suite --enable-werror CC=clang CXX=clang++ CFLAGS='-O1 -g' --enable-sanitizers=address,undefined
}

lane_tsan() {
    suite --enable-werror CC=clang CXX=clang++ CFLAGS='-O1 -g' --enable-sanitizers=thread
}

# The unit tests once more under valgrind, which also sees memory that was never written.
lane_valgrind() {
    configure_in "$out/$lane" CC=gcc CFLAGS='-O1 -g' || { note FAIL configure; return 0; }
    make -C "$out/$lane" -j2 valgrind-programs || { note FAIL make; return 0; }
    make -s -C "$out/$lane" print-valgrind-programs >"$out/$lane.programs"
    [ -s "$out/$lane.programs" ] || note FAIL "no test ran"
    while read -r program; do
        if valgrind_one "$program" </dev/null; then note PASS "$program"; else note FAIL "$program"; fi
    done <"$out/$lane.programs"
}

valgrind_one() {
    echo "valgrind $1"
    (cd "$out/$lane" &&
        AW_TEST_QUICK=1 HARNESS_TIMEOUT=1200 top_srcdir=$top top_builddir=$out/$lane AUDITWELL_PLUGIN_PATH=$out/$lane/.libs \
            ./libtool --mode=execute valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
            --show-leak-kinds=definite --fair-sched=yes "./$1") >"$out/$lane.one" 2>&1 && return 0
    { echo "---- valgrind: $1"; tail -n 200 "$out/$lane.one"; } >>"$out/$lane.failures"
    return 1
}

# Each fuzz target for FUZZ_SECONDS on top of its corpus, two at a time.
lane_fuzz() {
    configure_in "$out/$lane" CC=clang CXX=clang++ CFLAGS='-O1 -g' --enable-fuzzing --enable-sanitizers=address,undefined ||
        { note FAIL configure; return 0; }
    make -C "$out/$lane" -j2 fuzz-programs || { note FAIL make; return 0; }
    make -s -C "$out/$lane" print-fuzz-programs >"$out/$lane.programs"
    [ -s "$out/$lane.programs" ] || note FAIL "no target ran"
    # shellcheck disable=SC2016
    FUZZ_SECONDS=$FUZZ_SECONDS xargs -P 2 -I @ sh "$top/scripts/fuzz-one.sh" "$top" "$out/$lane" @ <"$out/$lane.programs" || :
    while read -r program; do
        if [ "$(cat "$out/$lane/$program.status" 2>/dev/null)" = 0 ]; then
            note PASS "$program, $FUZZ_SECONDS s"
        else
            note FAIL "$program"
            { echo "---- fuzz: $program"; tail -n 100 "$out/$lane/$program.fuzzlog"; } >>"$out/$lane.failures" 2>&1
        fi
    done <"$out/$lane.programs"
}

lane_cppcheck() {
    configure_in "$out/$lane" CC=gcc || { note FAIL configure; return 0; }
    note_command cppcheck make -C "$out/$lane" cppcheck
}

lane_format() {
    note_command clang-format sh scripts/lint.sh format
}

lane_distcheck() {
    configure_in "$out/$lane" CC=gcc || { note FAIL configure; return 0; }
    note_command "tarball holds every file" make -C "$out/$lane" check-dist
    note_command "make distcheck" make -C "$out/$lane" -j2 distcheck
}

# ---- running -------------------------------------------------------------------------------------------------------------
summary() { # LANE -> "passed failed skipped"
    awk '/^PASS/ { p++ } /^FAIL/ { f++ } /^SKIP/ { s++ } END { print p + 0, f + 0, s + 0 }' "$out/$1.results"
}

run_lane() {
    lane=$1
    results=$out/$lane.results
    rm -f "$results" "$out/$lane.failures"
    : >"$results"
    began=$(date +%s)
    echo "$lane: started"
    (set +e; "lane_$lane") >"$out/$lane.log" 2>&1 </dev/null || note FAIL "the lane broke off"
    [ -s "$results" ] || note FAIL "the lane said nothing"
    # shellcheck disable=SC2046
    set -- $(summary "$lane")
    echo "$lane: $1 passed, $2 failed, $3 skipped, $(($(date +%s) - began)) s"
}

# One of JOBS workers: takes the next lane nobody has.
worker() {
    for one in $lanes; do
        if mkdir "$out/claimed-$one" 2>/dev/null; then run_lane "$one"; fi
    done
}

lanes=${*:-$all_lanes}
mkdir -p "$out"
for one in $lanes; do
    rm -rf "$out/claimed-$one" "$out/$one.results"
done
trap 'kill 0' INT TERM
jobs=0
while [ $jobs -lt "$JOBS" ]; do
    worker &
    jobs=$((jobs + 1))
done
wait

passed=0
failed=0
for one in $lanes; do
    rmdir "$out/claimed-$one" 2>/dev/null || :
    if [ ! -f "$out/$one.results" ]; then
        echo "$one: did not run"
        failed=$((failed + 1))
        continue
    fi
    # shellcheck disable=SC2046
    set -- $(summary "$one")
    passed=$((passed + $1))
    failed=$((failed + $2 + $3))
    [ $(($2 + $3)) -eq 0 ] && continue
    echo
    echo "==== $one"
    grep -E '^(FAIL|SKIP)' "$out/$one.results"
    if [ -f "$out/$one.failures" ]; then cat "$out/$one.failures"; else tail -n 100 "$out/$one.log"; fi
done
echo
echo "Logs: build-check/*.log"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
