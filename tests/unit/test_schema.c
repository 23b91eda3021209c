/* test_schema.c - options: types, units, ranges, secrets, "did you mean". SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "plugin/plugin_internal.h"
#include "plugin_util.h"

#include <libconfig.h>
#include <stdio.h>

static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct aw_option flag = {sizeof flag, AW_OPT_BOOL, 0, 0, "flag", "true", "A switch.", 0, 0, NULL};
static const struct aw_option count = {sizeof count, AW_OPT_INT, 0, 0, "count", "-3", "A number.", -10, 10, NULL};
static const struct aw_option big = {sizeof big, AW_OPT_UINT, 0, 0, "big", NULL, "A large number.", 0, 0, NULL};
static const struct aw_option room = {sizeof room, AW_OPT_SIZE,      0,   0, "room", "64MiB", "How much.",
                                      1024,        INT64_C(1) << 40, NULL};
static const struct aw_option pause_ = {
    sizeof pause_, AW_OPT_DURATION, 0, 0, "pause", "250ms", "How long.", 0, INT64_C(60000000000), NULL};
static const struct aw_option label = {sizeof label, AW_OPT_STRING, 0, 0, "label", NULL, "A text.", 0, 0, NULL};
static const struct aw_option colour = {sizeof colour, AW_OPT_ENUM, 0, 0, "colour",
                                        "green",       "A colour.", 0, 0, colours};
static const struct aw_option path_ = {
    sizeof path_, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "Where it is.", 0, 0, NULL};
static const struct aw_option password = {
    sizeof password, AW_OPT_SECRET, 0, 0, "password", NULL, "Its key.", 0, 0, NULL};
static const struct aw_option tags = {sizeof tags,          AW_OPT_LIST,   0, 0, "tags",
                                      "( \"a\", \"b c\" )", "Some texts.", 0, 0, NULL};
static const struct aw_option old = {sizeof old, AW_OPT_BOOL, AW_OPT_DEPRECATED, 0, "old", NULL, "Use flag.", 0,
                                     0,          NULL};
static const struct aw_option *const options[] = {&flag,   &count, &big,      &room, &pause_, &label,
                                                  &colour, &path_, &password, &tags, &old,    NULL};
static const char *const core_keys[] = {"plugin", "name", NULL};

static config_t document;
static struct aw_config *config;

static void begin(const char *text)
{
    config_init(&document);
    if (config_read_string(&document, text) != CONFIG_TRUE) {
        harness_note("line %d: %s in %s", config_error_line(&document), config_error_text(&document), text);
        CU_FAIL("the test's text is no libconfig");
    }
    diag_reset();
    config = NULL;
}

static int take(const char *text)
{
    begin(text);
    return schema_config_create(options, config_root_setting(&document), core_keys, "/etc/auditwell", "sinks.x",
                                &config);
}

static void end(void)
{
    schema_config_destroy(config);
    config_destroy(&document);
}

/* Exactly one problem, at this place and with this text. */
static bool complains(const char *text, const char *where, const char *message)
{
    int rc = take(text);
    bool ok = rc == AW_ERR_CONFIG && config == NULL && util_errors() == 1 && util_problem(where, message);
    if (!ok)
        harness_note("rc %d for: %s", rc, text);
    end();
    return ok;
}

static int64_t number(const char *key)
{
    return schema_value(config, key)->number;
}

static void test_values(void)
{
    CU_ASSERT_EQUAL_FATAL(
        take("plugin = \"x\"; flag = false; count = 7; big = 9000000000L; room = \"3GiB\"; pause = \"2s\"; label = "
             "\"hällo\"; "
             "colour = \"blue\"; path = \"sub/file\"; password = \"s3cret\"; tags = [ \"x\", \"y\" ];"),
        0);
    CU_ASSERT_EQUAL(number("flag"), 0);
    CU_ASSERT_EQUAL(number("count"), 7);
    CU_ASSERT_EQUAL(number("big"), 9000000000);
    CU_ASSERT_EQUAL(number("room"), INT64_C(3) << 30);
    CU_ASSERT_EQUAL(number("pause"), 2000000000);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "label")->text, "hällo");
    CU_ASSERT_STRING_EQUAL(schema_value(config, "colour")->text, "blue");
    CU_ASSERT_STRING_EQUAL(schema_value(config, "path")->text, "/etc/auditwell/sub/file");
    CU_ASSERT_STRING_EQUAL(schema_value(config, "password")->text, "s3cret");
    CU_ASSERT_EQUAL(schema_value(config, "tags")->count, 2);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "tags")->items[1].text, "y");
    end();
}

