/* test_json.c - the reader and the canonical writer against other people's vectors. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "event/json_doc.h"
#include "harness.h"

#include <dirent.h>
#include <stdio.h>

static char *read_all(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    size_t cap = 1 << 20, len;
    char *buf = calloc(1, cap + 1); /* NUL-terminated */
    len = buf ? fread(buf, 1, cap, f) : 0;
    fclose(f);
    *ret_len = len;
    return buf;
}

/* The two y_ files that repeat a name: RFC 8259 allows it, RFC 8785 (I-JSON) and an audit trail do not. */
static bool repeats_a_name(const char *file)
{
    return strncmp(file, "y_object_duplicated_key", 23) == 0;
}

static void test_vectors(void)
{
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", harness_data("json-parsing"));
    DIR *d = opendir(dir);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    size_t seen[3] = {0, 0, 0};
    for (struct dirent *e; (e = readdir(d));) {
        char path[2048];
        size_t len;
        struct json_error error;
        if (!strstr(e->d_name, ".json"))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        char *text = read_all(path, &len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        int rc = json_parse(doc, text, len, 1000, &error);
        bool good = e->d_name[0] == 'i' || (e->d_name[0] == 'y') == (rc == 0);
        if (repeats_a_name(e->d_name))
            good = rc == -EINVAL && strcmp(error.message, "duplicate member name in an object") == 0;
        if (rc != 0 && (!error.message || !*error.message || error.line == 0 || error.offset > len))
            good = false;
        if (!good)
            harness_note("%s: rc %d, %s", e->d_name, rc, rc ? error.message : "");
        CU_ASSERT_TRUE(good);
        seen[e->d_name[0] == 'y' ? 0 : e->d_name[0] == 'n' ? 1 : 2]++;
        free(text);
    }
    closedir(d);
    json_doc_destroy(doc);
    CU_ASSERT_EQUAL(seen[0], 95);
    CU_ASSERT_EQUAL(seen[1], 188);
    CU_ASSERT_EQUAL(seen[2], 35);
}

static const char *const jcs_names[] = {"arrays", "french", "structures", "unicode", "values", "weird"};

static void test_jcs(void)
{
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t i = 0; i < AW_ARRAY_LEN(jcs_names); i++) {
        char name[200];
        size_t in_len = 0, out_len = 0;
        struct json_error error;
        struct aw_str canonical = {NULL, 0};
        snprintf(name, sizeof name, "jcs/testdata/input/%s.json", jcs_names[i]);
        char *in = read_all(harness_data(name), &in_len);
        snprintf(name, sizeof name, "jcs/testdata/output/%s.json", jcs_names[i]);
        char *out = read_all(harness_data(name), &out_len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(in);
        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        CU_ASSERT_EQUAL(json_parse(doc, in, in_len, 64, &error), 0);
        CU_ASSERT_EQUAL(json_canonical(doc, &canonical), 0);
        CU_ASSERT_TRUE(canonical.len == out_len && memcmp(canonical.ptr, out, out_len) == 0);
        free(in);
        free(out);
    }
    json_doc_destroy(doc);
}

/* outhex/ holds the same bytes as hexadecimal text: a check that the files in output/ were not changed by an editor. */
static void test_jcs_hex(void)
{
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t i = 0; i < AW_ARRAY_LEN(jcs_names); i++) {
        char name[200];
        size_t in_len = 0, hex_len = 0, n = 0;
        struct json_error error;
        struct aw_str canonical = {NULL, 0};
        snprintf(name, sizeof name, "jcs/testdata/input/%s.json", jcs_names[i]);
        char *in = read_all(harness_data(name), &in_len);
        snprintf(name, sizeof name, "jcs/testdata/outhex/%s.txt", jcs_names[i]);
        char *hex = read_all(harness_data(name), &hex_len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(in);
        CU_ASSERT_PTR_NOT_NULL_FATAL(hex);
        CU_ASSERT_EQUAL(json_parse(doc, in, in_len, 64, &error), 0);
        CU_ASSERT_EQUAL(json_canonical(doc, &canonical), 0);
        bool same = true;
        for (char *at = hex + strspn(hex, " \r\n"); *at; n++) {
            same = same && n < canonical.len && (unsigned char)canonical.ptr[n] == strtoul(at, &at, 16);
            at += strspn(at, " \r\n");
        }
        CU_ASSERT_TRUE(same);
        CU_ASSERT_EQUAL(n, canonical.len);
        free(in);
        free(hex);
    }
    json_doc_destroy(doc);
}

struct pair {
    const char *in, *out; /* out NULL: refused; then message holds `why` */
    const char *why;
};

static void check_pairs(const struct pair *pairs, size_t count)
{
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t i = 0; i < count; i++) {
        struct json_error error;
        struct aw_str c = {NULL, 0};
        int rc = json_parse(doc, pairs[i].in, strlen(pairs[i].in), 8, &error);
        bool good;
        if (pairs[i].out)
            good = rc == 0 && json_canonical(doc, &c) == 0 && c.len == strlen(pairs[i].out) &&
                   memcmp(c.ptr, pairs[i].out, c.len) == 0;
        else
            good = rc == -EINVAL && strstr(error.message, pairs[i].why);
        if (!good)
            harness_note("%s -> rc %d %.*s%s", pairs[i].in, rc, (int)c.len, c.ptr ? c.ptr : "",
                         rc ? error.message : "");
        CU_ASSERT_TRUE(good);
    }
    json_doc_destroy(doc);
}

