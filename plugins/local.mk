include plugins/sinks/file/local.mk
include plugins/sinks/sqlite/local.mk
include plugins/sinks/null/local.mk
include plugins/sinks/kafka/local.mk
include plugins/sinks/mongodb/local.mk
