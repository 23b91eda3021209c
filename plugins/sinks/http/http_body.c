/* http_body.c - the bytes of a request: events, packed when wanted, their digest and signature.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The events are the host's canonical bytes, untouched, so that what arrives verifies.
 */
#include "config.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "http_sink.h"

#define KEEP_ROOM (8u << 20) /* a buffer that was larger once is given back */
#define SHA256_BYTES 32

bool ht_buffer_reserve(struct ht_buffer *b, size_t room)
{
    if (room <= b->room && (b->room <= KEEP_ROOM || room > KEEP_ROOM))
        return true;
    char *bytes = realloc(b->bytes, room);
    if (bytes == NULL)
        return room <= b->room; /* too large is large enough */
    b->bytes = bytes;
    b->room = room;
    return true;
}

void ht_buffer_free(struct ht_buffer *b)
{
    free(b->bytes);
    *b = (struct ht_buffer){NULL, 0, 0};
}

static void put(struct ht_buffer *b, const char *bytes, size_t n)
{
    memcpy(b->bytes + b->len, bytes, n);
    b->len += n;
}

/* All events as one text. */
static int32_t join(struct ht_sink *s, const struct aw_batch *batch)
{
    static const char *const heads[] = {"{\"events\":[", "", "["}, *const tails[] = {"]}", "", "]"};
    const char *head = heads[s->settings->format], *tail = tails[s->settings->format];
    bool lines = s->settings->format == HT_NDJSON;
    size_t room = strlen(head) + strlen(tail) + batch->count;
    struct aw_str json;
    for (size_t i = 0; i < batch->count; i++) {
        int32_t r = s->host->event_encoded(batch->events[i], "json", &json);
        if (r != AW_OK)
            return aw_host_error(s->host, r == AW_E_UNSUPPORTED ? AW_E_INTERNAL : r,
                                 "the host cannot render an event"); /* now: it is tried again */
        room += json.len;
    }
    if (!ht_buffer_reserve(&s->body, room))
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory for a body of %zu bytes", room);
    s->body.len = 0;
    put(&s->body, head, strlen(head));
    for (size_t i = 0; i < batch->count; i++) {
        if (!lines && i > 0)
            put(&s->body, ",", 1);
        if (s->host->event_encoded(batch->events[i], "json", &json) != AW_OK || s->body.len + json.len > room)
            return aw_host_error(s->host, AW_E_INTERNAL, "the host renders an event differently a second time");
        put(&s->body, json.ptr, json.len);
        if (lines)
            put(&s->body, "\n", 1);
    }
    put(&s->body, tail, strlen(tail));
    return AW_OK;
}

/* ---- packing ---- */

