/* test_text.c - the escapes of the command's output.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "../../../tools/cli.h"

static int count, failures;

static void check(const char *name, const char *expected, const char *found)
{
    bool good = strcmp(expected, found) == 0;
    printf("%sok %d - %s\n", good ? "" : "not ", ++count, name);
    if (!good) {
        printf("#   expected: %s\n#   found:    %s\n", expected, found);
        failures++;
    }
}

static void safe(const char *name, const char *in, size_t len, bool ascii, size_t max, const char *expected,
                 size_t width)
{
    struct text t = {0};
    char both[512], want[512];
    size_t w = text_safe(&t, in, len, ascii, max);
    (void)snprintf(both, sizeof both, "%s (%zu)", t.ptr, w);
    (void)snprintf(want, sizeof want, "%s (%zu)", expected, width);
    check(name, want, both);
    text_free(&t);
}
#define SAFE(name, in, ascii, max, expected, width) safe(name, in, sizeof(in) - 1, ascii, max, expected, width)

static void csv(const char *name, const char *in, const char *expected)
{
    struct text t = {0};
    text_csv(&t, in, strlen(in), false);
    check(name, expected, t.ptr);
    text_free(&t);
}

static void json(const char *name, const char *in, const char *expected)
{
    struct text t = {0};
    text_json(&t, in, strlen(in));
    check(name, expected, t.ptr);
    text_free(&t);
}

/* Whatever comes in, what goes out is printable and its width is right. */
static void random_bytes(void)
{
    unsigned seed = 20260102;
    bool good = true;
    const char *given = getenv("TEST_SEED");
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    printf("# seed %u (TEST_SEED)\n", seed);
    srand(seed);
    for (int round = 0; round < 20000 && good; round++) {
        char in[40];
        struct text t = {0};
        size_t len = (size_t)rand() % sizeof in, max = (size_t)rand() % 30;
        for (size_t i = 0; i < len; i++)
            in[i] = (char)rand();
        size_t width = text_safe(&t, in, len, true, max);
        good = width == t.len && (max == 0 || width <= max);
        for (size_t i = 0; i < t.len; i++)
            good = good && t.ptr[i] >= 0x20 && t.ptr[i] < 0x7f;
        text_free(&t);
    }
    check("random bytes come out as printable ASCII of the told width", "yes", good ? "yes" : "no");
}

int main(void)
{
    if (!setlocale(LC_ALL, "C.UTF-8"))
        printf("# no C.UTF-8: widths are those of the C locale\n");
    SAFE("plain", "abc", false, 0, "abc", 3);
    SAFE("empty", "", false, 0, "", 0);
    SAFE("tab, newline, return", "a\tb\nc\rd", false, 0, "a\\tb\\nc\\rd", 10);
    SAFE("NUL and ESC", "a\0\033[m", false, 0, "a\\x00\\x1b[m", 11);
    SAFE("C1", "\xc2\x9b", false, 0, "\\x9b", 4);
    SAFE("bad bytes", "\xff\xc3", false, 0, "\\xff\\xc3", 8);
    SAFE("overlong", "\xc0\xaf\xe0\x80\xaf", false, 0, "\\xc0\\xaf\\xe0\\x80\\xaf", 20);
    SAFE("surrogate", "\xed\xa0\x80", false, 0, "\\xed\\xa0\\x80", 12);
    SAFE("above Unicode", "\xf4\x90\x80\x80", false, 0, "\\xf4\\x90\\x80\\x80", 16);
    SAFE("direction", "\xe2\x80\xae", false, 0, "\\u{202e}", 8);
    SAFE("isolates", "\xe2\x81\xa6", false, 0, "\\u{2066}", 8);
    SAFE("byte order mark", "\xef\xbb\xbf", false, 0, "\\u{feff}", 8);
    SAFE("tag characters", "\xf3\xa0\x81\x81", false, 0, "\\u{e0041}", 9);
    SAFE("letters", "\xc3\xa9\xd0\xb6", false, 0, "\xc3\xa9\xd0\xb6", 2);
    SAFE("letters without UTF-8", "\xc3\xa9", true, 0, "\\xe9", 4);
    SAFE("wide", "\xe6\xbc\xa2", false, 0, "\xe6\xbc\xa2", 2);
    SAFE("combining", "e\xcc\x81", false, 0, "e\xcc\x81", 1);
    SAFE("fits", "abcd", false, 4, "abcd", 4);
    SAFE("cut", "abcde", false, 4, "abc\xe2\x80\xa6", 4);
    SAFE("cut before a wide one",
         "ab\xe6\xbc\xa2"
         "d",
         false, 4, "ab\xe2\x80\xa6", 3);
    SAFE("cut before an escape", "ab\033", false, 4, "ab\xe2\x80\xa6", 3);
    SAFE("cut to one", "abc", false, 1, "\xe2\x80\xa6", 1);
    csv("plain", "abc", "abc");
    csv("comma", "a,b", "\"a,b\"");
    csv("quote", "a\"b", "\"a\"\"b\"");
    csv("line end", "a\nb", "\"a\nb\"");
    csv("space at the end", "a ", "\"a \"");
    csv("formula =", "=1+1", "\"'=1+1\"");
    csv("formula +", "+1", "\"'+1\"");
    csv("formula -", "-1", "\"'-1\"");
    csv("formula @", "@A1", "\"'@A1\"");
    csv("formula tab", "\t=1", "\"'\t=1\"");
    csv("formula return", "\r=1", "\"'\r=1\"");
    csv("formula with quotes", "=\"a\"", "\"'=\"\"a\"\"\"");
    csv("minus inside", "a-1", "a-1");
    json("plain", "abc", "\"abc\"");
    json("escapes", "\"\\\n\x1f\x7f", "\"\\\"\\\\\\u000a\\u001f\\u007f\"");
    json("bad byte", "a\xff", "\"a\xef\xbf\xbd\"");
    json("direction", "\xe2\x80\xae", "\"\\u202e\"");
    json("letters stay", "\xc3\xa9", "\"\xc3\xa9\"");
    struct text t = {0};
    const char in[] = "{\"a\":\"\xc2\x9b\xe2\x80\xae\xc3\xa9\xf3\xa0\x81\x81\"}";
    text_json_safe(&t, in, sizeof in - 1);
    check("JSON for a terminal", "{\"a\":\"\\u009b\\u202e\xc3\xa9\\udb40\\udc41\"}", t.ptr);
    text_free(&t);
    random_bytes();
    printf("1..%d\n", count);
    return failures != 0;
}
