/* http_sink.h - what the source files of the http sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_http.c (class and life), http_options.c (options), http_settings.c (their meaning, and what fits
 * together), http_headers.c (headers and their secrets), http_body.c (bodies, digest, signature), http_transfer.c (one
 * request over libcurl), http_judge.c (what the answer means), http_write.c (write), http_probe.c (the probe
 * extension), http_reply.c (the reader of JSON replies), http_text.c (texts of errors).
 *
 * Threads: the host serialises the calls on an instance. health() is guarded by `lock`; nothing else is shared.
 */
#ifndef AW_HTTP_SINK_H
#define AW_HTTP_SINK_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>

#include "audit/plugin.h"

#define HT_SECRETS_MAX 40      /* that may not show in a message */
#define HT_SOCKETS_MAX 16      /* open at once */
#define HT_HEADERS_BYTES 65536 /* of one answer, interim answers and trailers included */
#define HT_PEER_TEXT 160       /* bytes of what a receiver says that are repeated */

enum ht_format { HT_EVENTS, HT_NDJSON, HT_ARRAY };
enum ht_compression { HT_PLAIN, HT_GZIP, HT_ZSTD };
enum ht_version { HT_VERSION_AUTO, HT_VERSION_1, HT_VERSION_2 };

/* Everything that audit.conf says; replaced as a whole by reconfigure(). */
struct ht_settings {
    char *url, *health_url;     /* health_url may be NULL */
    char *shown, *health_shown; /* the same without their queries, for messages */
    bool https;
    bool plain_abroad; /* http:// to another host, as insecure_plain allows */
    enum ht_format format;
    enum ht_compression compression;
    int level; /* of compression; 0 = the library's own */
    enum ht_version version;
    bool durable;               /* ack = durable */
    bool conflict_is_duplicate; /* what a bare 409 for one event means */
    char *ca_file, *client_cert, *client_key, *key_password;
    long tls_min; /* CURL_SSLVERSION_* */
    bool insecure_tls;
    char *proxy, *proxy_username, *proxy_password; /* proxy "" = none */
    char *signature_key, *signature_key_id;        /* key NULL = do not sign */
    struct curl_slist *headers;                    /* of every request */
    struct curl_slist *body_headers;               /* of a POST; ends with `headers` */
    char *secrets[HT_SECRETS_MAX];                 /* own copies, cleared when freed */
    size_t secret_count;
    uint64_t connect_ns, total_ns, idle_ns, retry_after_max_ns;
    size_t max_reply;
    unsigned max_redirects;
};

/* The answer to one request, or why there is none. */
struct ht_answer {
    long status; /* 0: none came whole */
    CURLcode code;
    char error[CURL_ERROR_SIZE]; /* with code; libcurl's words */
    char content_type[128];
    char retry_after[64];
    bool too_large, out_of_memory, timed_out; /* why code is not CURLE_OK */
    bool stale;                               /* a kept connection was gone before anything came */
    bool repeated;                            /* the events may have arrived before this answer's request did */
    bool moved;                               /* a redirect that is not followed: why is in `error` */
    bool http2;
    size_t header_bytes;
    char *text; /* the body, NUL-terminated; in the sink's buffer, until the next request */
    size_t len;
};

struct ht_buffer {
    char *bytes;
    size_t len, room;
};

struct ht_sink {
    const struct aw_host *host;
    struct ht_settings *settings;
    const char *shown; /* of the settings: what the last request was sent to */
    CURL *easy;        /* NULL: made at the next request */
    CURLM *multi;
    struct ht_buffer body, packed, reply;
    struct ht_answer answer;
    int sockets[HT_SOCKETS_MAX]; /* open ones, else -1: what after_fork() closes */
    bool started;
    uint64_t large_logged_ns; /* when it was last said that batches are too large */

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_requests, metric_connections, metric_bytes, metric_duplicates, metric_redirects;
};

/* ---- sink_http.c ---- */
int32_t ht_set_health(struct ht_sink *s, int32_t code, const char *detail); /* returns code */

