# unit tests: journal. Pattern:
#   check_PROGRAMS += test_NAME.t
#   test_NAME_t_SOURCES = tests/unit/test_NAME.c
#   test_NAME_t_CPPFLAGS = $(UNIT_CPPFLAGS)
#   test_NAME_t_CFLAGS = $(UNIT_CFLAGS)
#   test_NAME_t_LDADD = $(UNIT_LIBS)
#   TESTS += test_NAME.t
JOURNAL_SUPPORT = tests/unit/journal_support.c tests/unit/journal_support.h

check_PROGRAMS += test_journal.t
test_journal_t_SOURCES = tests/unit/test_journal.c $(JOURNAL_SUPPORT)
test_journal_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_journal_t_CFLAGS = $(UNIT_CFLAGS)
test_journal_t_LDADD = $(UNIT_LIBS)
TESTS += test_journal.t

check_PROGRAMS += test_recovery.t
test_recovery_t_SOURCES = tests/unit/test_recovery.c $(JOURNAL_SUPPORT)
test_recovery_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_recovery_t_CFLAGS = $(UNIT_CFLAGS)
test_recovery_t_LDADD = $(UNIT_LIBS)
TESTS += test_recovery.t
