/* test_registry.c - what plugins declare: accepted, copied, or refused with the field, what is expected, what was found
 * and what to do. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "plugin/plugin_internal.h"
#include "plugin_util.h"

#include <stdio.h>

static int load(const char *name, const struct plugin **ret)
{
    struct plugin_spec spec = {.path = util_mock(name), .where = "audit.conf:7"};
    diag_reset();
    *ret = NULL;
    return plugin_load(&spec, ret);
}

/* The one line about a mock: "PATH: rest". */
static bool refused(const char *name, const char *rest)
{
    const struct plugin *p;
    char line[6000];
    if (load(name, &p) != AW_ERR_CONFIG)
        return false;
    snprintf(line, sizeof line, "%s: %s", util_mock(name), rest);
    return util_problem("audit.conf:7", line);
}

static void test_good(void)
{
    const struct plugin *p, *again;
    CU_ASSERT_EQUAL_FATAL(load("m_good", &p), 0);
    CU_ASSERT_EQUAL(util_errors(), 0);
    CU_ASSERT_STRING_EQUAL(p->path, util_mock("m_good"));
    CU_ASSERT_STRING_EQUAL(p->descriptor.id, "org.example.mock.m_good");
    CU_ASSERT_EQUAL(p->sink_count, 1);
    CU_ASSERT_EQUAL(p->adapter_count, 0);
    CU_ASSERT_PTR_EQUAL(plugin_sink(p, "m_good"), &p->sinks[0]);
    CU_ASSERT_PTR_EQUAL(plugin_sink(p, NULL), &p->sinks[0]);
    CU_ASSERT_PTR_NULL(plugin_sink(p, "m_bad"));
    CU_ASSERT_PTR_NULL(plugin_adapter(p, NULL));
    CU_ASSERT_PTR_EQUAL(p->descriptor.sinks[0], &p->sinks[0]);
    CU_ASSERT_PTR_NULL(p->descriptor.sinks[1]);
    CU_ASSERT_EQUAL(p->sinks[0].struct_size, sizeof(struct aw_sink_class));
    CU_ASSERT_EQUAL(load("m_good", &again), 0);
    CU_ASSERT_PTR_EQUAL(p, again);
}

static void test_prefixed_entry(void)
{
    const struct plugin *p;
    CU_ASSERT_EQUAL_FATAL(load("m_ltx", &p), 0);
    CU_ASSERT_STRING_EQUAL(p->sinks[0].name, "m_ltx");
}

/* Longer structs of a newer minor: what we know is read, the rest is ignored. */
static void test_future(void)
{
    const struct plugin *p;
    CU_ASSERT_EQUAL_FATAL(load("m_future", &p), 0);
    CU_ASSERT_EQUAL(p->descriptor.abi_minor, AW_ABI_MINOR + 7);
    CU_ASSERT_EQUAL(p->descriptor.struct_size, sizeof(struct aw_plugin));
    CU_ASSERT_EQUAL(p->sinks[0].struct_size, sizeof(struct aw_sink_class));
    CU_ASSERT_PTR_NOT_NULL(p->sinks[0].write);
}

/* Shorter structs of an older minor: the members it does not have read as NULL. */
static void test_older(void)
{
    const struct plugin *p;
    CU_ASSERT_EQUAL_FATAL(load("m_older", &p), 0);
    CU_ASSERT_PTR_NOT_NULL(p->sinks[0].destroy);
    CU_ASSERT_PTR_NULL(p->sinks[0].extension);
}

static void test_no_entry(void)
{
    CU_ASSERT(refused("m_noentry",
                      "entry: expected the function auditwell_plugin_v1, found none; this is no auditwell plugin"));
    CU_ASSERT(refused("m_nullentry", "entry: expected a pointer to a struct aw_plugin, found NULL; ask its author"));
}

static void test_wrong_epoch(void)
{
    CU_ASSERT(
        refused("m_epoch",
                "entry: expected the function auditwell_plugin_v1, found only auditwell_plugin_v2; this plugin is for "
                "another generation of auditwell: install the release built for ABI 1"));
    CU_ASSERT(refused("m_major",
                      "descriptor: abi_major: expected 1, found 2; install the plugin's release for this generation"));
}

static void test_wrong_magic(void)
{
    CU_ASSERT(refused("m_magic",
                      "descriptor: magic: expected 0x50445541, found 0x12345678; the descriptor must begin with "
                      "AW_PLUGIN_HEAD"));
}

static void test_short_struct(void)
{
    char text[200];
    snprintf(text, sizeof text,
             "sink class 0: struct_size: expected %zu to 65536 bytes, found 40; set it to sizeof of the struct",
             offsetof(struct aw_sink_class, destroy) + sizeof(void *));
    CU_ASSERT(refused("m_short", text));
}

