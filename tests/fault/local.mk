# SPDX-License-Identifier: Apache-2.0
# N-th failure loops. make check takes a sample; make fault-long takes every failure (long).
if HAVE_CUNIT
# The real delivery code on fakes of what is below it: the linker puts them in the real functions' place.
check_PROGRAMS += model.t
TESTS += model.t
model_t_SOURCES = tests/fault/model.c tests/fault/model_run.c tests/fault/model_world.c tests/fault/model_sink.c \
	tests/fault/model_expect.c tests/fault/model.h
model_t_CPPFLAGS = $(UNIT_CPPFLAGS) -I$(top_srcdir)/tests/fault
model_t_CFLAGS = $(UNIT_CFLAGS)
model_t_LDADD = $(UNIT_LIBS)
model_t_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=clock_mono_ns -Wl,--wrap=clock_real_ns -Wl,--wrap=ids_random -Wl,--wrap=pthread_create \
	-Wl,--wrap=pthread_join -Wl,--wrap=pthread_setname_np -Wl,--wrap=pthread_cond_timedwait -Wl,--wrap=journal_append \
	-Wl,--wrap=journal_why_full -Wl,--wrap=journal_sync -Wl,--wrap=journal_head -Wl,--wrap=journal_get_id \
	-Wl,--wrap=journal_wake -Wl,--wrap=journal_lookup_hash -Wl,--wrap=journal_cursor_open \
	-Wl,--wrap=journal_cursor_close -Wl,--wrap=journal_cursor_acked -Wl,--wrap=journal_cursor_ack \
	-Wl,--wrap=journal_cursor_seek -Wl,--wrap=journal_cursor_read -Wl,--wrap=journal_cursor_passed \
	-Wl,--wrap=deadletter_create -Wl,--wrap=deadletter_destroy -Wl,--wrap=deadletter_path -Wl,--wrap=deadletter_add \
	-Wl,--wrap=decision_open -Wl,--wrap=decision_close -Wl,--wrap=decision_path -Wl,--wrap=decision_store

if SINK_SQLITE
check_PROGRAMS += fault.t oracle.t
TESTS += fault.t oracle.t
fault_t_SOURCES = tests/fault/fault.c tests/fault/inject.c tests/fault/inject.h tests/fault/wrap_open.h tests/fault/oracle.c tests/fault/oracle.h \
	tests/fault/rig.c tests/fault/rig.h
fault_t_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit -I$(top_srcdir)/tests/fault
fault_t_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
fault_t_LDADD = libharness.la libauditwell.la $(SQLITE_LIBS)
fault_t_LDFLAGS = $(AM_LDFLAGS) -export-dynamic

oracle_t_SOURCES = tests/fault/oracle_test.c tests/fault/inject.c tests/fault/inject.h tests/fault/oracle.c \
	tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
oracle_t_CPPFLAGS = $(fault_t_CPPFLAGS)
oracle_t_CFLAGS = $(fault_t_CFLAGS)
oracle_t_LDADD = $(fault_t_LDADD)
oracle_t_LDFLAGS = $(fault_t_LDFLAGS)

if !BUILTIN_PLUGINS
check_PROGRAMS += fault_together.t
TESTS += fault_together.t
check_LTLIBRARIES += tests/fault/sink_ledger.la
tests_fault_sink_ledger_la_SOURCES = tests/fault/sink_ledger.c
tests_fault_sink_ledger_la_CPPFLAGS = -I$(top_srcdir)/include
tests_fault_sink_ledger_la_LDFLAGS = $(AM_LDFLAGS) $(AW_MODULE_FLAGS) -rpath /nowhere
fault_together_t_SOURCES = tests/fault/together.c tests/fault/inject.c tests/fault/inject.h tests/fault/oracle.c \
	tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
fault_together_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_together_t_CFLAGS = $(fault_t_CFLAGS)
fault_together_t_LDADD = $(fault_t_LDADD)
fault_together_t_LDFLAGS = $(fault_t_LDFLAGS)
EXTRA_fault_together_t_DEPENDENCIES = tests/fault/sink_ledger.la
FAULT_TOGETHER = fault_together.t

check_PROGRAMS += fault_sync.t
TESTS += fault_sync.t
fault_sync_t_SOURCES = tests/fault/sync_fail.c tests/fault/disk.c tests/fault/disk_model.c tests/fault/disk.h tests/fault/wrap_open.h \
	tests/fault/disk_private.h tests/fault/oracle.c tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
