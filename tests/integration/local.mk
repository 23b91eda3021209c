# tests: integration
include tests/integration/sinks.mk
include tests/integration/proof.mk
