# The figures as others see them, through the public API. SPDX-License-Identifier: Apache-2.0
if HAVE_CUNIT
check_PROGRAMS += metrics.t
TESTS += metrics.t
metrics_t_SOURCES = tests/integration/metrics.c
metrics_t_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
metrics_t_LDADD = libharness.la libauditwell.la
endif
