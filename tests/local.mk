include tests/unit/local.mk
include tests/plugins/local.mk
include tests/fault/local.mk
include tests/integration/local.mk
include tests/fuzz/local.mk
include tests/bench/local.mk
include tests/kit/kit.mk
include tests/abi/abi.mk
