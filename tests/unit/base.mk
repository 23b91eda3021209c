check_PROGRAMS += test_base.t
test_base_t_SOURCES = tests/unit/test_base.c
test_base_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_base_t_CFLAGS = $(UNIT_CFLAGS)
test_base_t_LDADD = $(UNIT_LIBS)
TESTS += test_base.t
