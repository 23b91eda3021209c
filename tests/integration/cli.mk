# Tests of the auditwell command. SPDX-License-Identifier: Apache-2.0
cli_tests = tests/integration/cli/usage.sh tests/integration/cli/log.sh tests/integration/cli/verify.sh \
	tests/integration/cli/query.sh tests/integration/cli/others.sh tests/integration/cli/examples.sh \
	tests/integration/cli/tty.sh tests/integration/cli/metrics.sh tests/integration/cli/together.sh \
	tests/integration/cli/deadletter.sh tests/integration/cli/replay.sh tests/integration/cli/journal.sh tests/integration/cli/privacy.sh \
	tests/integration/cli/slots.sh tests/integration/cli/retention.sh tests/integration/cli/export.sh \
	tests/integration/cli/http.sh tests/integration/cli/exec.sh tests/integration/cli/nats.sh
TESTS += $(cli_tests) tests/integration/cli/test_text.t
EXTRA_DIST += $(cli_tests) tests/integration/cli/lib.sh
check_PROGRAMS += tests/integration/cli/test_text.t
tests_integration_cli_test_text_t_SOURCES = tests/integration/cli/test_text.c tools/text.c tools/cli.h
tests_integration_cli_test_text_t_CPPFLAGS = -I$(top_srcdir)/include
# A store of a third party: the host must do all the work.
check_LTLIBRARIES += tests/integration/cli/sink_plain.la
tests_integration_cli_sink_plain_la_SOURCES = tests/integration/cli/sink_plain.c
tests_integration_cli_sink_plain_la_CPPFLAGS = -I$(top_srcdir)/include
tests_integration_cli_sink_plain_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
check_LTLIBRARIES += tests/integration/cli/sink_picky.la
tests_integration_cli_sink_picky_la_SOURCES = tests/integration/cli/sink_picky.c
tests_integration_cli_sink_picky_la_CPPFLAGS = -D_GNU_SOURCE -I$(top_srcdir)/include
tests_integration_cli_sink_picky_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
# A sink that tells all it knows, for the test of views.
check_LTLIBRARIES += tests/integration/cli/sink_remote.la
tests_integration_cli_sink_remote_la_SOURCES = tests/integration/cli/sink_remote.c
tests_integration_cli_sink_remote_la_CPPFLAGS = -I$(top_srcdir)/include
tests_integration_cli_sink_remote_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
if SINK_POSTGRES
# A server for scripts.
check_PROGRAMS += pg_server
pg_server_SOURCES = tests/integration/sinks/pg_server.c tests/integration/sinks/pg_cluster.c \
	tests/integration/sinks/pg_cluster.h
pg_server_CPPFLAGS = -I$(top_srcdir)/tests/integration/sinks
pg_server_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
pg_server_LDADD = $(LIBPQ_LIBS)
TESTS += tests/integration/cli/postgres.sh

if HAVE_CUNIT
check_PROGRAMS += postgres_killed.t
TESTS += postgres_killed.t
postgres_killed_t_SOURCES = tests/integration/postgres_killed.c tests/integration/sinks/pg_cluster.c \
	tests/integration/sinks/pg_cluster.h
postgres_killed_t_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit -I$(top_srcdir)/tests/integration/sinks
postgres_killed_t_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
postgres_killed_t_LDADD = libharness.la libauditwell.la $(LIBPQ_LIBS)
endif
endif
EXTRA_DIST += tests/integration/cli/postgres.sh
