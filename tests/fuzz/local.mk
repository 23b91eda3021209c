# Fuzz targets. SPDX-License-Identifier: Apache-2.0
#
# tests/fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput(); its corpus is the directory tests/fuzz/corpus/NAME. Configured with
# --enable-fuzzing (and CC=clang) the program is a libFuzzer target, which the lane `fuzz` runs for a minute; else it feeds
# every file of the corpus, and make check runs that. To add one:
#
#   FUZZ_NAMES += NAME
#   check_PROGRAMS += fuzz_NAME
#   fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.c $(FUZZ_MAIN)
#   fuzz_NAME_CFLAGS = $(FUZZ_CFLAGS)
#   fuzz_NAME_LDFLAGS = $(FUZZ_LINK)
#   fuzz_NAME_LDADD = libcore.la
FUZZ_NAMES =
FUZZ_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(LIBCONFIG_CFLAGS)
if FUZZING
FUZZ_MAIN =
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
else
FUZZ_MAIN = tests/fuzz/replay.c
FUZZ_LINK = $(AM_LDFLAGS)
TESTS += tests/fuzz/replay.sh
endif
EXTRA_DIST += tests/fuzz/replay.sh tests/fuzz/replay.c tests/fuzz/corpus
include tests/fuzz/config.mk
print-fuzz-names:
	@echo $(FUZZ_NAMES)
.PHONY: print-fuzz-names
include tests/fuzz/verify.mk
include tests/fuzz/journal.mk
include tests/fuzz/event.mk
include tests/fuzz/exec.mk
include tests/fuzz/nats.mk
include tests/fuzz/http.mk
