#!/bin/sh
# Runs one fuzz target on a copy of its corpus: fuzz-one.sh SRCDIR BUILDDIR PROGRAM. Leaves PROGRAM.status and .fuzzlog.
# SPDX-License-Identifier: Apache-2.0
set -eu
src=$1 build=$2 program=$3
cd "$build"
# fuzz_json -> tests/fuzz/corpus/json
corpus=$src/tests/fuzz/corpus/${program#fuzz_}
mkdir -p "$program.work"
rc=0
if [ ! -d "$corpus" ]; then
    echo "no corpus: $corpus" >"$program.fuzzlog"
    rc=1
else
    "./$program" -max_total_time="$FUZZ_SECONDS" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$program.work/" "$program.work" "$corpus" >"$program.fuzzlog" 2>&1 </dev/null || rc=$?
fi
echo $rc >"$program.status"
