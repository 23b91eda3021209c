# tests: integration
include tests/integration/sinks.mk
include tests/integration/sinks_kafka.mk
include tests/integration/sinks_mongodb.mk
include tests/integration/cli.mk
include tests/integration/proof.mk
include tests/integration/metrics.mk
include tests/integration/slots.mk
include tests/integration/installed.mk
