# sink nats. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/nats/auditwell-sink-nats.7.scd
if SINK_NATS
if BUILTIN_SINK_NATS
noinst_LTLIBRARIES += sink_nats.la
sink_nats_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_nats.la
sink_nats_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_nats_la_SOURCES = plugins/common/peer_json.h plugins/sinks/nats/sink_nats.c plugins/sinks/nats/nats_ack.c \
	plugins/sinks/nats/nats_connect.c plugins/sinks/nats/nats_guard.c plugins/sinks/nats/nats_sink.h \
	plugins/sinks/nats/nats_subject.c plugins/sinks/nats/nats_write.c
sink_nats_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins -DAW_PLUGIN_MODULE=sink_nats
sink_nats_la_CFLAGS = $(AM_CFLAGS) $(NATS_CFLAGS)
sink_nats_la_LIBADD = $(NATS_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/nats/auditwell-sink-nats.7
endif
endif
