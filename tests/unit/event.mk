# unit tests: event
EVENT_TESTS = test_json.t test_number.t test_normalize.t test_limits.t test_redact.t test_builder.t test_stencil.t test_context.t test_canon.t
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

test_normalize_t_SOURCES = tests/unit/test_normalize.c tests/unit/event_help.h
test_normalize_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_normalize_t_CFLAGS = $(UNIT_CFLAGS)
test_normalize_t_LDADD = $(UNIT_LIBS)

test_limits_t_SOURCES = tests/unit/test_limits.c tests/unit/event_help.h
test_limits_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_limits_t_CFLAGS = $(UNIT_CFLAGS)
test_limits_t_LDADD = $(UNIT_LIBS)

test_redact_t_SOURCES = tests/unit/test_redact.c tests/unit/event_help.h
test_redact_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_redact_t_CFLAGS = $(UNIT_CFLAGS)
test_redact_t_LDADD = $(UNIT_LIBS)

test_builder_t_SOURCES = tests/unit/test_builder.c tests/unit/event_help.h
test_builder_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_builder_t_CFLAGS = $(UNIT_CFLAGS)
test_builder_t_LDADD = $(UNIT_LIBS) -lm

test_stencil_t_SOURCES = tests/unit/test_stencil.c tests/unit/event_help.h tests/unit/event_random.c \
	tests/unit/event_random.h
test_stencil_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_stencil_t_CFLAGS = $(UNIT_CFLAGS)
test_stencil_t_LDADD = $(UNIT_LIBS)

test_context_t_SOURCES = tests/unit/test_context.c tests/unit/event_help.h
test_context_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_context_t_CFLAGS = $(UNIT_CFLAGS)
test_context_t_LDADD = $(UNIT_LIBS)

test_canon_t_SOURCES = tests/unit/test_canon.c tests/unit/event_help.h
test_canon_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_canon_t_CFLAGS = $(UNIT_CFLAGS)
test_canon_t_LDADD = $(UNIT_LIBS)

if HAVE_JANSSON
check_PROGRAMS += test_json_jansson.t
TESTS += test_json_jansson.t
test_json_jansson_t_SOURCES = tests/unit/test_json_jansson.c
test_json_jansson_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_json_jansson_t_CFLAGS = $(UNIT_CFLAGS) $(JANSSON_CFLAGS)
test_json_jansson_t_LDADD = $(UNIT_LIBS) $(JANSSON_LIBS)
endif

check_PROGRAMS += test_view.t test_view_random.t
TESTS += test_view.t test_view_random.t
test_view_random_t_SOURCES = tests/unit/test_view_random.c tests/unit/view_help.h tests/unit/event_help.h
test_view_random_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_view_random_t_CFLAGS = $(UNIT_CFLAGS)
test_view_random_t_LDADD = $(UNIT_LIBS) $(CRYPTO_LIBS)
test_view_t_SOURCES = tests/unit/test_view.c tests/unit/view_help.h tests/unit/event_help.h
test_view_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_view_t_CFLAGS = $(UNIT_CFLAGS)
test_view_t_LDADD = $(UNIT_LIBS) $(CRYPTO_LIBS)
