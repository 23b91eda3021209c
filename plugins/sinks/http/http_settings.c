/* http_settings.c - what the options mean, and whether they fit together. SPDX-License-Identifier: Apache-2.0
 *
 * URLs are read with libcurl's own parser, so that what is checked here is what is connected to later. No message holds
 * a secret, nor the query of a URL, which may hold one.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "http_sink.h"

#define SIGNATURE_KEY_MIN 16u

/* ---- small things ---- */

bool ht_keep_secret(struct ht_settings *set, const char *text, size_t len)
{
    if (len == 0)
        return true;
    if (set->secret_count == HT_SECRETS_MAX)
        return false;
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    set->secrets[set->secret_count++] = copy;
    return true;
}

static void forget(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void ht_settings_free(struct ht_settings *set)
{
    if (set == NULL)
        return;
    ht_headers_free(set);
    char **const texts[] = {&set->url,
                            &set->health_url,
                            &set->health_shown,
                            &set->shown,
                            &set->ca_file,
                            &set->client_cert,
                            &set->client_key,
                            &set->key_password,
                            &set->proxy,
                            &set->proxy_username,
                            &set->proxy_password,
                            &set->signature_key,
                            &set->signature_key_id};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        forget(texts[i]);
    for (size_t i = 0; i < set->secret_count; i++)
        forget(&set->secrets[i]);
    free(set);
}

static int32_t no_memory(const struct aw_host *h)
{
    return aw_host_error(h, AW_E_NOMEM, "out of memory");
}

/* A text option; *ret stays NULL when it is unset. */
static int32_t text(const struct aw_host *h, const struct aw_config *c, const char *key, char **ret)
{
    struct aw_str s;
    if (h->config_str(c, key, &s) != AW_OK)
        return AW_OK;
    if (s.len == 0)
        return aw_host_error(h, AW_E_CONFIG, "%s: is empty; leave it out instead", key);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return aw_host_error(h, AW_E_CONFIG, "%s: holds a control character", key);
    *ret = strndup(s.ptr, s.len);
    return *ret != NULL ? AW_OK : no_memory(h);
}

static int32_t secret(const struct aw_host *h, const struct aw_config *c, const char *key, struct ht_settings *set,
                      char **ret)
{
    int32_t r = text(h, c, key, ret);
    if (r != AW_OK || *ret == NULL)
        return r;
    return ht_keep_secret(set, *ret, strlen(*ret)) ? AW_OK : no_memory(h);
}

static const char *choice(const struct aw_host *h, const struct aw_config *c, const char *key)
{
    struct aw_str s;
    return h->config_str(c, key, &s) == AW_OK ? s.ptr : "";
}

static uint64_t number(const struct aw_host *h, const struct aw_config *c, const char *key)
{
    int64_t v = 0;
    return h->config_int(c, key, &v) == AW_OK && v > 0 ? (uint64_t)v : 0;
}

static bool flag(const struct aw_host *h, const struct aw_config *c, const char *key)
{
    int32_t v = 0;
    return h->config_bool(c, key, &v) == AW_OK && v != 0;
}

/* ---- URLs ---- */

/* The parts of a URL; freed with curl_free(). */
struct parts {
    char *scheme, *host, *port, *path;
};

static void parts_free(struct parts *p)
{
    curl_free(p->scheme);
    curl_free(p->host);
    curl_free(p->port);
    curl_free(p->path);
}

/* CURLUE_OK, or why not. */
static CURLUcode split(const char *url, struct parts *ret, bool *ret_extras)
{
    char *extra = NULL;
    CURLU *u = curl_url();
    *ret = (struct parts){NULL, NULL, NULL, NULL};
    if (u == NULL)
        return CURLUE_OUT_OF_MEMORY;
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_SCHEME, &ret->scheme, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_HOST, &ret->host, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT);
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_PATH, &ret->path, 0);
    static const CURLUPart unwanted[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_FRAGMENT};
    *ret_extras = false;
    for (size_t i = 0; rc == CURLUE_OK && i < sizeof unwanted / sizeof unwanted[0]; i++)
        if (curl_url_get(u, unwanted[i], &extra, 0) == CURLUE_OK) {
            *ret_extras = true;
            curl_free(extra);
        }
    curl_url_cleanup(u);
    return rc;
}

bool ht_same_origin(const char *a, const char *b)
{
    struct parts x, y;
    bool ignored;
    bool good = split(a, &x, &ignored) == CURLUE_OK;
    good = split(b, &y, &ignored) == CURLUE_OK && good;
    bool same =
        good && strcasecmp(x.scheme, y.scheme) == 0 && strcasecmp(x.host, y.host) == 0 && strcmp(x.port, y.port) == 0;
    parts_free(&x);
    parts_free(&y);
    return same;
}

void ht_show_url(const char *url, char *out, size_t size)
{
    struct parts p;
    bool ignored;
    if (split(url, &p, &ignored) == CURLUE_OK)
        snprintf(out, size, "%s://%s:%s%s", p.scheme, p.host, p.port, p.path);
    else
        snprintf(out, size, "?");
    parts_free(&p);
}

