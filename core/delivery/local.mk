libcore_la_SOURCES += core/delivery/delivery.h 
