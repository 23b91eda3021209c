# Many processes with one configuration. SPDX-License-Identifier: Apache-2.0
if HAVE_CUNIT
check_PROGRAMS += slots.t slots_killed.t
TESTS += slots.t slots_killed.t
SLOTS_SUPPORT = tests/integration/slots_support.c tests/integration/slots_support.h
slots_t_SOURCES = tests/integration/slots.c $(SLOTS_SUPPORT)
slots_t_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
slots_t_LDADD = libharness.la libauditwell.la
slots_killed_t_SOURCES = tests/integration/slots_killed.c $(SLOTS_SUPPORT)
slots_killed_t_CPPFLAGS = $(slots_t_CPPFLAGS)
slots_killed_t_LDADD = $(slots_t_LDADD)
endif
