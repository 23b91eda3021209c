# sink file. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/file/auditwell-sink-file.7.scd
if SINK_FILE
if BUILTIN_SINK_FILE
noinst_LTLIBRARIES += sink_file.la
sink_file_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_file.la
sink_file_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_file_la_SOURCES = plugins/sinks/file/sink_file.c plugins/sinks/file/file_write.c plugins/sinks/file/file_store.c \
	plugins/sinks/file/file_stage.c plugins/sinks/file/file_repair.c plugins/sinks/file/file_names.c plugins/sinks/file/file_line.c \
	plugins/sinks/file/file_source.c plugins/sinks/file/file_read.c plugins/sinks/file/file_compress.c plugins/sinks/file/file_probe.c \
	plugins/sinks/file/file_retention.c \
	plugins/sinks/file/file_sink.h
sink_file_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_file
sink_file_la_CFLAGS = $(AM_CFLAGS) $(ZSTD_CFLAGS)
sink_file_la_LIBADD = $(ZSTD_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/file/auditwell-sink-file.7
endif
endif
