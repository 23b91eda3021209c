# lib.sh - TAP helpers for the tests of the command. Sourced. SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
LC_ALL=C.UTF-8
export LC_ALL
unset AUDITWELL_CONFIG NO_COLOR COLUMNS XDG_CONFIG_HOME XDG_STATE_HOME STATE_DIRECTORY
# Without libtool's wrapper, which takes longer than most of what is tested, where that can be.
aw=$top_builddir/auditwell
if [ -x "$top_builddir/.libs/auditwell" ]; then
    aw=$top_builddir/.libs/auditwell
    LD_LIBRARY_PATH=$top_builddir/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
HOME=$work/home
export HOME
mkdir "$HOME"
cd "$work" || exit 99
n=0
failed=0

pass() {
    n=$((n + 1))
    echo "ok $n - $1"
}
fail() { # NAME DETAIL…
    n=$((n + 1))
    failed=$((failed + 1))
    echo "not ok $n - $1"
    shift
    for detail in "$@"; do
        printf '%s\n' "$detail" | sed 's/^/#   /'
    done
}
skip() { # NAME REASON
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}
is() { # NAME EXPECTED FOUND
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "expected: $2" "found:    $3"; fi
}
# Runs a command; then $status, out and err. Standard input is the caller's.
run() {
    "$@" >out 2>err
    status=$?
}
# NAME STATUS COMMAND…: the exit code.
exits() {
    name=$1
    want=$2
    shift 2
    run "$@"
    if [ "$status" = "$want" ]; then
        pass "$name: exit $want"
    else
        fail "$name: exit $want" "found: $status" "command: $*" "stdout: $(head -c 800 out | cat -v)" "stderr: $(head -c 1500 err | cat -v)"
    fi
}
has() { # NAME FILE TEXT: the file contains this fixed text
    if LC_ALL=C grep -q -F -e "$3" "$2"; then pass "$1"; else fail "$1" "expected text: $3" "in $2: $(head -c 1500 "$2" | cat -v)"; fi
}
hasnt() { # NAME FILE TEXT
    if LC_ALL=C grep -q -F -e "$3" "$2"; then fail "$1" "unwanted text: $3" "in $2: $(head -c 1500 "$2" | cat -v)"; else pass "$1"; fi
}
matches() { # NAME FILE ERE
    if grep -q -E -e "$3" "$2"; then pass "$1"; else fail "$1" "expected pattern: $3" "in $2: $(head -c 1500 "$2" | cat -v)"; fi
}
empty() { # NAME FILE
    if [ -s "$2" ]; then fail "$1" "$2 is not empty: $(head -c 800 "$2" | cat -v)"; else pass "$1"; fi
}
# SECONDS COMMAND…: waits until the command succeeds.
wait_until() {
    tries=$(($1 * 20))
    shift
    while [ $tries -gt 0 ]; do
        "$@" && return 0
        tries=$((tries - 1))
        sleep 0.05
    done
    return 1
}
lines() {
    wc -l <"$1" | tr -d ' '
}
have_plugin() {
    "$aw" plugins describe "$1" >/dev/null 2>&1
}
# A configuration in directory $1 with a file sink "trail" and, with $2 = sqlite, a second sink "db".
configure() {
    mkdir -p "$1"
    {
        echo "service = \"test\";"
        echo "journal = { path = \"$work/$1/journal\"; };"
        echo "sinks = ("
        [ "${2-}" != sqlite ] || echo "  { plugin = \"sqlite\"; name = \"db\"; path = \"$work/$1/audit.db\"; },"
        echo "  { plugin = \"file\"; name = \"trail\"; path = \"$work/$1/audit.jsonl\"; }"
        echo ");"
    } >"$1/audit.conf"
}
# events COUNT: simple events on standard output, tenants t0..t2.
events() {
    awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++)
        printf "{\"action\":\"user.login\",\"outcome\":\"%s\",\"actor\":{\"type\":\"user\",\"id\":\"u%d\"},\"target\":{\"type\":\"app\",\"id\":\"a%d\"},\"context\":{\"tenantId\":\"t%d\",\"occurredAt\":\"2026-01-02T03:04:%02d.000Z\"},\"metadata\":{\"n\":%d}}\n", i % 5 ? "SUCCESS" : "DENIED", i % 7, i % 4, i % 3, i % 60, i }'
}
finish() {
    echo "1..$n"
    [ "$failed" -eq 0 ]
    exit
}

# FILE OFFSET: changes one byte there.
flip() {
    byte=$(dd if="$1" bs=1 skip="$2" count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %o $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
