check_PROGRAMS += test_retry.t
test_retry_t_SOURCES = tests/unit/test_retry.c
test_retry_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_retry_t_CFLAGS = $(UNIT_CFLAGS)
test_retry_t_LDADD = $(UNIT_LIBS)
TESTS += test_retry.t

check_PROGRAMS += test_delivery.t test_logger.t
test_delivery_t_SOURCES = tests/unit/test_delivery.c
test_delivery_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_delivery_t_CFLAGS = $(UNIT_CFLAGS)
test_delivery_t_LDADD = $(UNIT_LIBS)
test_logger_t_SOURCES = tests/unit/test_logger.c
test_logger_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_logger_t_CFLAGS = $(UNIT_CFLAGS)
test_logger_t_LDADD = $(UNIT_LIBS)
TESTS += test_delivery.t test_logger.t

check_PROGRAMS += test_deadletter.t
test_deadletter_t_SOURCES = tests/unit/test_deadletter.c $(JOURNAL_SUPPORT)
test_deadletter_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_deadletter_t_CFLAGS = $(UNIT_CFLAGS)
test_deadletter_t_LDADD = $(UNIT_LIBS) -lcrypto
TESTS += test_deadletter.t
