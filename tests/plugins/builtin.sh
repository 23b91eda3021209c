#!/bin/sh
# --enable-builtin-plugins: each of $BUILTIN_SINKS is in the library, is found without any .so, and none was made.
# SPDX-License-Identifier: Apache-2.0
set -u
: "${top_builddir:?}" "${BUILTIN_SINKS:?}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
unset AUDITWELL_PLUGIN_PATH
n=0
for name in $BUILTIN_SINKS; do
    n=$((n + 1))
    if "$top_builddir/auditwell" plugins describe "$name" >"$work/out" 2>&1 && grep -qx "path=builtin:$name" "$work/out" &&
        [ ! -e "$top_builddir/.libs/sink_$name.so" ]; then
        echo "ok $n - $name is built in"
    else
        sed 's/^/# /' "$work/out"
        echo "not ok $n - $name is built in"
    fi
done
echo "1..$n"
