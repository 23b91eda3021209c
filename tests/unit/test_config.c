/* test_config.c - audit.conf to settings: values, precedence, and every message. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "harness.h"
#include "plugin_util.h"
#include "settings_private.h"

#include <stdio.h>

#define SINK "sinks = ( { plugin = \"file\"; path = \"/x\"; } );\n"

static struct settings *s;

static int load_text(const char *text)
{
    diag_reset();
    s = NULL;
    return settings_load(NULL, text, &s);
}

static int load_file(const char *path)
{
    diag_reset();
    s = NULL;
    return settings_load(path, NULL, &s);
}

static void end(void)
{
    settings_destroy(s);
    s = NULL;
}

/* The text after one line of a sound configuration makes exactly this one problem, at line 2. */
static bool complains(const char *text, const char *message)
{
    char all[2000];
    snprintf(all, sizeof all, SINK "%s\n", text);
    int rc = load_text(all);
    bool ok = rc == AW_ERR_CONFIG && util_errors() == 1 && util_problem("<text>:2", message);
    if (!ok) {
        harness_note("rc %d for: %s", rc, text);
        util_print_problems();
    }
    end();
    return ok;
}

static void test_defaults(void)
{
    CU_ASSERT_EQUAL_FATAL(load_text(SINK), 0);
    CU_ASSERT_EQUAL(s->service.mode, SETTINGS_MODE_QUEUE);
    CU_ASSERT_EQUAL(s->service.durability, SETTINGS_DURABLE_PROCESS);
    CU_ASSERT_EQUAL(s->service.timeout_ns, 1000000000);
    CU_ASSERT_EQUAL(s->journal.max_size, 1u << 30);
    CU_ASSERT_EQUAL(s->journal.min_free, 64u << 20);
    CU_ASSERT(s->fanout == SETTINGS_FANOUT_BEST_EFFORT && s->action_count == 0);
    CU_ASSERT_EQUAL(s->journal.segment_size, 64u << 20);
    CU_ASSERT_EQUAL(s->journal.ring_size, 8u << 20);
    CU_ASSERT_EQUAL(s->journal.sync_interval_ns, 1000000000);
    CU_ASSERT(s->journal.chained);
    CU_ASSERT(s->event.redaction && s->event.redact_default_keys && s->event.redact_scanners);
    CU_ASSERT_STRING_EQUAL(s->event.mask, "***");
    CU_ASSERT_EQUAL(s->event.max_event, 65536);
    CU_ASSERT_EQUAL(s->event.max_metadata, 32768);
    CU_ASSERT_EQUAL(s->event.max_diff, 32768);
    CU_ASSERT_EQUAL(s->event.max_input, 1u << 20);
    CU_ASSERT_EQUAL(s->event.max_depth, 64);
    CU_ASSERT(!s->event.strict && !s->event.strict_naming && !s->event.over_limit_truncate);
    CU_ASSERT_PTR_NULL(s->event.service);
    CU_ASSERT_PTR_NULL(s->plugin_path);
    CU_ASSERT_EQUAL_FATAL(s->sink_count, 1);
    const struct settings_sink *k = &s->sinks[0];
    struct delivery_settings d;
    delivery_settings_init(&d);
    CU_ASSERT_EQUAL(k->delivery.batch_events, d.batch_events);
    CU_ASSERT_EQUAL(k->delivery.batch_bytes, d.batch_bytes);
    CU_ASSERT_EQUAL(k->delivery.flush_interval_ns, d.flush_interval_ns);
    CU_ASSERT_EQUAL(k->delivery.retry_max, d.retry_max);
    CU_ASSERT_EQUAL(k->delivery.retry_base_ns, d.retry_base_ns);
    CU_ASSERT_EQUAL(k->delivery.retry_cap_ns, d.retry_cap_ns);
    CU_ASSERT_EQUAL(k->delivery.breaker_threshold, d.breaker_threshold);
    CU_ASSERT_EQUAL(k->delivery.breaker_cooldown_ns, d.breaker_cooldown_ns);
    CU_ASSERT_EQUAL(k->delivery.breaker_probes, d.breaker_probes);
    CU_ASSERT_EQUAL(k->delivery.write_deadline_ns, d.write_deadline_ns);
    CU_ASSERT_STRING_EQUAL(k->name, "file");
    CU_ASSERT_STRING_EQUAL(k->spec.name, "file");
    CU_ASSERT_STRING_EQUAL(k->where, "<text>:1");
    CU_ASSERT_EQUAL(k->from, JOURNAL_FROM_NOW);
    CU_ASSERT(k->enabled);
    CU_ASSERT_STRING_EQUAL(config_setting_get_string(config_setting_get_member(k->group, "path")), "/x");
    end();
}

