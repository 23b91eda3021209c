#!/bin/sh
# The two programs of README.md, built from its text, do what it says.
# SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}" "${top_builddir:?}" "${CC:=cc}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
n=0
result() {
    n=$((n + 1))
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok $n - $what"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $n - $what"
        return 1
    fi
}

# The README promises 20 lines of C for embedding and 40 for a sink.
lengths() {
    one=$(grep -vc '^#line' "$work/r-1.c") two=$(grep -vc '^#line' "$work/r-2.c")
    echo "$one and $two lines"
    [ "$one" -le 20 ] && [ "$two" -le 40 ]
}

build_embed() {
    # shellcheck disable=SC2086
    "$top_builddir/libtool" --quiet --tag=CC --mode=link $CC ${CFLAGS-} -I"$top_srcdir/include" "$work/r-1.c" -o "$work/embed" ${LDFLAGS-} \
        "$top_builddir/libauditwell.la"
}

# The audit.conf of the README, with its directories moved.
config() {
    awk '/^```$/ { on = !on; next } on && /^service = /, /^\);/' "$top_srcdir/README.md" | sed "s|\"/var/lib/auditwell|\"$work|; s|\"/var/log/auditwell|\"$work|" >"$work/audit.conf"
    grep -q "$work/journal" "$work/audit.conf" && grep -q "$work/audit.jsonl" "$work/audit.conf"
}

run_embed() {
    (cd "$work" && "$work/embed") || return 1
    grep -q '"action":"invoice.approve"' "$work/audit.jsonl" && grep -q '"amount":129.9' "$work/audit.jsonl" && grep -q '"tenantId":"acme"' "$work/audit.jsonl"
}

build_sink() {
    # shellcheck disable=SC2086
    mkdir "$work/plugins" && $CC ${CFLAGS-} -fPIC -fvisibility=hidden -I"$top_srcdir/include" -shared -Wl,-z,now "$work/r-2.c" \
        -o "$work/plugins/sink_hello.so" ${LDFLAGS-} && chmod 755 "$work/plugins/sink_hello.so"
}

run_sink() {
    cat >"$work/hello.conf" <<CONF
service = "readme";
plugin_path = "$work/plugins";
journal = { path = "$work/journal2"; };
sinks = ( { plugin = "hello"; } );
CONF
    "$top_builddir/auditwell" -c "$work/hello.conf" log --action user.login --outcome SUCCESS --actor user:alice
}

awk -v prefix="$work/r-" -f "$top_srcdir/tests/docs/snippets.awk" "$top_srcdir/README.md" >/dev/null
result "lengths" lengths
if result "the embedding example links" build_embed && result "the configuration is there" config; then
    result "the embedding example logs an event to both sinks" run_embed
fi
if result "the sink example builds" build_sink; then
    result "the sink example is loaded and delivers" run_sink
fi
echo "1..$n"
