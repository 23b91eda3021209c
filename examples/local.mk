# Examples: built by make check, so that they cannot rot. SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += examples/embed examples/gen_events
examples_embed_SOURCES = examples/embed.c
examples_embed_LDADD = libauditwell.la
examples_gen_events_SOURCES = examples/gen_events.c

# The example sink, built as a stranger would build it: its own flags, no libtool, no include path but include/.
sink_hello.so: examples/sink-hello/sink_hello.c include/audit/plugin.h
	$(AM_V_CC)$(CC) $(CFLAGS) -D_GNU_SOURCE -std=gnu11 -Wall -Wextra -Wpedantic -fPIC -fvisibility=hidden -I$(top_srcdir)/include \
		-shared -Wl,-z,now -Wl,-z,nodelete -o $@ $(srcdir)/examples/sink-hello/sink_hello.c $(LDFLAGS)
check_DATA = sink_hello.so
CLEANFILES += sink_hello.so
# Installed, too: `auditwell plugins new` makes a package of them.
sinkhellodir = $(pkgdatadir)/sink-hello
dist_sinkhello_DATA = examples/sink-hello/sink_hello.c examples/sink-hello/configure.ac examples/sink-hello/Makefile.am \
	examples/sink-hello/README.md
dist_sinkhello_SCRIPTS = examples/sink-hello/autogen.sh examples/sink-hello/check.sh

# Programs for the exec sink.
EXTRA_DIST += examples/exec-sink/README.md examples/exec-sink/append.sh examples/exec-sink/to_sqlite.py
