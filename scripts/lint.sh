#!/bin/sh
# House rules that no compiler checks: lint.sh [format|size|banned|head]… (all without names). Prints every offender.
#
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/.."
: "${CLANG_FORMAT:=clang-format}"
found=0

sources() {
    find core include plugins tools tests examples \( -name '*.c' -o -name '*.h' \) ! -path 'tests/data/*' ! -path '*/corpus/*' | sort
}

offend() {
    echo "lint: $*"
    found=1
}

# The formatter's version matters: Debian 12 has 14, and other versions break lines elsewhere.
lint_format() {
    command -v "$CLANG_FORMAT" >/dev/null 2>&1 || { offend "$CLANG_FORMAT is not installed"; return; }
    for file in $(sources); do
        "$CLANG_FORMAT" --style=file --dry-run -Werror "$file" >/dev/null 2>&1 || offend "$file: clang-format would change it"
    done
}

# A file has at most 600 lines (the two public headers are exempt: they are one contract each), a function at most 60; a
# constant inside it does not count.
lint_size() {
    for file in $(sources); do
        lines=$(wc -l <"$file")
        case $file in
        include/audit/* | tests/abi/v1.0/*) ;; # the second is the first, frozen
        *) [ "$lines" -le 600 ] || offend "$file: $lines lines, at most 600" ;;
        esac
        long=$(awk '/^\{$/ { start = NR; table = 0; data = 0 }
            start && /^ +static const [^;]*=[^;]*$/ { table = 1 }
            table { data++ }
            table && /(^ +\}|");$/ { table = 0 }
            /^\}$/ && start { n = NR - start - 1 - data; if (n > 60) print start ": function of " n; start = 0 }' "$file")
        [ -z "$long" ] || echo "$long" | while read -r one; do echo "lint: $file:$one lines, at most 60"; done
        [ -z "$long" ] || found=1
    done
}

lint_banned() {
    for file in $(sources); do
        hits=$(grep -nE '(^|[^A-Za-z0-9_])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|tmpnam|alloca)[ ]*\(' "$file" |
            grep -vE '^[0-9]+: *(\*|/\*|//)' || :)
        [ -z "$hits" ] || offend "$file: banned function: $hits"
    done
}

lint_head() {
    for file in $(sources) $(find . -path './build*' -prune -o \( -name '*.mk' -o -name '*.sh' -o -name '*.scd' \) -print); do
        case $file in
        *.mk) ;;
        *) head -n 15 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || offend "$file: no SPDX line at its head" ;;
        esac
        unfinished=$(grep -nE '(^|[^A-Za-z])(TO''DO|FIX''ME|XX''X)([^A-Za-z]|$)' "$file" | head -n 1)
        [ -z "$unfinished" ] || offend "$file: unfinished: $unfinished"
    done
}

for mode in ${*:-format size banned head}; do
    "lint_$mode"
done
[ $found -eq 0 ] && echo "lint: clean"
exit $found