/* The example of the manual page, which is the one of the design. */
static void test_example(void)
{
    char *page = NULL;
    size_t len;
    CU_ASSERT_EQUAL_FATAL(fs_read_file(util_path(getenv("top_srcdir"), "docs/audit.conf.5.scd"), 1u << 20, &page, &len),
                          0);
    char *begin = strstr(page, "```\nservice = "), *stop = begin ? strstr(begin + 4, "```") : NULL;
    CU_ASSERT_FATAL(begin && stop);
    *stop = '\0';
    CU_ASSERT_EQUAL_FATAL(load_text(begin + 4), 0);
    CU_ASSERT_EQUAL(util_errors() + util_warnings(), 0);
    CU_ASSERT_STRING_EQUAL(s->event.service, "billing-api");
    CU_ASSERT_STRING_EQUAL(s->journal.path, "/var/lib/auditwell/journal");
    CU_ASSERT_EQUAL(s->event.key_count, 1);
    CU_ASSERT_STRING_EQUAL(s->event.keys[0].text, "ssn");
    CU_ASSERT_STRING_EQUAL(s->event.keys[0].where, "<text>:4");
    CU_ASSERT_STRING_EQUAL(s->event.paths[0].text, "metadata.headers.authorization");
    CU_ASSERT_STRING_EQUAL(s->event.patterns[0].text, "^secret_");
    CU_ASSERT_EQUAL(s->event.allow_count, 0);
    CU_ASSERT_EQUAL_FATAL(s->sink_count, 2);
    CU_ASSERT_STRING_EQUAL(s->sinks[0].name, "trail");
    CU_ASSERT_STRING_EQUAL(s->sinks[0].where, "<text>:7");
    CU_ASSERT_STRING_EQUAL(s->sinks[1].plugin, "sqlite");
    CU_ASSERT_STRING_EQUAL(s->sinks[1].name, "sqlite");
    end();
    free(page);
}

static const char every_key[] =
    "service = \"a\"; service_version = \"b\"; environment = \"c\"; host = \"d\"; "
    "region = \"e\"; instance = \"f\";\n"
    "mode = \"block\"; fanout = \"quorum\"; quorum = 2; write_deadline = \"7s\"; plugin_path "
    "= \"/p\"; adapters = ();\n"
    "journal = { path = \"/j\"; durability = \"disk\"; max_size = \"2GiB\"; min_free = \"3MiB\"; "
    "segment_size = \"1MiB\"; ring_size = \"1MiB\"; "
    "sync_interval = 0; };\nqueue = { timeout = \"3ms\"; };\n"
    "redaction = { enabled = false; mask = \"-\"; keys = [ \"k\" ]; paths = ( \"p\" ); "
    "patterns = ( \"q\", \"r\" ); allow = ( "
    "\"t\" ); default_keys = false; scanners = false; };\n"
    "limits = { event = 3000000; metadata = \"1KiB\"; diff = \"2KiB\"; input = "
    "\"2MiB\"; depth = 9; over_limit = "
    "\"truncate\"; };\nvalidation = { strict = true; strict_naming = true; "
    "};\nintegrity = { mode = \"none\"; };\n"
    "batch = { events = 7; bytes = \"2KiB\"; flush_interval = \"1s\"; };\nretry = { "
    "max = 2; base = \"1s\"; cap = \"2s\"; };\n"
    "breaker = { threshold = 3; cooldown = \"4s\"; probes = 5; };\n"
    "actions = ( { match = \"p.*\"; mode = \"queue\"; durability = \"process\"; timeout = 0; }, "
    "{ match = \"?\"; timeout = \"1h\"; } );\n"
    "sinks = ( { plugin = \"x\"; name = \"one\"; enabled = true; start_from = \"now\"; required = true; "
    "plugin_file = \"/p/sink_x.so\"; sha256 = "
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\"; "
    "write_deadline = \"8s\"; batch = { events = 8; }; "
    "retry = { max = 9; base = \"500ms\"; }; breaker = { threshold = 10; }; }, { "
    "plugin = \"x\"; name = \"two\"; } );";