static void test_defaults(void)
{
    CU_ASSERT_EQUAL_FATAL(take("path = \"/a\";"), 0);
    CU_ASSERT_EQUAL(number("flag"), 1);
    CU_ASSERT_EQUAL(number("count"), -3);
    CU_ASSERT_FALSE(schema_value(config, "big")->set);
    CU_ASSERT_EQUAL(number("room"), 64 << 20);
    CU_ASSERT_EQUAL(number("pause"), 250000000);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "colour")->text, "green");
    CU_ASSERT_STRING_EQUAL(schema_value(config, "path")->text, "/a");
    CU_ASSERT_EQUAL(schema_value(config, "tags")->count, 2);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "tags")->items[1].text, "b c");
    end();
}

static void test_wrong_types(void)
{
    static const struct {
        const char *setting, *message;
    } cases[] = {
        {"flag = 1;", "sinks.x.flag: expected true or false, found the number 1 (A switch.)"},
        {"flag = \"true\";", "sinks.x.flag: expected true or false, found the string \"true\" (A switch.)"},
        {"count = 1.5;", "sinks.x.count: expected a whole number, found the fraction 1.5 (A number.)"},
        {"count = \"7\";", "sinks.x.count: expected a whole number, found the string \"7\""},
        {"count = 11;", "sinks.x.count: 11 is out of range: expected -10 to 10 (A number.)"},
        {"count = -11;", "sinks.x.count: -11 is out of range: expected -10 to 10"},
        {"count = 0x7fffffffffffffffL;", "sinks.x.count: 9223372036854775807 is out of range: expected -10 to 10"},
        {"big = -1;", "sinks.x.big: -1 is out of range: expected at least 0 (A large number.)"},
        {"room = 1;", "sinks.x.room: 1 is out of range: expected 1KiB to 1TiB (How much.)"},
        {"room = 1024.0;", "sinks.x.room: expected a size such as \"64MiB\", found the fraction 1024"},
        {"room = \"10M\";", "sinks.x.room: expected a size such as \"64MiB\", found \"10M\": units are B, KiB, MiB, "
                            "GiB, TiB (1024) and KB, MB, "
                            "GB, TB (1000)"},
        {"room = \"much\";", "sinks.x.room: expected a size such as \"64MiB\", found \"much\""},
        {"room = \"99999999999999999999\";", "sinks.x.room: \"99999999999999999999\" is too large for any size"},
        {"room = \"9000000TiB\";", "sinks.x.room: \"9000000TiB\" is too large for any size"},
        {"room = \"2TiB\";", "sinks.x.room: 2TiB is out of range: expected 1KiB to 1TiB"},
        {"pause = 5;",
         "sinks.x.pause: expected a duration with its unit such as \"5ms\", found the number 5 (How long.)"},
        {"pause = \"2 weeks\";",
         "sinks.x.pause: expected a duration such as \"250ms\", found \"2 weeks\": units are ns, us, ms, s, m, h, d"},
        {"pause = \"2h\";", "sinks.x.pause: 2h is out of range: expected 0 to 1m"},
        {"label = 3;", "sinks.x.label: expected a string in quotes, found the number 3 (A text.)"},
        {"label = {};", "sinks.x.label: expected a string in quotes, found a group { }"},
        {"colour = \"grene\";", "sinks.x.colour: expected one of \"red\", \"green\", \"blue\", found \"grene\"; did "
                                "you mean \"green\"? (A colour.)"},
        {"colour = \"ultraviolet\";",
         "sinks.x.colour: expected one of \"red\", \"green\", \"blue\", found \"ultraviolet\" (A colour.)"},
        {"tags = \"a\";", "sinks.x.tags: expected a list of strings such as ( \"a\", \"b\" ), found the string \"a\""},
        {"tags = ( \"a\", 2 );", "sinks.x.tags[1]: expected a string in quotes, found the number 2 (Some texts.)"},
        {"password = 12345;", "sinks.x.password: expected a string in quotes, found a number (Its key.)"},
    };
    char text[300];
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "path = \"/a\";\n\n%s\n", cases[i].setting);
        CU_ASSERT(complains(text, "<text>:3", cases[i].message));
    }
}

static void test_paths(void)
{
    CU_ASSERT(complains("path = \"\";", "<text>:1",
                        "sinks.x.path: expected a path in quotes, found an empty string (Where it is.)"));
    CU_ASSERT_EQUAL(take("path = \"./a/../b\";"), 0);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "path")->text, "/etc/auditwell/a/../b");
    end();
    char long_path[6000] = "path = \"/";
    memset(long_path + 9, 'x', 5000);
    memcpy(long_path + 5009, "\";", 3);
    CU_ASSERT(complains(long_path, "<text>:1", "sinks.x.path: expected at most 4095 bytes, found more"));
}

