# auditwell.m4 - for packages with plugins for auditwell.
# SPDX-License-Identifier: Apache-2.0
#
# AX_AUDITWELL_PLUGIN([ABI MAJOR = 1], [ABI MINOR = 0], [IF FOUND], [IF NOT FOUND = error])
#
# Looks for auditwell's plugin header by pkg-config. Adds --with-plugindir=DIR, and sets:
#
#   AUDITWELL_PLUGIN_CFLAGS   where the header is; no symbol is exported but what says so
#   AUDITWELL_PLUGIN_LDFLAGS  for libtool, behind -module (automake wants to see that word itself): a file that exports its entry alone, bound when it is loaded, never unloaded
#   plugindir                 where plugins are installed; AM_DISTCHECK_CONFIGURE_FLAGS should name one below the prefix
#
# There is nothing to link: every function of the host comes in struct aw_host. Use it after LT_INIT.
AC_DEFUN([AX_AUDITWELL_PLUGIN], [
  AC_REQUIRE([PKG_PROG_PKG_CONFIG])
  AC_ARG_WITH([plugindir],
    [AS_HELP_STRING([--with-plugindir=DIR], [where the plugin is installed [auditwell's plugin directory]])],
    [], [with_plugindir=])
  aw_abi_major=m4_default([$1], [1])
  aw_abi_minor=m4_default([$2], [0])
  aw_problem=
  PKG_CHECK_EXISTS([auditwell-plugin], [], [aw_problem="auditwell's plugin header was not found; set PKG_CONFIG_PATH to where auditwell-plugin.pc is"])
  AS_IF([test -z "$aw_problem"], [
    AC_MSG_CHECKING([for auditwell's plugin ABI $aw_abi_major.$aw_abi_minor])
    aw_found_major=`$PKG_CONFIG --variable=abi_major auditwell-plugin`
    aw_found_minor=`$PKG_CONFIG --variable=abi_minor auditwell-plugin`
    AC_MSG_RESULT([$aw_found_major.$aw_found_minor])
    AS_IF([test "x$aw_found_major" != "x$aw_abi_major" || test "$aw_found_minor" -lt "$aw_abi_minor"],
      [aw_problem="the plugin needs auditwell's plugin ABI $aw_abi_major.$aw_abi_minor, found $aw_found_major.$aw_found_minor"])
  ])
  AS_IF([test -z "$aw_problem"], [
    AUDITWELL_PLUGIN_CFLAGS="`$PKG_CONFIG --cflags auditwell-plugin` -fvisibility=hidden"
    AUDITWELL_PLUGIN_LDFLAGS='-avoid-version -shared -no-undefined -export-symbols-regex ^auditwell_plugin_v[[0-9]]+$$'
    for aw_flag in -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete -Wl,-z,relro; do
      aw_saved_LDFLAGS=$LDFLAGS
      LDFLAGS="$LDFLAGS $aw_flag"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AUDITWELL_PLUGIN_LDFLAGS="$AUDITWELL_PLUGIN_LDFLAGS $aw_flag"])
      LDFLAGS=$aw_saved_LDFLAGS
    done
    AS_IF([test -n "$with_plugindir"], [plugindir=$with_plugindir],
      [plugindir=`$PKG_CONFIG --variable=plugindir auditwell-plugin`])
    AC_SUBST([AUDITWELL_PLUGIN_CFLAGS])
    AC_SUBST([AUDITWELL_PLUGIN_LDFLAGS])
    AC_SUBST([plugindir])
    $3
  ], [m4_default([$4], [AC_MSG_ERROR([$aw_problem])])])
])
