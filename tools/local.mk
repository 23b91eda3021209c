# The auditwell command. It sees the public headers only: no -I of core/. SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += auditwell
auditwell_SOURCES = tools/args.c tools/check.c tools/cli.h tools/completion.c tools/deadletter.c tools/export.c tools/help.c \
	tools/init.c tools/journal.c tools/log.c tools/main.c tools/migrate.c tools/out.c tools/plugins.c tools/progress.c tools/query.c \
	tools/retention.c tools/rows.c tools/stats.c tools/store_arg.c tools/pseudonym.c \
	tools/table.c tools/text.c tools/verify.c
auditwell_CPPFLAGS = -I$(top_srcdir)/include
auditwell_LDADD = libauditwell.la

# Completion comes from the command's own table.
bashcompletion_DATA = tools/bash-completion/auditwell
CLEANFILES += tools/bash-completion/auditwell
tools/bash-completion/auditwell: auditwell$(EXEEXT)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)./auditwell$(EXEEXT) help --completion bash >$@.tmp && mv $@.tmp $@
