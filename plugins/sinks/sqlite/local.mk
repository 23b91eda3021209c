# sink sqlite. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/sqlite/auditwell-sink-sqlite.7.scd
if SINK_SQLITE
if BUILTIN_SINK_SQLITE
noinst_LTLIBRARIES += sink_sqlite.la
sink_sqlite_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_sqlite.la
sink_sqlite_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_sqlite_la_SOURCES = plugins/sinks/sqlite/sink_sqlite.c plugins/sinks/sqlite/sqlite_schema.c plugins/sinks/sqlite/sqlite_open.c plugins/sinks/sqlite/sqlite_admin.c plugins/sinks/sqlite/sqlite_retention.c \
	plugins/sinks/sqlite/sqlite_stage.c plugins/sinks/sqlite/sqlite_write.c plugins/sinks/sqlite/sqlite_read.c \
	plugins/sinks/sqlite/sqlite_sink.h
sink_sqlite_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_sqlite
sink_sqlite_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
sink_sqlite_la_LIBADD = $(SQLITE_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/sqlite/auditwell-sink-sqlite.7
endif
endif
