/* nats_connect.c - the connection, and the stream behind it. SPDX-License-Identifier: Apache-2.0
 *
 * The library does not reconnect by itself: what it had buffered would go out later, when the host has long been told
 * that nothing is known of it. A lost connection ends; the next one begins with an empty buffer and looks at the stream
 * again.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nats_sink.h"

#define PING_MS 10000
#define PINGS_OUT 2

int32_t np_set_health(struct nats_sink *s, int32_t code, const char *detail)
{
    uint64_t now = s->host->now_ns();
    int32_t state = code == AW_OK ? AW_HEALTH_OK : code == AW_E_TIMEOUT ? AW_HEALTH_DEGRADED : AW_HEALTH_DOWN;
    pthread_mutex_lock(&s->lock);
    if (state != s->health.state)
        s->health.since_ns = now;
    s->health.state = state;
    if (code == AW_OK)
        s->health.last_success_ns = now;
    else
        s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%.127s", detail);
    pthread_mutex_unlock(&s->lock);
    return code;
}

static int32_t code_of_status(natsStatus status, const char *text)
{
    switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
    case NATS_ADDRESS_MISSING:
    case NATS_INVALID_ARG:
    case NATS_NO_SERVER_SUPPORT:
        return AW_E_CONFIG;
    case NATS_SSL_ERROR: /* a handshake that was broken off passes by itself, a certificate that is refused does not */
        return strstr(text, "ertificate") != NULL || strstr(text, "ismatch") != NULL ? AW_E_CONFIG : AW_E_UNAVAILABLE;
    case NATS_NO_MEMORY:
        return AW_E_NOMEM;
    case NATS_TIMEOUT:
        return AW_E_TIMEOUT;
    default:
        return AW_E_UNAVAILABLE;
    }
}

int32_t np_fail(struct nats_sink *s, natsStatus status, const char *what)
{
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last), *name = natsStatus_GetText(status);
    char clean[NP_TEXT];
    size_t n = 0;
    if (text == NULL || last != status)
        text = "";
    const char *behind = text[0] == '(' ? strstr(text, "): ") : NULL; /* a place in the library's source */
    text = behind != NULL ? behind + 3 : text;
    if (strcmp(text, name) == 0)
        text = "";
    for (; n < sizeof clean - 1 && text[n] != '\0'; n++)
        clean[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    clean[n] = '\0';
    return aw_host_error(s->host, code_of_status(status, clean), "%s: %s: %s%s%s", s->servers[0], what, name,
                         clean[0] != '\0' ? ": " : "", clean);
}

/* ---- connecting ---- */

static natsStatus sign(char **ret_error, unsigned char **ret_signature, int *ret_len, const char *nonce, void *sink)
{
    struct nats_sink *s = sink;
    (void)ret_error;
    return nats_Sign(s->nkey_seed, nonce, ret_signature, ret_len);
}

static natsStatus set_credentials(struct nats_sink *s, natsOptions *o)
{
    if (s->user[0] != '\0')
        return natsOptions_SetUserInfo(o, s->user, s->password);
    if (s->token[0] != '\0')
        return natsOptions_SetToken(o, s->token);
    if (s->nkey[0] != '\0')
        return natsOptions_SetNKey(o, s->nkey, sign, s);
    if (s->credentials[0] != '\0')
        return natsOptions_SetUserCredentialsFromFiles(o, s->credentials, NULL);
    return NATS_OK;
}

static natsStatus set_tls(struct nats_sink *s, natsOptions *o)
{
    natsStatus status = natsOptions_SetSecure(o, s->tls);
    if (status == NATS_OK && s->tls_ca[0] != '\0')
        status = natsOptions_LoadCATrustedCertificates(o, s->tls_ca);
    if (status == NATS_OK && s->tls_cert[0] != '\0')
        status = natsOptions_LoadCertificatesChain(o, s->tls_cert, s->tls_key);
    if (status == NATS_OK && s->tls_hostname[0] != '\0')
        status = natsOptions_SetExpectedHostname(o, s->tls_hostname);
    return status;
}

static natsStatus set_options(struct nats_sink *s, natsOptions *o, uint64_t timeout_ms)
{
    char name[128];
    snprintf(name, sizeof name, "auditwell %s", s->host->instance);
    natsStatus status = natsOptions_SetServers(o, (const char **)(uintptr_t)s->servers, s->server_count);
    if (status == NATS_OK)
        status = natsOptions_SetName(o, name);
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(o, (int64_t)timeout_ms);
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(o, false);
    if (status == NATS_OK)
        status = natsOptions_SetPingInterval(o, PING_MS);
    if (status == NATS_OK)
        status = natsOptions_SetMaxPingsOut(o, PINGS_OUT);
    if (status == NATS_OK)
        status = natsOptions_SetWriteDeadline(o, (int64_t)(s->ack_timeout_ns / NP_MS));
    if (status == NATS_OK)
        status = natsOptions_SetClosedCB(o, np_on_closed, s->watch);
    if (status == NATS_OK)
        status = natsOptions_SetErrorHandler(o, np_on_error, s->watch);
    if (status == NATS_OK)
        status = natsOptions_SetCustomInboxPrefix(o, s->inbox_prefix);
    if (status == NATS_OK)
        status = set_credentials(s, o);
    return status == NATS_OK ? set_tls(s, o) : status;
}

