#!/bin/sh
# The manual pages are made, and man finds nothing to complain about in them.
# SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
command -v scdoc >/dev/null 2>&1 || { echo "1..0 # SKIP scdoc is not installed"; exit 0; }
n=0
result() { # COMMAND… : its status decides
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

# A table column that is too narrow for a long word is no mistake of the text.
man_is_quiet() {
    LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l "$1" 2>"$work/warnings" >"$work/page" </dev/null || return 1
    grep -v "can't break line" "$work/warnings" && return 1
    [ -s "$work/page" ]
}

has_parts() {
    for part in NAME DESCRIPTION 'SEE ALSO'; do
        grep -q "^# $part" "$1" || { echo "no section $part"; return 1; }
    done
    # whatis(1) and the index need "name - what it is"
    awk '/^# NAME/ { on = 1; next } /^# / { on = 0 } on && / - / { found = 1 } END { exit !found }' "$1" || { echo "NAME has no ' - '"; return 1; }
}

for source in "$top_srcdir"/docs/*.scd "$top_srcdir"/plugins/*/*/*.scd; do
    [ -f "$source" ] || continue
    page=$work/$(basename "$source" .scd)
    result "$(basename "$source"): scdoc" sh -c 'scdoc <"$1" >"$2"' sh "$source" "$page"
    result "$(basename "$source"): parts" has_parts "$source"
    # Containers often have man-db's program but drop the pages it would show; -l needs the program alone.
    if command -v man >/dev/null 2>&1; then
        result "$(basename "$source"): man" man_is_quiet "$page"
    else
        n=$((n + 1))
        echo "ok $n - $(basename "$source"): man # SKIP man is not installed"
    fi
done
[ $n -gt 0 ] || { n=1; echo "not ok 1 - no manual page was found"; }
echo "1..$n"
