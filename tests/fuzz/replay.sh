#!/bin/sh
# Feeds each fuzz target the files of its corpus. SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
unset MAKEFLAGS MAKELEVEL MFLAGS
log=$(mktemp) || exit 99
trap 'rm -f "$log"' EXIT
n=0
for name in $(make -s -C "$top_builddir" print-fuzz-names); do
    n=$((n + 1))
    if "$top_builddir/fuzz_$name" "$top_srcdir/tests/fuzz/corpus/$name" >"$log" 2>&1 && ! grep -qx '0 inputs' "$log"; then
        echo "ok $n - $name: $(tail -n 1 "$log")"
    else
        tail -n 100 "$log" | sed 's/^/# /'
        echo "not ok $n - $name"
    fi
done
if [ $n -eq 0 ]; then
    n=1
    echo "ok 1 - there are no targets"
fi
echo "1..$n"
