# The conformance kit: our own sinks pass it, and each defect of a plugin that has one is found by the check named for it.
# SPDX-License-Identifier: Apache-2.0
DEFECT_SOURCES = tests/kit/defect.c tests/kit/defect_ext.c tests/kit/defect.h
check_LTLIBRARIES += tests/kit/sink_defect.la
tests_kit_sink_defect_la_SOURCES = $(DEFECT_SOURCES)
tests_kit_sink_defect_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
# What is wrong before anything is called. The first exports more than its entry, on purpose.
check_LTLIBRARIES += tests/kit/sink_d_export.la
tests_kit_sink_d_export_la_SOURCES = $(DEFECT_SOURCES)
tests_kit_sink_d_export_la_CPPFLAGS = $(AM_CPPFLAGS) -DDEFECT_EXPORT
tests_kit_sink_d_export_la_LDFLAGS = -module -avoid-version -shared $(AW_PLUGIN_LDFLAGS) -rpath /nowhere
check_LTLIBRARIES += tests/kit/sink_d_constructor.la
tests_kit_sink_d_constructor_la_SOURCES = $(DEFECT_SOURCES)
tests_kit_sink_d_constructor_la_CPPFLAGS = $(AM_CPPFLAGS) -DDEFECT_CONSTRUCTOR
tests_kit_sink_d_constructor_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
check_LTLIBRARIES += tests/kit/sink_d_linked.la
tests_kit_sink_d_linked_la_SOURCES = $(DEFECT_SOURCES)
tests_kit_sink_d_linked_la_CPPFLAGS = $(AM_CPPFLAGS) -DDEFECT_LINKED
tests_kit_sink_d_linked_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
tests_kit_sink_d_linked_la_LIBADD = libauditwell.la

kit_tests = tests/kit/sinks.sh tests/kit/defects.sh tests/kit/command.sh tests/kit/http.sh
TESTS += $(kit_tests)
EXTRA_DIST += $(kit_tests) tests/kit/defects.list tests/kit/sinks.list tests/kit/judge.sh
