# fuzz target: replies to the http sink. SPDX-License-Identifier: Apache-2.0
FUZZ_NAMES += http_reply
check_PROGRAMS += fuzz_http_reply
fuzz_http_reply_SOURCES = tests/fuzz/fuzz_http_reply.c plugins/sinks/http/http_reply.c plugins/sinks/http/http_reply.h $(FUZZ_MAIN)
fuzz_http_reply_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/sinks/http
fuzz_http_reply_CFLAGS = $(FUZZ_CFLAGS)
fuzz_http_reply_LDFLAGS = $(FUZZ_LINK)
fuzz_http_reply_LDADD = libcore.la
