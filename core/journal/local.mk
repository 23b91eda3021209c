libcore_la_SOURCES += core/journal/cursor.c core/journal/cursor_read.c core/journal/futex.c core/journal/futex.h \
	core/journal/internal.h core/journal/journal.c core/journal/lock.c core/journal/journal.h core/journal/keeper.c core/journal/progress.c \
	core/journal/quarantine.c core/journal/recovery.c core/journal/examine.c core/journal/examine.h \
	core/journal/examine_files.c core/journal/offline.c \
	core/journal/recovery.h core/journal/ring.c core/journal/ring.h core/journal/ring_recovery.c core/journal/segment.c \
	core/journal/segment.h core/journal/segments.c core/journal/seqset.c core/journal/seqset.h core/journal/snapshot.c \
	core/journal/sync.c core/journal/writer.c
