/* corpus.c - makes the corpus. SPDX-License-Identifier: Apache-2.0
 *
 * About 600 bytes an event, nested metadata that holds a password and an authorization header to be redacted, 64
 * tenants, 5 services, some values with escapes and non-ASCII text, times that rise. No eventId: making it is the
 * library's work.
 */
#include "config.h"

#include "corpus.h"

#include <stdbool.h>
#include <string.h>

#include "audit/audit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const actions[] = {
    "user.login",    "user.logout",   "user.create",     "user.update",    "user.delete",     "role.assign",
    "role.revoke",   "document.read", "document.update", "document.share", "invoice.approve", "invoice.export",
    "apikey.create", "apikey.rotate", "policy.update",   "session.revoke", "report.download"};
static const char *const target_types[] = {"user", "document", "invoice", "apikey", "role", "policy", "report"};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
static const char *const routes[] = {
    "/api/v1/users/:id", "/api/v1/documents/:id/share",     "/api/v2/invoices/:id/approve",
    "/api/v1/sessions",  "/api/v1/roles/:role/members/:id", "/internal/policies/:id"};
static const char *const agents[] = {"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
                                     "Mozilla/5.0 (Macintosh) Safari/605.1.15",
                                     "okhttp/4.12.0",
                                     "python-requests/2.32.3",
                                     "curl/8.9.1",
                                     "Mozilla/5.0 (Windows NT 10.0) Chrome/127.0"};
static const char *const services[] = {"identity", "billing", "documents", "gateway", "admin"};
/* %u is replaced by a ticket number. */
static const char *const reasons[] = {"scheduled rotation", "caf\xc3\xa9 owner request",
                                      "ticket \"OPS-%u\"",  "bulk import",
                                      "self service",       "expired\npassword"};

