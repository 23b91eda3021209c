# Tests of the mongodb sink, on a double of the wire protocol. SPDX-License-Identifier: Apache-2.0
if HAVE_CUNIT
if SINK_MONGODB
check_PROGRAMS += sink_mongodb.t
TESTS += sink_mongodb.t
sink_mongodb_t_SOURCES = tests/integration/sinks/test_mongodb.c $(SINKTEST_HOST)
sink_mongodb_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_mongodb_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_mongodb_t_DEPENDENCIES = sink_mongodb.la
endif
endif
EXTRA_DIST += tests/integration/sinks/mongo_double.py
if SINK_MONGODB
TESTS += tests/integration/cli/mongodb.sh
endif
EXTRA_DIST += tests/integration/cli/mongodb.sh
