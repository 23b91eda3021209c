#!/bin/sh
# Sizes, offsets and constants of the plugin ABI are those that were released. SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}" "${top_builddir:?}" "${CC:=cc}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
here=$top_srcdir/tests/abi header=$top_srcdir/include/audit/plugin.h
n=0
result() {
    n=$((n + 1))
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok $n - $what"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $n - $what"
    fi
}

# shellcheck disable=SC2086
"$CC" ${CFLAGS-} -std=gnu11 -Wall -Wextra -Werror -I"$top_srcdir/include" "$here/layout.c" -o "$work/layout" ${LDFLAGS-} && "$work/layout" >"$work/now" ||
    { echo "Bail out! layout.c does not compile"; exit 1; }

same() {
    diff -u "$here/layout-lp64.txt" "$work/now" && return 0
    echo "Lines with '-' were released, those with '+' are what the header says now. Released lines never change: add members at the"
    echo "end of a struct and constants with new numbers, then run tests/abi/update.sh and write docs/abi-changelog.md."
    return 1
}

complete() {
    ! grep 'not listed' "$work/now" || return 1
    grep -oE '^struct aw_[a-z_]+ \{' "$header" | awk '{ print $2 " size" }' >"$work/structs"
    [ "$(wc -l <"$work/structs")" -ge 20 ] || { echo "the header's structs were not found"; return 1; }
    while read -r line; do
        grep -q "^$line " "$work/now" || { echo "$line is not in tests/abi/layout.c"; return 1; }
    done <"$work/structs"
    grep -oE '^struct aw_[a-z_]+ \{' "$header" | awk '{ print "PROBE(" $2 ")" }' | while read -r line; do
        grep -qF "$line" "$here/probe.c" || { echo "$line is not in tests/abi/probe.c"; exit 1; }
    done || return 1
    grep -oE '^#define AW_(E|EVENT|THREADS|DURABLE|SINK|LOG|FIELD|NUMBER|OPT|METRIC|PROVENANCE|BATCH|HEALTH|QUERY|EXT|MIGRATE|ABI)_[A-Z0-9_]+|^#define AW_OK' \
        "$header" | awk '{ print $2 }' | while read -r name; do
        grep -q "^$name = " "$work/now" || { echo "$name is not in tests/abi/layout.c"; exit 1; }
    done
}

# No type whose size depends on the compiler or on another library.
portable() {
    sed 's|/\*.*\*/||; /^ *\*/d' "$header" | grep -nE '(^|[^a-z_])(enum|bool|long|short|time_t|off_t|FILE|ssize_t|wchar_t)[^a-z_A-Z(]' && return 1
    sed 's|/\*.*\*/||; /^ *\*/d' "$header" | grep -nE '^ +[a-z0-9_]+ [a-z_]+ *: *[0-9]+;' && return 1
    return 0
}

# The comparison finds what it is for: a member in the middle, another number, a member that the table does not list.
finds() { # SED-EXPRESSION WORDS
    mkdir -p "$work/changed/audit" && sed "$1" "$header" >"$work/changed/audit/plugin.h"
    ! cmp -s "$header" "$work/changed/audit/plugin.h" || { echo "the header was not changed by $1"; return 1; }
    "$CC" -std=gnu11 -I"$work/changed" "$here/layout.c" -o "$work/changed/layout" && "$work/changed/layout" >"$work/changed/now" || return 1
    diff "$here/layout-lp64.txt" "$work/changed/now" >"$work/changed/diff" && { echo "no difference was found"; return 1; }
    grep -q "$2" "$work/changed/diff" || { cat "$work/changed/diff"; return 1; }
}

if [ "$(getconf LONG_BIT)" = 64 ]; then
    result "sizes, offsets and constants are those that were released" same
    result "a member in the middle is found" finds 's|^    uint64_t first_seq, last_seq; /\* of this batch|    uint64_t added;\n&|' '> aw_batch.last_seq offset 24'
    result "another number is found" finds 's/define AW_E_RETRY (-100)/define AW_E_RETRY (-101)/' '> AW_E_RETRY = -101'
    result "another type is found" finds 's|^    int32_t state;            /\* AW_HEALTH|    int64_t state; /* AW_HEALTH|' '> aw_health.state offset 8 size 8'
fi
result "the table has every struct, member and constant" complete
result "no type that differs between compilers" portable
echo "1..$n"
