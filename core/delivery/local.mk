libcore_la_SOURCES += core/delivery/breaker.c core/delivery/breaker.h core/delivery/deadletter.c \
	core/delivery/deadletter.h core/delivery/delivery.c core/delivery/delivery.h core/delivery/retry.c \
	core/delivery/retry.h core/delivery/viewing.c core/delivery/viewing.h core/delivery/worker.c core/delivery/worker.h