static void test_numbers(void)
{
    static const struct pair pairs[] = {
        {"[0,-0,0.0,-0.0,0e5,-0e-5]", "[0,0,0,0,0,0]", NULL},
        {"[1,-1,10,100,1.0,1.50,12.345,-12.340]", "[1,-1,10,100,1,1.5,12.345,-12.34]", NULL},
        {"[0.1,0.000001,0.0000001,0.0000010]", "[0.1,0.000001,1e-7,0.000001]", NULL},
        {"[1e2,1E+2,1e-2,1e21,1e20,12e-1]", "[100,100,0.01,1e+21,100000000000000000000,1.2]", NULL},
        {"[999999999999999,123456789012345,-999999999999999]", "[999999999999999,123456789012345,-999999999999999]",
         NULL},
        {"[9007199254740991,9007199254740992,-9007199254740992]",
         "[9007199254740991,9007199254740992,-9007199254740992]", NULL},
        {"[9007199254740994]", "[9007199254740994]", NULL},
        {"[9007199254740993]", NULL, "cannot hold this integer exactly"},
        {"[-9007199254740993]", NULL, "cannot hold this integer exactly"},
        {"[12345678901234567890]", NULL, "cannot hold this integer exactly"},
        {"[18446744073709551616]", "[18446744073709552000]", NULL},
        {"[18446744073709551617]", NULL, "cannot hold this integer exactly"},
        {"[100000000000000000000000]", NULL, "cannot hold this integer exactly"},
        {"[10000000000000000000000]", "[1e+22]", NULL},
        {"[9007199254740993.0,9.007199254740993e15]", "[9007199254740992,9007199254740992]", NULL},
        {"[0.1234567890123456789]", "[0.12345678901234568]", NULL},
        {"[1e400]", NULL, "out of the range"},
        {"[-1e400]", NULL, "out of the range"},
        {"[1e-400]", "[0]", NULL},
        {"[5e-324,2.2250738585072014e-308,1.7976931348623157e308]",
         "[5e-324,2.2250738585072014e-308,1.7976931348623157e+308]", NULL},
        {"[01]", NULL, "',' or ']' expected"},
        {"[1.]", NULL, "digit must follow"},
        {"[.5]", NULL, "not a value"},
        {"[-]", NULL, "digit must follow"},
        {"[1e]", NULL, "digit must follow"},
        {"[0x10]", NULL, "',' or ']'"},
        {"[NaN]", NULL, "not a value"},
        {"[Infinity]", NULL, "not a value"},
        {"[+1]", NULL, "not a value"},
    };
    check_pairs(pairs, AW_ARRAY_LEN(pairs));
}

