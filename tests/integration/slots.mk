# Many processes with one configuration. SPDX-License-Identifier: Apache-2.0
if HAVE_CUNIT
check_PROGRAMS += slots.t
TESTS += slots.t
slots_t_SOURCES = tests/integration/slots.c
slots_t_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
slots_t_LDADD = libharness.la libauditwell.la
endif
