# The house rules, static analysis, and what the lanes of ./setup check ask make for.
# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += scripts/check.sh scripts/demo.sh scripts/fuzz-one.sh scripts/lint.sh scripts/check-dist.sh .ci/run
EXTRA_DIST += tests/data tests/tsan.supp

lint:
	@$(SHELL) $(srcdir)/scripts/lint.sh

# memleak: this analyser does not know __attribute__((cleanup)); leaks are found by the asan and valgrind lanes.
CPPCHECK = cppcheck
CPPCHECKFLAGS = -q -j2 --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=memleak --suppress=normalCheckLevelMaxBranches --suppress=unmatchedSuppression \
	-D__GNUC__=12 -Iinclude -Icore
cppcheck:
	cd $(srcdir) && $(CPPCHECK) $(CPPCHECKFLAGS) core plugins tools examples

# The tarball against what the repository tracks.
check-dist: distdir
	$(SHELL) $(srcdir)/scripts/check-dist.sh $(srcdir) $(distdir)
	$(am__remove_distdir)

# Unit tests for valgrind, and fuzz targets: lists of names, and their building.
print-valgrind-programs:
	@for p in $(check_PROGRAMS); do case $$p in test_*.t$(EXEEXT)) echo $$p ;; esac; done
valgrind-programs: all
	$(MAKE) $(AM_MAKEFLAGS) $(check_PROGRAMS) $(check_LTLIBRARIES)
print-fuzz-programs:
	@for p in $(noinst_PROGRAMS) $(check_PROGRAMS); do case $$p in fuzz_*) echo $$p ;; esac; done
fuzz-programs: all
	$(MAKE) $(AM_MAKEFLAGS) `for p in $(noinst_PROGRAMS) $(check_PROGRAMS); do case $$p in fuzz_*) echo $$p ;; esac; done`
.PHONY: lint cppcheck check-dist print-valgrind-programs valgrind-programs print-fuzz-programs fuzz-programs
