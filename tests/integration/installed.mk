# What make install puts where, and whether a stranger can build on it. SPDX-License-Identifier: Apache-2.0
TESTS += tests/integration/installed/installed.sh
EXTRA_DIST += tests/integration/installed/installed.sh tests/integration/installed/program.c tests/integration/installed/late.c
# For the test: what this configuration installs.
print-plugins:
	@for p in $(plugin_LTLIBRARIES); do basename $$p .la; done
print-man-pages:
	@for p in $(dist_man_MANS) $(nodist_man_MANS); do basename $$p; done
.PHONY: print-plugins print-man-pages
