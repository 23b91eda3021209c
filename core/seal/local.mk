libcore_la_SOURCES += core/seal/record.h core/seal/seal.h 
libcore_la_SOURCES += core/seal/verify.h core/seal/verify_impl.h core/seal/verify.c core/seal/verify_check.c \
	core/seal/verify_link.c core/seal/verify_scope.c core/seal/verify_break.c core/seal/verify_sets.c core/seal/verify_streams.c \
	core/seal/verify_replay.c core/seal/verify_report.c core/seal/verify_retention.c
libcore_la_SOURCES += core/seal/chain_table.c core/seal/record.c core/seal/record_scope.c core/seal/seal.c
