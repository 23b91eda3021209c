# The auditwell command. It sees the public headers only: no -I of core/. SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += auditwell
auditwell_SOURCES = tools/args.c tools/check.c tools/cli.h tools/completion.c tools/deadletter.c tools/export.c tools/help.c \
	tools/init.c tools/journal.c tools/log.c tools/main.c tools/migrate.c tools/out.c tools/plugins.c tools/plugins_check.c tools/plugins_new.c tools/progress.c tools/query.c \
	tools/retention.c tools/rows.c tools/stats.c tools/store_arg.c tools/pseudonym.c \
	tools/table.c tools/text.c tools/verify.c
auditwell_CPPFLAGS = -I$(top_srcdir)/include -DAUDITWELL_LIBEXECDIR='"$(auditwelllibexecdir)"' \
	-DAUDITWELL_DATADIR='"$(pkgdatadir)"'
auditwell_LDADD = libauditwell.la

# Completion comes from the command's own table.
bashcompletion_DATA = tools/bash-completion/auditwell
CLEANFILES += tools/bash-completion/auditwell
tools/bash-completion/auditwell: auditwell$(EXEEXT)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)./auditwell$(EXEEXT) help --completion bash >$@.tmp && mv $@.tmp $@

# The conformance kit: started by `auditwell plugins check`. It is no part of the command, since it exports its own malloc,
# open, write … to whatever it loads, and links nothing of auditwell.
auditwelllibexecdir = $(libexecdir)/auditwell
auditwelllibexec_PROGRAMS = auditwell-plugin-check
auditwell_plugin_check_SOURCES = tools/kit/checks.h tools/kit/checks_durable.c tools/kit/checks_extensions.c \
	tools/kit/checks_faults.c tools/kit/checks_file.c tools/kit/checks_life.c tools/kit/checks_threads.c \
	tools/kit/checks_write.c tools/kit/config_file.c tools/kit/events.c tools/kit/host.c tools/kit/inject.c \
	tools/kit/inject.h tools/kit/inject_calls.c tools/kit/inject_calls.h tools/kit/inject_watch.c tools/kit/instance.c \
	tools/kit/instance.h tools/kit/kit.h tools/kit/load.c tools/kit/main.c tools/kit/out.c tools/kit/out.h \
	tools/kit/run.c tools/kit/settings.c tools/kit/stored.c
auditwell_plugin_check_CPPFLAGS = -I$(top_srcdir)/include
auditwell_plugin_check_CFLAGS = $(AM_CFLAGS) $(LIBCONFIG_CFLAGS) $(CRYPTO_CFLAGS)
auditwell_plugin_check_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
auditwell_plugin_check_LDADD = $(LIBCONFIG_LIBS) $(CRYPTO_LIBS)