/* Only this host can listen to what does not leave it. */
static bool is_loopback(const char *host)
{
    struct in_addr a; /* libcurl has made numbers of other forms dotted decimals */
    if (inet_pton(AF_INET, host, &a) == 1)
        return ntohl(a.s_addr) >> 24 == 127;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static int32_t check_url(const struct aw_host *h, const char *key, const char *url, bool plain_allowed, bool by_proxy,
                         struct ht_settings *set)
{
    struct parts p;
    bool extras;
    int32_t r = AW_OK;
    CURLUcode rc = strlen(url) < 2048 ? split(url, &p, &extras) : CURLUE_BAD_HOSTNAME;
    if (strlen(url) >= 2048)
        return aw_host_error(h, AW_E_CONFIG, "%s: is longer than 2047 bytes", key);
    if (rc == CURLUE_OUT_OF_MEMORY)
        r = no_memory(h);
    else if (rc != CURLUE_OK)
        r = aw_host_error(h, AW_E_CONFIG, "%s: is no URL (%s): expected https://HOST[:PORT]/PATH", key,
                          curl_url_strerror(rc));
    else if (strcmp(p.scheme, "https") != 0 && strcmp(p.scheme, "http") != 0)
        r = aw_host_error(h, AW_E_CONFIG, "%s: the scheme is \"%.20s\": expected https or http", key, p.scheme);
    else if (extras)
        r = aw_host_error(h, AW_E_CONFIG,
                          "%s: holds a user name, password or fragment: use the options username and password", key);
    else if (strcmp(p.scheme, "http") == 0 && !plain_allowed && (by_proxy || !is_loopback(p.host)))
        r = aw_host_error(
            h, AW_E_CONFIG,
            "%s: http:// to %.100s%s sends events and credentials so that anybody in between can read and "
            "change them: use https://, or say insecure_plain = true",
            key, p.host, by_proxy ? " by a proxy" : "");
    if (r == AW_OK)
        set->https = strcmp(p.scheme, "https") == 0;
    if (r == AW_OK)
        set->plain_abroad = !set->https && (by_proxy || !is_loopback(p.host));
    parts_free(&p);
    return r;
}

static int32_t read_urls(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    char shown[400];
    bool plain = flag(h, c, "insecure_plain"), by_proxy = set->proxy != NULL;
    int32_t r = text(h, c, "url", &set->url);
    if (r == AW_OK && set->url == NULL)
        r = aw_host_error(h, AW_E_CONFIG, "url: is not set");
    if (r == AW_OK)
        r = text(h, c, "health_url", &set->health_url);
    if (r == AW_OK)
        r = check_url(h, "url", set->url, plain, by_proxy, set);
    if (r == AW_OK && set->health_url != NULL)
        r = check_url(h, "health_url", set->health_url, plain, by_proxy, set);
    if (r != AW_OK)
        return r;
    if (set->health_url != NULL && !ht_same_origin(set->url, set->health_url))
        return aw_host_error(h, AW_E_CONFIG,
                             "health_url: has another scheme, host or port than url, which would get its credentials");
    ht_show_url(set->url, shown, sizeof shown);
    set->shown = strdup(shown);
    ht_show_url(set->health_url != NULL ? set->health_url : set->url, shown, sizeof shown);
    set->health_shown = strdup(shown);
    return set->shown != NULL && set->health_shown != NULL ? AW_OK : no_memory(h);
}

static int32_t read_proxy(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    struct parts p;
    bool extras = false;
    int32_t r = text(h, c, "proxy", &set->proxy);
    if (r == AW_OK)
        r = text(h, c, "proxy_username", &set->proxy_username);
    if (r == AW_OK)
        r = secret(h, c, "proxy_password", set, &set->proxy_password);
    if (r != AW_OK)
        return r;
    if (set->proxy == NULL)
        return set->proxy_username == NULL && set->proxy_password == NULL
                   ? AW_OK
                   : aw_host_error(h, AW_E_CONFIG, "proxy_username, proxy_password: there is no proxy");
    /* libcurl's parser does not know the port of socks5h: one must be given. */
    CURLUcode rc = split(set->proxy, &p, &extras);
    bool known = rc == CURLUE_OK && (strcmp(p.scheme, "http") == 0 || strcmp(p.scheme, "https") == 0);
    bool socks = strncmp(set->proxy, "socks5h://", 10) == 0 && strchr(set->proxy, '@') == NULL;
    parts_free(&p);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return no_memory(h);
    if (extras)
        return aw_host_error(h, AW_E_CONFIG,
                             "proxy: holds a user name or password: use proxy_username, proxy_password");
    return known || socks ? AW_OK
                          : aw_host_error(h, AW_E_CONFIG,
                                          "proxy: expected http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT");
}

/* ---- the rest ---- */

static int32_t read_body(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    const char *format = choice(h, c, "format"), *packed = choice(h, c, "compression");
    set->format = strcmp(format, "ndjson") == 0 ? HT_NDJSON : strcmp(format, "array") == 0 ? HT_ARRAY : HT_EVENTS;
    set->compression = strcmp(packed, "gzip") == 0 ? HT_GZIP : strcmp(packed, "zstd") == 0 ? HT_ZSTD : HT_PLAIN;
    set->level = (int)number(h, c, "compression_level");
#ifndef HAVE_ZLIB
    if (set->compression == HT_GZIP)
        return aw_host_error(h, AW_E_CONFIG, "compression: this build has no gzip (it was built without zlib)");
#endif
#ifndef HAVE_ZSTD
    if (set->compression == HT_ZSTD)
        return aw_host_error(h, AW_E_CONFIG, "compression: this build has no zstd (it was built without libzstd)");
#endif
    if (set->compression == HT_PLAIN && set->level != 0)
        return aw_host_error(h, AW_E_CONFIG, "compression_level: there is no compression");
    if (set->compression == HT_GZIP && set->level > 9)
        return aw_host_error(h, AW_E_CONFIG, "compression_level: gzip has levels 1 to 9");
    int32_t r = secret(h, c, "signature_key", set, &set->signature_key);
    if (r == AW_OK)
        r = text(h, c, "signature_key_id", &set->signature_key_id);
    if (r != AW_OK)
        return r;
    if (set->signature_key != NULL && strlen(set->signature_key) < SIGNATURE_KEY_MIN)
        return aw_host_error(h, AW_E_CONFIG, "signature_key: has %zu bytes, expected at least %u",
                             strlen(set->signature_key), SIGNATURE_KEY_MIN);
    const char *id = set->signature_key_id;
    if (id != NULL && set->signature_key == NULL)
        return aw_host_error(h, AW_E_CONFIG, "signature_key_id: there is no signature_key");
    if (id != NULL && (strlen(id) > 64 ||
                       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(id)))
        return aw_host_error(h, AW_E_CONFIG, "signature_key_id: expected 1 to 64 of A-Z a-z 0-9 . _ -");
    return AW_OK;
}

static int32_t read_tls(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    static const char *const keys[] = {"ca_file", "client_cert", "client_key"};
    char **const into[] = {&set->ca_file, &set->client_cert, &set->client_key};
    const char *version = choice(h, c, "http_version");
    set->version = strcmp(version, "1.1") == 0 ? HT_VERSION_1
                   : strcmp(version, "2") == 0 ? HT_VERSION_2
                                               : HT_VERSION_AUTO;
    set->tls_min = strcmp(choice(h, c, "tls_min"), "1.3") == 0 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2;
    set->insecure_tls = flag(h, c, "insecure_tls");
    int32_t r = AW_OK;
    for (size_t i = 0; i < 3 && r == AW_OK; i++)
        r = text(h, c, keys[i], into[i]);
    if (r == AW_OK)
        r = secret(h, c, "key_password", set, &set->key_password);
    if (r != AW_OK)
        return r;
    for (size_t i = 0; i < 3; i++)
        if (*into[i] != NULL && !set->https)
            return aw_host_error(h, AW_E_CONFIG, "%s: is for TLS, but url begins with http://", keys[i]);
    if ((set->client_cert == NULL) != (set->client_key == NULL))
        return aw_host_error(h, AW_E_CONFIG, "client_cert, client_key: one is set without the other");
    if (set->key_password != NULL && set->client_key == NULL)
        return aw_host_error(h, AW_E_CONFIG, "key_password: there is no client_key");
    return AW_OK;
}

static void read_limits(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set)
{
    set->durable = strcmp(choice(h, c, "ack"), "accepted") != 0;
    set->conflict_is_duplicate = strcmp(choice(h, c, "conflict"), "retry") != 0;
    set->connect_ns = number(h, c, "connect_timeout");
    set->total_ns = number(h, c, "timeout");
    set->idle_ns = number(h, c, "idle_timeout");
    set->retry_after_max_ns = number(h, c, "retry_after_max");
    set->max_reply = (size_t)number(h, c, "max_reply");
    set->max_redirects = (unsigned)number(h, c, "max_redirects");
}

int32_t ht_settings_read(const struct aw_host *h, const struct aw_config *c, struct ht_settings **ret)
{
    struct ht_settings *set = calloc(1, sizeof *set);
    if (set == NULL)
        return no_memory(h);
    int32_t r = read_proxy(h, c, set);
    if (r == AW_OK)
        r = read_urls(h, c, set);
    if (r == AW_OK)
        r = read_body(h, c, set);
    if (r == AW_OK)
        r = read_tls(h, c, set);
    if (r == AW_OK)
        r = ht_headers_read(h, c, set);
    if (r != AW_OK) {
        ht_settings_free(set);
        return r;
    }
    read_limits(h, c, set);
    *ret = set;
    return AW_OK;
}

int32_t ht_settings_check_files(const struct aw_host *h, const struct ht_settings *set)
{
    const char *const keys[] = {"ca_file", "client_cert", "client_key"};
    const char *const paths[] = {set->ca_file, set->client_cert, set->client_key};
    for (size_t i = 0; i < 3; i++)
        if (paths[i] != NULL && access(paths[i], R_OK) < 0)
            return aw_host_error(h, AW_E_CONFIG, "%s: cannot read %s: %s", keys[i], paths[i], strerror(errno));
    return AW_OK;
}
