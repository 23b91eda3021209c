# tests: integration
include tests/integration/sinks.mk
