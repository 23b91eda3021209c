/* mongo_client.c - connecting, the indexes, and what errors mean. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mongo_sink.h"

/* ---- errors ---- */

enum mg_meaning mg_meaning_of(int32_t code)
{
    switch (code) {
    case 11000: /* DuplicateKey, and its older number */
    case 11001:
        return MG_DUPLICATE;
    case 2:     /* BadValue */
    case 14:    /* TypeMismatch */
    case 15:    /* Overflow */
    case 22:    /* InvalidBSON */
    case 121:   /* DocumentValidationFailure */
    case 10334: /* BSONObjectTooLarge */
    case 17280: /* KeyTooLong */
    case 17419:
    case 17420:
        return MG_REFUSED;
    case 11:   /* UserNotFound */
    case 13:   /* Unauthorized */
    case 18:   /* AuthenticationFailed */
    case 26:   /* NamespaceNotFound */
    case 33:   /* TooManyLogicalSessions needs the operator, too */
    case 73:   /* InvalidNamespace */
    case 166:  /* CommandNotSupportedOnView */
    case 8000: /* AtlasError: authentication */
        return MG_WRONG;
    case 6:     /* HostUnreachable */
    case 7:     /* HostNotFound */
    case 89:    /* NetworkTimeout */
    case 91:    /* ShutdownInProgress */
    case 189:   /* PrimarySteppedDown */
    case 9001:  /* SocketException */
    case 10107: /* NotWritablePrimary */
    case 11600: /* InterruptedAtShutdown */
    case 11602: /* InterruptedDueToReplStateChange */
    case 13435: /* NotPrimaryNoSecondaryOk */
    case 13436: /* NotPrimaryOrSecondary */
    case 14031: /* OutOfDiskSpace */
        return MG_DOWN;
    default:
        return MG_LATER;
    }
}

int32_t mg_code_of(const bson_error_t *e)
{
    if (e->domain == MONGOC_ERROR_CLIENT && e->code == MONGOC_ERROR_CLIENT_AUTHENTICATE)
        return AW_E_CONFIG;
    if (e->domain == MONGOC_ERROR_SERVER_SELECTION || e->domain == MONGOC_ERROR_STREAM) {
        /* What went wrong with each server is only told in the text. */
        if (strstr(e->message, "certificate") != NULL || strstr(e->message, "uthentication failed") != NULL)
            return AW_E_CONFIG;
        return AW_E_UNAVAILABLE; /* "socket error or timeout" is all that libmongoc tells */
    }
    enum mg_meaning m = mg_meaning_of((int32_t)e->code);
    return m == MG_WRONG ? AW_E_CONFIG : m == MG_DOWN ? AW_E_UNAVAILABLE : AW_E_RETRY;
}

static size_t secret_at(const struct mongo_sink *s, const char *text)
{
    for (size_t i = 0; i < sizeof s->secrets / sizeof s->secrets[0]; i++) {
        size_t n = s->secrets[i] != NULL ? strlen(s->secrets[i]) : 0;
        if (n > 0 && strncmp(text, s->secrets[i], n) == 0)
            return n;
    }
    return 0;
}

const char *mg_clean(const struct mongo_sink *s, const char *text, char *out, size_t size)
{
    size_t n = 0;
    while (*text != '\0' && n + 4 < size) {
        size_t secret = secret_at(s, text);
        if (secret > 0) {
            memcpy(out + n, "***", 3);
            n += 3;
            text += secret;
            continue;
        }
        unsigned char c = (unsigned char)*text++;
        out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    out[n] = '\0';
    return out;
}

void mg_set_health(struct mongo_sink *s, int32_t code, const char *detail)
{
    int32_t state = code == AW_OK                                     ? AW_HEALTH_OK
                    : code == AW_E_UNAVAILABLE || code == AW_E_CONFIG ? AW_HEALTH_DOWN
                                                                      : AW_HEALTH_DEGRADED;
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    if (s->health.state != state)
        s->health.since_ns = now;
    s->health.state = state;
    if (code == AW_OK)
        s->health.last_success_ns = now;
    else
        s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%s", detail);
    pthread_mutex_unlock(&s->lock);
}

int32_t mg_fail(struct mongo_sink *s, int32_t code, const char *fmt, ...)
{
    char text[2 * MG_TEXT], clean[2 * MG_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    mg_clean(s, text, clean, sizeof clean);
    mg_set_health(s, code, clean);
    return aw_host_error(s->host, code, "%s", clean);
}

/* ---- connecting ---- */

static void be_quiet(void)
{
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL); /* else libmongoc prints to standard error */
}

int32_t mg_connect(struct mongo_sink *s, uint64_t deadline_ns)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint64_t now = s->host->mono_ns(), each = s->timeout_ns;
    if (deadline_ns != 0) /* a call waits for a server and for a reply */
        each = now >= deadline_ns ? 0 : (deadline_ns - now) / 2 < each ? (deadline_ns - now) / 2 : each;
    int32_t ms = (int32_t)(each / 1000000u);
    if (ms < 1)
        return mg_fail(s, AW_E_TIMEOUT, "%s: the deadline passed", s->hosts);
    if (s->client != NULL && s->client_timeout_ms <= ms)
        return AW_OK;
    mg_disconnect(s);
    pthread_once(&once, be_quiet);
    mongoc_uri_t *uri = mongoc_uri_copy(s->uri);
    bson_error_t e = {.message = "out of memory"};
    if (uri != NULL && mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, ms) &&
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS, ms) &&
        mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, ms))
        s->client = mongoc_client_new_from_uri_with_error(uri, &e);
    if (uri != NULL)
        mongoc_uri_destroy(uri);
    if (s->client == NULL)
        return mg_fail(s, AW_E_CONFIG, "%s: %s", s->hosts, e.message);
    if (s->use_tls)
        mongoc_client_set_ssl_opts(s->client, &s->tls);
    (void)mongoc_client_set_error_api(s->client, MONGOC_ERROR_API_VERSION_2);
    s->coll = mongoc_client_get_collection(s->client, s->database, s->collection);
    s->client_timeout_ms = ms;
    s->host->metric_add(s->host, s->metric_connects, 1);
    return AW_OK;
}

