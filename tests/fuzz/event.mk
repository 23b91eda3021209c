# fuzz targets: events as they come in, and as they are read back. SPDX-License-Identifier: Apache-2.0
FUZZ_NAMES += event stored
check_PROGRAMS += fuzz_event fuzz_stored
fuzz_event_SOURCES = tests/fuzz/fuzz_event.c $(FUZZ_MAIN)
fuzz_event_CFLAGS = $(FUZZ_CFLAGS)
fuzz_event_LDFLAGS = $(FUZZ_LINK)
fuzz_event_LDADD = libcore.la
fuzz_stored_SOURCES = tests/fuzz/fuzz_stored.c $(FUZZ_MAIN)
fuzz_stored_CFLAGS = $(FUZZ_CFLAGS)
fuzz_stored_LDFLAGS = $(FUZZ_LINK)
fuzz_stored_LDADD = libcore.la
FUZZ_NAMES += view
check_PROGRAMS += fuzz_view
fuzz_view_SOURCES = tests/fuzz/fuzz_view.c $(FUZZ_MAIN)
fuzz_view_CFLAGS = $(FUZZ_CFLAGS)
fuzz_view_LDFLAGS = $(FUZZ_LINK)
fuzz_view_LDADD = libcore.la
