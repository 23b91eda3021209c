# aw_build.m4 - warnings, sanitizers, hardening and plugin switches of auditwell's own build.
# SPDX-License-Identifier: Apache-2.0

# AW_TRY_CFLAGS(VARIABLE, FLAG...): appends each flag the compiler takes.
AC_DEFUN([AW_TRY_CFLAGS], [
  for aw_flag in $2; do
    aw_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS $aw_flag -Werror"
    AC_MSG_CHECKING([whether $CC takes $aw_flag])
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes]); $1="$$1 $aw_flag"], [AC_MSG_RESULT([no])])
    CFLAGS=$aw_saved_CFLAGS
  done
])

AC_DEFUN([AW_TRY_LDFLAGS], [
  for aw_flag in $2; do
    aw_saved_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS $aw_flag"
    AC_MSG_CHECKING([whether the linker takes $aw_flag])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes]); $1="$$1 $aw_flag"], [AC_MSG_RESULT([no])])
    LDFLAGS=$aw_saved_LDFLAGS
  done
])

AC_DEFUN([AW_WARNINGS], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors [no]])], [], [enable_werror=no])
  AW_CFLAGS=
  AW_TRY_CFLAGS([AW_CFLAGS], [-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
    -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -fvisibility=hidden])
  AS_IF([test "x$enable_werror" = xyes], [AW_CFLAGS="$AW_CFLAGS -Werror"])
  AC_SUBST([AW_CFLAGS])
])

AC_DEFUN([AW_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers=LIST], [build with -fsanitize=LIST, e.g. address,undefined or thread [no]])],
    [], [enable_sanitizers=no])
  AC_ARG_ENABLE([fuzzing], [AS_HELP_STRING([--enable-fuzzing], [libFuzzer targets; needs clang [no]])], [], [enable_fuzzing=no])
  AS_IF([test "x$enable_sanitizers" != xno], [
    CFLAGS="$CFLAGS -fsanitize=$enable_sanitizers -fno-omit-frame-pointer -fno-sanitize-recover=all"
    CXXFLAGS="$CXXFLAGS -fsanitize=$enable_sanitizers"
    LDFLAGS="$LDFLAGS -fsanitize=$enable_sanitizers"
    AC_DEFINE([AW_SANITIZED], [1], [built with a sanitizer])
  ])
  AS_IF([test "x$enable_fuzzing" = xyes], [
    CFLAGS="$CFLAGS -fsanitize=fuzzer-no-link"
  ])
  AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
  AM_CONDITIONAL([SANITIZED], [test "x$enable_sanitizers" != xno])
])

AC_DEFUN([AW_HARDENING], [
  AW_LDFLAGS=
  AW_TRY_LDFLAGS([AW_LDFLAGS], [-Wl,-z,relro -Wl,-z,now])
  AC_SUBST([AW_LDFLAGS])
  # Plugins import nothing from the core, so that undefined symbols can be refused; sanitizer run times are the exception.
  AW_PLUGIN_LDFLAGS=
  AW_TRY_LDFLAGS([AW_PLUGIN_LDFLAGS], [-Wl,-z,now -Wl,-z,nodelete -Wl,-z,relro])
  AS_IF([test "x$enable_sanitizers" = xno && test "x$enable_fuzzing" != xyes],
    [AW_TRY_LDFLAGS([AW_PLUGIN_LDFLAGS], [-Wl,-z,defs])])
  AC_SUBST([AW_PLUGIN_LDFLAGS])
])

# AW_PLUGIN_OPTION(NAME, WHAT): --with-NAME=auto|yes|no; sets aw_plugin_NAME and aw_why_NAME.
AC_DEFUN([AW_PLUGIN_OPTION], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1=auto|yes|no], [sink "$1": $2 [auto]])], [], [with_$1=auto])
  AS_CASE([$with_$1], [auto|yes], [aw_plugin_$1=yes; aw_why_$1=], [no], [aw_plugin_$1=no; aw_why_$1="--with-$1=no"],
    [AC_MSG_ERROR([--with-$1 takes auto, yes or no, not "$with_$1"])])
  m4_append([AW_ALL_PLUGINS], [$1 ])
  AM_CONDITIONAL([SINK_]m4_toupper([$1]), [test "x$aw_plugin_$1" = xyes])
])

# AW_PLUGIN_NEEDS_PKG(NAME, VARIABLE, PKG-CONFIG SPEC)
AC_DEFUN([AW_PLUGIN_NEEDS_PKG], [
  AS_IF([test "x$aw_plugin_$1" = xyes], [
    PKG_CHECK_MODULES([$2], [$3], [], [
      AS_IF([test "x$with_$1" = xyes], [AC_MSG_ERROR([--with-$1=yes, but $3 was not found])])
      aw_plugin_$1=no
      aw_why_$1="$3 not found"
    ])
  ])
  AM_CONDITIONAL([SINK_]m4_toupper([$1]), [test "x$aw_plugin_$1" = xyes])
])

