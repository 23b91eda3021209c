check_PROGRAMS += test_retry.t
test_retry_t_SOURCES = tests/unit/test_retry.c
test_retry_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_retry_t_CFLAGS = $(UNIT_CFLAGS)
test_retry_t_LDADD = $(UNIT_LIBS)
TESTS += test_retry.t
