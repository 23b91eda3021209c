# Tests of the sinks against a small host of their own: tests/integration/sinks/.
if HAVE_CUNIT
SINKTEST_HOST = tests/integration/sinks/minihost.c tests/integration/sinks/minihost_event.c \
	tests/integration/sinks/minihost_stage.c tests/integration/sinks/minihost.h
SINKTEST_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/tests/unit -I$(top_srcdir)/tests/integration/sinks
SINKTEST_LIBS = libharness.la

if SINK_NULL
check_PROGRAMS += sink_null.t
TESTS += sink_null.t
sink_null_t_SOURCES = tests/integration/sinks/test_null.c $(SINKTEST_HOST)
sink_null_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_null_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_null_t_DEPENDENCIES = sink_null.la
endif

if SINK_FILE
check_PROGRAMS += sink_file.t
TESTS += sink_file.t
sink_file_t_SOURCES = tests/integration/sinks/test_file.c $(SINKTEST_HOST)
sink_file_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_file_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_file_t_DEPENDENCIES = sink_file.la

check_PROGRAMS += sink_file_query.t
TESTS += sink_file_query.t
sink_file_query_t_SOURCES = tests/integration/sinks/test_file_query.c $(SINKTEST_HOST)
sink_file_query_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_file_query_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_file_query_t_DEPENDENCIES = sink_file.la

check_PROGRAMS += sink_file_rotate.t
TESTS += sink_file_rotate.t
sink_file_rotate_t_SOURCES = tests/integration/sinks/test_file_rotate.c $(SINKTEST_HOST)
sink_file_rotate_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_file_rotate_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_file_rotate_t_DEPENDENCIES = sink_file.la
endif

if SINK_SQLITE
check_PROGRAMS += sink_sqlite.t
TESTS += sink_sqlite.t
sink_sqlite_t_SOURCES = tests/integration/sinks/test_sqlite.c $(SINKTEST_HOST)
sink_sqlite_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_sqlite_t_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
sink_sqlite_t_LDADD = $(SINKTEST_LIBS) $(SQLITE_LIBS)
EXTRA_sink_sqlite_t_DEPENDENCIES = sink_sqlite.la

check_PROGRAMS += sink_sqlite_query.t
TESTS += sink_sqlite_query.t
sink_sqlite_query_t_SOURCES = tests/integration/sinks/test_sqlite_query.c $(SINKTEST_HOST)
sink_sqlite_query_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_sqlite_query_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_sqlite_query_t_DEPENDENCIES = sink_sqlite.la
endif
endif

include tests/integration/http.mk
if SINK_POSTGRES
SINKTEST_POSTGRES = tests/integration/sinks/postgres_support.c tests/integration/sinks/postgres_support.h \
	tests/integration/sinks/pg_cluster.c tests/integration/sinks/pg_cluster.h $(SINKTEST_HOST)
check_PROGRAMS += sink_postgres.t
TESTS += sink_postgres.t
sink_postgres_t_SOURCES = tests/integration/sinks/test_postgres.c $(SINKTEST_POSTGRES)
sink_postgres_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_postgres_t_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
sink_postgres_t_LDADD = $(SINKTEST_LIBS) $(LIBPQ_LIBS)
EXTRA_sink_postgres_t_DEPENDENCIES = sink_postgres.la

check_PROGRAMS += sink_postgres_faults.t
TESTS += sink_postgres_faults.t
sink_postgres_faults_t_SOURCES = tests/integration/sinks/test_postgres_faults.c tests/integration/sinks/inject.c \
	tests/integration/sinks/inject.h $(SINKTEST_POSTGRES)
sink_postgres_faults_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_postgres_faults_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_postgres_faults_t_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
sink_postgres_faults_t_LDADD = $(SINKTEST_LIBS) $(LIBPQ_LIBS)
EXTRA_sink_postgres_faults_t_DEPENDENCIES = sink_postgres.la

check_PROGRAMS += sink_postgres_stores.t
TESTS += sink_postgres_stores.t
sink_postgres_stores_t_SOURCES = tests/integration/sinks/test_postgres_stores.c $(SINKTEST_POSTGRES)
sink_postgres_stores_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_postgres_stores_t_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
sink_postgres_stores_t_LDADD = $(SINKTEST_LIBS) $(LIBPQ_LIBS)
EXTRA_sink_postgres_stores_t_DEPENDENCIES = sink_postgres.la
endif

if !BUILTIN_PLUGINS
TESTS += tests/integration/sinks/exports.sh
endif
EXTRA_DIST += tests/integration/sinks/exports.sh

# Fails the n-th malloc, open, write, sync, rename, ftruncate: needs both sinks, and a program that exports its own.
if HAVE_CUNIT
if SINK_FILE
if SINK_SQLITE
if SINK_NULL
check_PROGRAMS += sink_faults.t
TESTS += sink_faults.t
sink_faults_t_SOURCES = tests/integration/sinks/test_faults.c tests/integration/sinks/inject.c tests/integration/sinks/inject.h \
	$(SINKTEST_HOST)
sink_faults_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_faults_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_faults_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_faults_t_DEPENDENCIES = sink_file.la sink_sqlite.la sink_null.la