static void test_every_key(void)
{
    CU_ASSERT_EQUAL_FATAL(load_text(every_key), AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(util_errors(), 1); /* the one thing wrong, on purpose */
    CU_ASSERT(
        util_problem("<text>:6", "limits.event: expected at most half of journal.ring_size (1MiB), found 3000000"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(s); /* still there, for further checks */
    CU_ASSERT_STRING_EQUAL(s->event.service, "a");
    CU_ASSERT_STRING_EQUAL(s->event.service_version, "b");
    CU_ASSERT_STRING_EQUAL(s->event.environment, "c");
    CU_ASSERT_STRING_EQUAL(s->event.host, "d");
    CU_ASSERT_STRING_EQUAL(s->event.region, "e");
    CU_ASSERT_STRING_EQUAL(s->event.instance, "f");
    CU_ASSERT_EQUAL(s->service.mode, SETTINGS_MODE_BLOCK);
    CU_ASSERT_STRING_EQUAL(s->plugin_path, "/p");
    CU_ASSERT_STRING_EQUAL(s->journal.path, "/j");
    CU_ASSERT_EQUAL(s->service.durability, SETTINGS_DURABLE_DISK);
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(2) << 30);
    CU_ASSERT_EQUAL(s->journal.min_free, 3u << 20);
    CU_ASSERT(s->fanout == SETTINGS_FANOUT_QUORUM && s->quorum == 2);
    CU_ASSERT_EQUAL_FATAL(s->action_count, 2);
    CU_ASSERT_STRING_EQUAL(s->actions[0].match, "p.*");
    CU_ASSERT(s->actions[0].service.mode == SETTINGS_MODE_QUEUE && s->actions[0].service.timeout_ns == 0 &&
              s->actions[0].service.durability == SETTINGS_DURABLE_PROCESS);
    CU_ASSERT(s->actions[1].service.mode == SETTINGS_MODE_BLOCK && /* what a rule does not say is as for the rest */
              s->actions[1].service.timeout_ns == UINT64_C(3600000000000) &&
              s->actions[1].service.durability == SETTINGS_DURABLE_DISK);
    CU_ASSERT(s->sinks[0].required && !s->sinks[1].required);
    CU_ASSERT_EQUAL(s->journal.segment_size, 1u << 20);
    CU_ASSERT_EQUAL(s->journal.ring_size, 1u << 20);
    CU_ASSERT_EQUAL(s->journal.sync_interval_ns, 0);
    CU_ASSERT_FALSE(s->journal.chained);
    CU_ASSERT_EQUAL(s->service.timeout_ns, 3000000);
    CU_ASSERT(!s->event.redaction && !s->event.redact_default_keys && !s->event.redact_scanners);
    CU_ASSERT_STRING_EQUAL(s->event.mask, "-");
    CU_ASSERT_EQUAL(s->event.pattern_count, 2);
    CU_ASSERT_STRING_EQUAL(s->event.patterns[1].text, "r");
    CU_ASSERT_STRING_EQUAL(s->event.allow[0].text, "t");
    CU_ASSERT_EQUAL(s->event.max_event, 3000000);
    CU_ASSERT_EQUAL(s->event.max_metadata, 1024);
    CU_ASSERT_EQUAL(s->event.max_diff, 2048);
    CU_ASSERT_EQUAL(s->event.max_input, 2u << 20);
    CU_ASSERT_EQUAL(s->event.max_depth, 9);
    CU_ASSERT(s->event.over_limit_truncate && s->event.strict && s->event.strict_naming);
    CU_ASSERT_EQUAL_FATAL(s->sink_count, 2);
    const struct settings_sink *one = &s->sinks[0], *two = &s->sinks[1];
    CU_ASSERT_STRING_EQUAL(one->spec.path, "/p/sink_x.so");
    CU_ASSERT_STRING_EQUAL(one->spec.search, "/p");
    CU_ASSERT_EQUAL(strlen(one->spec.sha256), 64);
    CU_ASSERT_EQUAL(one->from, JOURNAL_FROM_NOW);
    /* its own values over the global ones, the global ones over the defaults */
    CU_ASSERT(one->delivery.batch_events == 8 && two->delivery.batch_events == 7);
    CU_ASSERT(one->delivery.batch_bytes == 2048 && two->delivery.batch_bytes == 2048);
    CU_ASSERT(one->delivery.flush_interval_ns == 1000000000);
    CU_ASSERT(one->delivery.retry_max == 9 && two->delivery.retry_max == 2);
    CU_ASSERT(one->delivery.retry_base_ns == 500000000 && two->delivery.retry_base_ns == 1000000000);
    CU_ASSERT(one->delivery.retry_cap_ns == 2000000000);
    CU_ASSERT(one->delivery.breaker_threshold == 10 && two->delivery.breaker_threshold == 3);
    CU_ASSERT(one->delivery.breaker_cooldown_ns == 4000000000 && one->delivery.breaker_probes == 5);
    CU_ASSERT(one->delivery.write_deadline_ns == 8000000000 && two->delivery.write_deadline_ns == 7000000000);
    end();
}

static void test_messages(void)
{
    static const struct {
        const char *setting, *message;
    } cases[] = {
        {"servise = \"x\";", "top level: unknown key \"servise\"; did you mean \"service\"?"},
        {"jurnal = {};", "top level: unknown key \"jurnal\"; did you mean \"journal\"?"},
        {"durability = \"disk\";",
         "top level: unknown key \"durability\"; it belongs into a group: journal = { durability = …; }"},
        {"journal = { pth = \"/x\"; };", "journal: unknown key \"pth\"; did you mean \"path\"?"},
        {"journal = \"/x\";", "journal: expected a group { key = value; }, found another kind of value"},
        {"mode = \"queued\";", "mode: expected one of \"queue\", \"block\", \"drop\", found \"queued\"; did you mean "
                               "\"queue\"? (what a log call does"},
        {"mode = 1;", "mode: expected one of \"queue\", \"block\", \"drop\", found the number 1"},
        {"integrity = { mode = \"signed\"; };",
         "integrity.mode: \"signed\" is not available in this version; write mode = \"chain\""},
        {"adapters = ( { plugin = \"http\"; } );",
         "adapters: expected an empty list ( ), found 1; adapters are not available in this version"},
        {"preset = \"fast\";", "preset: expected one of \"saas-multi-tenant-strict\", \"on-prem-self-hosted\", "
                               "\"high-throughput\", found \"fast\""},
        {"journal = { ring_size = \"3MiB\"; };", "journal.ring_size: expected a power of two, found 3MiB"},
        {"journal = { max_size = \"100MiB\"; segment_size = \"64MiB\"; };",
         "journal.segment_size: expected at most half of journal.max_size (100MiB), "
         "found 64MiB"},
        {"retry = { base = \"10s\"; cap = \"1s\"; };", "retry.cap: expected at least retry.base (10s), found 1s"},
        {"limits = { event = \"5MiB\"; };",
         "limits.event: expected at most half of journal.ring_size (8MiB), found 5MiB"},
        {"limits = { depth = 5.0; };", "limits.depth: expected a whole number, found the fraction 5"},
        {"limits = { event = \"9MiB\"; };", "limits.event: 9MiB is out of range: expected 1KiB to 8MiB"},
        {"queue = { timeout = 5; };",
         "queue.timeout: expected a duration with its unit such as \"5ms\", found the number 5"},
        {"validation = { strict = \"yes\"; };", "validation.strict: expected true or false, found the string \"yes\""},
        {"redaction = { keys = \"ssn\"; };",
         "redaction.keys: expected a list of strings such as ( \"a\", \"b\" ), found the string \"ssn\""},
        {"batch = { events = 0; };", "batch.events: 0 is out of range: expected 1 to 65536"},
        {"batch = { events = 99999999999999999999; };", "a number does not fit in 64 bits: \"99999999999999999999\""},
        {"batch = { events = 0xFFFFFFFFFFFFFFFFFF; };", "a number does not fit in 64 bits: \"0xFFFFFFFFFFFFFFFFFF\""},
        {"batch = { events = 3000000000; };", "batch.events: 3000000000 is out of range: expected 1 to 65536"},
        {"batch = { events = -4294967295; };", "batch.events: -4294967295 is out of range"},
        {"batch = { events = 0xFFFFFFFF; };", "batch.events: 4294967295 is out of range"},
        {"@include \"/etc/passwd\"", "@include is not used here: put the file into the directory conf.d"},
        {"service = \"a\\x00b\";", "a string cannot hold the NUL character"},
        {"service = \"\xff\";", "the file is not UTF-8 here"},
        {"service = \"a\"; service = \"b\";", "duplicate setting name: each key once in its group"},
        {"service = ;", "syntax error: expected `key = value;`"},
        {"x = ((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))));",
         "nested deeper than 32 levels"},
        {"/* never ends", "the comment /* has no end */"},
        {"service = \"never ends;", "the string that begins here has no end"},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++)
        CU_ASSERT(complains(cases[i].setting, cases[i].message));
}

static void test_numbers_that_libconfig_wraps(void)
{
    CU_ASSERT_EQUAL_FATAL(load_text(SINK "journal = { max_size = 3000000000; }; // 99999999999999999999\n"
                                         "service = \"99999999999999999999\"; # 99999999999999999999\n"
                                         "/* 99999999999999999999 */ limits = { input = 0x100000; depth = 32L; };"),
                          0);
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(3000000000));
    CU_ASSERT_EQUAL(s->event.max_input, 0x100000);
    CU_ASSERT_EQUAL(s->event.max_depth, 32);
    CU_ASSERT_STRING_EQUAL(s->event.service, "99999999999999999999");
    end();
}

static void test_sinks(void)
{
    CU_ASSERT_EQUAL(
        load_text("sinks = (\n {},\n { plugin = \"UPPER\"; },\n { plugin = \"a\"; name = \"a b\"; },\n { plugin = "
                  "\"b\"; batch = 3; },\n"
                  " { plugin = \"c\"; sha256 = \"12\"; },\n { plugin = \"d\"; start_from = \"begin\"; },\n 7,\n { "
                  "plugin = \"e\"; },\n"
                  " { plugin = \"e\"; },\n { plugin = \"f\"; retry = { bsae = \"1s\"; base = \"1h\"; }; },\n"
                  " { plugin = \"g\"; name = \"..\"; enabled = 1; } );"),
        AW_ERR_CONFIG);
    CU_ASSERT(util_problem("<text>:2", "sinks[0].plugin: required, but not set (class name of the plugin"));
    CU_ASSERT(util_problem(
        "<text>:3", "sinks[1].plugin: expected a plugin's name of [a-z0-9_-], at most 32 characters, found \"UPPER\""));
    CU_ASSERT(util_problem("<text>:4",
                           "sinks[2].name: expected letters, digits, '.', '_' and '-', at most 64, found \"a b\""));
    CU_ASSERT(
        util_problem("<text>:5", "sinks[3].batch: expected a group { key = value; }, found another kind of value"));
    CU_ASSERT(util_problem("<text>:6",
                           "sinks[4].sha256: expected 64 hexadecimal digits as sha256sum prints them, found \"12\""));
    CU_ASSERT(util_problem("<text>:7", "sinks[5].start_from: expected one of \"oldest\", \"now\", found \"begin\""));
    CU_ASSERT(
        util_problem("<text>:8", "sinks[6]: expected a group { plugin = \"file\"; … }, found another kind of value"));
    CU_ASSERT(util_problem(
        "<text>:10", "sinks.e: expected a name that no other sink has, found it at <text>:9, too; add name = \"…\""));
    CU_ASSERT(util_problem("<text>:11", "sinks[9].retry: unknown key \"bsae\"; did you mean \"base\"?"));
    CU_ASSERT(util_problem("<text>:11", "sinks[9].retry: expected cap >= base, found a cap below it"));
    CU_ASSERT(util_problem("<text>:12", "sinks[10].name: expected letters"));
    CU_ASSERT(util_problem("<text>:12", "sinks[10].enabled: expected true or false, found the number 1"));
    CU_ASSERT_EQUAL(util_errors(), 12);
    end();
    static const char *const none[] = {"", "sinks = ();", "sinks = ( { plugin = \"file\"; enabled = false; } );"};
    for (size_t i = 0; i < AW_ARRAY_LEN(none); i++) {
        CU_ASSERT_EQUAL(load_text(none[i]), AW_ERR_CONFIG);
        CU_ASSERT_EQUAL(util_errors(), 1);
        CU_ASSERT(
            util_problem("<text>", "sinks: expected at least one sink that is enabled, found none; write sinks = ("));
        end();
    }
    CU_ASSERT_EQUAL(load_text("sinks = { plugin = \"file\"; };"), AW_ERR_CONFIG);
    CU_ASSERT(util_problem(
        "<text>:1",
        "sinks: expected a list of groups ( { plugin = \"file\"; … }, … ), found a group: put ( ) around it"));
    end();
}

static void test_presets(void)
{
    CU_ASSERT_EQUAL_FATAL(load_text(SINK "preset = \"saas-multi-tenant-strict\";"), 0);
    CU_ASSERT(s->service.durability == SETTINGS_DURABLE_DISK && s->event.strict && s->event.strict_naming &&
              !s->event.over_limit_truncate);
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(4) << 30);
    end();
    CU_ASSERT_EQUAL_FATAL(load_text(SINK "preset = \"on-prem-self-hosted\"; journal = { durability = \"process\"; };"),
                          0);
    CU_ASSERT_EQUAL(s->service.durability, SETTINGS_DURABLE_PROCESS); /* what is written wins */
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(8) << 30);
    CU_ASSERT(s->event.over_limit_truncate);
    CU_ASSERT_EQUAL(s->sinks[0].delivery.retry_cap_ns, UINT64_C(300000000000));
    end();
    CU_ASSERT_EQUAL_FATAL(
        load_text("sinks = ( { plugin = \"file\"; batch = { events = 3; }; }, { plugin = \"null\"; } ); preset = "
                  "\"high-throughput\";"),
        0);
    CU_ASSERT_EQUAL(s->sinks[0].delivery.batch_events, 3);
    CU_ASSERT_EQUAL(s->sinks[0].delivery.batch_bytes, 8u << 20);
    CU_ASSERT_EQUAL(s->sinks[1].delivery.batch_events, 4096);
    CU_ASSERT_EQUAL(s->journal.ring_size, 32u << 20);
    end();
    for (const struct settings_preset_key *p = settings_presets; p->preset; p++) {
        char text[300];
        snprintf(text, sizeof text, SINK "preset = \"%s\";", p->preset);
        CU_ASSERT_EQUAL(load_text(text), 0);
        end();
    }
}

