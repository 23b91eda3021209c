#!/bin/sh
# trial.sh - auditwell-trial on a configuration as users have it. SPDX-License-Identifier: Apache-2.0
set -u
: "${top_builddir:?}"
work=$(mktemp -d "${TMPDIR:-/tmp}/auditwell-trial-test.XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT INT TERM
n=0 failed=0
result() { # status, text
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$work/out" "$work/err"
    fi
}
trial() {
    mkdir -p "$work/scratch"
    TMPDIR=$work/scratch "$top_builddir/auditwell-trial" "$@" >"$work/out" 2>"$work/err"
}
umask 022
mkdir -p "$work/etc/conf.d" "$work/real"
cat >"$work/etc/audit.conf" <<EOF
service = "trial-test";
journal = { path = "$work/real/journal"; segment_size = "256KiB"; };
redaction = { keys = ( "n" ); };
EOF
cat >"$work/etc/conf.d/10-sinks.conf" <<EOF
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/real/audit.jsonl"; batch = { flush_interval = "2ms"; }; },
  { plugin = "sqlite"; name = "db"; path = "../real/audit.db"; batch = { flush_interval = "2ms"; }; }
);
EOF
trial -c "$work/etc/audit.conf" -n 8 -s 42
result $? "eight kills of a file and a database lose nothing"
grep -q '^fault trial: tried=8 lost=0 unexplained=0 seed=42, [1-9][0-9]* events acknowledged$' "$work/out"
result $? "it ends with the plain line"
[ "$(grep -c '^# sink [a-z]*: [1-9][0-9]* events, 0 missing ' "$work/out")" = 2 ]
result $? "both stores were read back"
grep -q "^# sink trail: path: $work/real/audit.jsonl -> $work/scratch/" "$work/out"
result $? "it says where the paths lead now"
[ -z "$(ls -A "$work/real")" ] && [ -z "$(ls -A "$work/scratch")" ]
result $? "journal and stores of the configuration are untouched, the scratch directory is removed"

# A sink that says that events are durable, and forgets each seventh.
cat >"$work/etc/forgetful.conf" <<EOF
plugin_path = "$top_builddir/tests/integration/cli/.libs";
sinks = ( { plugin = "plain"; path = "$work/real/forgetful.jsonl"; } );
EOF
rm "$work/etc/conf.d/10-sinks.conf"
trial -c "$work/etc/forgetful.conf" -n 8
[ $? -eq 1 ] && grep -q '^fault trial: tried=8 lost=[1-9][0-9]* ' "$work/out"
result $? "a sink that loses events is found out"

# One that has no ids, and gets again what was under way when the process was killed.
sed 's/forgetful/keyless/' "$work/etc/forgetful.conf" >"$work/etc/keyless.conf"
trial -c "$work/etc/keyless.conf" -n 8 -r plain
result $? "a sink that keeps no ids may have events again when -r says so, and has all"

# Its store is nowhere that could be led elsewhere.
cat >"$work/etc/remote.conf" <<EOF
plugin_path = "$top_builddir/tests/plugins/.libs";
sinks = ( { plugin = "m_good"; name = "far"; } );
EOF
trial -c "$work/etc/remote.conf" -n 1
[ $? -eq 2 ] && grep -q 'sink "far" (plugin m_good) keeps its events where no path says' "$work/err" && ! grep -q '^fault' "$work/out"
result $? "a sink with a store elsewhere is refused"
trial -c "$work/etc/remote.conf" -n 8 -a far
[ $? -eq 1 ] && grep -q 'WRITES TO ITS REAL STORE' "$work/out" && grep -q 'far: NOT JUDGED' "$work/out" &&
    grep -q 'no sink can be read back: nothing is shown' "$work/out"
result $? "unless it is named; when nothing can be read back, nothing is shown"
chmod 666 "$work/etc/remote.conf"
trial -c "$work/etc/remote.conf" -n 1 -a far
[ $? -eq 2 ] && grep -q 'must belong to root or to you' "$work/err"
result $? "a configuration that anybody may write is refused"
echo "1..$n"
exit $failed