static void test_unknown_keys(void)
{
    CU_ASSERT(
        complains("path = \"/a\"; cuont = 1;", "<text>:1", "sinks.x: unknown key \"cuont\"; did you mean \"count\"?"));
    CU_ASSERT(complains("path = \"/a\"; plguin = 1;", "<text>:1",
                        "sinks.x: unknown key \"plguin\"; did you mean \"plugin\"?"));
    CU_ASSERT(complains("path = \"/a\"; temperature = 1;", "<text>:1",
                        "sinks.x: unknown key \"temperature\"; known are: flag, count, big, room, pause, label, "
                        "colour, path, password, tags, "
                        "plugin, name"));
}

static void test_required_and_all_at_once(void)
{
    begin("\nx : {\n flag = 1;\n cuont = 2;\n count = 99;\n room = \"1\";\n};");
    CU_ASSERT_EQUAL(schema_config_create(options, config_lookup(&document, "x"), core_keys, "/", "sinks.x", &config),
                    AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(util_errors(), 5);
    CU_ASSERT(util_problem("<text>:3", "sinks.x.flag: expected true or false"));
    CU_ASSERT(util_problem("<text>:4", "sinks.x: unknown key \"cuont\""));
    CU_ASSERT(util_problem("<text>:5", "sinks.x.count: 99 is out of range"));
    CU_ASSERT(util_problem("<text>:6", "sinks.x.room: 1 is out of range"));
    CU_ASSERT(util_problem("<text>:2", "sinks.x.path: required, but not set (Where it is.)"));
    end();
}

static void test_deprecated(void)
{
    CU_ASSERT_EQUAL(take("path = \"/a\"; old = true;"), 0);
    CU_ASSERT_EQUAL(util_warnings(), 1);
    CU_ASSERT(util_problem("<text>:1", "sinks.x.old: deprecated, it will be removed (Use flag.)"));
    end();
}

static void test_nearest(void)
{
    static const char *const known[] = {"path", "plugin", "batch", "write_deadline", NULL};
    CU_ASSERT_STRING_EQUAL(schema_nearest("pahth", known), "path");
    CU_ASSERT_STRING_EQUAL(schema_nearest("ptah", known), "path"); /* a transposition is one error */
    CU_ASSERT_STRING_EQUAL(schema_nearest("writedeadline", known), "write_deadline");
    CU_ASSERT_PTR_NULL(schema_nearest("zzz", known));
    CU_ASSERT_PTR_NULL(schema_nearest("", known));
    CU_ASSERT_PTR_NULL(schema_nearest("path", NULL));
    char long_key[200];
    memset(long_key, 'p', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    CU_ASSERT_PTR_NULL(schema_nearest(long_key, known));
}

static void test_units(void)
{
    static const struct {
        const char *text;
        int64_t size, duration;
    } cases[] = {
        {"0", 0, 0},
        {"1024", 1024, -1},
        {"10B", 10, -1},
        {"1KiB", 1024, -1},
        {"2 MiB", 2 << 20, -1},
        {"64KB", 64000, -1},
        {"1TB", 1000000000000, -1},
        {"7ns", -1, 7},
        {"3us", -1, 3000},
        {"250ms", -1, 250000000},
        {"30s", -1, 30000000000},
        {"5m", -1, 300000000000},
        {"5min", -1, 300000000000},
        {"1h", -1, 3600000000000},
        {"2d", -1, 172800000000000},
        {"9223372036854775807", INT64_MAX, -1},
        {"9223372036854775807ns", -1, INT64_MAX},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        int64_t n = -2;
        CU_ASSERT_EQUAL(schema_parse_size(cases[i].text, &n), cases[i].size < 0 ? -EINVAL : 0);
        CU_ASSERT(cases[i].size < 0 || n == cases[i].size);
        CU_ASSERT_EQUAL(schema_parse_duration(cases[i].text, &n), cases[i].duration < 0 ? -EINVAL : 0);
        CU_ASSERT(cases[i].duration < 0 || n == cases[i].duration);
    }
    static const char *const bad[] = {"",     " ",   "-1",    "+1",     "1.5GiB", "KiB", "1kib",
                                      "0x10", "1 2", "1KiB ", "1\tKiB", "1K",     "1M",  "one"};
    for (size_t i = 0; i < AW_ARRAY_LEN(bad); i++) {
        int64_t n = 77;
        CU_ASSERT_EQUAL(schema_parse_size(bad[i], &n), -EINVAL);
        CU_ASSERT_EQUAL(schema_parse_duration(bad[i], &n), -EINVAL);
        CU_ASSERT_EQUAL(n, 77);
    }
    int64_t n;
    CU_ASSERT_EQUAL(schema_parse_size("9223372036854775808", &n), -ERANGE);
    CU_ASSERT_EQUAL(schema_parse_size("8388608TiB", &n), -ERANGE);
    CU_ASSERT_EQUAL(schema_parse_duration("106752d", &n), -ERANGE);
}

/* What is formatted reads back as the same number. */
static void test_format_property(void)
{
    uint64_t seed = harness_seed();
    char text[64];
    for (int i = 0; i < 20000; i++) {
        int64_t n = (int64_t)(harness_random(&seed) >> (1 + harness_random(&seed) % 63)), back = -1;
        if (harness_random(&seed) % 2)
            n &= ~INT64_C(0xfffff);
        schema_format_size(n, text, sizeof text);
        CU_ASSERT_FATAL(schema_parse_size(text, &back) == 0 && back == n);
        schema_format_duration(n, text, sizeof text);
        CU_ASSERT_FATAL(schema_parse_duration(text, &back) == 0 && back == n);
    }
}

static int secret(const char *text, char **ret)
{
    diag_reset();
    return schema_resolve_secret(text, "audit.conf:5", ret);
}

static void test_secrets(void)
{
    char file[600], text[700], *s;
    snprintf(file, sizeof file, "%s/key", util_dir());
    snprintf(text, sizeof text, "file:%s", file);
    util_write(file, "hunter2\n");
    CU_ASSERT_EQUAL(secret(text, &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "hunter2");
    CU_ASSERT_EQUAL(util_warnings(), 1);
    CU_ASSERT(util_problem("audit.conf:5", "may be read by everybody: run chmod o-r on it"));
    free(s);
    CU_ASSERT_EQUAL(chmod(file, 0600), 0);
    CU_ASSERT_EQUAL(secret(text, &s), 0);
    CU_ASSERT_EQUAL(util_warnings(), 0);
    free(s);
    util_write(file, "two\nlines\r\n");
    CU_ASSERT_EQUAL(secret(text, &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "two\nlines");
    free(s);
    util_write(file, "\n");
    CU_ASSERT_EQUAL(secret(text, &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "key is empty"));
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_EQUAL(unlink(file), 0);
    CU_ASSERT_EQUAL(secret(text, &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "No such file or directory"));
    CU_ASSERT_EQUAL(mkfifo(file, 0600), 0); /* does not hang */
    CU_ASSERT_EQUAL(secret(text, &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "is not a regular file"));
    CU_ASSERT_EQUAL(secret("file:key", &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "expected the secret's file as an absolute path, found \"key\""));
    CU_ASSERT_EQUAL(secret("in clear", &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "in clear");
    free(s);
}

static void test_secrets_elsewhere(void)
{
    char *s;
    CU_ASSERT_EQUAL(setenv("TEST_SECRET_X", "from the environment", 1), 0);
    CU_ASSERT_EQUAL(secret("env:TEST_SECRET_X", &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "from the environment");
    free(s);
    CU_ASSERT_EQUAL(secret("env:TEST_SECRET_NOT_THERE", &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "the environment variable TEST_SECRET_NOT_THERE is not set"));
    CU_ASSERT_EQUAL(secret("env:", &s), AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    CU_ASSERT_EQUAL(secret("credential:pg", &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "credential:pg needs $CREDENTIALS_DIRECTORY"));
    const char *dir = util_dir();
    util_write(util_path(dir, "pg"), "db key\n");
    CU_ASSERT_EQUAL(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    CU_ASSERT_EQUAL(secret("credential:pg", &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "db key");
    free(s);
    CU_ASSERT_EQUAL(secret("credential:../pg", &s), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:5", "expected credential:NAME with a plain name, found \"../pg\""));
    CU_ASSERT_EQUAL(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

/* A secret's file may be named relative to audit.conf; no message ever holds the secret itself. */
static void test_secret_option(void)
{
    const char *dir = util_dir();
    util_write(util_path(dir, "key"), "c4nary-value\n");
    begin("path = \"/a\"; password = \"file:key\"; count = 99;");
    CU_ASSERT_EQUAL(schema_config_create(options, config_root_setting(&document), NULL, dir, "sinks.x", &config),
                    AW_ERR_CONFIG);
    CU_ASSERT(util_problem("<text>:1", "sinks.x.password: the secret's file "));
    end();
    begin("path = \"/a\"; password = \"file:key\";");
    CU_ASSERT_EQUAL(schema_config_create(options, config_root_setting(&document), NULL, dir, "sinks.x", &config), 0);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "password")->text, "c4nary-value");
    end();
    static const char *const bad[] = {"password = { c4nary = 1; };", "password = (\"c4nary-value\");",
                                      "password = 12345678;"};
    for (size_t i = 0; i < AW_ARRAY_LEN(bad); i++) {
        (void)take(bad[i]);
        size_t n;
        const struct aw_problem *const *p = aw_problems(&n);
        CU_ASSERT(n > 0);
        for (size_t j = 0; j < n; j++)
            CU_ASSERT(!strstr(p[j]->message, "c4nary") && !strstr(p[j]->message, "12345678"));
        end();
    }
}

static void test_clear_secret_warning(void)
{
    const char *dir = util_dir();
    char file[600];
    snprintf(file, sizeof file, "%s/audit.conf", dir);
    util_write(file, "path = \"/a\";\npassword = \"in clear\";\n");
    for (int readable = 1; readable >= 0; readable--) {
        CU_ASSERT_EQUAL(chmod(file, readable ? 0644 : 0600), 0);
        config_init(&document);
        CU_ASSERT_EQUAL(config_read_file(&document, file), CONFIG_TRUE);
        diag_reset();
        CU_ASSERT_EQUAL(schema_config_create(options, config_root_setting(&document), NULL, dir, "sinks.x", &config),
                        0);
        CU_ASSERT_EQUAL(util_warnings(), (size_t)readable);
        char where[700];
        snprintf(where, sizeof where, "%s:2", file);
        CU_ASSERT(!readable ||
                  util_problem(where, "sinks.x.password: a secret stands in a file that everybody may read"));
        end();
    }
}

static void test_pairs(void)
{
    static const char *const good[] = {"flag=false", "count=0x5", "room=3GiB", "tags=a, b,c",
                                       "path=rel",   "label=a=b", "pause=0",   "big=12"};
    diag_reset();
    config = NULL;
    CU_ASSERT_EQUAL_FATAL(schema_config_from_pairs(options, good, AW_ARRAY_LEN(good), "file", &config), 0);
    CU_ASSERT_EQUAL(number("flag"), 0);
    CU_ASSERT_EQUAL(number("count"), 5);
    CU_ASSERT_EQUAL(number("big"), 12);
    CU_ASSERT_EQUAL(schema_value(config, "tags")->count, 3);
    CU_ASSERT_STRING_EQUAL(schema_value(config, "tags")->items[1].text, "b");
    CU_ASSERT_STRING_EQUAL(schema_value(config, "label")->text, "a=b");
    CU_ASSERT_EQUAL(schema_value(config, "path")->text[0], '/');
    schema_config_destroy(config);
    static const char *const bad[] = {
        "flag=yes", "cuont=1", "nothing", "path=/a", "path=/b", "count=1e3", "big=99999999999999999999"};
    diag_reset();
    CU_ASSERT_EQUAL(schema_config_from_pairs(options, bad, AW_ARRAY_LEN(bad), "file", &config), AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(util_errors(), 6);
    CU_ASSERT(util_problem("", "file.flag: expected true or false, found \"yes\" (A switch.)"));
    CU_ASSERT(util_problem("", "file: unknown key \"cuont\"; did you mean \"count\"?"));
    CU_ASSERT(util_problem("", "file: expected key=value, found \"nothing\""));
    CU_ASSERT(util_problem("", "file.path: given twice"));
    CU_ASSERT(util_problem("", "file.count: expected a whole number, found \"1e3\""));
    CU_ASSERT(util_problem("", "file.big: 99999999999999999999 does not fit in 64 bits"));
}

HARNESS_MAIN("schema", {"values of every type", test_values}, {"defaults", test_defaults},
             {"wrong types and ranges", test_wrong_types}, {"paths", test_paths}, {"unknown keys", test_unknown_keys},
             {"everything wrong is said at once", test_required_and_all_at_once}, {"deprecated", test_deprecated},
             {"nearest name", test_nearest}, {"units", test_units},
             {"formatting and parsing agree", test_format_property}, {"secrets from files", test_secrets},
             {"secrets from elsewhere", test_secrets_elsewhere}, {"secrets as options", test_secret_option},
             {"secret in clear", test_clear_secret_warning}, {"key=value pairs", test_pairs})
