# Tests of the kafka sink, on librdkafka's mock cluster. SPDX-License-Identifier: Apache-2.0
if HAVE_CUNIT
if SINK_KAFKA
check_PROGRAMS += sink_kafka.t
TESTS += sink_kafka.t
sink_kafka_t_SOURCES = tests/integration/sinks/test_kafka.c tests/integration/sinks/kafka_mock.c \
	tests/integration/sinks/kafka_mock.h $(SINKTEST_HOST)
sink_kafka_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_kafka_t_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
sink_kafka_t_LDADD = $(SINKTEST_LIBS) $(KAFKA_LIBS)
EXTRA_sink_kafka_t_DEPENDENCIES = sink_kafka.la
endif
endif
