# One CUnit binary per source file of the core: tests/unit/test_FILE.c. Each line of unit_tests is a program.
if HAVE_CUNIT
noinst_LTLIBRARIES += libharness.la
libharness_la_SOURCES = tests/unit/harness.c tests/unit/harness.h
libharness_la_LIBADD = -lcunit
UNIT_CFLAGS = $(AM_CFLAGS) $(LIBCONFIG_CFLAGS) $(CRYPTO_CFLAGS)
UNIT_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
UNIT_LIBS = libharness.la libcore.la
include tests/unit/base.mk
include tests/unit/event.mk
include tests/unit/journal.mk
include tests/unit/plugin.mk
include tests/unit/verify.mk
include tests/unit/logger.mk
include tests/unit/metrics.mk
endif
