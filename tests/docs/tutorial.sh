#!/bin/sh
# docs/writing-a-sink.md: its code, put together, is examples/sink-hello/sink_hello.c, compiles, and passes the conformance kit.
# SPDX-License-Identifier: Apache-2.0
umask 022 # what others could change is not believed
. "$(dirname "$0")/../integration/cli/lib.sh"
: "${CC:=cc}"
awk '/^```c sink_hello.c$/ { on = 1; next } /^```/ { on = 0 } on' "$top_srcdir/docs/writing-a-sink.md" >sink_hello.c
is "the tutorial has the whole sink" "$(grep -v '^$' "$top_srcdir/examples/sink-hello/sink_hello.c" | cksum)" "$(grep -v '^$' sink_hello.c | cksum)"
# shellcheck disable=SC2086
exits "it compiles" 0 "$CC" ${CFLAGS-} -Wall -Wextra -Wpedantic -Werror -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -shared -Wl,-z,now \
    -I"$top_srcdir/include" -o sink_hello.so sink_hello.c ${LDFLAGS-}
exits "it passes the conformance kit" 0 "$aw" plugins check ./sink_hello.so --fail-libraries --patience 4
matches "nearly all checks apply" out '^(4[7-9]|5[0-9]) passed, 0 failed'
# What the tutorial says to break is found.
breaks() { # NAME CHECK SED-EXPRESSION
    sed "$3" sink_hello.c >broken.c
    if cmp -s sink_hello.c broken.c; then fail "$1" "the code was not changed"; return; fi
    # shellcheck disable=SC2086
    "$CC" ${CFLAGS-} -std=gnu11 -D_GNU_SOURCE -w -fPIC -fvisibility=hidden -shared -Wl,-z,now -I"$top_srcdir/include" -o sink_broken.so broken.c \
        ${LDFLAGS-} || fail "$1" "does not compile"
    exits "$1: found by $2" 1 "$aw" plugins check ./sink_broken.so --only "$2" --patience 2
}
breaks "a torn line is left" io 's/if (hello->unclean \&\& ftruncate(hello->fd, hello->size) != 0)/if (false)/'
breaks "a failed sync is called good" sync 's/if (fdatasync(hello->fd) != 0) {/if (fdatasync(hello->fd) == 12345) {/'
breaks "durable without a sync" synced 's/if (fdatasync(hello->fd) != 0) {/if (false) {/'
breaks "the lock is held over the host's functions" health \
    's/^    int32_t rc = clean(hello);$/    pthread_mutex_lock(\&hello->lock); int32_t rc = clean(hello);/; s/^    if (rc != AW_OK)$/    pthread_mutex_unlock(\&hello->lock); if (rc != AW_OK)/'
finish
