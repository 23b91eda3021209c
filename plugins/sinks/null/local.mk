# sink null. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/null/auditwell-sink-null.7.scd
if SINK_NULL
if BUILTIN_SINK_NULL
noinst_LTLIBRARIES += sink_null.la
sink_null_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_null.la
sink_null_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_null_la_SOURCES = plugins/sinks/null/sink_null.c
sink_null_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_null
sink_null_la_CFLAGS = $(AM_CFLAGS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/null/auditwell-sink-null.7
endif
endif
