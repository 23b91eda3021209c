# fuzz target: audit.conf. SPDX-License-Identifier: Apache-2.0
FUZZ_NAMES += config
check_PROGRAMS += fuzz_config
fuzz_config_SOURCES = tests/fuzz/fuzz_config.c $(FUZZ_MAIN)
fuzz_config_CFLAGS = $(FUZZ_CFLAGS)
fuzz_config_LDFLAGS = $(FUZZ_LINK)
fuzz_config_LDADD = libcore.la
