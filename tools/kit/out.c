/* out.c - see out.h. What a plugin brought is made safe for terminals. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "out.h"

/* Every line of the text with a prefix; what could drive a terminal as ?. */
static void lines(const char *prefix, const char *next_prefix, const char *text)
{
    (void)fputs(prefix, stdout);
    for (const char *s = text; *s; s++) {
        if (*s == '\n' && s[1] != '\0')
            (void)printf("\n%s", next_prefix);
        else if (*s != '\n')
            (void)putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
    }
    (void)putchar('\n');
}

static void json(const char *text)
{
    (void)putchar('"');
    for (const char *s = text; *s; s++) {
        if (*s == '"' || *s == '\\')
            (void)printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
            (void)printf("\\u%04x", (unsigned char)*s);
        else
            (void)putchar(*s);
    }
    (void)putchar('"');
}

void out_begin(enum kit_format format)
{
    if (format == KIT_TAP)
        (void)puts("TAP version 13");
    else if (format == KIT_JSON)
        (void)fputs("{\"checks\":[", stdout);
    (void)fflush(stdout);
}

static size_t shown(const struct kit_report *r)
{
    return r->count < KIT_FINDINGS ? r->count : KIT_FINDINGS;
}

static void result_tap(const struct kit_check *check, const struct kit_report *r, size_t number)
{
    (void)printf("%s %zu - %s: %s", r->count ? "not ok" : "ok", number, check->name, check->what);
    if (r->count == 0 && r->not_applicable[0])
        (void)printf(" # SKIP %s", r->not_applicable);
    (void)putchar('\n');
    for (size_t i = 0; i < shown(r); i++)
        lines("# found: ", "#   ", r->finding[i]);
    if (r->count > KIT_FINDINGS)
        (void)printf("# and %zu more\n", (size_t)r->count - KIT_FINDINGS);
    if (r->count)
        lines("# fix: ", "#   ", check->remedy);
    if (r->note[0])
        lines("# ", "# ", r->note);
}

static void result_table(const struct kit_check *check, const struct kit_report *r)
{
    const char *verdict = r->count ? "FAIL" : r->not_applicable[0] ? "n/a" : "ok";
    (void)printf("%-5s %-18s %s\n", verdict, check->name, check->what);
    for (size_t i = 0; i < shown(r); i++)
        lines("      found: ", "             ", r->finding[i]);
    if (r->count > KIT_FINDINGS)
        (void)printf("             and %zu more\n", (size_t)r->count - KIT_FINDINGS);
    if (r->count)
        lines("      fix:   ", "             ", check->remedy);
    else if (r->not_applicable[0])
        lines("      not applicable: ", "             ", r->not_applicable);
    if (r->note[0])
        lines("      note:  ", "             ", r->note);
}

static void result_json(const struct kit_check *check, const struct kit_report *r, bool first)
{
    (void)printf("%s\n{\"check\":", first ? "" : ",");
    json(check->name);
    (void)printf(",\"result\":\"%s\",\"what\":", r->count               ? "failed"
                                                 : r->not_applicable[0] ? "not_applicable"
                                                                        : "passed");
    json(check->what);
    (void)fputs(",\"findings\":[", stdout);
    for (size_t i = 0; i < shown(r); i++) {
        (void)fputs(i ? "," : "", stdout);
        json(r->finding[i]);
    }
    (void)fputs("]", stdout);
    if (r->count) {
        (void)fputs(",\"fix\":", stdout);
        json(check->remedy);
    }
    if (r->not_applicable[0]) {
        (void)fputs(",\"reason\":", stdout);
        json(r->not_applicable);
    }
    (void)fputs("}", stdout);
}

void out_result(enum kit_format format, const struct kit_check *check, const struct kit_report *report,
                struct out_totals *totals)
{
    size_t number = totals->passed + totals->failed + totals->not_applicable + 1;
    if (report->count)
        totals->failed++;
    else if (report->not_applicable[0])
        totals->not_applicable++;
    else
        totals->passed++;
    if (format == KIT_TAP)
        result_tap(check, report, number);
    else if (format == KIT_JSON)
        result_json(check, report, number == 1);
    else
        result_table(check, report);
    (void)fflush(stdout);
}

void out_end(enum kit_format format, const struct out_totals *t)
{
    if (format == KIT_TAP)
        (void)printf("1..%zu\n", t->passed + t->failed + t->not_applicable);
    else if (format == KIT_JSON)
        (void)printf("\n],\"passed\":%zu,\"failed\":%zu,\"not_applicable\":%zu}\n", t->passed, t->failed,
                     t->not_applicable);
    else
        (void)printf("%zu passed, %zu failed, %zu not applicable\n", t->passed, t->failed, t->not_applicable);
    (void)fflush(stdout);
}

void out_list(enum kit_format format)
{
    bool first = true;
    if (format == KIT_JSON)
        (void)fputs("{\"checks\":[", stdout);
    for (const struct kit_check *const *group = kit_groups; *group; group++)
        for (const struct kit_check *c = *group; c->name; c++, first = false) {
            if (format == KIT_JSON) {
                (void)fputs(first ? "{\"check\":" : ",{\"check\":", stdout);
                json(c->name);
                (void)fputs(",\"what\":", stdout);
                json(c->what);
                (void)fputs("}", stdout);
            } else {
                (void)printf("%-18s %s\n", c->name, c->what);
            }
        }
    if (format == KIT_JSON)
        (void)puts("]}");
}
