# unit tests: plugin and config. SPDX-License-Identifier: Apache-2.0
PLUGIN_UTIL = tests/unit/plugin_util.c tests/unit/plugin_util.h
check_PROGRAMS += test_registry.t test_dso.t test_schema.t test_host.t test_config.t test_config_manual.t
test_registry_t_SOURCES = tests/unit/test_registry.c $(PLUGIN_UTIL)
test_registry_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_registry_t_CFLAGS = $(UNIT_CFLAGS)
test_registry_t_LDADD = $(UNIT_LIBS)
test_dso_t_SOURCES = tests/unit/test_dso.c $(PLUGIN_UTIL)
test_dso_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_dso_t_CFLAGS = $(UNIT_CFLAGS)
test_dso_t_LDADD = $(UNIT_LIBS)
test_schema_t_SOURCES = tests/unit/test_schema.c $(PLUGIN_UTIL)
test_schema_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_schema_t_CFLAGS = $(UNIT_CFLAGS)
test_schema_t_LDADD = $(UNIT_LIBS) $(LIBCONFIG_LIBS)
test_host_t_SOURCES = tests/unit/test_host.c $(PLUGIN_UTIL)
test_host_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_host_t_CFLAGS = $(UNIT_CFLAGS)
test_host_t_LDADD = $(UNIT_LIBS)
test_config_t_SOURCES = tests/unit/test_config.c $(PLUGIN_UTIL)
test_config_t_CPPFLAGS = $(UNIT_CPPFLAGS) -DAW_PLUGINDIR='"$(plugindir)"' -DAW_SYSCONFDIR='"$(sysconfdir)"'
test_config_t_CFLAGS = $(UNIT_CFLAGS)
test_config_t_LDADD = $(UNIT_LIBS)
test_config_manual_t_SOURCES = tests/unit/test_config_manual.c $(PLUGIN_UTIL)
test_config_manual_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_config_manual_t_CFLAGS = $(UNIT_CFLAGS)
test_config_manual_t_LDADD = $(UNIT_LIBS)
TESTS += test_registry.t test_dso.t test_schema.t test_host.t test_config.t test_config_manual.t

check_PROGRAMS += test_config_modes.t
test_config_modes_t_SOURCES = tests/unit/test_config_modes.c $(PLUGIN_UTIL)
test_config_modes_t_CPPFLAGS = $(UNIT_CPPFLAGS)
test_config_modes_t_CFLAGS = $(UNIT_CFLAGS)
test_config_modes_t_LDADD = $(UNIT_LIBS)
TESTS += test_config_modes.t
