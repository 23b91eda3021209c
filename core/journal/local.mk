libcore_la_SOURCES += core/journal/journal.h 
