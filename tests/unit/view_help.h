/* view_help.h - what the tests of views share. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_VIEW_HELP_H
#define AW_VIEW_HELP_H

#include "event/view.h"
#include "event_help.h"

#include <openssl/hmac.h>
#include <stdarg.h>

#define SECRET "0123456789abcdef0123456789abcdef"

/* Appends text; at least PUT_ROOM bytes are free. */
#define PUT_ROOM 4096
static inline size_t put(char *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline size_t put(char *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(out, PUT_ROOM, fmt, ap);
    va_end(ap);
    CU_ASSERT_FATAL(n >= 0 && n < PUT_ROOM);
    return (size_t)n;
}

struct maker {
    struct event_pii *pii;
    struct pseudonym_key key;
    struct event_viewer *viewer;
    char json[1 << 20], claim[1 << 16], stored[1 << 20];
    struct event_view view;
};

static inline void open_maker(struct maker *m, bool drop, const char *const *tags, size_t count)
{
    struct event_rule rules[16];
    for (size_t i = 0; i < count; i++)
        rules[i] = (struct event_rule){tags[i], "audit.conf:7"};
    diag_reset();
    CU_ASSERT_EQUAL_FATAL(event_pii_create(rules, count, "***", &m->pii), 0);
    CU_ASSERT_EQUAL_FATAL(pseudonym_key_init(&m->key, SECRET, 32), 0);
    CU_ASSERT_EQUAL_FATAL(event_viewer_create(m->pii, drop ? NULL : &m->key, &m->viewer), 0);
}
#define OPEN(m, drop, ...)                                                                                             \
    do {                                                                                                               \
        static const char *const tags_[] = {__VA_ARGS__};                                                              \
        open_maker(m, drop, tags_, AW_ARRAY_LEN(tags_));                                                               \
    } while (0)

static inline void close_maker(struct maker *m)
{
    event_viewer_destroy(m->viewer);
    event_pii_destroy(m->pii);
}

/* The view as text, and as it would be stored. */
static inline int view_of(struct maker *m, const char *json, size_t len)
{
    int rc = event_view_make(m->viewer, json, len, &m->view);
    if (rc != 0)
        return rc;
    snprintf(m->json, sizeof m->json, "%.*s", (int)m->view.json.len, m->view.json.ptr);
    snprintf(m->claim, sizeof m->claim, "%.*s", (int)m->view.claim.len, m->view.claim.ptr);
    snprintf(m->stored, sizeof m->stored,
             "%.*s\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"00\",\"seq\":1,\"view\":%s},%s",
             (int)m->view.integrity_at, m->json, m->claim, m->json + m->view.integrity_at);
    return 0;
}

static inline void pseudonym(const void *value, size_t len, char out[PSEUDONYM_LEN + 1])
{
    uint8_t mac[32];
    unsigned n = sizeof mac;
    struct pseudonym_key key;
    CU_ASSERT_EQUAL_FATAL(pseudonym_key_init(&key, SECRET, 32), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(HMAC(EVP_sha256(), SECRET, 32, value, len, mac, &n));
    snprintf(out, PSEUDONYM_LEN + 1, "pn:%s:", key.id);
    hash_hex(mac, 16, out + 12);
    out[PSEUDONYM_LEN] = '\0';
}

static inline void count_difference(void *arg, const struct view_difference *d)
{
    ++*(size_t *)arg;
    (void)d;
}

static inline size_t differences(struct maker *m, const char *view, const char *whole, bool with_key,
                                 uint64_t *ret_by_form)
{
    size_t n = 0;
    struct hash_sha256 *sha;
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&sha), 0);
    struct view_check check = {
        .keys = &m->key, .key_count = with_key, .sha = sha, .on_difference = count_difference, .arg = &n};
    struct aw_str f = base_str(whole ? whole : "");
    diag_reset();
    CU_ASSERT_EQUAL(event_view_check(&check, base_str(view), whole ? &f : NULL), AW_SUCCESS);
    hash_sha256_destroy(sha);
    if (ret_by_form)
        *ret_by_form = check.by_form;
    return n;
}

#endif
