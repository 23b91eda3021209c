# libcore.la: everything, with internal symbols, for the library and for the unit tests.
noinst_LTLIBRARIES += libcore.la
libcore_la_SOURCES = core/settings.h
libcore_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGINDIR='"$(plugindir)"' -DAW_SYSCONFDIR='"$(sysconfdir)"'
libcore_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(LIBCONFIG_CFLAGS) $(PCRE2_CFLAGS)
libcore_la_LIBADD = $(CRYPTO_LIBS) $(LIBCONFIG_LIBS) $(PCRE2_LIBS) $(LTDL_LIBS)
include core/base/local.mk
include core/metrics/local.mk
include core/event/local.mk
include core/seal/local.mk
include core/journal/local.mk
include core/plugin/local.mk
include core/delivery/local.mk
include core/logger.mk

lib_LTLIBRARIES += libauditwell.la
libauditwell_la_SOURCES =
# One C++-free dummy would change nothing: the library is libcore.la with only the public symbols (visibility) exported.
libauditwell_la_LIBADD = libcore.la $(BUILTIN_LIBS)
EXTRA_libauditwell_la_DEPENDENCIES = $(BUILTIN_DEPENDENCIES)
libauditwell_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined -export-symbols-regex '^aw_' \
	$(BUILTIN_DLPREOPEN)
