#!/bin/sh
# The two public headers compile alone, in every language they promise. SPDX-License-Identifier: Apache-2.0
set -u
: "${top_srcdir:?}"
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
n=0
try() { # COMPILER STANDARD EXTENSION HEADER
    n=$((n + 1))
    printf '#include <audit/%s>\n' "$4" >"$work/h.$3"
    if [ "$4" = plugin.h ]; then
        # A whole plugin: the macros and the inline functions are used, too.
        cat >>"$work/h.$3" <<'EOF'
static int32_t make(const struct aw_host *h, const struct aw_config *c, void **ret)
{
    (void)c;
    (void)ret;
    aw_host_log(h, AW_LOG_INFO, "%d", 1);
    aw_host_event_error(h, 0, "%s", "x");
    return AW_HAS(struct aw_host, h, extension) ? aw_host_error(h, AW_E_CONFIG, "%s", "no") : AW_OK;
}
static int32_t put(void *s, const struct aw_batch *b, struct aw_result *r)
{
    (void)s;
    (void)b;
    (void)r;
    return AW_OK;
}
static void end(void *s) { (void)s; }
static const struct aw_sink_class sink = {(uint32_t)sizeof(struct aw_sink_class), AW_THREADS_SERIAL_INSTANCE, AW_DURABLE_NEVER, 0,
    "x", "x", NULL, make, NULL, put, NULL, NULL, NULL, NULL, NULL, NULL, end, NULL};
static const struct aw_sink_class *const sinks[] = {&sink, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD, "org.example.x", "1", "Apache-2.0", "x", NULL, sinks, NULL, NULL, NULL};
AW_PLUGIN_REGISTER(plugin)
EOF
    fi
    if $1 -std="$2" -pedantic -Wall -Wextra -Werror -I"$top_srcdir/include" -c "$work/h.$3" -o "$work/h.o" >"$work/log" 2>&1; then
        echo "ok $n - $4 as $2 ($1)"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $n - $4 as $2 ($1)"
    fi
}
for header in audit.h plugin.h; do
    for compiler in gcc clang; do
        command -v $compiler >/dev/null 2>&1 || continue
        try $compiler c99 c $header
        try $compiler c11 c $header
    done
    for compiler in g++ clang++; do
        command -v $compiler >/dev/null 2>&1 || continue
        try $compiler c++11 cc $header
    done
done
[ $n -gt 0 ] || { echo "1..0 # SKIP no compiler was found"; exit 0; }
echo "1..$n"