static void test_missing_callbacks(void)
{
    CU_ASSERT(refused("m_nowrite",
                      "sink class \"m_nowrite\": write: expected a function, every sink must have it, found NULL; ask "
                      "its author for a corrected build"));
    CU_ASSERT(refused("m_nowrite", "sink class \"m_nowrite\": destroy: expected a function"));
    CU_ASSERT_EQUAL(util_errors(), 2); /* both at once */
}

static void test_thread_model(void)
{
    CU_ASSERT(
        refused("m_threads",
                "sink class \"m_threads\": thread_model: expected AW_THREADS_SERIAL_PLUGIN (1000), _SERIAL_INSTANCE "
                "(2000) or _PARALLEL (3000), found 7; ask its author"));
}

static void test_class_names(void)
{
    CU_ASSERT(
        refused("m_badname",
                "sink class 0: name: expected [a-z0-9_-]+, at most 32 characters, found \"Bad Name\"; ask its author"));
    const struct plugin *p;
    CU_ASSERT_EQUAL(load("m_good", &p), 0);
    char text[1000];
    snprintf(text, sizeof text,
             "sink class \"m_good\": name: expected a name that no other plugin has, found that %s has it already; "
             "remove one of the two files",
             util_mock("m_good"));
    CU_ASSERT(refused("m_dupname", text));
    struct plugin_spec by_name = {.name = "m_older", .path = util_mock("m_good"), .where = "audit.conf:3"};
    diag_reset();
    CU_ASSERT_EQUAL(plugin_load(&by_name, &p), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:3",
                           "class \"m_older\": expected a sink or adapter of that name, found \"m_good\"; was the file "
                           "renamed?"));
}

static void test_host_needs(void)
{
    CU_ASSERT(refused("m_needs", "descriptor: host_needs[0]: expected a feature that this auditwell has, found "
                                 "\"org.example.nobody-has-this/1\", which auditwell " PACKAGE_VERSION
                                 " does not have; update auditwell"));
}

static void test_bad_schema(void)
{
    static const char *const lines[] = {
        "option \"strange\": type: expected an AW_OPT_* type of ABI 1.0, found 999; this is the plugin's fault",
        "option \"range\": range: expected min <= max, found min 9, max 3; this is the plugin's fault: tell its author",
        "option \"room\": deflt: expected a value the option itself takes, found \"lots\" (expected a size such as "
        "\"64MiB\", found \"lots\")",
        "option \"outside\": deflt: expected a value the option itself takes, found \"11\" (11 is out of range: "
        "expected 1 to 10)",
        "option \"range\": key: expected every key once, found it twice",
        "option 5: key: expected [a-z][a-z0-9_]*, at most 64 characters, found \"Bad-Key\"",
        "option \"choice\": choices: expected choices for an enum, found none",
    };
    char text[400];
    for (size_t i = 0; i < AW_ARRAY_LEN(lines); i++) {
        snprintf(text, sizeof text, "sink class \"m_badschema\": %s", lines[i]);
        CU_ASSERT(refused("m_badschema", text));
    }
    snprintf(text, sizeof text,
             "sink class \"m_badschema_short\": option 0: struct_size: expected %zu to 65536 bytes, found 20; set it",
             offsetof(struct aw_option, key) + sizeof(void *));
    CU_ASSERT(refused("m_badschema", text));
    CU_ASSERT_EQUAL(util_errors(), AW_ARRAY_LEN(lines) + 1);
}

/* load() is called once; the second try tells the first one's reason. */
static void test_load_fails(void)
{
    for (int i = 0; i < 2; i++)
        CU_ASSERT(
            refused("m_badload",
                    "load(): expected AW_OK, found -1000 (no weather today (call 1)); see the plugin's documentation"));
}

static void test_binding(void)
{
    CU_ASSERT(refused("m_undefined", "load: expected a shared object that loads and binds every symbol, found "));
    CU_ASSERT(util_problem(
        NULL, "undefined symbol: mock_function_that_nobody_has; the plugin uses a symbol that nothing it is linked "
              "with has"));
    CU_ASSERT(refused(
        "m_needslib",
        "load: expected a shared object that loads and binds every symbol, found libmock-dependency.so.7: "
        "cannot open shared object file: No such file or directory; install the package that has this library"));
}

