/* http_headers.c - the headers of each request, and the secrets in them. SPDX-License-Identifier: Apache-2.0
 *
 * Values that are secret come from options that are, never from the list `headers`, which `auditwell check` and others
 * may show.
 */
#include "config.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_sink.h"

#define LINE_MAX_BYTES 8192u
#define HEADERS_MAX 32u

static int32_t no_memory(const struct aw_host *h)
{
    return aw_host_error(h, AW_E_NOMEM, "out of memory");
}

void ht_headers_free(struct ht_settings *set)
{
    struct curl_slist *shared = set->headers, *l = set->body_headers;
    while (l != NULL && l != shared) { /* the rest is of both */
        struct curl_slist *next = l->next;
        l->next = NULL;
        curl_slist_free_all(l);
        l = next;
    }
    for (l = shared; l != NULL; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(shared);
    set->headers = set->body_headers = NULL;
}

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

/* ---- what may be set ---- */

static bool is_token(const char *s, size_t n)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              (s[i] != '\0' && strchr(others, s[i]) != NULL)))
            return false;
    return n > 0;
}

static bool is_one_of(const char *const *names, const char *s, size_t n)
{
    for (; *names != NULL; names++)
        if (strlen(*names) == n && strncasecmp(*names, s, n) == 0)
            return true;
    return false;
}

/* Checks one "Name: value". NULL: it may be sent; else why not, in words that hold nothing of it. */
static const char *fault_of(const char *line, size_t n, bool is_secret)
{
    static const char *const ours[] = {"Host",
                                       "Content-Length",
                                       "Content-Type",
                                       "Content-Encoding",
                                       "Transfer-Encoding",
                                       "Connection",
                                       "Keep-Alive",
                                       "Upgrade",
                                       "TE",
                                       "Trailer",
                                       "Expect",
                                       "Accept-Encoding",
                                       "Idempotency-Key",
                                       "Auditwell-Signature",
                                       NULL};
    static const char *const secrets[] = {"Authorization", "Proxy-Authorization", "Cookie", NULL};
    const char *colon = memchr(line, ':', n);
    if (n > LINE_MAX_BYTES)
        return "is longer than 8 KiB";
    if (colon == NULL || !is_token(line, (size_t)(colon - line)))
        return "is not of the form \"Name: value\"";
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return "holds a control character";
    if (strspn(colon + 1, " ") == n - (size_t)(colon + 1 - line))
        return "has no value";
    if (is_one_of(ours, line, (size_t)(colon - line)))
        return "is a header that the sink sets itself";
    if (!is_secret && is_one_of(secrets, line, (size_t)(colon - line)))
        return "holds a secret: use bearer_token, username and password, or secret_headers";
    return NULL;
}

static bool has_authorization(const struct curl_slist *l)
{
    for (; l != NULL; l = l->next)
        if (strncasecmp(l->data, "Authorization:", 14) == 0)
            return true;
    return false;
}

/* ---- reading ---- */

static int32_t read_list(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    struct aw_str s;
    for (size_t i = 0; h->config_list(c, "headers", i, &s) == AW_OK; i++) {
        const char *fault = i == HEADERS_MAX ? "is one too many: at most 32" : fault_of(s.ptr, s.len, false);
        if (fault != NULL) {
            size_t name = strcspn(s.ptr, ":");
            return aw_host_error(h, AW_E_CONFIG, "headers[%zu]: \"%.*s\" %s", i,
                                 s.ptr[name] == ':' && is_token(s.ptr, name) && name <= 64 ? (int)name : 0, s.ptr,
                                 fault);
        }
        if (!append(&set->headers, s.ptr))
            return no_memory(h);
    }
    return AW_OK;
}

static int32_t read_secret_lines(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    struct aw_str s;
    char line[LINE_MAX_BYTES + 1];
    int32_t r = AW_OK;
    if (h->config_str(c, "secret_headers", &s) != AW_OK)
        return AW_OK;
    for (size_t at = 0, count = 1; at < s.len && r == AW_OK; count++) {
        const char *end = memchr(s.ptr + at, '\n', s.len - at);
        size_t n = end != NULL ? (size_t)(end - s.ptr) - at : s.len - at, next = at + n + 1;
        const char *from = s.ptr + at;
        if (n > 0 && from[n - 1] == '\r')
            n--;
        at = next;
        if (n == 0)
            continue;
        const char *fault = count > HEADERS_MAX ? "is one too many: at most 32" : fault_of(from, n, true);
        if (fault != NULL)
            return aw_host_error(h, AW_E_CONFIG, "secret_headers: line %zu %s", count, fault);
        memcpy(line, from, n);
        line[n] = '\0';
        const char *secret = strchr(line, ':') + 1;
        secret += strspn(secret, " ");
        if (!append(&set->headers, line) || !ht_keep_secret(set, secret, strlen(secret)))
            r = no_memory(h);
        explicit_bzero(line, sizeof line);
    }
    return r;
}

