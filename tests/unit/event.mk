# unit tests: event. Pattern:
#   check_PROGRAMS += test_NAME.t
#   test_NAME_t_SOURCES = tests/unit/test_NAME.c
#   test_NAME_t_CPPFLAGS = $(UNIT_CPPFLAGS)
#   test_NAME_t_CFLAGS = $(UNIT_CFLAGS)
#   test_NAME_t_LDADD = $(UNIT_LIBS)
#   TESTS += test_NAME.t
