libcore_la_SOURCES += core/seal/record.h core/seal/seal.h 
