#!/bin/sh
# The two programs of README.md, built from its text, and those of examples/, do what they say.
# SPDX-License-Identifier: Apache-2.0
set -u
umask 022 # what others could change is not believed
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

# examples/embed.c: a rename that works, and one that does not.
run_example() {
    (cd "$work" && mkdir e && : >e/from.txt && "$top_builddir/examples/embed" "$work/e" e/from.txt e/to.txt && [ -f e/to.txt ] &&
        "$top_builddir/examples/embed" "$work/e" e/none.txt e/to.txt) || return 1
    grep -q '"action":"document.rename".*"new":"e/to.txt".*"tenantId":"acme"' "$work/e/audit.jsonl" ||
        grep -q '"tenantId":"acme".*"new":"e/to.txt"' "$work/e/audit.jsonl" || return 1
    grep -c '"outcome":"FAILURE"' "$work/e/audit.jsonl" && [ "$(wc -l <"$work/e/audit.jsonl")" -eq 2 ]
}

# examples/sink-hello, as make check has built it.
run_sink_example() {
    mkdir "$work/hello" && cp "$top_builddir/sink_hello.so" "$work/hello/" && chmod 755 "$work/hello/sink_hello.so" || return 1
    cat >"$work/greeter.conf" <<CONF
service = "example";
plugin_path = "$work/hello";
journal = { path = "$work/journal3"; };
sinks = ( { plugin = "hello"; name = "greeter"; path = "$work/hello.jsonl"; } );
CONF
    "$top_builddir/auditwell" -c "$work/greeter.conf" log --action user.login --actor user:alice || return 1
    cat "$work/hello.jsonl"
    [ "$(wc -l <"$work/hello.jsonl")" -eq 1 ] && grep -q '"action":"user.login".*"id":"alice"' "$work/hello.jsonl" &&
        "$top_builddir/auditwell" -c "$work/greeter.conf" verify greeter
}

# The demo's generator: the same events each time, valid ones, and each secret that it names is in them.
run_generator() {
    "$top_builddir/examples/gen_events" -n 300 -k "$work/secrets" >"$work/g1" && "$top_builddir/examples/gen_events" -n 300 >"$work/g2" || return 1
    cmp "$work/g1" "$work/g2" && [ "$(wc -l <"$work/g1")" -eq 300 ] && [ "$(wc -l <"$work/secrets")" -ge 600 ] || return 1
    while read -r secret; do
        grep -qF "$secret" "$work/g1" || { echo "$secret is not in the events"; return 1; }
    done <"$work/secrets"
    "$top_builddir/auditwell" -c "$work/audit.conf" log --strict <"$work/g1" || return 1
    ! grep -aF -f "$work/secrets" "$work/audit.jsonl" || { echo "secrets were stored"; return 1; }
}

awk -v prefix="$work/r-" -f "$top_srcdir/tests/docs/snippets.awk" "$top_srcdir/README.md" >/dev/null
result "lengths" lengths
if result "the embedding example links" build_embed && result "the configuration is there" config; then
    result "the embedding example logs an event to both sinks" run_embed
fi
if result "the sink example builds" build_sink; then
    result "the sink example is loaded and delivers" run_sink
fi
result "examples/embed" run_example
result "examples/sink-hello" run_sink_example
result "examples/gen_events, and nothing secret of it is stored" run_generator
echo "1..$n"
