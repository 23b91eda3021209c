#!/bin/sh
# auditwell(3) and auditwell-plugin(3) describe everything that the public headers declare.
# SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}"
n=0
# A page without the underscores that mark underlined words.
plain() {
    sed -E 's/(^|[^A-Za-z0-9_])_([a-z][a-z_]*[a-z])_([^A-Za-z0-9_]|$)/\1\2\3/g; s/(^|[^A-Za-z0-9_])_([a-z][a-z_]*[a-z])_([^A-Za-z0-9_]|$)/\1\2\3/g' "$1"
}

missing() { # PAGE, names on stdin
    while read -r name; do
        grep -Eq "(^|[^A-Za-z0-9_])$name([^A-Za-z0-9_]|\$)" "$1" || echo "$name"
    done
}

check() { # WHAT PAGE LEAST, names in $work/names
    n=$((n + 1))
    count=$(wc -l <"$work/names")
    plain "$2" >"$work/page"
    missing "$work/page" <"$work/names" >"$work/missing"
    if [ "$count" -lt "$3" ]; then
        echo "not ok $n - $1: only $count names found in the header, expected $3 or more"
    elif [ -s "$work/missing" ]; then
        sed 's/^/# not described: /' "$work/missing"
        echo "not ok $n - $1"
    else
        echo "ok $n - $1: $count names"
    fi
}

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
audit=$top_srcdir/include/audit/audit.h plugin=$top_srcdir/include/audit/plugin.h
page=$top_srcdir/docs/auditwell.3.scd plugin_page=$top_srcdir/docs/auditwell-plugin.3.scd

grep -E '^AW_API' "$audit" | grep -oE 'aw_[a-z_]+\(' | tr -d '(' | sort -u >"$work/names"
check "auditwell(3): functions" "$page" 40
grep -oE '^#define AW_(ERR|OUTCOME|OPEN|FILTER|FINDING|VERIFY)_[A-Z_]+' "$audit" | awk '{ print $2 }' >"$work/names"
check "auditwell(3): errors and constants" "$page" 30
grep -oE '^#define AW_(E|EVENT|THREADS|DURABLE|SINK|BATCH|OPT|EXT)_[A-Z_]+' "$plugin" | awk '{ print $2 }' >"$work/names"
check "auditwell-plugin(3): codes, statuses, flags" "$plugin_page" 30
# members of the sink class and of the host table
for struct in aw_sink_class aw_host aw_plugin; do
    awk -v name="struct $struct {" '$0 == name { on = 1 } /^};/ { on = 0 } on' "$plugin" | grep -oE '\(\*[a-z_]+\)' | tr -d '(*)' >"$work/names"
    check "auditwell-plugin(3): callbacks of $struct" "$plugin_page" 2
done
# every page that is referred to exists, or is another package's
n=$((n + 1))
cat "$top_srcdir"/docs/*.scd "$top_srcdir"/plugins/*/*/*.scd 2>/dev/null | grep -oE '\*(auditwell|audit)[a-z.-]*\*\([0-9]\)' | tr -d '*' | sort -u |
    while IFS='()' read -r name section; do
        found=$(find "$top_srcdir/docs" "$top_srcdir/plugins" -name "$name.$section.scd")
        [ -n "$found" ] || echo "$name($section)"
    done >"$work/missing"
if [ -s "$work/missing" ]; then
    sed 's/^/# no such page: /' "$work/missing"
    echo "not ok $n - references"
else
    echo "ok $n - references"
fi
echo "1..$n"
