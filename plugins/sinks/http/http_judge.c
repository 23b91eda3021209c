/* http_judge.c - what an answer, or none, means for the batch as a whole. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "http_sink.h"

/* ---- kinds of replies ---- */

bool ht_is_json(const struct ht_answer *a)
{
    size_t n = strcspn(a->content_type, "; \t");
    return (n == 16 && strncasecmp(a->content_type, "application/json", 16) == 0) ||
           (n > 5 && strncasecmp(a->content_type + n - 5, "+json", 5) == 0);
}

bool ht_is_page(const struct ht_answer *a)
{
    const char *p = a->text + strspn(a->text, " \t\r\n");
    return strncasecmp(p, "<!doctype html", 14) == 0 || strncasecmp(p, "<html", 5) == 0;
}

/* ---- no answer ---- */

struct meaning {
    CURLcode code;
    int32_t result;
    const char *remedy; /* "" = libcurl's words say enough */
};

static const struct meaning meanings[] = {
    {CURLE_OPERATION_TIMEDOUT, AW_E_TIMEOUT, ""},
    {CURLE_OUT_OF_MEMORY, AW_E_NOMEM, ", or a line of the reply's headers is longer than 100 KiB"},
    {CURLE_COULDNT_RESOLVE_HOST, AW_E_UNAVAILABLE, ""},
    {CURLE_COULDNT_RESOLVE_PROXY, AW_E_UNAVAILABLE, ""},
    {CURLE_COULDNT_CONNECT, AW_E_UNAVAILABLE, ""},
    {CURLE_PROXY, AW_E_UNAVAILABLE, ""},
    {CURLE_SSL_CONNECT_ERROR, AW_E_UNAVAILABLE, ""},
    {CURLE_SEND_ERROR, AW_E_RETRY, ""},
    {CURLE_RECV_ERROR, AW_E_RETRY, ""},
    {CURLE_GOT_NOTHING, AW_E_RETRY, ""},
    {CURLE_PARTIAL_FILE, AW_E_RETRY, ""},
    {CURLE_HTTP2, AW_E_RETRY, ""},
    {CURLE_HTTP2_STREAM, AW_E_RETRY, ""},
    {CURLE_WEIRD_SERVER_REPLY, AW_E_RETRY, ""},
    {CURLE_UNSUPPORTED_PROTOCOL, AW_E_RETRY, ": does url name an HTTP server?"},
    {CURLE_BAD_CONTENT_ENCODING, AW_E_RETRY, ""},
    {CURLE_WRITE_ERROR, AW_E_RETRY, ""},
    {CURLE_PEER_FAILED_VERIFICATION, AW_E_CONFIG, ""},
    {CURLE_SSL_CACERT_BADFILE, AW_E_CONFIG, ": ca_file must hold certificates in PEM form"},
    {CURLE_SSL_CERTPROBLEM, AW_E_CONFIG,
     ": client_cert and client_key must belong together, in PEM form, and key_password must fit"},
    {CURLE_SSL_CIPHER, AW_E_CONFIG, ""},
    {CURLE_SSL_ISSUER_ERROR, AW_E_CONFIG, ""},
    {CURLE_URL_MALFORMAT, AW_E_CONFIG, ""},
};

/* The receiver's alerts about us, as OpenSSL words them. They come with several codes of libcurl. */
static bool refuses_us(const char *words)
{
    static const char *const alerts[] = {"certificate required",    "bad certificate",      "unknown ca",
                                         "certificate expired",     "certificate revoked",  "certificate unknown",
                                         "unsupported certificate", "access denied",        "handshake failure",
                                         "protocol version",        "insufficient security"};
    if (strstr(words, "alert") == NULL)
        return false;
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (strstr(words, alerts[i]) != NULL)
            return true;
    return false;
}

static const char *certificate_remedy(const char *words)
{
    if (strstr(words, "has expired") != NULL || strstr(words, "not yet valid") != NULL)
        return ": the receiver needs a new certificate, or this host's clock is wrong";
    if (strstr(words, "match") != NULL)
        return ": the receiver's certificate is for another name; url must use a name that it has";
    return ": ca_file must name the authority that vouches for the receiver";
}