static void test_conf_d(void)
{
    const char *dir = util_dir();
    char main_file[600], first[700], second[700], where[800], text[900];
    snprintf(main_file, sizeof main_file, "%s/audit.conf", dir);
    snprintf(first, sizeof first, "%s/conf.d/10-a.conf", dir);
    snprintf(second, sizeof second, "%s/conf.d/20-b.conf", dir);
    CU_ASSERT_EQUAL(fs_mkdir_p(util_path(dir, "conf.d"), 0755), 0);
    util_write(
        main_file,
        "service = \"main\";\njournal = { path = \"j\"; };\nsinks = ( { plugin = \"file\"; name = \"m\"; } );\n");
    util_write(
        second,
        "sinks = ( { plugin = \"file\"; name = \"b\"; path = \"rel\"; } );\njournal = { max_size = \"2GiB\"; };\n");
    util_write(first, "sinks = ( { plugin = \"file\"; name = \"a\"; } );\nredaction = { keys = ( \"k\" ); };\n");
    util_write(util_path(dir, "conf.d/.hidden.conf"), "this is wrong");
    util_write(util_path(dir, "conf.d/30-c.conf.bak"), "this is wrong");
    CU_ASSERT_EQUAL_FATAL(load_file(main_file), 0);
    CU_ASSERT_EQUAL_FATAL(s->sink_count, 3);
    CU_ASSERT_STRING_EQUAL(s->sinks[0].name, "m");
    CU_ASSERT_STRING_EQUAL(s->sinks[1].name, "a");
    CU_ASSERT_STRING_EQUAL(s->sinks[2].name, "b");
    snprintf(where, sizeof where, "%s:1", second);
    CU_ASSERT_STRING_EQUAL(s->sinks[2].where, where);
    CU_ASSERT_STRING_EQUAL(s->journal.path, util_path(dir, "j"));
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(2) << 30);
    snprintf(where, sizeof where, "%s:2", first);
    CU_ASSERT_STRING_EQUAL(s->event.keys[0].where, where);
    CU_ASSERT_STRING_EQUAL(s->base_dir, dir);
    CU_ASSERT_STRING_EQUAL(s->source, main_file);
    end();
    /* the same key in two files, and mistakes in both: all in one run */
    util_write(first, "service = \"other\";\njournal = { path = \"k\"; sync_interval = \"1 fortnight\"; };\n");
    util_write(second, "sinks = ( { plugin = \"file\" name = \"b\" path }; );\n");
    CU_ASSERT_EQUAL(load_file(main_file), AW_ERR_CONFIG);
    snprintf(where, sizeof where, "%s:1", first);
    snprintf(text, sizeof text, "service: set a second time, first at %s:1; keep one of the two", main_file);
    CU_ASSERT(util_problem(where, text));
    snprintf(where, sizeof where, "%s:2", first);
    snprintf(text, sizeof text, "journal.path: set a second time, first at %s:2; keep one of the two", main_file);
    CU_ASSERT(util_problem(where, text));
    CU_ASSERT(
        util_problem(where, "journal.sync_interval: expected a duration such as \"250ms\", found \"1 fortnight\""));
    snprintf(where, sizeof where, "%s:1", second);
    CU_ASSERT(util_problem(where, "syntax error"));
    CU_ASSERT_EQUAL(util_errors(), 4);
    end();
}

