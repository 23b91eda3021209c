# Tests of the kafka sink, on librdkafka's mock cluster. SPDX-License-Identifier: Apache-2.0
if SINK_KAFKA
KAFKATEST_MOCK = tests/integration/sinks/kafka_mock.c tests/integration/sinks/kafka_mock.h tests/integration/sinks/c11_threads.c
if HAVE_CUNIT
check_PROGRAMS += sink_kafka.t
TESTS += sink_kafka.t
sink_kafka_t_SOURCES = tests/integration/sinks/test_kafka.c $(KAFKATEST_MOCK) $(SINKTEST_HOST)
sink_kafka_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_kafka_t_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
sink_kafka_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_kafka_t_LDADD = $(SINKTEST_LIBS) $(KAFKA_LIBS)
EXTRA_sink_kafka_t_DEPENDENCIES = sink_kafka.la
endif

check_PROGRAMS += kafka-mockd
kafka_mockd_SOURCES = tests/integration/sinks/kafka_mockd.c $(KAFKATEST_MOCK)
kafka_mockd_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/tests/integration/sinks
kafka_mockd_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
kafka_mockd_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
kafka_mockd_LDADD = $(KAFKA_LIBS)

# The command is given these by LD_PRELOAD where it runs under ThreadSanitizer.
check_LTLIBRARIES += tests/integration/sinks/c11_threads.la
tests_integration_sinks_c11_threads_la_SOURCES = tests/integration/sinks/c11_threads.c
tests_integration_sinks_c11_threads_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
TESTS += tests/integration/cli/kafka.sh
endif
EXTRA_DIST += tests/integration/cli/kafka.sh
