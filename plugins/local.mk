include plugins/sinks/file/local.mk
include plugins/sinks/sqlite/local.mk
include plugins/sinks/http/local.mk
include plugins/sinks/null/local.mk
include plugins/sinks/exec/local.mk
include plugins/sinks/nats/local.mk
include plugins/sinks/postgres/local.mk
