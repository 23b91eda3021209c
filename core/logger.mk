# wiring: logger.c, config.c, store.c
libcore_la_SOURCES += core/version.c
libcore_la_SOURCES += core/store.h
libcore_la_SOURCES += core/logger.c core/logger.h core/open.c
