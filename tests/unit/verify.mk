# unit tests: the verifier
check_PROGRAMS += test_verify_sets.t
test_verify_sets_t_SOURCES = tests/unit/test_verify_sets.c
test_verify_sets_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_verify_sets_t_CFLAGS = $(UNIT_CFLAGS)
test_verify_sets_t_LDADD = $(UNIT_LIBS)
TESTS += test_verify_sets.t
