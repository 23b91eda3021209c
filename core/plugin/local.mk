libcore_la_SOURCES += core/plugin/registry.h 
