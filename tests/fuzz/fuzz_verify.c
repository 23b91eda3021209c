/* fuzz_verify.c - any bytes as a trail to verify. SPDX-License-Identifier: Apache-2.0
 *
 * Besides that nothing goes wrong: the counts agree with the callbacks, the same input gives the same findings in the
 * same order, nothing that is printed drives a terminal, and flags and expected heads add or take off findings as they
 * say.
 */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "seal/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    uint64_t findings, scopes, events, digest;
};

static void must(int condition)
{
    if (!condition)
        abort();
}

static void mix(struct tally *t, const char *text)
{
    for (; *text; text++)
        t->digest = (t->digest ^ (unsigned char)*text) * 1099511628211u;
}

static void on_finding(void *arg, const struct aw_finding *f)
{
    struct tally *t = arg;
    t->findings++;
    must(f->kind >= AW_FINDING_EDITED && f->kind <= AW_FINDING_VIEW && *f->message != '\0');
    mix(t, f->scope);
    mix(t, f->location);
    mix(t, f->event_id);
    mix(t, f->expected);
    mix(t, f->found);
    mix(t, f->message);
    for (const char *p = f->message; *p; p++)
        must((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void on_scope(void *arg, const struct aw_scope_report *s)
{
    struct tally *t = arg;
    t->scopes++;
    t->events += s->count;
    must(s->count > 0 && (s->verdict == AW_VERDICT_FINDINGS) == (s->findings > 0) && *s->scope != '\0');
    mix(t, s->scope);
    mix(t, s->last_hash);
    mix(t, s->last_location);
}

static struct tally verify(const uint8_t *data, size_t size, uint32_t flags, const char *expect)
{
    struct tally t = {0, 0, 0, 14695981039346656037u};
    struct aw_verify_options options = {.struct_size = sizeof options,
                                        .flags = flags,
                                        .threads = 1,
                                        .max_findings = UINT64_MAX / 2,
                                        .on_finding = on_finding,
                                        .on_scope = on_scope,
                                        .arg = &t,
                                        .expect_head = expect};
    struct aw_verify_report report = {.struct_size = sizeof report};
    struct verifier *v = NULL;
    must(verifier_create(&options, &v) == AW_SUCCESS);
    uint64_t rows = 0;
    for (bool again = true; again;) {
        rows = 0;
        for (const char *p = (const char *)data, *end = p + size; p < end;) {
            const char *nl = memchr(p, '\n', (size_t)(end - p));
            struct aw_str line = {p, (size_t)((nl ? nl : end) - p)};
            must(verifier_feed(v, line, (struct aw_str){"x", 1}, 0) == AW_SUCCESS);
            rows++;
            p = nl ? nl + 1 : end;
        }
        must(verifier_again(&v, &again) == AW_SUCCESS);
    }
    must(verifier_finish(v, &report) == AW_SUCCESS);
    verifier_destroy(v);
    diag_reset();
    must(report.findings == t.findings && report.scopes == t.scopes && report.events == rows);
    must((report.verdict == AW_VERDICT_FINDINGS) == (t.findings > 0) && t.events <= rows);
    must((report.verdict == AW_VERDICT_VIEW) == (t.findings == 0 && report.by_reference > 0));
    must(report.by_reference <= report.views && report.views <= rows);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char expect[] = "tenant:t0=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    if (size > 65536)
        return 0;
    struct tally plain = verify(data, size, 0, NULL), again = verify(data, size, 0, NULL);
    must(plain.digest == again.digest && plain.findings == again.findings);
    must(verify(data, size, AW_VERIFY_COMPLETE, NULL).findings >= plain.findings);
    must(verify(data, size, AW_VERIFY_PARTIAL, NULL).findings <= plain.findings);
    must(verify(data, size, AW_VERIFY_MIDCHAIN, NULL).findings <= plain.findings);
    (void)verify(data, size, AW_VERIFY_VIEWS, NULL);
    must(verify(data, size, 0, expect).findings == plain.findings + 1);
    return 0;
}
