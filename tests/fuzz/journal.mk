# fuzz target: segments of the journal. SPDX-License-Identifier: Apache-2.0
FUZZ_NAMES += journal
check_PROGRAMS += fuzz_journal
fuzz_journal_SOURCES = tests/fuzz/fuzz_journal.c $(FUZZ_MAIN)
fuzz_journal_CFLAGS = $(FUZZ_CFLAGS)
fuzz_journal_LDFLAGS = $(FUZZ_LINK)
fuzz_journal_LDADD = libcore.la