#ifdef HAVE_ZLIB
static bool gzip(struct ht_sink *s)
{
    z_stream z = {.zalloc = Z_NULL};
    int level = s->settings->level != 0 ? s->settings->level : Z_DEFAULT_COMPRESSION;
    if (s->body.len > UINT32_MAX / 2 || deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t room = deflateBound(&z, (uLong)s->body.len);
    bool ok = ht_buffer_reserve(&s->packed, room);
    if (ok) {
        z.next_in = (Bytef *)s->body.bytes;
        z.avail_in = (uInt)s->body.len;
        z.next_out = (Bytef *)s->packed.bytes;
        z.avail_out = (uInt)room;
        ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
        s->packed.len = z.total_out;
    }
    deflateEnd(&z);
    return ok;
}
#endif

#ifdef HAVE_ZSTD
static bool zstd(struct ht_sink *s)
{
    size_t room = ZSTD_compressBound(s->body.len);
    if (!ht_buffer_reserve(&s->packed, room))
        return false;
    int level = s->settings->level != 0 ? s->settings->level : ZSTD_CLEVEL_DEFAULT;
    s->packed.len = ZSTD_compress(s->packed.bytes, room, s->body.bytes, s->body.len, level);
    return !ZSTD_isError(s->packed.len);
}
#endif

int32_t ht_body_make(struct ht_sink *s, const struct aw_batch *batch, const struct ht_buffer **ret)
{
    bool ok = true;
    int32_t r = join(s, batch);
    if (r != AW_OK)
        return r;
    *ret = s->settings->compression == HT_PLAIN ? &s->body : &s->packed;
#ifdef HAVE_ZLIB
    if (s->settings->compression == HT_GZIP)
        ok = gzip(s);
#endif
#ifdef HAVE_ZSTD
    if (s->settings->compression == HT_ZSTD)
        ok = zstd(s);
#endif
    /* Both libraries fail for want of memory only. */
    return ok ? AW_OK : aw_host_error(s->host, AW_E_NOMEM, "out of memory for packing %zu bytes", s->body.len);
}

/* ---- digest and signature ---- */

static void hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

/* Many short texts are cheaper as a few long ones: libcrypto's calls cost more than their bytes. */
struct digest {
    EVP_MD_CTX *md;
    size_t len;
    bool ok;
    char bytes[4096];
};

static void digest_flush(struct digest *d)
{
    d->ok = d->ok && EVP_DigestUpdate(d->md, d->bytes, d->len) == 1;
    d->len = 0;
}

/* LENGTH:TEXT */
static void digest_add(struct digest *d, const char *text, size_t len)
{
    char head[24];
    size_t n = sizeof head;
    head[--n] = ':';
    for (size_t v = len;; v /= 10) {
        head[--n] = (char)('0' + v % 10);
        if (v < 10)
            break;
    }
    if (sizeof head - n + len > sizeof d->bytes - d->len)
        digest_flush(d);
    memcpy(d->bytes + d->len, head + n, sizeof head - n);
    d->len += sizeof head - n;
    if (len > sizeof d->bytes - d->len) {
        digest_flush(d);
        d->ok = d->ok && EVP_DigestUpdate(d->md, text, len) == 1;
        return;
    }
    if (len > 0)
        memcpy(d->bytes + d->len, text, len);
    d->len += len;
}

bool ht_key_line(struct ht_sink *s, const struct aw_batch *batch, char line[HT_KEY_LINE])
{
    unsigned char digest[SHA256_BYTES];
    unsigned n = 0;
    char text[2 * SHA256_BYTES + 1];
    struct digest d;
    d.md = EVP_MD_CTX_new(); /* its buffer need not be cleared */
    d.len = 0;
    d.ok = d.md != NULL && EVP_DigestInit_ex(d.md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; d.ok && i < batch->count; i++) {
        struct aw_str id = {"", 0};
        if (s->host->event_field(batch->events[i], AW_FIELD_EVENT_ID, &id) != AW_OK)
            id = (struct aw_str){"", 0};
        digest_add(&d, id.ptr, id.len);
    }
    digest_flush(&d);
    d.ok = d.ok && EVP_DigestFinal_ex(d.md, digest, &n) == 1;
    EVP_MD_CTX_free(d.md);
    if (!d.ok)
        return false;
    hex(digest, n, text);
    snprintf(line, HT_KEY_LINE, "Idempotency-Key: \"%s\"", text);
    return true;
}

bool ht_signature_line(const struct ht_sink *s, const struct ht_buffer *body, char line[HT_SIGNATURE_LINE])
{
    const struct ht_settings *set = s->settings;
    unsigned char digest[SHA256_BYTES];
    char head[32], text[2 * SHA256_BYTES + 1], algorithm[] = "SHA256";
    size_t n = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", algorithm, 0), OSSL_PARAM_construct_end()};
    int len = snprintf(head, sizeof head, "%llu.", (unsigned long long)(s->host->now_ns() / 1000000000u));
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    bool ok = ctx != NULL &&
              EVP_MAC_init(ctx, (const unsigned char *)set->signature_key, strlen(set->signature_key), params) == 1 &&
              EVP_MAC_update(ctx, (const unsigned char *)head, (size_t)len) == 1 &&
              EVP_MAC_update(ctx, (const unsigned char *)body->bytes, body->len) == 1 &&
              EVP_MAC_final(ctx, digest, &n, sizeof digest) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    if (!ok)
        return false;
    hex(digest, n, text);
    const char *id = set->signature_key_id;
    snprintf(line, HT_SIGNATURE_LINE, "Auditwell-Signature: t=%.*s,v1=%s%s%s", len - 1, head, text,
             id != NULL ? ",kid=" : "", id != NULL ? id : "");
    return true;
}
