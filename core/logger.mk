# wiring: logger.c, config.c, store.c
libcore_la_SOURCES += core/version.c
libcore_la_SOURCES += core/store.c core/store.h core/query.c
libcore_la_SOURCES += core/deadletter_api.c core/replay_record.c core/replay_record.h core/own_record.c core/own_record.h core/inbox.c core/inbox.h
libcore_la_SOURCES += core/journal_api.c core/retention_api.c core/sinks_api.c core/sinks.h
libcore_la_SOURCES += core/logger.c core/logger.h core/open.c core/fork.c core/foster.c core/slots.c core/slots.h core/fanout.c core/gaps.c core/gaps.h
libcore_la_SOURCES += core/settings_private.h core/config.c core/settings_keys.c core/settings_scan.c core/settings_files.c core/settings_sinks.c core/settings_actions.c
libcore_la_SOURCES += core/metrics_api.c
libcore_la_SOURCES += core/privacy.c core/privacy.h core/pseudonym_api.c
libcore_la_SOURCES += core/verify_api.c core/verify_against.c core/verify_against.h
