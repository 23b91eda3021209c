# sink http. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += plugins/sinks/http/auditwell-sink-http.7.scd
if SINK_HTTP
if BUILTIN_SINK_HTTP
noinst_LTLIBRARIES += sink_http.la
sink_http_la_LDFLAGS = $(AW_PRELOAD_MODULE_FLAGS)
else
plugin_LTLIBRARIES += sink_http.la
sink_http_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS)
endif
sink_http_la_SOURCES = plugins/sinks/http/sink_http.c plugins/sinks/http/http_options.c plugins/sinks/http/http_settings.c \
	plugins/sinks/http/http_headers.c plugins/sinks/http/http_body.c plugins/sinks/http/http_transfer.c \
	plugins/sinks/http/http_judge.c plugins/sinks/http/http_write.c plugins/sinks/http/http_probe.c \
	plugins/sinks/http/http_reply.c plugins/sinks/http/http_reply.h plugins/sinks/http/http_text.c \
	plugins/sinks/http/http_sink.h
sink_http_la_CPPFLAGS = $(AM_CPPFLAGS) -DAW_PLUGIN_MODULE=sink_http
sink_http_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(CRYPTO_CFLAGS) $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)
sink_http_la_LIBADD = $(CURL_LIBS) $(CRYPTO_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS)
if MAN_PAGES
dist_man_MANS += plugins/sinks/http/auditwell-sink-http.7
endif
endif
