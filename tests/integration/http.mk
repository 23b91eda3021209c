# Tests of the http sink against receivers on this host. SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += tests/integration/sinks/http_peer.py tests/integration/sinks/http_certs.sh
if HAVE_CUNIT
if SINK_HTTP
HTTPTEST_RIG = tests/integration/sinks/http_rig.c tests/integration/sinks/http_rig.h $(SINKTEST_HOST)
check_PROGRAMS += sink_http.t
TESTS += sink_http.t
sink_http_t_SOURCES = tests/integration/sinks/test_http.c $(HTTPTEST_RIG)
sink_http_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_http_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_http_t_DEPENDENCIES = sink_http.la

check_PROGRAMS += sink_http_net.t
TESTS += sink_http_net.t
sink_http_net_t_SOURCES = tests/integration/sinks/test_http_net.c $(HTTPTEST_RIG)
sink_http_net_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_http_net_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_http_net_t_DEPENDENCIES = sink_http.la

check_PROGRAMS += sink_http_tls.t
TESTS += sink_http_tls.t
sink_http_tls_t_SOURCES = tests/integration/sinks/test_http_tls.c $(HTTPTEST_RIG)
sink_http_tls_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_http_tls_t_LDADD = $(SINKTEST_LIBS)
EXTRA_sink_http_tls_t_DEPENDENCIES = sink_http.la

check_PROGRAMS += sink_http_reply.t
TESTS += sink_http_reply.t
sink_http_reply_t_SOURCES = tests/integration/sinks/test_http_reply.c plugins/sinks/http/http_reply.c plugins/sinks/http/http_reply.h \
	$(SINKTEST_HOST)
sink_http_reply_t_CPPFLAGS = $(SINKTEST_CPPFLAGS) -I$(top_srcdir)/plugins/sinks/http
sink_http_reply_t_LDADD = $(SINKTEST_LIBS)

check_PROGRAMS += sink_http_faults.t
TESTS += sink_http_faults.t
sink_http_faults_t_SOURCES = tests/integration/sinks/test_http_faults.c tests/integration/sinks/inject.c \
	tests/integration/sinks/inject.h $(HTTPTEST_RIG)
sink_http_faults_t_CPPFLAGS = $(SINKTEST_CPPFLAGS)
sink_http_faults_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
sink_http_faults_t_LDADD = $(SINKTEST_LIBS) libauditwell.la
EXTRA_sink_http_faults_t_DEPENDENCIES = sink_http.la
endif
endif
