# sink mongodb. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/mongodb/auditwell-sink-mongodb.7.scd
if SINK_MONGODB
if BUILTIN_SINK_MONGODB
noinst_LTLIBRARIES += sink_mongodb.la
sink_mongodb_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_mongodb.la
sink_mongodb_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_mongodb_la_SOURCES = plugins/sinks/mongodb/sink_mongodb.c plugins/sinks/mongodb/mongo_config.c \
	plugins/sinks/mongodb/mongo_client.c plugins/sinks/mongodb/mongo_write.c plugins/sinks/mongodb/mongo_sink.h
sink_mongodb_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_mongodb
sink_mongodb_la_CFLAGS = $(AM_CFLAGS) $(MONGOC_CFLAGS)
sink_mongodb_la_LIBADD = $(MONGOC_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/mongodb/auditwell-sink-mongodb.7
endif
endif
