# unit tests: event
EVENT_TESTS = test_json.t test_number.t
check_PROGRAMS += $(EVENT_TESTS)
TESTS += $(EVENT_TESTS)

test_json_t_SOURCES = tests/unit/test_json.c
test_json_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_json_t_CFLAGS = $(UNIT_CFLAGS)
test_json_t_LDADD = $(UNIT_LIBS)

test_number_t_SOURCES = tests/unit/test_number.c
test_number_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_number_t_CFLAGS = $(UNIT_CFLAGS)
test_number_t_LDADD = $(UNIT_LIBS) -lm
