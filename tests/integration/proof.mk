# Crash, canary, memory and defect tests: through the public API, judged by an oracle outside of it.
if HAVE_CUNIT
if SINK_SQLITE
PROOF_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit -I$(top_srcdir)/tests/fault
PROOF_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(SQLITE_CFLAGS)
PROOF_RIG = tests/fault/oracle.c tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
PROOF_LIBS = libharness.la libauditwell.la $(SQLITE_LIBS)
check_PROGRAMS += crash.t canary.t memory.t defects.t
TESTS += crash.t canary.t memory.t defects.t

crash_t_SOURCES = tests/integration/crash.c $(PROOF_RIG)
crash_t_CPPFLAGS = $(PROOF_CPPFLAGS)
crash_t_CFLAGS = $(PROOF_CFLAGS)
crash_t_LDADD = $(PROOF_LIBS)

canary_t_SOURCES = tests/integration/canary.c $(PROOF_RIG)
canary_t_CPPFLAGS = $(PROOF_CPPFLAGS)
canary_t_CFLAGS = $(PROOF_CFLAGS)
canary_t_LDADD = $(PROOF_LIBS)

memory_t_SOURCES = tests/integration/memory.c tests/fault/memory_probe.c tests/fault/memory_probe.h $(PROOF_RIG)
memory_t_CPPFLAGS = $(PROOF_CPPFLAGS)
memory_t_CFLAGS = $(PROOF_CFLAGS)
memory_t_LDADD = $(PROOF_LIBS)
memory_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic

defects_t_SOURCES = tests/integration/defects.c tests/fault/inject.c tests/fault/inject.h $(PROOF_RIG)
defects_t_CPPFLAGS = $(PROOF_CPPFLAGS)
defects_t_CFLAGS = $(PROOF_CFLAGS)
defects_t_LDADD = $(PROOF_LIBS) $(CRYPTO_LIBS)
defects_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
endif
endif
