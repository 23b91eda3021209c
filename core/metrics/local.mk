libcore_la_SOURCES += core/metrics/layout.h core/metrics/metrics.c core/metrics/metrics.h core/metrics/prom.c \
	core/metrics/series.c core/metrics/snapshot.c core/metrics/text.c core/metrics/text.h
