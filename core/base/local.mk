libcore_la_SOURCES += core/base/base.h core/base/clock.h core/base/diag.h core/base/fs.h core/base/hash.h core/base/ids.h 