static void test_not_found(void)
{
    const struct plugin *p;
    struct plugin_spec spec = {.name = "m_goood", .where = "audit.conf:9", .search = util_mock_dir()};
    diag_reset();
    CU_ASSERT_EQUAL(plugin_load(&spec, &p), AW_ERR_NOTFOUND);
    CU_ASSERT(util_problem("audit.conf:9",
                           "m_goood: plugin: expected sink_m_goood.so or adapter_m_goood.so, found no such file in "));
    CU_ASSERT(util_problem("audit.conf:9", "did you mean \"m_good\"?"));
    CU_ASSERT(util_problem("audit.conf:9", util_mock_dir()));
    spec.name = "../../etc/passwd";
    diag_reset();
    CU_ASSERT_EQUAL(plugin_load(&spec, &p), AW_ERR_CONFIG);
    CU_ASSERT(util_problem(
        "audit.conf:9", "plugin: expected a name of [a-z0-9_-], at most 32 characters, found \"../../etc/passwd\"; use "
                        "plugin_file for a path"));
    spec = (struct plugin_spec){.path = "/nowhere/at/all.so"};
    diag_reset();
    CU_ASSERT_EQUAL(plugin_load(&spec, &p), AW_ERR_NOTFOUND);
    CU_ASSERT(util_problem(
        "",
        "/nowhere/at/all.so: file: expected a readable plugin file, found No such file or directory; check the path"));
}

struct seen {
    size_t good, refused;
    bool m_good, m_magic;
};

static int see(void *arg, const char *path, const void *plugin, const char *reason)
{
    struct seen *s = arg;
    const struct aw_plugin *p = plugin;
    CU_ASSERT((p != NULL) != (reason != NULL));
    s->good += p != NULL;
    s->refused += reason != NULL;
    s->m_good |= p && strcmp(p->sinks[0]->name, "m_good") == 0 && strcmp(path, util_mock("m_good")) == 0 &&
                 strcmp(p->sinks[0]->options[0]->key, "flag") == 0;
    s->m_magic |= reason && strcmp(path, util_mock("m_magic")) == 0 && strstr(reason, "magic: expected") != NULL;
    return 0;
}

static int stop_at_once(void *arg, const char *path, const void *plugin, const char *reason)
{
    (void)path;
    (void)plugin;
    (void)reason;
    ++*(int *)arg;
    return 77;
}

static void test_each(void)
{
    struct seen s = {0};
    CU_ASSERT_EQUAL(aw_plugins_each(see, &s), 0);
    CU_ASSERT(s.m_good);
    CU_ASSERT(s.m_magic);
    CU_ASSERT(s.good >= 8 && s.refused >= 12);
    int calls = 0;
    CU_ASSERT_EQUAL(aw_plugins_each(stop_at_once, &calls), 77);
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(aw_plugins_each(NULL, NULL), AW_ERR_USAGE);
    CU_ASSERT(util_problem("fn", "must not be NULL"));
}

static void test_find(void)
{
    const void *plugin = NULL;
    const char *path = NULL;
    CU_ASSERT_EQUAL(aw_plugins_find("m_good", &plugin, &path), AW_SUCCESS);
    CU_ASSERT_STRING_EQUAL(path, util_mock("m_good"));
    CU_ASSERT_STRING_EQUAL(((const struct aw_plugin *)plugin)->sinks[0]->name, "m_good");
    CU_ASSERT_EQUAL(aw_plugins_find(util_mock("m_ltx"), &plugin, NULL), AW_SUCCESS);
    CU_ASSERT_STRING_EQUAL(((const struct aw_plugin *)plugin)->id, "org.example.mock.m_ltx");
    CU_ASSERT_EQUAL(aw_plugins_find("relative/sink_x.so", &plugin, NULL), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("", "path: expected an absolute path, found \"relative/sink_x.so\"; write the whole path"));
    CU_ASSERT_EQUAL(aw_plugins_find("", &plugin, NULL), AW_ERR_USAGE);
}

static int before_all(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return setenv("AUDITWELL_PLUGIN_PATH", util_mock_dir(), 1);
}

int main(int argc, char **argv)
{
    static const struct harness_test tests[] = {
        {"a sound plugin is loaded once", test_good},
        {"entry with the module's prefix", test_prefixed_entry},
        {"a newer minor with longer structs", test_future},
        {"an older minor with shorter structs", test_older},
        {"no entry", test_no_entry},
        {"wrong epoch", test_wrong_epoch},
        {"wrong magic", test_wrong_magic},
        {"struct_size too short", test_short_struct},
        {"missing callbacks", test_missing_callbacks},
        {"unknown thread model", test_thread_model},
        {"class names", test_class_names},
        {"host_needs", test_host_needs},
        {"a schema that cannot work", test_bad_schema},
        {"load() fails", test_load_fails},
        {"undefined symbol, missing library", test_binding},
        {"not found", test_not_found},
        {"aw_plugins_each", test_each},
        {"aw_plugins_find", test_find},
    };
    return before_all(argc, argv) ? 99 : harness_run("registry", tests, AW_ARRAY_LEN(tests), argc, argv);
}
