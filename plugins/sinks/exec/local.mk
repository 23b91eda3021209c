# sink exec. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/exec/auditwell-sink-exec.7.scd
if SINK_EXEC
if BUILTIN_SINK_EXEC
noinst_LTLIBRARIES += sink_exec.la
sink_exec_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_exec.la
sink_exec_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_exec_la_SOURCES = plugins/common/peer_json.h plugins/sinks/exec/sink_exec.c plugins/sinks/exec/exec_ack.c plugins/sinks/exec/exec_ack.h \
	plugins/sinks/exec/exec_child.c plugins/sinks/exec/exec_keeper.c plugins/sinks/exec/exec_lines.c \
	plugins/sinks/exec/exec_program.c plugins/sinks/exec/exec_sink.h plugins/sinks/exec/exec_write.c
sink_exec_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins -DAW_PLUGIN_MODULE=sink_exec
sink_exec_la_CFLAGS = $(AM_CFLAGS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/exec/auditwell-sink-exec.7
endif
endif
