libcore_la_SOURCES += core/event/event.h core/event/json.h 
