# Manual pages: written in scdoc, built here, shipped both as source and as page. SPDX-License-Identifier: Apache-2.0
man_sources = docs/auditwell.1.scd docs/auditwell.3.scd docs/auditwell-plugin.3.scd docs/audit.conf.5.scd docs/audit-event.7.scd \
	docs/auditwell-sink.7.scd docs/auditwell-adapter.7.scd
man_pages = $(man_sources:.scd=)
EXTRA_DIST += $(man_sources) docs/architecture.md docs/what-to-audit.md docs/privacy-and-redaction.md docs/integrity.md \
	docs/reliability.md docs/retention.md docs/compliance.md docs/storage-security.md docs/faults.md docs/operations.md \
	docs/performance.md docs/metrics.md docs/abi-changelog.md docs/writing-a-sink.md
MAINTAINERCLEANFILES = $(man_pages)
SUFFIXES = .scd
.scd:
	@$(MKDIR_P) $(@D)
	@test -n '$(SCDOC)' || { echo "$@ cannot be made: scdoc is not installed"; exit 1; }
	$(AM_V_GEN)$(SCDOC) <$< >$@.tmp && mv $@.tmp $@
if MAN_PAGES
dist_man_MANS += $(man_pages)
endif

# What the documents say must be true: examples compile and run, every function and error is described.
TESTS += tests/docs/man.sh tests/docs/api.sh tests/docs/snippets.sh tests/docs/readme.sh tests/docs/tutorial.sh
EXTRA_DIST += tests/docs/man.sh tests/docs/api.sh tests/docs/snippets.sh tests/docs/readme.sh tests/docs/tutorial.sh tests/docs/snippets.awk
