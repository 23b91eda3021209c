libcore_la_SOURCES += core/plugin/registry.h core/plugin/plugin_internal.h core/plugin/event_batch.h \
	core/plugin/trust.c core/plugin/dso.c core/plugin/descriptor.c core/plugin/registry.c core/plugin/search.c core/plugin/plugins_api.c \
	core/plugin/units.c core/plugin/schema.c core/plugin/schema_check.c core/plugin/schema_value.c \
	core/plugin/secret.c core/plugin/host.c core/plugin/host_metrics.c core/plugin/event_batch.c
