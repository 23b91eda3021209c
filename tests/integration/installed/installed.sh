#!/bin/sh
# Installs into a directory of its own, then uses only what is there: a program, a sink and the command.
# SPDX-License-Identifier: Apache-2.0
set -u
umask 022 # what others could change is not believed
: "${top_srcdir:?}" "${top_builddir:?}" "${CC:=cc}"
unset AUDITWELL_PLUGIN_PATH AUDITWELL_LIBEXEC_PATH AUDITWELL_DATA_PATH AUDITWELL_CONFIG MAKEFLAGS MAKELEVEL MFLAGS
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
root=$work/root
here=$top_srcdir/tests/integration/installed
n=0

result() { # WHAT COMMAND… : its status decides; its output is shown when it failed
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

install_all() {
    make -C "$top_builddir" install DESTDIR="$root"
}

# pkg-config as a cross build uses it: all paths in $root.
pc() {
    PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root$libdir/pkgconfig pkg-config "$@"
}

variable() {
    PKG_CONFIG_LIBDIR=$(dirname "$pc_file") pkg-config --variable="$1" auditwell-plugin
}

# Exactly these files, and no other: fixed names, and what this configuration has of plugins and manual pages.
right_files() {
    {
        printf '%s\n' "$libdir/libauditwell.so" "$libdir/libauditwell.so.0" "$libdir/libauditwell.so.0.0.0"
        printf '%s\n' "$libdir/pkgconfig/auditwell.pc" "$libdir/pkgconfig/auditwell-plugin.pc"
        printf '%s\n' "$includedir/auditwell/audit/audit.h" "$includedir/auditwell/audit/plugin.h"
        printf '%s\n' "$prefix/bin/auditwell" "$prefix/share/bash-completion/completions/auditwell"
        printf '%s\n' "$prefix/libexec/auditwell/auditwell-plugin-check" "$prefix/share/aclocal/auditwell.m4"
        for file in Makefile.am README.md autogen.sh check.sh configure.ac sink_hello.c; do
            echo "$prefix/share/auditwell/sink-hello/$file"
        done
        make -s -C "$top_builddir" print-plugins | sed "s|.*|$plugindir/&.so|"
        make -s -C "$top_builddir" print-man-pages | sed "s|.*\\.\\([0-9]\\)\$|$prefix/share/man/man\\1/&|"
    } | sort >"$work/expected"
    (cd "$root" && find . ! -type d | sed 's/^\.//') | sort >"$work/found"
    diff -u "$work/expected" "$work/found"
}

no_la_files() {
    found=$(find "$root" -name '*.la' -o -name '*.a')
    [ -z "$found" ] || { echo "$found"; return 1; }
}

# Nothing names the build tree, and nothing of the audit system of Linux is shadowed.
no_foreign_names() {
    found=$(cd "$root" && find . -path '*/include/audit' -o -name 'libaudit.*' -o -name 'audit.pc' -o -name 'auditd*' -o -name 'auditctl*')
    [ -z "$found" ] || { echo "$found"; return 1; }
    grep -rlF "$top_builddir" "$root$libdir/pkgconfig" "$root$includedir" && return 1
    return 0
}

one_symbol() {
    for plugin in "$root$plugindir"/*.so; do
        symbols=$(nm -D --defined-only "$plugin" | awk '$2 ~ /[TDRB]/ { print $3 }' | grep -v -E '^(__odr_asan|___asan|__asan|__tsan|__sancov)' || :)
        printf '%s\n' "$symbols" | grep -Eqx '([a-z0-9_]+_LTX_)?auditwell_plugin_v1' && [ "$(printf '%s\n' "$symbols" | wc -l)" -eq 1 ] || { echo "$plugin exports: $symbols"; return 1; }
        ! readelf -d "$plugin" | grep -E 'NEEDED.*libauditwell' || { echo "$plugin needs libauditwell"; return 1; }
        readelf -d "$plugin" | grep -q BIND_NOW || readelf -d "$plugin" | grep -q 'FLAGS_1.*NOW' || { echo "$plugin binds lazily"; return 1; }
    done
}

only_aw_symbols() {
    bad=$(nm -D --defined-only "$root$libdir/libauditwell.so" | awk '{ print $3 }' | grep -v -E '^aw_' |
        grep -v -E '^(__odr_asan|___asan|__asan|__tsan|__sancov)' || :)
    [ -z "$bad" ] || { echo "libauditwell.so exports: $bad"; return 1; }
}

headers_compile() { # STANDARD COMPILER
    for header in audit plugin; do
        printf '#include <audit/%s.h>\nint main(void) { return 0; }\n' "$header" >"$work/header.$3"
        # shellcheck disable=SC2046
        $2 -std="$1" -pedantic -Wall -Wextra -Werror -fsyntax-only $(pc --cflags auditwell-plugin) "$work/header.$3" || return 1
    done
}

build_program() {
    # shellcheck disable=SC2046,SC2086
    $CC ${CFLAGS-} -std=gnu11 -Wall -Wextra $(pc --cflags auditwell) "$here/program.c" -o "$work/program" ${LDFLAGS-} $(pc --libs auditwell)
}

# What a library keeps for each thread must fit in what the C library has left for such a late one.
loads_late() {
    # shellcheck disable=SC2086
    $CC ${CFLAGS-} -std=gnu11 -Wall -Wextra "$here/late.c" -o "$work/late" ${LDFLAGS-} -ldl -lpthread &&
        "$work/late" "$root$libdir/libauditwell.so.0"
}

# As somebody else would: a copy of the package, in a directory of its own, with a compiler and flags of its own.
package() {
    rm -rf "$work/sink-hello" && mkdir "$work/sink-hello" && cp "$root$prefix/share/auditwell/sink-hello/"* "$work/sink-hello" &&
        chmod -R u+w "$work/sink-hello"
}

at_home() { # COMMAND…: in the package, with the installed tree in place of the system's
    (cd "$work/sink-hello" && PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root$libdir/pkgconfig \
        ACLOCAL_PATH=$root$prefix/share/aclocal CFLAGS='-O2 -Wall -Wextra -Werror' LDFLAGS='' \
        LD_LIBRARY_PATH=$root$libdir AUDITWELL_PLUGIN_PATH=$root$plugindir \
        AUDITWELL_LIBEXEC_PATH=$root$prefix/libexec/auditwell PATH=$root$prefix/bin:$PATH "$@")
}

pc_is_right() {
    [ "$(variable abi_major)" = 1 ] && [ "$(variable abi_minor)" = "$(awk '/define AW_ABI_MINOR/ { print $3 }' "$top_srcdir/include/audit/plugin.h")" ] ||
        { echo "abi is $(variable abi_major).$(variable abi_minor)"; return 1; }
    [ "$(pc --libs auditwell-plugin)" = "" ] || { echo "libs: $(pc --libs auditwell-plugin)"; return 1; }
    grep -q 'links nothing of auditwell' "$pc_file" || { echo "the empty Libs has no reason"; return 1; }
    [ "$(PKG_CONFIG_LIBDIR=$(dirname "$pc_file") pkg-config --define-variable=libdir=/elsewhere --variable=plugindir auditwell-plugin)" = /elsewhere/auditwell/plugins-1 ] ||
        { echo "plugindir does not follow libdir"; return 1; }
}

configure_sink() {
    package && at_home ./autogen.sh && at_home ./configure --quiet --with-plugindir="$work/plugins"
}

build_sink() {
    at_home make && at_home make install && [ -f "$work/plugins/sink_hello.so" ] && [ ! -e "$work/plugins/sink_hello.la" ]
}

# The kit of this build may have a sanitizer in it, which the sink then has to be loaded with: `make check` of the package is tried
# where there is none.
sanitized() {
    grep -q '^#define AW_SANITIZED 1' "$top_builddir/config.h"
}

sink_checks() {
    at_home make check && grep -q '^PASS: check.sh' "$work/sink-hello/check.sh.log" "$work/sink-hello/test-suite.log" "$work/log" 2>/dev/null ||
        { cat "$work/sink-hello/test-suite.log"; return 1; }
}

# A package's distcheck installs: not where the system's plugins are.
sink_distcheck() {
    before=$(ls -la --time-style=full-iso "$root$plugindir" | cksum)
    chmod -R a-w "$root$plugindir"
    at_home make distcheck DISTCHECK_CONFIGURE_FLAGS='AUDITWELL='
    status=$?
    chmod -R u+w "$root$plugindir"
    [ $status -eq 0 ] && [ -f "$work/sink-hello/sink-hello-1.0.tar.gz" ] && [ "$before" = "$(ls -la --time-style=full-iso "$root$plugindir" | cksum)" ]
}

# An older auditwell than the plugin needs: configure says so.
refuses_newer() {
    package && sed -i 's/AX_AUDITWELL_PLUGIN(\[1\], \[0\])/AX_AUDITWELL_PLUGIN([1], [99])/' "$work/sink-hello/configure.ac" && at_home ./autogen.sh || return 1
    ! at_home ./configure --quiet 2>"$work/refused" || return 1
    cat "$work/refused"
    grep -q 'needs auditwell.s plugin ABI 1.99, found 1.0' "$work/refused"
}

new_package() {
    rm -rf "$work/new" && mkdir "$work/new" && cd "$work/new" && run "$root$prefix/bin/auditwell" plugins new courier &&
        rm -rf "$work/sink-hello" && mv sink-courier "$work/sink-hello" && at_home ./autogen.sh && at_home ./configure --quiet && at_home make &&
        (sanitized || at_home make check)
}

write_config() {
    cat >"$work/audit.conf" <<CONF
service = "installed";
plugin_path = "$work/plugins";
journal = { path = "$work/journal"; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/audit.jsonl"; },
  { plugin = "hello"; name = "greeter"; path = "$work/hello.jsonl"; }
);
CONF
}

run() { # with the installed library, and the plugins of the installed tree
    LD_LIBRARY_PATH=$root$libdir AUDITWELL_PLUGIN_PATH=$root$plugindir AUDITWELL_LIBEXEC_PATH=$root$prefix/libexec/auditwell \
        AUDITWELL_DATA_PATH=$root$prefix/share/auditwell "$@"
}

run_program() {
    write_config && run "$work/program" "$work/audit.conf" 500 >"$work/out" && cat "$work/out" && grep -qx '500 accepted' "$work/out"
}

trail_is_right() {
    [ "$(wc -l <"$work/audit.jsonl")" -eq 500 ] || { echo "$(wc -l <"$work/audit.jsonl") events in the file"; return 1; }
    ! grep -r -F canary-installed "$work/audit.jsonl" "$work/journal" || { echo "a secret was stored"; return 1; }
    run "$root$prefix/bin/auditwell" verify "$work/audit.jsonl"
}

sink_was_called() {
    [ "$(grep -c '"action":"thing.touch".*"id":"installed-test"' "$work/hello.jsonl")" -eq 500 ] || { head -n 3 "$work/hello.jsonl"; return 1; }
    run "$root$prefix/bin/auditwell" -c "$work/audit.conf" verify greeter
}

command_works() {
    run "$root$prefix/bin/auditwell" --version && run "$root$prefix/bin/auditwell" -c "$work/audit.conf" check &&
        run "$root$prefix/bin/auditwell" plugins list >"$work/out" && cat "$work/out" && grep -q file "$work/out"
}

if result "make install" install_all; then
    pc_file=$(find "$root" -name auditwell-plugin.pc)
    libdir=$(variable libdir) includedir=$(variable includedir) prefix=$(variable prefix)
    plugindir=$(variable plugindir)
    result "exactly the expected files" right_files
    result "no .la and no .a files" no_la_files
    result "no names of others, no paths of the build" no_foreign_names
    result "each plugin exports its entry only, binds at once, needs no libauditwell" one_symbol
    result "the library exports aw_* only" only_aw_symbols
    result "a running program can load the library" loads_late
    result "headers as C99" headers_compile c99 "$CC" c
    result "headers as C11" headers_compile c11 "$CC" c
    result "headers as C++11" headers_compile c++11 "${CXX:-c++}" cc
    result "auditwell-plugin.pc says what plugins need" pc_is_right
    if result "a program builds with pkg-config" build_program && result "a sink's configure finds it by AX_AUDITWELL_PLUGIN" configure_sink &&
        result "the sink builds and installs" build_sink; then
        result "the program runs" run_program
        result "its trail is complete, clean, and verifies" trail_is_right
        result "the sink got every event" sink_was_called
        result "the command works" command_works
        sanitized || result "the sink's own make check passes" sink_checks
        result "the sink's own make distcheck leaves our plugin directory alone" sink_distcheck
        result "a plugin that needs a newer ABI is told so by configure" refuses_newer
        result "plugins new: a package that builds and passes" new_package
    fi
fi
echo "1..$n"
