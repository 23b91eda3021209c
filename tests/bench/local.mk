# SPDX-License-Identifier: Apache-2.0
# make bench, make bench-quick. Not part of make check, but for a smoke run that asserts that every figure is there.
BENCH_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench -I$(top_srcdir)/tests/fault
if SINK_SQLITE
check_PROGRAMS += auditwell-bench bench-memory gen-corpus

gen_corpus_SOURCES = tests/bench/gen_corpus.c tests/bench/corpus.c tests/bench/corpus.h
gen_corpus_CPPFLAGS = $(BENCH_CPPFLAGS)
gen_corpus_LDADD =

auditwell_bench_SOURCES = tests/bench/bench.c tests/bench/bench.h tests/bench/bench_delivery.c tests/bench/bench_limits.c tests/bench/bench_pipeline.c \
	tests/bench/bench_report.c tests/bench/bench_sinks.c tests/bench/bench_sqlite.c tests/bench/bench_stores.c tests/bench/bench_http.c tests/bench/bench_host.c tests/bench/bench_util.c \
	tests/bench/corpus.c tests/bench/corpus.h
auditwell_bench_CPPFLAGS = $(BENCH_CPPFLAGS) $(BENCH_HTTP) $(BENCH_EXEC) $(BENCH_NATS)
auditwell_bench_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(SQLITE_CFLAGS) $(CURL_CFLAGS) $(NATS_CFLAGS)
auditwell_bench_LDADD = libauditwell.la $(CRYPTO_LIBS) $(SQLITE_LIBS)
if SINK_KAFKA
auditwell_bench_SOURCES += tests/bench/bench_kafka.c
auditwell_bench_CPPFLAGS += -DBENCH_KAFKA
auditwell_bench_CFLAGS += $(KAFKA_CFLAGS)
auditwell_bench_LDADD += $(KAFKA_LIBS)
endif
if SINK_EXEC
BENCH_EXEC = -DBENCH_EXEC
auditwell_bench_SOURCES += tests/bench/bench_exec.c
endif
if SINK_NATS
BENCH_NATS = -DBENCH_NATS
auditwell_bench_SOURCES += tests/bench/bench_nats.c
auditwell_bench_LDADD += $(NATS_LIBS)
endif
if SINK_HTTP
BENCH_HTTP = -DBENCH_HTTP
auditwell_bench_LDADD += $(CURL_LIBS)
endif
if SINK_POSTGRES
auditwell_bench_SOURCES += tests/bench/bench_postgres.c tests/integration/sinks/pg_cluster.c \
	tests/integration/sinks/pg_cluster.h
auditwell_bench_CPPFLAGS += -DBENCH_POSTGRES -I$(top_srcdir)/tests/integration/sinks
auditwell_bench_CFLAGS += $(LIBPQ_CFLAGS)
auditwell_bench_LDADD += $(LIBPQ_LIBS)
endif

bench_memory_SOURCES = tests/bench/bench_memory.c tests/bench/bench_util.c tests/bench/bench.h tests/bench/corpus.c \
	tests/bench/corpus.h tests/fault/memory_probe.c tests/fault/memory_probe.h
bench_memory_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_memory_LDADD = libauditwell.la
bench_memory_LDFLAGS = $(AM_LDFLAGS) -export-dynamic

# The command itself, not libtool's script around it, which would cost a shell's start.
BENCH_RUN = LD_LIBRARY_PATH="$(abs_top_builddir)/.libs$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" \
	AUDITWELL_PLUGIN_PATH='$(abs_top_builddir)/.libs' $(LIBTOOL) --quiet --mode=execute ./auditwell-bench \
	-t '$(abs_top_builddir)/tests/plugins/.libs' -a '$(abs_top_builddir)/auditwell' -m '$(abs_top_builddir)/bench-memory'
bench: all auditwell-bench bench-memory tests/plugins/sink_puppet.la
	$(BENCH_RUN) $(BENCH_FLAGS)
bench-quick: all auditwell-bench bench-memory tests/plugins/sink_puppet.la
	$(BENCH_RUN) -q $(BENCH_FLAGS)

if !SANITIZED
TESTS += tests/bench/bench_smoke.sh
endif
endif
EXTRA_DIST += tests/bench/bench_smoke.sh
.PHONY: bench bench-quick