/* splitmix64 */
static uint64_t draw(struct corpus_gen *gen)
{
    uint64_t z = gen->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t bits(struct corpus_gen *gen, unsigned n)
{
    return (uint32_t)(draw(gen) >> (64u - n));
}

static uint32_t below(struct corpus_gen *gen, size_t n)
{
    return (uint32_t)(((draw(gen) >> 32) * n) >> 32);
}

void corpus_init(struct corpus_gen *gen, uint64_t seed)
{
    gen->random = seed;
    gen->ms = 1717740000000u; /* 2024-06-07T06:00:00Z */
}

static void make_time(struct corpus_gen *gen, char *out, size_t size)
{
    gen->ms += below(gen, 3);
    unsigned ms = (unsigned)(gen->ms % 1000);
    uint64_t s = gen->ms / 1000 - 1717740000u + 21600u; /* since 2024-06-07T00:00:00Z */
    unsigned day = 7u + (unsigned)(s / 86400 % 24), sec = (unsigned)(s % 86400);
    (void)snprintf(out, size, "2024-06-%02uT%02u:%02u:%02u.%03uZ", day, sec / 3600, sec / 60 % 60, sec % 60, ms);
}

void corpus_next(struct corpus_gen *gen, struct corpus_event *ret)
{
    ret->action = actions[below(gen, COUNT(actions))];
    uint32_t o = below(gen, 20);
    ret->outcome_code = o < 17 ? AW_OUTCOME_SUCCESS : o < 19 ? AW_OUTCOME_FAILURE : AW_OUTCOME_DENIED;
    ret->outcome = o < 17 ? "SUCCESS" : o < 19 ? "FAILURE" : "DENIED";
    (void)snprintf(ret->actor_id, sizeof ret->actor_id, "usr_%07x", bits(gen, 28));
    uint32_t ip = bits(gen, 24);
    (void)snprintf(ret->actor_ip, sizeof ret->actor_ip, "10.%u.%u.%u", ip >> 16, ip >> 8 & 255, ip & 255);
    ret->user_agent = agents[below(gen, COUNT(agents))];
    ret->target_type = target_types[below(gen, COUNT(target_types))];
    (void)snprintf(ret->target_id, sizeof ret->target_id, "obj_%08x", bits(gen, 32));
    make_time(gen, ret->occurred_at, sizeof ret->occurred_at);
    (void)snprintf(ret->request_id, sizeof ret->request_id, "req_%02x%08x", bits(gen, 8), bits(gen, 32));
    (void)snprintf(ret->trace_id, sizeof ret->trace_id, "%016llx%016llx", (unsigned long long)draw(gen),
                   (unsigned long long)draw(gen));
    (void)snprintf(ret->tenant, sizeof ret->tenant, "tnt_%03u", below(gen, CORPUS_TENANTS));
    ret->service = services[below(gen, COUNT(services))];
    uint32_t which = below(gen, COUNT(reasons)), ticket = bits(gen, 16);
    if (which == 2)
        (void)snprintf(ret->reason, sizeof ret->reason, "ticket \"OPS-%u\"", ticket);
    else
        (void)snprintf(ret->reason, sizeof ret->reason, "%s", reasons[which]);
    ret->attempt = (int)bits(gen, 3);
    ret->duration_ms = (double)below(gen, 250000) / 1000.0;
    ret->method = methods[below(gen, COUNT(methods))];
    ret->route = routes[below(gen, COUNT(routes))];
    (void)snprintf(ret->password, sizeof ret->password, "hunter2-%06x", bits(gen, 24));
    (void)snprintf(ret->authorization, sizeof ret->authorization, "Bearer %04x%08x", bits(gen, 16), bits(gen, 32));
}

/* Only what the reasons need: quotes and newlines. */
static void escape(const char *in, char *out, size_t size)
{
    size_t n = 0;
    for (; *in && n + 3 < size; in++) {
        if (*in == '"' || *in == '\n') {
            out[n++] = '\\';
            out[n++] = *in == '"' ? '"' : 'n';
        } else {
            out[n++] = *in;
        }
    }
    out[n] = '\0';
}

size_t corpus_format(const struct corpus_event *e, char out[CORPUS_LINE_MAX])
{
    char reason[64];
    escape(e->reason, reason, sizeof reason);
    int n = snprintf(out, CORPUS_LINE_MAX,
                     "{\"action\":\"%s\",\"outcome\":\"%s\",\"actor\":{\"type\":\"user\",\"id\":\"%s\",\"ip\":\"%s\","
                     "\"userAgent\":\"%s\"},"
                     "\"target\":{\"type\":\"%s\",\"id\":\"%s\"},"
                     "\"context\":{\"occurredAt\":\"%s\",\"requestId\":\"%s\",\"traceId\":\"%s\",\"tenantId\":\"%s\","
                     "\"sourceService\":\"%s\"},"
                     "\"metadata\":{\"reason\":\"%s\",\"attempt\":%d,\"durationMs\":%.3f,\"http\":{\"method\":\"%s\","
                     "\"route\":\"%s\"},"
                     "\"request\":{\"password\":\"%s\",\"headers\":{\"authorization\":\"%s\"}}}}\n",
                     e->action, e->outcome, e->actor_id, e->actor_ip, e->user_agent, e->target_type, e->target_id,
                     e->occurred_at, e->request_id, e->trace_id, e->tenant, e->service, reason, e->attempt,
                     e->duration_ms, e->method, e->route, e->password, e->authorization);
    return n < 0 ? 0 : (size_t)n;
}

int corpus_write(FILE *out, size_t count, uint64_t seed)
{
    struct corpus_gen gen;
    struct corpus_event event;
    char line[CORPUS_LINE_MAX];
    corpus_init(&gen, seed);
    for (size_t i = 0; i < count; i++) {
        corpus_next(&gen, &event);
        size_t n = corpus_format(&event, line);
        if (fwrite(line, 1, n, out) != n)
            return -1;
    }
    return fflush(out);
}
