# mock plugins: one module per variant of mock.c, built for the tests only, in a directory of their own so that no other
# test finds them in the search path. SPDX-License-Identifier: Apache-2.0
MOCK_LDFLAGS = $(AW_MODULE_FLAGS) -rpath /nowhere
MOCK_SOURCES = tests/plugins/mock.c
MOCK_CPPFLAGS = $(AM_CPPFLAGS) -DMOCK_REQUIRED=0

check_LTLIBRARIES += tests/plugins/sink_m_good.la
tests_plugins_sink_m_good_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_good_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_good
tests_plugins_sink_m_good_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_ltx.la
tests_plugins_sink_m_ltx_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_ltx_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_ltx -DAW_PLUGIN_MODULE=sink_m_ltx
tests_plugins_sink_m_ltx_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_noentry.la
tests_plugins_sink_m_noentry_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_noentry_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_noentry -DMOCK_NO_ENTRY
tests_plugins_sink_m_noentry_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere

check_LTLIBRARIES += tests/plugins/sink_m_magic.la
tests_plugins_sink_m_magic_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_magic_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_magic -DMOCK_BAD_MAGIC
tests_plugins_sink_m_magic_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_epoch.la
tests_plugins_sink_m_epoch_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_epoch_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_epoch -DMOCK_EPOCH
tests_plugins_sink_m_epoch_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_major.la
tests_plugins_sink_m_major_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_major_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_major -DMOCK_BAD_MAJOR
tests_plugins_sink_m_major_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_nullentry.la
tests_plugins_sink_m_nullentry_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_nullentry_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_nullentry -DMOCK_NULL_ENTRY
tests_plugins_sink_m_nullentry_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_future.la
tests_plugins_sink_m_future_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_future_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_future -DMOCK_FUTURE
tests_plugins_sink_m_future_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_older.la
tests_plugins_sink_m_older_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_older_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_older -DMOCK_OLDER
tests_plugins_sink_m_older_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_short.la
tests_plugins_sink_m_short_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_short_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_short -DMOCK_SHORT
tests_plugins_sink_m_short_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_nowrite.la
tests_plugins_sink_m_nowrite_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_nowrite_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_nowrite -DMOCK_NO_WRITE
tests_plugins_sink_m_nowrite_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_badschema.la
tests_plugins_sink_m_badschema_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_badschema_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_badschema -DMOCK_BAD_SCHEMA
tests_plugins_sink_m_badschema_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_badname.la
tests_plugins_sink_m_badname_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_badname_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_badname -DMOCK_CLASS='"Bad Name"'
tests_plugins_sink_m_badname_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_dupname.la
tests_plugins_sink_m_dupname_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_dupname_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_dupname -DMOCK_CLASS='"m_good"'
tests_plugins_sink_m_dupname_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_needs.la
tests_plugins_sink_m_needs_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_needs_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_needs -DMOCK_NEEDS
tests_plugins_sink_m_needs_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_threads.la
tests_plugins_sink_m_threads_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_threads_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_threads -DMOCK_BAD_THREADS
tests_plugins_sink_m_threads_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_unset.la
tests_plugins_sink_m_unset_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_unset_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_unset -DMOCK_UNSET
tests_plugins_sink_m_unset_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_slow.la
tests_plugins_sink_m_slow_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_slow_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_slow
tests_plugins_sink_m_slow_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_crash.la
tests_plugins_sink_m_crash_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_crash_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_crash -DMOCK_CRASH_IN_CREATE
tests_plugins_sink_m_crash_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_failstart.la
tests_plugins_sink_m_failstart_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_failstart_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_failstart -DMOCK_FAIL_START
tests_plugins_sink_m_failstart_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_required.la
tests_plugins_sink_m_required_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_required_la_CPPFLAGS = $(AM_CPPFLAGS) -DMOCK_NAME=m_required -DMOCK_REQUIRED=AW_OPT_REQUIRED
tests_plugins_sink_m_required_la_LDFLAGS = $(MOCK_LDFLAGS)

check_LTLIBRARIES += tests/plugins/sink_m_badload.la
tests_plugins_sink_m_badload_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_badload_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_badload -DMOCK_BAD_LOAD
tests_plugins_sink_m_badload_la_LDFLAGS = $(MOCK_LDFLAGS)

# These two may not be linked with -z defs or -no-undefined: their fault is that something is missing.
check_LTLIBRARIES += tests/plugins/sink_m_undefined.la
tests_plugins_sink_m_undefined_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_undefined_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_undefined -DMOCK_UNDEFINED
tests_plugins_sink_m_undefined_la_LDFLAGS = -module -avoid-version -shared -Wl,-z,lazy -rpath /nowhere

# Behaves as a file says.
check_LTLIBRARIES += tests/plugins/sink_puppet.la
tests_plugins_sink_puppet_la_SOURCES = tests/plugins/puppet.c
tests_plugins_sink_puppet_la_LDFLAGS = $(MOCK_LDFLAGS)

# It needs a library by a soname under which no file is: only a test that makes one can load it.
mock_dependency = tests/plugins/gone/libmock-dependency.so
$(mock_dependency): tests/plugins/dependency.c
	$(AM_V_CCLD)$(MKDIR_P) $(@D) && $(CC) $(CFLAGS) $(LDFLAGS) -fPIC -shared -Wl,-soname,libmock-dependency.so.7 \
		-o $@ $(srcdir)/tests/plugins/dependency.c
CLEANFILES += $(mock_dependency)
EXTRA_DIST += tests/plugins/dependency.c
check_LTLIBRARIES += tests/plugins/sink_m_needslib.la
tests_plugins_sink_m_needslib_la_SOURCES = $(MOCK_SOURCES)
tests_plugins_sink_m_needslib_la_CPPFLAGS = $(MOCK_CPPFLAGS) -DMOCK_NAME=m_needslib -DMOCK_NEEDS_LIBRARY
tests_plugins_sink_m_needslib_la_LDFLAGS = $(MOCK_LDFLAGS) -Wl,$(mock_dependency)
tests_plugins_sink_m_needslib_la_DEPENDENCIES = $(mock_dependency)

# Loads what it is told in a process of its own: for tests of the environment, of crashes and of threads.
check_PROGRAMS += plugin_probe
plugin_probe_SOURCES = tests/plugins/probe.c
plugin_probe_CFLAGS = $(AM_CFLAGS) $(LIBCONFIG_CFLAGS) $(CRYPTO_CFLAGS)
plugin_probe_LDADD = libcore.la

TESTS += tests/plugins/headers.sh
EXTRA_DIST += tests/plugins/headers.sh

if BUILTIN_PLUGINS
TESTS += tests/plugins/builtin.sh
endif
EXTRA_DIST += tests/plugins/builtin.sh
