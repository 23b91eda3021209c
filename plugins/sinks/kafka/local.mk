# sink kafka. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/kafka/auditwell-sink-kafka.7.scd
if SINK_KAFKA
if BUILTIN_SINK_KAFKA
noinst_LTLIBRARIES += sink_kafka.la
sink_kafka_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_kafka.la
sink_kafka_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_kafka_la_SOURCES = plugins/sinks/kafka/sink_kafka.c plugins/sinks/kafka/kafka_client.c \
	plugins/sinks/kafka/kafka_config.c plugins/sinks/kafka/kafka_error.c plugins/sinks/kafka/kafka_write.c \
	plugins/sinks/kafka/kafka_sink.h
sink_kafka_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_kafka
sink_kafka_la_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
sink_kafka_la_LIBADD = $(KAFKA_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/kafka/auditwell-sink-kafka.7
endif
endif