int32_t ht_judge_failure(struct ht_sink *s, const struct ht_answer *a)
{
    const char *shown = s->shown, *remedy = "";
    char words[CURL_ERROR_SIZE];
    int32_t code = AW_E_RETRY;
    const char *raw = a->error[0] != '\0' ? a->error : curl_easy_strerror(a->code);
    ht_clean(s->settings, raw, strlen(raw), words, sizeof words);
    if (a->out_of_memory)
        return aw_host_error(s->host, AW_E_NOMEM, "%s: out of memory", shown);
    if (a->too_large)
        return aw_host_error(s->host, AW_E_RETRY,
                             "%s: the reply is larger than max_reply, or its headers are larger than 64 KiB; it was "
                             "not believed",
                             shown);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].code == a->code) {
            code = meanings[i].result;
            remedy = meanings[i].remedy;
        }
    if (a->code == CURLE_PEER_FAILED_VERIFICATION)
        remedy = certificate_remedy(raw);
    if (strstr(raw, "wrong version number") != NULL)
        remedy = ": is that port one for TLS?";
    if (code != AW_E_CONFIG && refuses_us(raw)) {
        code = AW_E_CONFIG;
        remedy = ": the receiver refuses our side of TLS; see client_cert, client_key and tls_min";
    }
    return aw_host_error(s->host, code, "%s: %s%s", shown, words, remedy);
}

/* ---- statuses ---- */

uint32_t ht_retry_after_ms(const struct ht_sink *s, const struct ht_answer *a)
{
    const char *retry_after = a->retry_after;
    size_t n = strspn(retry_after, "0123456789");
    uint64_t most = s->settings->retry_after_max_ns / 1000000u, ms = 0;
    if (n > 0 && retry_after[n] == '\0') {
        for (size_t i = 0; i < n && ms < most; i++)
            ms = ms * 10 + (uint64_t)(retry_after[i] - '0') * 1000;
    } else if (retry_after[0] != '\0') {
        time_t at = curl_getdate(retry_after, NULL);
        uint64_t now_ms = s->host->now_ns() / 1000000u;
        if (at > 0 && (uint64_t)at * 1000 > now_ms)
            ms = (uint64_t)at * 1000 - now_ms;
    }
    ms = ms < most ? ms : most;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static int32_t judge_redirect(struct ht_sink *s, const struct ht_answer *a)
{
    bool for_good = a->status == 301 || a->status == 308;
    return aw_host_error(s->host, for_good ? AW_E_CONFIG : AW_E_UNAVAILABLE, "%s: status %ld is not followed: %s",
                         s->shown, a->status, a->error);
}

static int32_t class_of(long status)
{
    switch (status) {
    case 400:
    case 413:
    case 422:
        return AW_E_REJECTED;
    case 408: /* the receiver waited too long for us */
    case 409: /* decided by the caller for one event */
    case 421: /* another connection would do */
    case 423:
    case 424:
    case 425:
        return AW_E_RETRY;
    case 429:
        return AW_E_THROTTLED;
    default:
        return status >= 200 && status < 300 ? AW_OK : status >= 400 && status < 500 ? AW_E_CONFIG : AW_E_RETRY;
    }
}

static const char *remedy_of(long status)
{
    switch (status) {
    case 401:
        return ": the credentials are missing or wrong (bearer_token, username, password, secret_headers)";
    case 403:
        return ": the credentials do not suffice, or the receiver does not want us";
    case 404:
    case 410:
        return ": the path is wrong";
    case 405:
        return ": the path takes no POST";
    case 407:
        return ": see proxy_username and proxy_password";
    case 411:
    case 415:
        return ": see format and compression";
    case 413:
        return ": batch.events or batch.bytes of this sink is larger than the receiver takes";
    default:
        return "";
    }
}

int32_t ht_judge_status(struct ht_sink *s, const struct ht_answer *a, uint32_t *ret_after_ms)
{
    const struct ht_settings *set = s->settings;
    char says[HT_PEER_TEXT];
    int32_t code = class_of(a->status);
    *ret_after_ms = 0;
    if (a->moved)
        return judge_redirect(s, a);
    if (set->version == HT_VERSION_2 && !a->http2)
        return aw_host_error(s->host, AW_E_CONFIG,
                             "%s: the receiver does not speak HTTP/2: say http_version = \"auto\"", s->shown);
    if (code == AW_OK && ht_is_page(a))
        return aw_host_error(s->host, AW_E_UNAVAILABLE,
                             "%s: status %ld with a web page, which no receiver of events sends: is url right, or is a "
                             "login page in between?",
                             s->shown, a->status);
    if (code == AW_OK)
        return AW_OK;
    ht_peer_says(s, a, says, sizeof says);
    /* A page comes from a server in front, which knows nothing of events: they are not to blame. */
    if (a->status == 400 && ht_is_page(a))
        return aw_host_error(
            s->host, AW_E_CONFIG,
            "%s: status 400 with a web page: a server in front of the receiver refuses the request; does "
            "it want a client certificate (client_cert), or TLS?",
            s->shown);
    if (code == AW_E_RETRY || code == AW_E_THROTTLED)
        *ret_after_ms = ht_retry_after_ms(s, a);
    if (*ret_after_ms > 0)
        code = AW_E_THROTTLED;
    return aw_host_error(s->host, code, "%s: status %ld%s%s%s", s->shown, a->status, says[0] != '\0' ? ": " : "", says,
                         remedy_of(a->status));
}