/* A file that is named is not there, or is not what it should be: the library's own text says which. */
static int32_t fail_options(struct nats_sink *s, natsStatus status)
{
    int32_t r = np_fail(s, status, "settings");
    return r == AW_E_NOMEM ? r : AW_E_CONFIG;
}

/* The library reads it only when it connects, and then does not say whether the server or the file is at fault. */
static int32_t check_credentials_file(struct nats_sink *s)
{
    if (s->credentials[0] == '\0' || access(s->credentials, R_OK) == 0)
        return AW_OK;
    return aw_host_error(s->host, AW_E_CONFIG, "credentials: %s: %s", s->credentials, strerror(errno));
}

static int32_t open_connection(struct nats_sink *s, uint64_t until_ns)
{
    natsOptions *o = NULL;
    uint64_t now = s->host->mono_ns(), timeout_ns = s->connect_timeout_ns;
    const char *why = NULL;
    int32_t r = np_library_open(&why);
    if (r != AW_OK)
        return aw_host_error(s->host, r, "%s", why);
    r = check_credentials_file(s);
    if (r != AW_OK)
        return r;
    if (now >= until_ns)
        return aw_host_error(s->host, AW_E_TIMEOUT, "%s: the deadline passed", s->servers[0]);
    if (until_ns - now < timeout_ns * (uint64_t)s->server_count) /* it tries each server that long */
        timeout_ns = (until_ns - now) / (uint64_t)s->server_count;
    if (s->watch == NULL && (s->watch = np_watch_take()) == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    np_watch_begin(s->watch, NULL);
    natsStatus status = natsOptions_Create(&o);
    if (status == NATS_OK)
        status = set_options(s, o, timeout_ns / NP_MS + 1);
    if (status != NATS_OK)
        r = fail_options(s, status);
    if (r == AW_OK) {
        status = natsConnection_Connect(&s->nc, o);
        if (status != NATS_OK) {
            s->nc = NULL;
            r = np_fail(s, status, "cannot connect");
        }
    }
    natsOptions_Destroy(o);
    if (r == AW_OK)
        np_watch_begin(s->watch, s->nc);
    return r;
}

static int32_t subscribe(struct nats_sink *s)
{
    natsInbox *inbox = NULL;
    char subject[300];
    natsStatus status = natsInbox_Create(&inbox); /* "_INBOX." and something that nobody else has */
    if (status != NATS_OK)
        return np_fail(s, status, "inbox");
    free(s->inbox);
    const char *dot = strrchr(inbox, '.');
    bool ok = asprintf(&s->inbox, "%s.%s.", s->inbox_prefix, dot != NULL ? dot + 1 : inbox) >= 0;
    natsInbox_Destroy(inbox);
    if (!ok) {
        s->inbox = NULL;
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    }
    snprintf(subject, sizeof subject, "%s*", s->inbox);
    status = natsConnection_SubscribeSync(&s->sub, s->nc, subject);
    if (status == NATS_OK)
        status = natsSubscription_SetPendingLimits(s->sub, -1, -1); /* bounded by what we have in flight */
    return status == NATS_OK ? AW_OK : np_fail(s, status, "cannot subscribe");
}

/* ---- the stream ---- */

static int32_t check_subjects(struct nats_sink *s, const jsStreamConfig *c, bool warn)
{
    enum np_cover best = NP_COVERS_NONE;
    for (int i = 0; i < c->SubjectsLen; i++) {
        enum np_cover one = np_template_covered(&s->subject, c->Subjects[i]);
        best = one > best ? one : best;
    }
    if (best == NP_COVERS_NONE)
        return aw_host_error(s->host, AW_E_CONFIG, "stream %s takes %s%s, none of which is a subject like %s",
                             s->stream, c->SubjectsLen > 0 ? c->Subjects[0] : "no subject",
                             c->SubjectsLen > 1 ? " and others" : "", s->subject.text);
    if (best == NP_COVERS_SOME && warn)
        aw_host_log(s->host, AW_LOG_WARNING, "stream %s may not take every subject like %s", s->stream,
                    s->subject.text);
    return AW_OK;
}

/* Streams that would lose events, or never confirm them. */
static int32_t check_kind(struct nats_sink *s, const jsStreamConfig *c)
{
    const char *why = c->NoAck                            ? "confirms nothing (no_ack)"
                      : c->Sealed                         ? "is sealed"
                      : c->Mirror != NULL                 ? "is a mirror of another one"
                      : c->Retention == js_InterestPolicy ? "drops what no consumer waits for (retention = interest)"
                      : s->file_storage && c->Storage != js_FileStorage
                          ? "is kept in memory (set file_storage = false if you want that)"
                          : NULL;
    if (why != NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "stream %s %s", s->stream, why);
    if (c->Replicas < s->replicas)
        return aw_host_error(s->host, AW_E_CONFIG, "stream %s has %lld replicas, the settings ask for %lld", s->stream,
                             (long long)c->Replicas, (long long)s->replicas);
    return AW_OK;
}

static void warn_about(struct nats_sink *s, const jsStreamInfo *info)
{
    const jsStreamConfig *c = info->Config;
    const struct aw_host *h = s->host;
    bool limited = c->MaxMsgs > 0 || c->MaxBytes > 0 || c->MaxMsgsPerSubject > 0;
    if ((uint64_t)c->Duplicates < s->duplicate_window_ns)
        aw_host_log(
            h, AW_LOG_WARNING,
            "stream %s: duplicate_window is %.0f s, less than %.0f s: an event that is sent again after that is "
            "stored twice",
            s->stream, (double)c->Duplicates / 1e9, (double)s->duplicate_window_ns / 1e9);
    if (limited && c->Discard == js_DiscardOld)
        aw_host_log(h, AW_LOG_WARNING,
                    "stream %s: has a size limit, and discards its oldest events when it is full: set discard = new",
                    s->stream);
    if (c->Retention == js_WorkQueuePolicy)
        aw_host_log(h, AW_LOG_WARNING,
                    "stream %s: events are removed when a consumer has taken them (retention = workqueue)", s->stream);
    if (c->Replicas < 2)
        aw_host_log(h, AW_LOG_WARNING,
                    "stream %s: one replica: what it has confirmed may be lost with its server's power", s->stream);
}

static int32_t fail_lookup(struct nats_sink *s, natsStatus status, jsErrCode err)
{
    struct np_ack ack = {.err_code = (int)err};
    char told[NP_TEXT];
    if (err == JSStreamNotFoundErr || (status == NATS_NOT_FOUND && err == 0))
        return aw_host_error(s->host, AW_E_CONFIG, "%s: there is no stream %s", s->servers[0], s->stream);
    if (np_watch_not_permitted(s->watch, told))
        return aw_host_error(s->host, AW_E_CONFIG, "%s: stream %s: %.200s", s->servers[0], s->stream, told);
    if (status == NATS_NO_RESPONDERS)
        return aw_host_error(s->host, AW_E_CONFIG, "%s: JetStream is not enabled there, or not for this account%s",
                             s->servers[0], s->domain[0] != '\0' ? ", or there is no such domain" : "");
    int32_t r = np_fail(s, status, "cannot look at the stream");
    return err != 0 && np_code_of(&ack) == AW_E_CONFIG ? AW_E_CONFIG : r;
}

int32_t np_look_at_stream(struct nats_sink *s, uint64_t until_ns, bool warn)
{
    jsOptions o;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    uint64_t now = s->host->mono_ns(), wait_ns = until_ns > now ? until_ns - now : 1;
    natsStatus status = jsOptions_Init(&o);
    o.Domain = s->domain[0] != '\0' ? s->domain : NULL;
    o.Wait = (int64_t)((wait_ns < s->ack_timeout_ns ? wait_ns : s->ack_timeout_ns) / NP_MS) + 1;
    if (status == NATS_OK)
        status = natsConnection_JetStream(&js, s->nc, &o);
    if (status == NATS_OK)
        status = js_GetStreamInfo(&info, js, s->stream, NULL, &err);
    int32_t r = status == NATS_OK ? check_kind(s, info->Config) : fail_lookup(s, status, err);
    if (r == AW_OK)
        r = check_subjects(s, info->Config, warn);
    if (r == AW_OK) {
        s->max_message = info->Config->MaxMsgSize;
        s->memory = info->Config->Storage != js_FileStorage;
        if (warn)
            warn_about(s, info);
    }
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    return r;
}

int32_t np_connect(struct nats_sink *s, uint64_t until_ns, bool probe)
{
    int32_t r = open_connection(s, until_ns);
    if (r == AW_OK) {
        s->max_payload = natsConnection_GetMaxPayload(s->nc);
        if (natsConnection_HasHeaderSupport(s->nc) != NATS_OK)
            r = aw_host_error(s->host, AW_E_CONFIG, "%s: the server is too old, it knows no headers", s->servers[0]);
    }
    if (r == AW_OK)
        r = np_look_at_stream(s, until_ns, probe || !s->warned);
    s->warned = s->warned || r == AW_OK;
    if (r == AW_OK && !probe)
        r = subscribe(s);
    if (r != AW_OK)
        np_disconnect(s);
    else if (!probe)
        s->host->metric_add(s->host, s->metric_connects, 1);
    return r;
}

void np_disconnect(struct nats_sink *s)
{
    if (s->watch != NULL)
        np_watch_begin(s->watch, NULL);
    natsSubscription_Destroy(s->sub);
    s->sub = NULL;
    if (s->nc != NULL) {
        natsConnection_Close(s->nc);
        natsConnection_Destroy(s->nc);
    }
    s->nc = NULL;
}
