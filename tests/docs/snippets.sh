#!/bin/sh
# Every block of C in the documents compiles, with all warnings, against the public headers alone.
# SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}" "${CC:=cc}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
n=0
for text in "$top_srcdir"/README.md "$top_srcdir"/docs/*.md "$top_srcdir"/docs/*.scd "$top_srcdir"/plugins/sinks/*/*.scd; do
    [ -f "$text" ] || continue
    for file in $(awk -v prefix="$work/$(basename "$text")-" -f "$top_srcdir/tests/docs/snippets.awk" "$text"); do
        n=$((n + 1))
        if "$CC" -std=gnu11 -I"$top_srcdir/include" -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$file" >"$work/log" 2>&1; then
            echo "ok $n - $(basename "$file")"
        else
            sed 's/^/# /' "$work/log"
            echo "not ok $n - $(basename "$file")"
        fi
    done
done
# A change of mark-up must not make the blocks vanish unseen: README has two, the two man pages of section 3 one each.
n=$((n + 1))
if [ $n -ge 5 ]; then echo "ok $n - found the blocks"; else echo "not ok $n - found only $((n - 1)) blocks"; fi
echo "1..$n"