static const char *const variables[] = {"AUDITWELL_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"};

static void clear_environment(void)
{
    for (size_t i = 0; i < AW_ARRAY_LEN(variables); i++)
        (void)unsetenv(variables[i]);
    for (const struct settings_env *e = settings_environment; e->variable; e++)
        (void)unsetenv(e->variable);
}

static void test_environment(void)
{
    setenv("AUDITWELL_SERVICE", "from-env", 1);
    setenv("AUDITWELL_MODE", "block", 1);
    setenv("AUDITWELL_DURABILITY", "disk", 1);
    setenv("AUDITWELL_JOURNAL_PATH", "/env/journal", 1);
    setenv("AUDITWELL_JOURNAL_MAX_SIZE", "5GiB", 1);
    setenv("AUDITWELL_QUEUE_TIMEOUT", "9ms", 1);
    setenv("AUDITWELL_REGION", "", 1); /* empty counts as not set */
    CU_ASSERT_EQUAL_FATAL(load_text(SINK "service = \"file\"; region = \"r\"; journal = { path = \"/file\"; };"), 0);
    CU_ASSERT_STRING_EQUAL(s->event.service, "from-env");
    CU_ASSERT_STRING_EQUAL(s->event.region, "r");
    CU_ASSERT_EQUAL(s->service.mode, SETTINGS_MODE_BLOCK);
    CU_ASSERT_EQUAL(s->service.durability, SETTINGS_DURABLE_DISK);
    CU_ASSERT_STRING_EQUAL(s->journal.path, "/env/journal");
    CU_ASSERT_EQUAL(s->journal.max_size, UINT64_C(5) << 30);
    CU_ASSERT_EQUAL(s->service.timeout_ns, 9000000);
    end();
    setenv("AUDITWELL_MODE", "dorp", 1);
    setenv("AUDITWELL_JOURNAL_PATH", "relative", 1);
    setenv("AUDITWELL_JOURNAL_MAX_SIZE", "1", 1);
    CU_ASSERT_EQUAL(load_text(SINK), AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(util_errors(), 3);
    CU_ASSERT(util_problem("environment AUDITWELL_MODE",
                           "mode: expected one of \"queue\", \"block\", \"drop\", found \"dorp\"; did you mean "
                           "\"drop\"?"));
    CU_ASSERT(util_problem("environment AUDITWELL_JOURNAL_PATH",
                           "journal.path: expected an absolute path, found \"relative\""));
    CU_ASSERT(util_problem("environment AUDITWELL_JOURNAL_MAX_SIZE",
                           "journal.max_size: 1 is out of range: expected 256KiB to"));
    end();
    clear_environment();
    setenv("AUDITWELL_PRESET", "on-prem-self-hosted", 1);
    CU_ASSERT_EQUAL(load_text(SINK), 0);
    CU_ASSERT_EQUAL(s->service.durability, SETTINGS_DURABLE_DISK);
    end();
    clear_environment();
}

static void test_places(void)
{
    const char *home = util_dir(), *xdg = util_dir();
    char conf[700], text[900];
    clear_environment();
    setenv("HOME", home, 1);
    CU_ASSERT_EQUAL(fs_mkdir_p(util_path(home, ".config/auditwell"), 0755), 0);
    CU_ASSERT_EQUAL(load_file(NULL), AW_ERR_CONFIG);
    snprintf(text, sizeof text,
             "not found: looked at $AUDITWELL_CONFIG (not set), %s/.config/auditwell/audit.conf and ", home);
    CU_ASSERT(util_problem("audit.conf", text));
    CU_ASSERT(util_problem("audit.conf", "`auditwell init` writes one"));
    CU_ASSERT_PTR_NULL(s);
    snprintf(conf, sizeof conf, "%s/.config/auditwell/audit.conf", home);
    util_write(conf, "service = \"home\";" SINK);
    CU_ASSERT_EQUAL_FATAL(load_file(NULL), 0);
    CU_ASSERT_STRING_EQUAL(s->event.service, "home");
    end();
    setenv("XDG_CONFIG_HOME", xdg, 1);
    CU_ASSERT_EQUAL(fs_mkdir_p(util_path(xdg, "auditwell"), 0755), 0);
    snprintf(conf, sizeof conf, "%s/auditwell/audit.conf", xdg);
    util_write(conf, "service = \"xdg\";" SINK);
    CU_ASSERT_EQUAL_FATAL(load_file(NULL), 0);
    CU_ASSERT_STRING_EQUAL(s->event.service, "xdg");
    end();
    setenv("AUDITWELL_CONFIG", util_path(xdg, "nothing.conf"), 1);
    CU_ASSERT_EQUAL(load_file(NULL), AW_ERR_CONFIG);
    snprintf(text, sizeof text, "names %s/nothing.conf: No such file or directory", xdg);
    CU_ASSERT(util_problem("environment AUDITWELL_CONFIG", text));
    util_write(util_path(xdg, "nothing.conf"), "service = \"env\";" SINK);
    CU_ASSERT_EQUAL_FATAL(load_file(NULL), 0);
    CU_ASSERT_STRING_EQUAL(s->event.service, "env");
    end();
    clear_environment();
}

static void test_journal_place(void)
{
    clear_environment();
    setenv("HOME", "/home/someone", 1);
    CU_ASSERT_EQUAL_FATAL(load_text(SINK), 0);
    CU_ASSERT_STRING_EQUAL(s->journal.path, geteuid() == 0 ? "/var/lib/auditwell/journal"
                                                           : "/home/someone/.local/state/auditwell/journal");
    end();
    setenv("STATE_DIRECTORY", "/var/lib/private/x:/var/lib/private/y", 1);
    CU_ASSERT_EQUAL_FATAL(load_text(SINK), 0);
    CU_ASSERT_STRING_EQUAL(s->journal.path, "/var/lib/private/x/journal");
    end();
    clear_environment();
    CU_ASSERT_EQUAL_FATAL(load_text(SINK "host = \"auto\";"), 0);
    char name[300] = "";
    CU_ASSERT_EQUAL(gethostname(name, sizeof name - 1), 0);
    CU_ASSERT_STRING_EQUAL(s->event.host, name);
    end();
}

static void test_unreadable(void)
{
    const char *dir = util_dir();
    CU_ASSERT_EQUAL(load_file("/nowhere/audit.conf"), AW_ERR_IO);
    CU_ASSERT(util_problem("/nowhere/audit.conf", "cannot be read: No such file or directory"));
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_EQUAL(load_file(dir), AW_ERR_IO);
    CU_ASSERT(util_problem(dir, "cannot be read: it is not a regular file"));
    char *big = malloc((1u << 20) + 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    memset(big, '\n', (1u << 20) + 1);
    big[(1u << 20) + 1] = '\0';
    util_write(util_path(dir, "big.conf"), big);
    CU_ASSERT_EQUAL(load_file(util_path(dir, "big.conf")), AW_ERR_IO);
    CU_ASSERT(util_problem(util_path(dir, "big.conf"), "cannot be read: it is larger than 1 MiB"));
    CU_ASSERT_EQUAL(load_text(big), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("<text>", "larger than 1 MiB"));
    end();
    free(big);
}

/* Code is loaded only on the word of a file that nobody else can write. */
static void test_trust(void)
{
    char file[700], where[800], text[300];
    snprintf(file, sizeof file, "%s/audit.conf", util_dir());
    util_write(file,
               "plugin_path = \"plugins\";\nsinks = ( { plugin = \"file\"; plugin_file = \"/x/sink_file.so\"; } );\n");
    CU_ASSERT_EQUAL_FATAL(load_file(file), 0);
    CU_ASSERT_PTR_NOT_NULL(s->plugin_path);
    end();
    CU_ASSERT_EQUAL(chmod(file, 0666), 0);
    CU_ASSERT_EQUAL(load_file(file), AW_ERR_CONFIG);
    CU_ASSERT_EQUAL(util_errors(), 2);
    snprintf(text, sizeof text,
             "plugin_path: expected in a file of root or uid %u that neither group nor others may write, found owner "
             "%u, mode "
             "0666; run chown and chmod go-w on it",
             (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(where, sizeof where, "%s:1", file);
    CU_ASSERT(util_problem(where, text));
    snprintf(where, sizeof where, "%s:2", file);
    CU_ASSERT(util_problem(where, "sinks[0].plugin_file: expected in a file of root"));
    CU_ASSERT_PTR_NULL(s->plugin_path);
    end();
}

int main(int argc, char **argv)
{
    static const struct harness_test tests[] = {
        {"defaults", test_defaults},
        {"the example of the manual page", test_example},
        {"every key", test_every_key},
        {"messages", test_messages},
        {"numbers that libconfig wraps", test_numbers_that_libconfig_wraps},
        {"sinks", test_sinks},
        {"presets", test_presets},
        {"conf.d", test_conf_d},
        {"environment", test_environment},
        {"places of the file", test_places},
        {"place of the journal", test_journal_place},
        {"unreadable files", test_unreadable},
        {"files that may name plugins", test_trust},
    };
    clear_environment();
    return harness_run("config", tests, AW_ARRAY_LEN(tests), argc, argv);
}
