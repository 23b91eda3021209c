# wiring: logger.c, config.c, store.c
libcore_la_SOURCES += core/version.c
libcore_la_SOURCES += core/store.c core/store.h core/query.c
libcore_la_SOURCES += core/logger.c core/logger.h core/open.c
libcore_la_SOURCES += core/settings_private.h core/config.c core/settings_keys.c core/settings_scan.c core/settings_files.c core/settings_sinks.c
libcore_la_SOURCES += core/verify_api.c
libcore_la_SOURCES += core/deadletter_api.c
libcore_la_SOURCES += core/journal_api.c