/* ---- http_options.c ---- */
extern const struct aw_option *const ht_options[];

/* ---- http_settings.c ---- */
/* AW_OK, AW_E_CONFIG or AW_E_NOMEM with the error text set. No I/O. */
int32_t ht_settings_read(const struct aw_host *h, const struct aw_config *c, struct ht_settings **ret);
void ht_settings_free(struct ht_settings *set);
/* Do the files it names exist, and may they be read? AW_OK or AW_E_CONFIG with the error text set. */
int32_t ht_settings_check_files(const struct aw_host *h, const struct ht_settings *set);
/* Are both URLs of one scheme, host and port? */
bool ht_same_origin(const char *a, const char *b);
/* The URL without user, query and fragment, at most size - 1 bytes; "?" when it is none. */
void ht_show_url(const char *url, char *out, size_t size);
/* Notes a text that no message may hold. false: out of memory, or too many. */
bool ht_keep_secret(struct ht_settings *set, const char *text, size_t len);

/* ---- http_headers.c ---- */
/* Fills headers and body_headers. As ht_settings_read(). */
int32_t ht_headers_read(const struct aw_host *h, const struct aw_config *c, struct ht_settings *set);
void ht_headers_free(struct ht_settings *set);

/* ---- http_body.c ---- */
/* AW_OK; or an error with its text set. The bytes to send are then in *ret, a buffer of the sink's. */
int32_t ht_body_make(struct ht_sink *s, const struct aw_batch *batch, const struct ht_buffer **ret);
void ht_buffer_free(struct ht_buffer *b);
bool ht_buffer_reserve(struct ht_buffer *b, size_t room); /* false: out of memory */
#define HT_KEY_LINE 96
/* "Idempotency-Key: "…"". false: libcrypto failed. */
bool ht_key_line(struct ht_sink *s, const struct aw_batch *batch, char line[HT_KEY_LINE]);
#define HT_SIGNATURE_LINE 320
/* "Auditwell-Signature: t=…,v1=…" of these bytes. false: libcrypto failed. */
bool ht_signature_line(const struct ht_sink *s, const struct ht_buffer *body, char line[HT_SIGNATURE_LINE]);

/* ---- http_transfer.c ---- */
/* Posts, follows redirects that are allowed. The answer is in s->answer. */
void ht_post(struct ht_sink *s, const struct aw_batch *batch, const struct ht_buffer *body);
/* GET of health_url, or a connection alone when there is none. */
void ht_visit(struct ht_sink *s, uint64_t deadline_ns);
void ht_disconnect(struct ht_sink *s);
/* Closes the parent's sockets without a word to the peer, and leaves the rest alone. */
void ht_abandon(struct ht_sink *s);

/* ---- http_judge.c ---- */
/* Error text and code for an answer that did not come. */
int32_t ht_judge_failure(struct ht_sink *s, const struct ht_answer *a);
/* What a status says of the request as a whole: AW_OK, AW_E_*; the error text is set. *ret_after_ms: with
 * AW_E_THROTTLED. */
int32_t ht_judge_status(struct ht_sink *s, const struct ht_answer *a, uint32_t *ret_after_ms);
/* What Retry-After asks for, bounded; 0: nothing. */
uint32_t ht_retry_after_ms(const struct ht_sink *s, const struct ht_answer *a);
bool ht_is_json(const struct ht_answer *a);
bool ht_is_page(const struct ht_answer *a); /* a web page, so not a receiver's word */

/* ---- http_write.c ---- */
int32_t ht_write(void *sink, const struct aw_batch *batch, struct aw_result *result);

/* ---- http_probe.c ---- */
extern const struct aw_sink_probe ht_probe;

/* ---- http_text.c ---- */
/* Copies peer text as one line of printable UTF-8, cut to fit, with secrets as "***". */
void ht_clean(const struct ht_settings *set, const char *text, size_t len, char *out, size_t size);
/* What a reply says for people: a JSON member error, message, detail or title; the begin of plain text; else "". */
void ht_peer_says(const struct ht_sink *s, const struct ht_answer *a, char *out, size_t size);

#endif
