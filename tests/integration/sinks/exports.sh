#!/bin/sh
# exports.sh - what the built plugins export and need: one symbol, nothing of ours, bound at load time.
# SPDX-License-Identifier: Apache-2.0
: "${top_srcdir:?}" "${top_builddir:?}"
dir=$top_builddir/.libs
plan=0
note() { echo "# $*"; }
report() { # OK? NAME
    plan=$((plan + 1))
    if [ "$1" = 0 ]; then echo "ok $plan - $2"; else echo "not ok $plan - $2"; fi
}
for so in "$dir"/sink_file.so "$dir"/sink_sqlite.so "$dir"/sink_http.so "$dir"/sink_null.so \
    "$dir"/sink_kafka.so "$dir"/sink_mongodb.so; do
    [ -f "$so" ] || continue # switched off, or built in
    name=$(basename "$so" .so)
    symbols=$(nm -D --defined-only "$so" | awk '$2 != "A" {print $3}')
    [ "$symbols" = "${name}_LTX_auditwell_plugin_v1" ]
    report $? "$name exports its entry alone"
    [ "$symbols" = "${name}_LTX_auditwell_plugin_v1" ] || note "it exports: $symbols"
    needed=$(readelf -dW "$so" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
    case $needed in *auditwell* | *ltdl* | *config*) bad=1 ;; *) bad=0 ;; esac
    report $bad "$name needs nothing of auditwell"
    [ $bad = 0 ] || note "it needs: $needed"
    case $name in
    sink_sqlite) case $needed in *libcurl* | *librdkafka* | *libmongoc*) bad=1 ;; *libsqlite3*) bad=0 ;; *) bad=1 ;; esac ;;
    sink_http) case $needed in *libsqlite3* | *librdkafka* | *libmongoc*) bad=1 ;; *libcurl*) bad=0 ;; *) bad=1 ;; esac ;;
    sink_kafka) case $needed in *libsqlite3* | *libcurl* | *libmongoc*) bad=1 ;; *librdkafka*) bad=0 ;; *) bad=1 ;; esac ;;
    sink_mongodb) case $needed in *libsqlite3* | *libcurl* | *librdkafka*) bad=1 ;; *libmongoc*) bad=0 ;; *) bad=1 ;; esac ;;
    *) case $needed in *libsqlite3* | *libcurl* | *librdkafka* | *libmongoc*) bad=1 ;; *) bad=0 ;; esac ;;
    esac
    report $bad "$name needs the libraries of its own store only"
    readelf -dW "$so" | grep -Eq 'BIND_NOW|FLAGS_1.*NOW'
    report $? "$name is bound at load time"
    readelf -dW "$so" | grep -q 'FLAGS_1.*NODELETE'
    report $? "$name is never unloaded"
done
# The sources: the plugin header is the only one of ours that they include.
src=$top_srcdir/plugins/sinks
foreign=$(grep -hE '^#include "' "$src"/file/*.[ch] "$src"/sqlite/*.[ch] "$src"/http/*.[ch] "$src"/null/*.[ch] \
    "$src"/kafka/*.[ch] "$src"/mongodb/*.[ch] | sort -u |
    grep -vE '"(config.h|audit/plugin.h|file_sink.h|sqlite_sink.h|http_sink.h|http_reply.h|kafka_sink.h|mongo_sink.h)"')
[ -z "$foreign" ]
report $? "the sinks include no header of the core"
[ -z "$foreign" ] || note "$foreign"
echo "1..$plan"
