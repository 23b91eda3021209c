# The plugin ABI is what it was: layout, types, old plugins, newer plugins. See docs/abi-changelog.md. SPDX-License-Identifier: Apache-2.0
abi_tests = tests/abi/layout.sh tests/abi/abidiff.sh tests/abi/old.sh
TESTS += $(abi_tests)
EXTRA_DIST += $(abi_tests) tests/abi/update.sh tests/abi/layout.c tests/abi/layout-lp64.txt tests/abi/probe.c tests/abi/plugin.abi \
	tests/abi/sink_old.c tests/abi/sink_old.so.base64 tests/abi/v1.0/audit/plugin.h
