# fuzz target: what a JetStream server answers. SPDX-License-Identifier: Apache-2.0
if SINK_NATS
FUZZ_NAMES += nats_ack
check_PROGRAMS += fuzz_nats_ack
fuzz_nats_ack_SOURCES = tests/fuzz/fuzz_nats_ack.c plugins/sinks/nats/nats_ack.c $(FUZZ_MAIN)
fuzz_nats_ack_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins -I$(top_srcdir)/plugins/sinks/nats
fuzz_nats_ack_CFLAGS = $(AM_CFLAGS) $(NATS_CFLAGS)
fuzz_nats_ack_LDFLAGS = $(FUZZ_LINK)
fuzz_nats_ack_LDADD =
endif