static void test_strings(void)
{
    static const struct pair pairs[] = {
        {"\"\\u0041\\/\\u00e9\\ud83d\\ude00\"", "\"A/\xc3\xa9\xf0\x9f\x98\x80\"", NULL},
        {"\"\\b\\t\\n\\f\\r\\\"\\\\\\u0000\\u001F\\u007f\"", "\"\\b\\t\\n\\f\\r\\\"\\\\\\u0000\\u001f\x7f\"", NULL},
        {"\"\\u0008\\u0009\\u000A\"", "\"\\b\\t\\n\"", NULL},
        {"\"\\ud800\"", NULL, "high surrogate"},
        {"\"\\ud800x\"", NULL, "high surrogate"},
        {"\"\\ud800\\u0041\"", NULL, "high surrogate"},
        {"\"\\udc00\"", NULL, "low surrogate"},
        {"\"\\uD83D\\uDE0\"", NULL, "high surrogate"},
        {"\"\\x\"", NULL, "not an escape"},
        {"\"\\u12g4\"", NULL, "hexadecimal"},
        {"\"a\nb\"", NULL, "control character"},
        {"\"abc", NULL, "ends inside a string"},
        {"\"abc\\", NULL, "not an escape"},
        {"\"\xc0\xaf\"", NULL, "UTF-8"},
        {"\"\xed\xa0\x80\"", NULL, "UTF-8"},
        {"\"\xf4\x90\x80\x80\"", NULL, "UTF-8"},
        {"\"\xe2\x82\"", NULL, "UTF-8"},
        {"\"\xff\"", NULL, "UTF-8"},
        {"\"\\n\xff\"", NULL, "UTF-8"},
        {"\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"", NULL},
        {"\xef\xbb\xbf{}", NULL, "byte order mark"},
    };
    check_pairs(pairs, AW_ARRAY_LEN(pairs));
}

static void test_structure(void)
{
    static const struct pair pairs[] = {
        {" { \"b\" : [ ] , \"a\" : { } } ", "{\"a\":{},\"b\":[]}", NULL},
        {"{\"a\":1,\"a\":2}", NULL, "duplicate"},
        {"{\"b\":1,\"a\":2,\"b\":3}", NULL, "duplicate"},
        {"{\"a\":1,\"\\u0061\":2}", NULL, "duplicate"},
        {"{\"\":1,\"\":2}", NULL, "duplicate"},
        {"{\"a\\u0000\":1,\"a\":2}", "{\"a\":2,\"a\\u0000\":1}", NULL},
        {"{\"\\ufb33\":1,\"\\ud83d\\ude00\":2,\"z\":3}", "{\"z\":3,\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}", NULL},
        {"{\"abcdefgh2\":1,\"abcdefgh1\":2,\"abcdefgh\":3}", "{\"abcdefgh\":3,\"abcdefgh1\":2,\"abcdefgh2\":1}", NULL},
        {"[[[[[[[[1]]]]]]]]", "[[[[[[[[1]]]]]]]]", NULL},
        {"[[[[[[[[[1]]]]]]]]]", NULL, "nested too deeply"},
        {"", NULL, "the text ends"},
        {"{", NULL, "the text ends"},
        {"[1", NULL, "the text ends"},
        {"{\"a\"", NULL, "':' expected"},
        {"{\"a\":}", NULL, "not a value"},
        {"[1,]", NULL, "not a value"},
        {"{\"a\":1,}", NULL, "name in quotes"},
        {"1 2", NULL, "only one value"},
        {"tru", NULL, "not a value"},
        {"nul", NULL, "not a value"},
        {"{a:1}", NULL, "name in quotes"},
    };
    check_pairs(pairs, AW_ARRAY_LEN(pairs));
    struct json_doc *doc;
    struct json_error error;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    CU_ASSERT_EQUAL(json_parse(doc, "{\n \"a\": [1,\n  x]}", 17, 8, &error), -EINVAL);
    CU_ASSERT_EQUAL(error.line, 3);
    CU_ASSERT_EQUAL(error.column, 3);
    CU_ASSERT_EQUAL(error.offset, 14);
    CU_ASSERT_EQUAL(json_parse(doc, "{\"b\":1,\"a\":2,\"b\":3}", 20, 8, &error), -EINVAL);
    CU_ASSERT_EQUAL(error.offset, 14);
    CU_ASSERT_EQUAL(json_parse(doc, "1\0", 2, 8, &error), -EINVAL);
    CU_ASSERT_EQUAL(json_parse(doc, "\"a\0b\"", 5, 8, &error), -EINVAL);
    json_doc_destroy(doc);
}

/* ---- properties ---- */

struct maker {
    uint64_t *random;
    char *out, *end;
};

static void put(struct maker *m, const char *s)
{
    for (; *s && m->out < m->end; s++)
        *m->out++ = *s;
}

static void make_string(struct maker *m, size_t name)
{
    static const char *const pieces[] = {"a",
                                         "Z",
                                         "9",
                                         " ",
                                         "\\n",
                                         "\\u0041",
                                         "\\u001f",
                                         "\\\"",
                                         "\\\\",
                                         "\xc3\xa9",
                                         "\xef\xbf\xbd",
                                         "\xf0\x9f\x98\x80",
                                         "\\ud83d\\ude00",
                                         "\\/",
                                         "longer piece of text",
                                         "\xe2\x82\xac"};
    char number[24];
    put(m, "\"");
    for (uint64_t n = harness_random(m->random) % 8; n > 0; n--)
        put(m, pieces[harness_random(m->random) % AW_ARRAY_LEN(pieces)]);
    if (name) { /* unlike its siblings */
        snprintf(number, sizeof number, "%zu", name);
        put(m, number);
    }
    put(m, "\"");
}

static void make_value(struct maker *m, int depth)
{
    static const char *const scalars[] = {
        "null", "true", "false", "0", "-1", "1.5", "1e3", "12.340", "123456789012345678e-3", "0.1"};
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t \r"};
    uint64_t what = harness_random(m->random) % (depth > 0 ? 6 : 4);
    if (what < 2) {
        put(m, scalars[harness_random(m->random) % AW_ARRAY_LEN(scalars)]);
    } else if (what < 4) {
        make_string(m, 0);
    } else {
        size_t n = harness_random(m->random) % (harness_random(m->random) % 50 == 0 ? 120 : 6);
        put(m, what == 4 ? "[" : "{");
        for (size_t i = 0; i < n; i++) {
            put(m, i ? "," : "");
            put(m, spaces[harness_random(m->random) % AW_ARRAY_LEN(spaces)]);
            if (what == 5) {
                make_string(m, 1000 + (i * 7919) % 1000);
                put(m, ":");
            }
            make_value(m, depth - 1);
        }
        put(m, spaces[harness_random(m->random) % AW_ARRAY_LEN(spaces)]);
        put(m, what == 4 ? "]" : "}");
    }
}

static bool is_canonical(const char *text, size_t len, struct json_doc *doc)
{
    struct json_error error = {0, 0, 0, ""};
    struct json_read_options o = {.max_depth = 64, .accept_rounded = true, .want_canonical = true};
    struct json_read_result r = {0, false, 0, 0};
    return json_load(doc, text, len) == 0 && json_read(doc, &o, &r, &error) == 0 && r.canonical;
}

/* Canonical text reads back to itself and is known as canonical; any other spelling of the same value is not. */
static void test_canonical_is_a_fixed_point(void)
{
    uint64_t random = harness_seed();
    struct json_doc *doc, *doc2;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc2), 0);
    static char text[1 << 16];
    int bad = 0, other = 0;
    for (int i = 0; i < (harness_slow() ? 5000 : 40000) && bad < 5; i++) {
        struct maker m = {&random, text, text + sizeof text - 1};
        struct json_error error;
        struct aw_str once, twice;
        make_value(&m, 5);
        size_t len = (size_t)(m.out - text);
        if (m.out == m.end)
            continue;
        bool good = json_parse(doc, text, len, 64, &error) == 0 && json_canonical(doc, &once) == 0 &&
                    json_parse(doc2, once.ptr, once.len, 64, &error) == 0 && json_canonical(doc2, &twice) == 0 &&
                    once.len == twice.len && memcmp(once.ptr, twice.ptr, once.len) == 0;
        if (good) {
            bool same = once.len == len && memcmp(text, once.ptr, len) == 0;
            other += !same;
            good = is_canonical(once.ptr, once.len, doc2) && is_canonical(text, len, doc2) == same;
        }
        if (!good) {
            harness_note("not a fixed point: %.*s", (int)len, text);
            bad++;
        }
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_TRUE(other > 100);
    json_doc_destroy(doc);
    json_doc_destroy(doc2);
}

/* Text cut anywhere is refused (a number at the top excepted), never read beyond its end. */
static void test_cut_text(void)
{
    static const char text[] =
        "{\"a\":[1,2.5e3,\"x\\u0041\xc3\xa9\",true,false,null,{\"b\":{}}],\"c\":\"\\ud83d\\ude00\"}";
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct json_error error;
        char *exact = malloc(len ? len : 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
        memcpy(exact, text, len);
        CU_ASSERT_EQUAL(json_parse(doc, exact, len, 64, &error), -EINVAL);
        CU_ASSERT_TRUE(error.offset <= len);
        free(exact);
    }
    json_doc_destroy(doc);
}

HARNESS_MAIN("json", {"318 vectors of JSON parsing", test_vectors}, {"vectors of RFC 8785", test_jcs},
             {"vectors of RFC 8785 as hexadecimal", test_jcs_hex}, {"numbers", test_numbers}, {"strings", test_strings},
             {"structure", test_structure}, {"canonical text is a fixed point", test_canonical_is_a_fixed_point},
             {"cut text", test_cut_text})
