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

check_PROGRAMS += test_modes.t test_gaps.t
test_modes_t_SOURCES = tests/unit/test_modes.c tests/unit/modes_rig.c tests/unit/modes_rig.h
test_modes_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_modes_t_CFLAGS = $(UNIT_CFLAGS)
test_modes_t_LDADD = $(UNIT_LIBS)
test_gaps_t_SOURCES = tests/unit/test_gaps.c tests/unit/modes_rig.c tests/unit/modes_rig.h
test_gaps_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_gaps_t_CFLAGS = $(UNIT_CFLAGS)
test_gaps_t_LDADD = $(UNIT_LIBS)
TESTS += test_modes.t test_gaps.t

check_PROGRAMS += test_viewing.t
test_viewing_t_SOURCES = tests/unit/test_viewing.c
test_viewing_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_viewing_t_CFLAGS = $(UNIT_CFLAGS)
test_viewing_t_LDADD = $(UNIT_LIBS)
TESTS += test_viewing.t