fault_sync_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_sync_t_CFLAGS = $(fault_t_CFLAGS)
fault_sync_t_LDADD = $(fault_t_LDADD)
fault_sync_t_LDFLAGS = $(fault_t_LDFLAGS)
EXTRA_fault_sync_t_DEPENDENCIES = tests/plugins/sink_puppet.la
FAULT_PLUGINS = fault_sync.t
endif

check_PROGRAMS += fault_full.t
TESTS += fault_full.t
fault_full_t_SOURCES = tests/fault/full.c tests/fault/inject.c tests/fault/inject.h tests/fault/wrap_open.h tests/fault/oracle.c \
	tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
fault_full_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_full_t_CFLAGS = $(fault_t_CFLAGS)
fault_full_t_LDADD = $(fault_t_LDADD)
fault_full_t_LDFLAGS = $(fault_t_LDFLAGS)

check_PROGRAMS += fault_retention.t
TESTS += fault_retention.t
fault_retention_t_SOURCES = tests/fault/retention.c tests/fault/inject.c tests/fault/inject.h tests/fault/wrap_open.h tests/fault/oracle.c \
	tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
fault_retention_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_retention_t_CFLAGS = $(fault_t_CFLAGS)
fault_retention_t_LDADD = $(fault_t_LDADD)
fault_retention_t_LDFLAGS = $(fault_t_LDFLAGS)

check_PROGRAMS += power.t
TESTS += power.t
power_t_SOURCES = tests/fault/power.c tests/fault/disk.c tests/fault/disk_model.c tests/fault/disk.h tests/fault/wrap_open.h \
	tests/fault/disk_private.h tests/fault/oracle.c tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
power_t_CPPFLAGS = $(fault_t_CPPFLAGS)
power_t_CFLAGS = $(fault_t_CFLAGS)
power_t_LDADD = $(fault_t_LDADD)
power_t_LDFLAGS = $(fault_t_LDFLAGS)

check_PROGRAMS += fault_sinks.t fault_outage.t
TESTS += fault_sinks.t fault_outage.t
FAULT_JUDGE = tests/fault/judge.c tests/fault/judge.h tests/fault/oracle.c tests/fault/oracle.h tests/fault/rig.c tests/fault/rig.h
fault_sinks_t_SOURCES = tests/fault/sinks.c $(FAULT_JUDGE)
fault_sinks_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_sinks_t_CFLAGS = $(fault_t_CFLAGS)
fault_sinks_t_LDADD = $(fault_t_LDADD)
EXTRA_fault_sinks_t_DEPENDENCIES = tests/plugins/sink_puppet.la
fault_outage_t_SOURCES = tests/fault/outage.c $(FAULT_JUDGE)
fault_outage_t_CPPFLAGS = $(fault_t_CPPFLAGS)
fault_outage_t_CFLAGS = $(fault_t_CFLAGS)
fault_outage_t_LDADD = $(fault_t_LDADD)
EXTRA_fault_outage_t_DEPENDENCIES = tests/plugins/sink_puppet.la

# For users: a trial of their own configuration. docs/faults.md
check_PROGRAMS += auditwell-trial
TESTS += tests/fault/trial.sh
auditwell_trial_SOURCES = tests/fault/trial.c tests/fault/trial_config.c tests/fault/trial.h tests/fault/judge.c \
	tests/fault/judge.h tests/fault/oracle.c tests/fault/oracle.h
auditwell_trial_CPPFLAGS = $(fault_t_CPPFLAGS)
auditwell_trial_CFLAGS = $(fault_t_CFLAGS) $(LIBCONFIG_CFLAGS)
auditwell_trial_LDADD = libauditwell.la $(SQLITE_LIBS) $(LIBCONFIG_LIBS)
EXTRA_auditwell_trial_DEPENDENCIES = tests/plugins/sink_m_good.la tests/integration/cli/sink_plain.la
# make trial CONFIG=/etc/auditwell/audit.conf TRIAL_FLAGS='-n 1000'
trial: all auditwell-trial
	$(AM_TESTS_ENVIRONMENT) ./auditwell-trial -c '$(CONFIG)' $(TRIAL_FLAGS)

fault-long: all model.t fault.t fault_full.t fault_retention.t power.t crash.t fault_sinks.t fault_outage.t $(FAULT_TOGETHER) $(FAULT_PLUGINS)
	$(AM_TESTS_ENVIRONMENT) for t in model.t fault.t fault_full.t fault_retention.t power.t crash.t fault_sinks.t fault_outage.t $(FAULT_TOGETHER) $(FAULT_PLUGINS); do \
	    FAULT_LONG=1 HARNESS_TIMEOUT=36000 ./$$t || exit 1; done
endif
endif
EXTRA_DIST += tests/fault/trial.sh
.PHONY: fault-long trial
