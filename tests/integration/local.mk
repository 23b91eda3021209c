# tests: integration
include tests/integration/sinks.mk
include tests/integration/cli.mk
include tests/integration/proof.mk
