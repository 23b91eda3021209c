#!/bin/sh
# Plugins of another age work: the binary of ABI 1.0 that is kept here, its source built with the frozen header of 1.0, and the
# same source built with the header of a later minor version, whose structs are longer.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
here=$top_srcdir/tests/abi
: "${CC:=cc}"

build() { # INCLUDE-DIRECTORY OUTPUT: as somebody else would, without the sanitizers of this build
    "$CC" -O2 -Wall -Wextra -Werror -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -shared -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
        -I"$1" "$here/sink_old.c" -o "$2"
}

# NAME DIRECTORY ABI: the plugin in DIRECTORY is loaded and described, stores events, verifies, is measured, and passes the kit.
works() {
    exits "$1: is loaded" 0 "$aw" plugins describe "$2/sink_old.so"
    matches "$1: says its ABI" out "^abi=$3\$"
    mkdir "$2/trail"
    cat >"$2/audit.conf" <<CONF
service = "old";
plugin_path = "$2";
journal = { path = "$2/journal"; };
sinks = ( { plugin = "old"; name = "trail"; path = "$2/trail/audit.jsonl"; } );
CONF
    exits "$1: check" 0 "$aw" -c "$2/audit.conf" check
    events 300 >"$2/events"
    exits "$1: takes events" 0 "$aw" -c "$2/audit.conf" log -q "$2/events"
    is "$1: stored them all" 300 "$(lines "$2/trail/audit.jsonl")"
    exits "$1: they verify" 0 "$aw" -c "$2/audit.conf" verify trail
    exits "$1: query" 0 "$aw" -c "$2/audit.conf" query trail --json --limit 7
    is "$1: seven rows" 7 "$(lines out)"
    exits "$1: metrics" 0 "$aw" -c "$2/audit.conf" metrics
    matches "$1: a metric with labels of its own" out '^audit_sink_old_lines_total\{sinkName="trail",kind="line"\} 300'
    if [ "$kit" = yes ]; then
        exits "$1: passes the kit" 0 "$aw" plugins check "$2/sink_old.so" --option password=canary-secret --patience 4
    fi
}

# A kit with a sanitizer tells nothing of a plugin without one.
kit=yes
grep -q '^#define AW_SANITIZED 1' "$top_builddir/config.h" && kit=no

mkdir binary frozen later
chmod 755 binary frozen later
if [ "$(uname -m)" = x86_64 ]; then
    base64 -d "$here/sink_old.so.base64" >binary/sink_old.so && chmod 755 binary/sink_old.so
    works "binary of 1.0" "$work/binary" 1.0
fi

exits "the source builds with the header of 1.0" 0 build "$here/v1.0" frozen/sink_old.so
works "source of 1.0" "$work/frozen" 1.0

# A later minor: each struct that may grow has two more members, and a host of today does not know them.
mkdir -p later/include/audit
sed 's|^    /\* ABI 1.0 ends here \*/|&\n    uint64_t later_number;\n    void (*later_function)(void);|; s/^#define AW_ABI_MINOR .*/#define AW_ABI_MINOR 9/' \
    "$top_srcdir/include/audit/plugin.h" >later/include/audit/plugin.h
is "every struct that may grow has grown" "$(grep -c 'ABI 1.0 ends here' "$top_srcdir/include/audit/plugin.h")" "$(grep -c later_number later/include/audit/plugin.h)"
exits "the source builds with a later header" 0 build later/include later/sink_old.so
works "source of 1.9" "$work/later" 1.9

# The header of today can build what was written for 1.0.
mkdir today && chmod 755 today
exits "the source builds with today's header" 0 build "$top_srcdir/include" today/sink_old.so
works "with today's header" "$work/today" "1.$(awk '/define AW_ABI_MINOR/ { print $3 }' "$top_srcdir/include/audit/plugin.h")"
finish
