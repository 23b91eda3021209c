#!/bin/sh
# Writes the baselines of the plugin ABI anew: layout-lp64.txt and plugin.abi. Only for additions, and until the first release; see
# docs/abi-changelog.md. SPDX-License-Identifier: Apache-2.0
#
#   sh tests/abi/update.sh            the baselines of the current header
#   sh tests/abi/update.sh freeze     also v1.0/audit/plugin.h and the binary plugin: only before the release of 1.0
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -std=gnu11 -I../../include layout.c -o "$work/layout"
"$work/layout" >layout-lp64.txt
gcc -std=gnu11 -g -gdwarf-4 -O0 -fPIC -shared -I../../include probe.c -o "$work/libprobe.so"
abidw --no-corpus-path --no-comp-dir-path --short-locs "$work/libprobe.so" >plugin.abi
if [ "${1-}" = freeze ]; then
    cp ../../include/audit/plugin.h v1.0/audit/plugin.h
    [ "$(uname -m)" = x86_64 ] || { echo "the binary plugin is made on x86-64"; exit 1; }
    gcc -std=gnu11 -D_GNU_SOURCE -O2 -fPIC -fvisibility=hidden -shared -s -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete -Iv1.0 sink_old.c \
        -o "$work/sink_old.so"
    base64 -w 120 "$work/sink_old.so" >sink_old.so.base64
fi
