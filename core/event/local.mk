libcore_la_SOURCES += core/event/event.h core/event/json.h core/event/arena.c core/event/arena.h core/event/canon.c \
	core/event/context.c core/event/context.h core/event/emit.c core/event/emit.h core/event/event.c core/event/json.c core/event/json_doc.c core/event/json_scan.h \
	core/event/json_doc.h core/event/limits.c core/event/normalize.c core/event/pii.c core/event/pii.h core/event/pseudonym.c \
	core/event/pseudonym.h core/event/view.c core/event/view.h core/event/view_check.c core/event/view_claim.c core/event/number.c core/event/number.h \
	core/event/path.h core/event/plan.h core/event/policy.h core/event/pow10.h core/event/redact.c core/event/redact.h core/event/redact_names.c \
	core/event/redact_rules.c core/event/replay_event.c core/event/replay_event.h core/event/retention_event.c core/event/retention_event.h core/event/scan.c core/event/scan_text.c core/event/schema.c core/event/schema.h \
	core/event/stencil.c core/event/stencil.h core/event/stored.c core/event/text.c core/event/text.h core/event/tree.c core/event/tree.h core/event/work.c core/event/work.h
