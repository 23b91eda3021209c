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
test_journal_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_journal.t

check_PROGRAMS += test_recovery.t
test_recovery_t_SOURCES = tests/unit/test_recovery.c $(JOURNAL_SUPPORT)
test_recovery_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_recovery_t_CFLAGS = $(UNIT_CFLAGS)
test_recovery_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_recovery.t

check_PROGRAMS += test_record.t
test_record_t_SOURCES = tests/unit/test_record.c $(JOURNAL_SUPPORT)
test_record_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_record_t_CFLAGS = $(UNIT_CFLAGS)
test_record_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_record.t

check_PROGRAMS += test_seal.t
test_seal_t_SOURCES = tests/unit/test_seal.c $(JOURNAL_SUPPORT)
test_seal_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_seal_t_CFLAGS = $(UNIT_CFLAGS)
test_seal_t_LDADD = $(UNIT_LIBS) -lcrypto -ldl
TESTS += test_seal.t

check_PROGRAMS += test_chain_table.t
test_chain_table_t_SOURCES = tests/unit/test_chain_table.c
test_chain_table_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_chain_table_t_CFLAGS = $(UNIT_CFLAGS)
test_chain_table_t_LDADD = $(UNIT_LIBS)
TESTS += test_chain_table.t

check_PROGRAMS += test_segment.t
test_segment_t_SOURCES = tests/unit/test_segment.c $(JOURNAL_SUPPORT)
test_segment_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_segment_t_CFLAGS = $(UNIT_CFLAGS)
test_segment_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_segment.t

check_PROGRAMS += test_ring.t
test_ring_t_SOURCES = tests/unit/test_ring.c
test_ring_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_ring_t_CFLAGS = $(UNIT_CFLAGS)
test_ring_t_LDADD = $(UNIT_LIBS)
TESTS += test_ring.t

check_PROGRAMS += test_cursor.t
test_cursor_t_SOURCES = tests/unit/test_cursor.c $(JOURNAL_SUPPORT)
test_cursor_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_cursor_t_CFLAGS = $(UNIT_CFLAGS)
test_cursor_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_cursor.t

check_PROGRAMS += test_journal_faults.t
test_journal_faults_t_SOURCES = tests/unit/test_journal_faults.c $(JOURNAL_SUPPORT)
test_journal_faults_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_journal_faults_t_CFLAGS = $(UNIT_CFLAGS)
test_journal_faults_t_LDADD = $(UNIT_LIBS) -lcrypto -ldl
TESTS += test_journal_faults.t

check_PROGRAMS += test_journal_threads.t
test_journal_threads_t_SOURCES = tests/unit/test_journal_threads.c $(JOURNAL_SUPPORT)
test_journal_threads_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_journal_threads_t_CFLAGS = $(UNIT_CFLAGS)
test_journal_threads_t_LDADD = $(UNIT_LIBS) -lcrypto -ldl
TESTS += test_journal_threads.t

check_PROGRAMS += test_examine.t
test_examine_t_SOURCES = tests/unit/test_examine.c $(JOURNAL_SUPPORT)
test_examine_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_examine_t_CFLAGS = $(UNIT_CFLAGS)
test_examine_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_examine.t