# --enable-builtin-plugins=LIST: these sinks become convenience archives, which libtool preloads into libauditwell
# (-dlpreopen): core/plugin/dso.c finds them in the table that libtool makes. BUILTIN_LIBS is what the archives need.
AC_DEFUN([AW_PRELOAD_SETUP], [
  BUILTIN_DLPREOPEN=
  BUILTIN_DEPENDENCIES=
  BUILTIN_LIBS=
  AS_CASE([$enable_builtin_plugins], [yes], [AC_MSG_ERROR([--enable-builtin-plugins takes a list, e.g. null,file])],
    [no|''], [aw_builtin=], [aw_builtin=`echo "$enable_builtin_plugins" | tr ',' ' '`])
  for aw_name in $aw_builtin; do
    AS_CASE([" AW_ALL_PLUGINS "], [*" $aw_name "*], [], [AC_MSG_ERROR([--enable-builtin-plugins: there is no plugin "$aw_name"])])
    eval "aw_on=\$aw_plugin_$aw_name"
    AS_IF([test "x$aw_on" != xyes], [AC_MSG_ERROR([--enable-builtin-plugins: the plugin "$aw_name" is not enabled])])
    BUILTIN_DLPREOPEN="$BUILTIN_DLPREOPEN -dlpreopen sink_$aw_name.la"
    BUILTIN_DEPENDENCIES="$BUILTIN_DEPENDENCIES sink_$aw_name.la"
    AS_CASE([$aw_name], [file], [BUILTIN_LIBS="$BUILTIN_LIBS $ZSTD_LIBS"], [sqlite], [BUILTIN_LIBS="$BUILTIN_LIBS $SQLITE_LIBS"],
      [kafka], [BUILTIN_LIBS="$BUILTIN_LIBS $KAFKA_LIBS"],
      [mongodb], [BUILTIN_LIBS="$BUILTIN_LIBS $MONGOC_LIBS"],
      [nats], [BUILTIN_LIBS="$BUILTIN_LIBS $NATS_LIBS"],
      [http], [BUILTIN_LIBS="$BUILTIN_LIBS $CURL_LIBS $ZLIB_LIBS $ZSTD_LIBS"],
      [postgres], [BUILTIN_LIBS="$BUILTIN_LIBS $LIBPQ_LIBS"])
  done
  AC_SUBST([BUILTIN_DLPREOPEN])
  AC_SUBST([BUILTIN_DEPENDENCIES])
  AC_SUBST([BUILTIN_LIBS])
  AC_SUBST([BUILTIN_SINKS], [$aw_builtin])
  AS_IF([test -n "$aw_builtin"], [AC_DEFINE([AW_BUILTIN_PLUGINS], [1], [plugins are linked into the library])])
  AM_CONDITIONAL([BUILTIN_PLUGINS], [test -n "$aw_builtin"])
  m4_foreach_w([aw_p], AW_ALL_PLUGINS,
    [AM_CONDITIONAL([BUILTIN_SINK_]m4_toupper(aw_p), [case " $aw_builtin " in *" aw_p "*) :;; *) false;; esac])
])
])

AC_DEFUN([AW_SUMMARY], [
  aw_line() { printf '  %-14s %-4s %s\n' "$[]1" "$[]2" "$[]3"; }
  echo
  echo "auditwell $PACKAGE_VERSION"
  echo "  compiler       $CC, sanitizers: $enable_sanitizers, fuzzing: $enable_fuzzing, werror: $enable_werror"
  echo "  plugin dir     $plugindir"
  echo "  built in       $enable_builtin_plugins"
  echo
  echo "  plugin         on   why"
  m4_foreach_w([aw_p], AW_ALL_PLUGINS, [aw_line "sink aw_p" "$aw_plugin_[]aw_p" "$aw_why_[]aw_p"
])
  AS_IF([test $have_zstd = yes], [aw_line "zstd" yes ""], [aw_line "zstd" no "libzstd not found, or --with-zstd=no: for file and http"])
  AS_IF([test $have_zlib = yes], [aw_line "gzip" yes ""], [aw_line "gzip" no "zlib not found, or --with-zlib=no: for http"])
  AS_IF([test -n "$SCDOC"], [aw_line "man pages" yes ""], [aw_line "man pages" no "scdoc not found"])
  AS_IF([test $have_cunit = yes], [aw_line "unit tests" yes ""], [aw_line "unit tests" no "CUnit not found: install libcunit1-dev"])
  echo
])
