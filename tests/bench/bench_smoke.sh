#!/bin/sh
# bench_smoke.sh - runs the benchmark with tiny sizes and asserts that every figure's line is there and can be parsed. The
# figures themselves mean nothing here. SPDX-License-Identifier: Apache-2.0
set -u
b=$top_builddir
work=$(mktemp -d "${TMPDIR:-/tmp}/auditwell-smoke.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT INT TERM
n=0 failed=0
kafka= # the figure of a sink that may be switched off
[ ! -f "$b/.libs/sink_kafka.so" ] || kafka=kafka_sink
result() { # status, text
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
    fi
}
TMPDIR=$work "$b/auditwell-bench" -s -t "$b/tests/plugins/.libs" -a "$b/auditwell" -m "$b/bench-memory" >"$work/out" 2>"$work/err" </dev/null
status=$?
[ $status -eq 0 ]
result $? "the benchmark ends with status 0"
sed 's/^/# /' "$work/err" # what the command and the library said, to be read by people
[ $status -eq 0 ] || sed 's/^/# /' "$work/out"
http=
[ ! -f "$b/.libs/sink_http.so" ] || http='http_write http_sink http_unstored'
stores=
[ ! -e "$b/.libs/sink_exec.so" ] || stores="$stores exec_sink"
if [ -e "$b/.libs/sink_nats.so" ] && PATH=$PATH:/usr/sbin command -v nats-server >/dev/null; then stores="$stores nats_sink nats_sink_live"; fi
postgres=
if [ -e "$b/.libs/sink_postgres.so" ] && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    postgres="postgres_sink postgres_block_p50 postgres_block_p99 postgres_block_disk_p50 postgres_block_disk_p99"
fi
number='[0-9][0-9]*\(\.[0-9][0-9]*\)*'
for name in limit_chain_hash limit_buffered_write json_journal builder_journal producers_4 latency_p50 latency_p99 \
    latency_p99_9 durable_64 durable_64_preallocated durable_1024 durable_1024_preallocated durable_producers_64 \
    durable_producers_64_p50 durable_producers_64_p99 catch_up three_sinks_cpu sink_hung_p99 sink_hung_lag \
    sink_slow_p99 sink_slow_lag sink_flapping_p99 sink_flapping_lag sink_partial_p99 sink_partial_lag sink_lying_p99 \
    sink_lying_lag cli_file sqlite_sink $http $kafka $stores $postgres \
    verify_1_core verify_all_cores rss allocations_json allocations_builder; do
    c=$(grep -c "^bench $name value=$number unit=[A-Za-z/_]* limit=$number ratio=$number target=\(-\|$number\)\$" "$work/out")
    [ "$c" = 1 ]
    result $? "figure $name has its one line"
done
grep -q '^# machine: ' "$work/out" && grep -q '^# versions: .*OpenSSL .*SQLite ' "$work/out"
result $? "machine and versions are named"
[ "$(grep -c '^bench allocations_[a-z]* value=0 ' "$work/out")" = 2 ]
result $? "no call allocates after warm-up"
set -- "$work"/auditwell-bench.*
[ ! -e "$1" ]
result $? "the scratch directory is removed"
echo "1..$n"
exit $failed
