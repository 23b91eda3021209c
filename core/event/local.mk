libcore_la_SOURCES += core/event/event.h core/event/json.h core/event/arena.c core/event/arena.h core/event/canon.c \
	core/event/json.c core/event/json_doc.h core/event/number.c core/event/number.h core/event/pow10.h \
	core/event/text.c core/event/text.h
