# fuzz target: what a program answers to the exec sink. SPDX-License-Identifier: Apache-2.0
FUZZ_NAMES += exec_ack
check_PROGRAMS += fuzz_exec_ack
fuzz_exec_ack_SOURCES = tests/fuzz/fuzz_exec_ack.c plugins/sinks/exec/exec_ack.c $(FUZZ_MAIN)
fuzz_exec_ack_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins -I$(top_srcdir)/plugins/sinks/exec
fuzz_exec_ack_CFLAGS = $(AM_CFLAGS)
fuzz_exec_ack_LDFLAGS = $(FUZZ_LINK)
fuzz_exec_ack_LDADD =
