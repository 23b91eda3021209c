#!/bin/sh
# abidiff compares the types of the plugin ABI with those that were released. Behind void pointers it is blind: a probe library has
# one typed function for each struct. SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
command -v abidiff >/dev/null 2>&1 || { echo "1..0 # SKIP abidiff is not installed: install abigail-tools"; exit 0; }
command -v gcc >/dev/null 2>&1 || { echo "1..0 # SKIP the baseline is of gcc, which is not installed"; exit 0; }
[ "$(getconf LONG_BIT)" = 64 ] && [ "$(uname -m)" = x86_64 ] || { echo "1..0 # SKIP the baseline is of x86-64"; exit 0; }
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
here=$top_srcdir/tests/abi
n=0
probe() { # INCLUDE-DIRECTORY OUTPUT
    gcc -std=gnu11 -g -gdwarf-4 -O0 -fPIC -shared -I"$1" "$here/probe.c" -o "$2"
}
result() {
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else sed 's/^/# /' "$work/log"; echo "not ok $n - $2"; fi
}

probe "$top_srcdir/include" "$work/libprobe.so" && abidiff "$here/plugin.abi" "$work/libprobe.so" >"$work/log" 2>&1
result $? "no type has changed"

changes() { # SED-EXPRESSION WORDS NAME
    mkdir -p "$work/changed/audit"
    sed "$1" "$top_srcdir/include/audit/plugin.h" >"$work/changed/audit/plugin.h"
    probe "$work/changed" "$work/changed.so" && abidiff "$here/plugin.abi" "$work/changed.so" >"$work/log" 2>&1
    [ $? -ne 0 ] && grep -q "$2" "$work/log"
    result $? "$3"
}
changes 's|^    int32_t (\*flush)(void \*sink|    int32_t (*added)(void *);\n&|' "added" "a callback in the middle is found"
changes 's|^    uint32_t retry_after_ms;|    int32_t retry_after_ms;|' "retry_after_ms" "another type is found"
changes 's|int32_t (\*stop)(void \*sink, uint64_t deadline_ns);|int32_t (*stop)(void *sink, uint32_t deadline_ms);|' "stop" "another parameter is found"
echo "1..$n"