/* A secret option that goes into a header. *ret is NULL when it is unset, and lives as long as the configuration. */
static int32_t credential(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set, const char *key,
                          const char **ret)
{
    struct aw_str s;
    *ret = NULL;
    if (h->config_str(c, key, &s) != AW_OK)
        return AW_OK;
    if (s.len == 0 || s.len > 4096)
        return aw_host_error(h, AW_E_CONFIG, "%s: has %zu bytes, expected 1 to 4096", key, s.len);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return aw_host_error(h, AW_E_CONFIG, "%s: holds a control character", key);
    if (!ht_keep_secret(set, s.ptr, s.len))
        return no_memory(h);
    *ret = s.ptr;
    return AW_OK;
}

static int32_t add_basic(const struct aw_host *h, struct ht_settings *set, const char *user, const char *password)
{
    unsigned char pair[8500];
    char line[11500] = "Authorization: Basic ";
    size_t head = strlen(line);
    int n = snprintf((char *)pair, sizeof pair, "%s:%s", user, password);
    if (n < 0 || (size_t)n >= sizeof pair)
        return aw_host_error(h, AW_E_CONFIG, "username: is longer than 4096 bytes");
    int coded = EVP_EncodeBlock((unsigned char *)line + head, pair, n);
    bool ok = append(&set->headers, line) && ht_keep_secret(set, line + head, (size_t)coded);
    explicit_bzero(pair, sizeof pair);
    explicit_bzero(line, sizeof line);
    return ok ? AW_OK : no_memory(h);
}

static int32_t read_authorization(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    const char *token, *password;
    struct aw_str user = {NULL, 0};
    bool named = h->config_str(c, "username", &user) == AW_OK;
    int32_t r = credential(h, c, set, "bearer_token", &token);
    if (r == AW_OK)
        r = credential(h, c, set, "password", &password);
    if (r != AW_OK)
        return r;
    if (named != (password != NULL))
        return aw_host_error(h, AW_E_CONFIG, "username, password: one is set without the other");
    if (token != NULL && named)
        return aw_host_error(h, AW_E_CONFIG, "bearer_token, username: only one of them can go into Authorization");
    if ((token != NULL || named) && has_authorization(set->headers))
        return aw_host_error(h, AW_E_CONFIG, "secret_headers: Authorization comes from bearer_token or username, too");
    if (named) {
        if (user.len == 0 || user.len > 4096 || memchr(user.ptr, ':', user.len) != NULL)
            return aw_host_error(h, AW_E_CONFIG, "username: expected 1 to 4096 bytes without a colon");
        return add_basic(h, set, user.ptr, password);
    }
    if (token == NULL)
        return AW_OK;
    char line[4200];
    snprintf(line, sizeof line, "Authorization: Bearer %s", token);
    bool ok = append(&set->headers, line);
    explicit_bzero(line, sizeof line);
    return ok ? AW_OK : no_memory(h);
}

int32_t ht_headers_read(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    int32_t r = append(&set->headers, "Accept: application/json, text/plain;q=0.5, */*;q=0.1") ? AW_OK : no_memory(h);
    if (r == AW_OK)
        r = read_list(h, c, set);
    if (r == AW_OK)
        r = read_secret_lines(h, c, set);
    if (r == AW_OK)
        r = read_authorization(h, c, set);
    if (r != AW_OK)
        return r;
    const char *type =
        set->format == HT_NDJSON ? "Content-Type: application/x-ndjson" : "Content-Type: application/json";
    const char *packed = set->compression == HT_GZIP ? "Content-Encoding: gzip" : "Content-Encoding: zstd";
    struct curl_slist *own = NULL;
    if (!append(&own, type) || (set->compression != HT_PLAIN && !append(&own, packed))) {
        curl_slist_free_all(own);
        return no_memory(h);
    }
    set->body_headers = own;
    while (own->next != NULL)
        own = own->next;
    own->next = set->headers;
    return AW_OK;
}
