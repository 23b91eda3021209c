# fuzz target: files to verify
FUZZ_NAMES += verify
check_PROGRAMS += fuzz_verify
fuzz_verify_SOURCES = tests/fuzz/fuzz_verify.c $(FUZZ_MAIN)
fuzz_verify_CFLAGS = $(FUZZ_CFLAGS)
fuzz_verify_LDFLAGS = $(FUZZ_LINK)
fuzz_verify_LDADD = libcore.la
