# sink postgres. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/postgres/auditwell-sink-postgres.7.scd
if SINK_POSTGRES
if BUILTIN_SINK_POSTGRES
noinst_LTLIBRARIES += sink_postgres.la
sink_postgres_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_postgres.la
sink_postgres_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_postgres_la_SOURCES = plugins/sinks/postgres/sink_postgres.c plugins/sinks/postgres/pg_settings.c \
	plugins/sinks/postgres/pg_conn.c plugins/sinks/postgres/pg_error.c plugins/sinks/postgres/pg_row.c \
	plugins/sinks/postgres/pg_schema.c plugins/sinks/postgres/pg_migrate.c plugins/sinks/postgres/pg_partition.c \
	plugins/sinks/postgres/pg_load.c plugins/sinks/postgres/pg_write.c plugins/sinks/postgres/pg_stage.c \
	plugins/sinks/postgres/pg_read.c plugins/sinks/postgres/pg_prune.c plugins/sinks/postgres/pg_sink.h
sink_postgres_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_postgres
sink_postgres_la_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
sink_postgres_la_LIBADD = $(LIBPQ_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/postgres/auditwell-sink-postgres.7
endif
endif