check_PROGRAMS += sink_stage.t
TESTS += sink_stage.t
sink_stage_t_SOURCES = tests/integration/sinks/test_stage.c tests/integration/sinks/inject.c tests/integration/sinks/inject.h \
	$(SINKTEST_HOST)
sink_stage_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_stage_t_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
sink_stage_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_stage_t_LDADD = $(SINKTEST_LIBS) $(SQLITE_LIBS)
EXTRA_sink_stage_t_DEPENDENCIES = sink_file.la sink_sqlite.la sink_null.la

check_PROGRAMS += sink_retention.t
TESTS += sink_retention.t
sink_retention_t_SOURCES = tests/integration/sinks/test_retention.c tests/integration/sinks/inject.c \
	tests/integration/sinks/inject.h $(SINKTEST_HOST)
sink_retention_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_retention_t_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
sink_retention_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_retention_t_LDADD = $(SINKTEST_LIBS) $(SQLITE_LIBS)
EXTRA_sink_retention_t_DEPENDENCIES = sink_file.la sink_sqlite.la

# Not a test: run ./bench_sinks [EVENTS] [RUNS].
check_PROGRAMS += bench_sinks
bench_sinks_SOURCES = tests/integration/sinks/bench_sinks.c $(SINKTEST_HOST)
bench_sinks_CPPFLAGS = $(SINKTEST_CPPFLAGS)
bench_sinks_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
bench_sinks_LDADD = $(SINKTEST_LIBS) $(SQLITE_LIBS)
EXTRA_bench_sinks_DEPENDENCIES = sink_file.la sink_sqlite.la
endif
endif
endif
endif

# The exec sink, with a program of its own.
if HAVE_CUNIT
if SINK_EXEC
check_PROGRAMS += exec_peer
exec_peer_SOURCES = tests/integration/sinks/exec_peer.c
exec_peer_CPPFLAGS = -I$(top_srcdir)/include

check_PROGRAMS += sink_exec.t
TESTS += sink_exec.t
sink_exec_t_SOURCES = tests/integration/sinks/test_exec.c tests/integration/sinks/exec_support.c \
	tests/integration/sinks/exec_support.h $(SINKTEST_HOST)
sink_exec_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_exec_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_exec_t_DEPENDENCIES = sink_exec.la exec_peer

check_PROGRAMS += sink_exec_bad.t
TESTS += sink_exec_bad.t
sink_exec_bad_t_SOURCES = tests/integration/sinks/test_exec_bad.c tests/integration/sinks/exec_support.c \
	tests/integration/sinks/exec_support.h $(SINKTEST_HOST)
sink_exec_bad_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_exec_bad_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_exec_bad_t_DEPENDENCIES = sink_exec.la exec_peer

check_PROGRAMS += sink_exec_ack.t
TESTS += sink_exec_ack.t
sink_exec_ack_t_SOURCES = tests/integration/sinks/test_exec_ack.c plugins/sinks/exec/exec_ack.c
sink_exec_ack_t_CPPFLAGS = $(SINKTEST_CPPFLAGS) -I$(top_srcdir)/plugins -I$(top_srcdir)/plugins/sinks/exec
sink_exec_ack_t_LDADD = $(SINKTEST_LIBS)
endif
endif

# The nats sink, with real servers.
if HAVE_CUNIT
if SINK_NATS
check_PROGRAMS += sink_nats_parts.t sink_nats.t sink_nats_cluster.t
TESTS += sink_nats_parts.t sink_nats.t sink_nats_cluster.t
NATSTEST_HOST = tests/integration/sinks/nats_support.c tests/integration/sinks/nats_support.h $(SINKTEST_HOST)
sink_nats_parts_t_SOURCES = tests/integration/sinks/test_nats_parts.c plugins/sinks/nats/nats_subject.c \
	plugins/sinks/nats/nats_ack.c $(SINKTEST_HOST)
sink_nats_parts_t_CPPFLAGS = $(SINKTEST_CPPFLAGS) -I$(top_srcdir)/plugins -I$(top_srcdir)/plugins/sinks/nats
sink_nats_parts_t_CFLAGS = $(AM_CFLAGS) $(NATS_CFLAGS)
sink_nats_parts_t_LDADD = $(SINKTEST_LIBS)
sink_nats_t_SOURCES = tests/integration/sinks/test_nats.c $(NATSTEST_HOST)
sink_nats_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_nats_t_CFLAGS = $(AM_CFLAGS) $(NATS_CFLAGS)
sink_nats_t_LDADD = $(SINKTEST_LIBS) $(NATS_LIBS)
EXTRA_sink_nats_t_DEPENDENCIES = sink_nats.la
sink_nats_cluster_t_SOURCES = tests/integration/sinks/test_nats_cluster.c $(NATSTEST_HOST)
sink_nats_cluster_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_nats_cluster_t_CFLAGS = $(AM_CFLAGS) $(NATS_CFLAGS)
sink_nats_cluster_t_LDADD = $(SINKTEST_LIBS) $(NATS_LIBS)
EXTRA_sink_nats_cluster_t_DEPENDENCIES = sink_nats.la
endif
endif