void mg_disconnect(struct mongo_sink *s)
{
    if (s->coll != NULL)
        mongoc_collection_destroy(s->coll);
    if (s->client != NULL)
        mongoc_client_destroy(s->client);
    s->coll = NULL;
    s->client = NULL;
}

/* ---- the indexes ---- */

static const struct {
    const char *name;
    const char *keys[2];
    bool unique;
} indexes[] = {{"auditwell_event", {"eventId", NULL}, true},
               {"auditwell_tenant_time", {"tenantId", "occurredAt"}, false}};
#define INDEXES (sizeof indexes / sizeof indexes[0])

/* Is this index, as the server lists it, good for indexes[at]? */
static bool serves(const bson_t *doc, size_t at)
{
    bson_iter_t i, keys;
    size_t n = 0, want = indexes[at].keys[1] != NULL ? 2 : 1;
    if (bson_iter_init_find(&i, doc, "partialFilterExpression") || bson_iter_init_find(&i, doc, "sparse"))
        return false;
    if (indexes[at].unique && !(bson_iter_init_find(&i, doc, "unique") && bson_iter_as_bool(&i)))
        return false;
    if (!bson_iter_init_find(&i, doc, "key") || !BSON_ITER_HOLDS_DOCUMENT(&i) || !bson_iter_recurse(&i, &keys))
        return false;
    for (; bson_iter_next(&keys); n++)
        if (n >= want || strcmp(bson_iter_key(&keys), indexes[at].keys[n]) != 0)
            return false;
    return n == want;
}

/* Which of the indexes are there. */
static int32_t look(struct mongo_sink *s, bool there[INDEXES])
{
    const bson_t *doc;
    bson_error_t e;
    mongoc_cursor_t *cursor = mongoc_collection_find_indexes_with_opts(s->coll, NULL);
    for (int n = 0; n < 256 && mongoc_cursor_next(cursor, &doc); n++)
        for (size_t k = 0; k < INDEXES; k++)
            there[k] = there[k] || serves(doc, k);
    bool failed = mongoc_cursor_error(cursor, &e);
    mongoc_cursor_destroy(cursor);
    if (!failed || e.code == 26) /* no such collection: it has no index either */
        return AW_OK;
    return mg_fail(s, mg_code_of(&e), "%s: %s.%s: %s", s->hosts, s->database, s->collection, e.message);
}

int32_t mg_check(struct mongo_sink *s)
{
    bool there[INDEXES] = {false};
    int32_t r = look(s, there);
    if (r == AW_OK && !there[0])
        return mg_fail(s, AW_E_CONFIG,
                       "%s: %s.%s has no unique index on eventId, without which events would be stored twice: run "
                       "`auditwell migrate`",
                       s->hosts, s->database, s->collection);
    return r;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct mongo_sink *s = sink;
    int32_t r = mg_connect(s, deadline_ns);
    if (r == AW_OK)
        r = mg_check(s);
    mg_disconnect(s);
    return r;
}

static int32_t create_index(struct mongo_sink *s, size_t at)
{
    bson_error_t e;
    bson_t keys = BSON_INITIALIZER, reply;
    for (size_t k = 0; k < 2 && indexes[at].keys[k] != NULL; k++)
        BSON_APPEND_INT32(&keys, indexes[at].keys[k], 1);
    bson_t *command =
        BCON_NEW("createIndexes", BCON_UTF8(s->collection), "indexes", "[", "{", "key", BCON_DOCUMENT(&keys), "name",
                 BCON_UTF8(indexes[at].name), "unique", BCON_BOOL(indexes[at].unique), "}", "]", "writeConcern", "{",
                 "w", BCON_UTF8("majority"), "}");
    bool ok = mongoc_client_write_command_with_opts(s->client, s->database, command, NULL, &reply, &e);
    bson_destroy(&reply);
    bson_destroy(command);
    bson_destroy(&keys);
    return ok ? AW_OK
              : mg_fail(s, mg_code_of(&e), "%s: %s.%s: index %s: %s", s->hosts, s->database, s->collection,
                        indexes[at].name, e.message);
}

static int32_t migrate(void *sink, uint32_t flags, void (*step)(void *arg, const char *text), void *arg)
{
    struct mongo_sink *s = sink;
    bool there[INDEXES] = {false};
    char text[512];
    int32_t r = mg_connect(s, 0);
    if (r == AW_OK)
        r = look(s, there);
    for (size_t k = 0; r == AW_OK && k < INDEXES; k++) {
        if (there[k])
            continue;
        snprintf(text, sizeof text, "%s.%s: create the %sindex %s on %s%s%s", s->database, s->collection,
                 indexes[k].unique ? "unique " : "", indexes[k].name, indexes[k].keys[0],
                 indexes[k].keys[1] != NULL ? ", " : "", indexes[k].keys[1] != NULL ? indexes[k].keys[1] : "");
        step(arg, text);
        if ((flags & AW_MIGRATE_DRY_RUN) == 0)
            r = create_index(s, k);
    }
    mg_disconnect(s);
    return r;
}

const struct aw_sink_probe mg_probe = {sizeof mg_probe, 0, probe};
const struct aw_sink_migrate mg_migrate = {sizeof mg_migrate, 0, migrate};
