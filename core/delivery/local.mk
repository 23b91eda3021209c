libcore_la_SOURCES += core/delivery/breaker.c core/delivery/breaker.h core/delivery/deadletter.c \
	core/delivery/deadletter.h core/delivery/delivery.c core/delivery/delivery.h core/delivery/figures.c \
	core/delivery/ledger.c core/delivery/ledger.h core/delivery/retry.c core/delivery/retry.h core/delivery/worker.c \
	core/delivery/worker.h core/delivery/calls.c core/delivery/decision.c core/delivery/decision.h \
	core/delivery/staging.c core/delivery/staging.h core/delivery/together.c core/delivery/together.h \
	core/delivery/together_give.c core/delivery/together_life.c core/delivery/together_private.h \
	core/delivery/deadletter_file.h core/delivery/deadletter_index.c core/delivery/deadletter_index.h \
	core/delivery/deadletter_line.c core/delivery/deadletter_line.h core/delivery/deadletter_mend.c \
	core/delivery/deadletter_purge.c core/delivery/replay.c core/delivery/replay.h core/delivery/viewing.c \
	core/delivery/viewing.h
