libcore_la_SOURCES += core/base/base.h core/base/clock.c core/base/clock.h core/base/diag.c core/base/diag.h \
	core/base/fs.c core/base/fs.h core/base/glob.c core/base/glob.h core/base/hash.c core/base/hash.h core/base/ids.c core/base/ids.h core/base/sha256.c core/base/thread.c core/base/thread.h
