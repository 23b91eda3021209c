/* gen_events.c - writes realistic audit events as JSONL, always the same for the same arguments.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   gen_events [-n EVENTS] [-s SEED] [-k SECRETS]
 *
 * Events go to standard output, about 600 bytes each: 64 tenants, 5 services, nested metadata. Every event holds a
 * password and an authorization header; some hold an access token, a card number in a sentence, or a cloud key. With
 * -k, each of these secrets is written to the file SECRETS, one a line, so that a trail can be searched for them.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const actions[] = {
    "user.login",    "user.logout",   "user.create",     "user.update",    "user.delete",    "role.assign",
    "role.revoke",   "document.read", "document.update", "document.share", "invoice.export", "invoice.approve",
    "apikey.create", "apikey.rotate", "policy.update",   "session.revoke", "report.download"};
static const char *const targets[] = {"user", "document", "invoice", "apikey", "role", "policy", "report"};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
static const char *const routes[] = {"/api/v1/users/:id", "/api/v1/documents/:id/share", "/api/v2/invoices/:id/approve",
                                     "/api/v1/sessions",  "/api/v1/roles/:role/members", "/internal/policies/:id"};
static const char *const agents[] = {"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
                                     "Mozilla/5.0 (Macintosh) Safari/605.1.15", "okhttp/4.12.0",
                                     "python-requests/2.32.3", "curl/8.9.1"};
static const char *const services[] = {"identity", "billing", "documents", "gateway", "admin"};
static const char *const reasons[] = {
    "scheduled rotation", "caf\xc3\xa9 owner request", "ticket \\\"OPS-4711\\\"", "bulk import",
    "self service",       "expired\\npassword"};

#define PICK(list) (list[below(sizeof(list) / sizeof(list)[0])])

static uint64_t state;
static FILE *secrets;

/* splitmix64: small, and the same everywhere. */
static uint64_t bits(void)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return (size_t)(bits() % n);
}

static uint64_t wide(unsigned width)
{
    return bits() >> (64 - width);
}

static void secret(const char *value)
{
    if (secrets)
        fprintf(secrets, "%s\n", value);
}

/* 16 digits that pass the Luhn test, as card numbers do. */
static void card_number(char out[17])
{
    int sum = 0;
    snprintf(out, 17, "4%014" PRIu64, bits() % UINT64_C(100000000000000));
    for (int i = 0; i < 15; i++) {
        int digit = out[i] - '0';
        if (i % 2 == 0) {
            digit *= 2;
            if (digit > 9)
                digit -= 9;
        }
        sum += digit;
    }
    out[15] = (char)('0' + (10 - sum % 10) % 10);
    out[16] = '\0';
}

/* What only some events carry: a token under a telling name, a card number in free text, a cloud key in free text. */
static void extra_members(char *out, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    char value[64];
    out[0] = '\0';
    switch (below(10)) {
    case 0:
        snprintf(value, sizeof value, "tok-%016" PRIx64, bits());
        snprintf(out, size, ",\"oauth\":{\"accessToken\":\"%s\",\"expires_in\":3600}", value);
        break;
    case 1:
        card_number(value);
        snprintf(out, size, ",\"note\":\"customer paid with %s by phone\"", value);
        break;
    case 2:
        memcpy(value, "AKIA", 4);
        for (int i = 4; i < 20; i++)
            value[i] = alphabet[below(32)];
        value[20] = '\0';
        snprintf(out, size, ",\"note\":\"rotated key %s today\"", value);
        break;
    default:
        return;
    }
    secret(value);
}

/* Draws everything in a fixed order first: the order in which a call's arguments are evaluated is the compiler's
 * choice. */
static int write_event(uint64_t ms)
{
    char password[32], bearer[32], extra[160], head[256], where[320], when[32];
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    const char *outcome = "SUCCESS";
    const size_t luck = below(20);
    if (luck == 0)
        outcome = "DENIED";
    else if (luck < 3)
        outcome = "FAILURE";

    const char *action = PICK(actions), *agent = PICK(agents), *target = PICK(targets);
    const size_t actor = below(5000);
    const uint64_t address = wide(24), object = wide(32);
    snprintf(head, sizeof head,
             "\"actor\":{\"type\":\"user\",\"id\":\"usr_%05zx\",\"ip\":\"10.%u.%u.%u\",\"userAgent\":\"%s\"},"
             "\"target\":{\"type\":\"%s\",\"id\":\"obj_%08" PRIx64 "\"}",
             actor, (unsigned)(address >> 16), (unsigned)(address >> 8 & 255), (unsigned)(address & 255), agent, target,
             object);

    const char *service = PICK(services);
    const uint64_t request = wide(40), trace_high = bits(), trace_low = bits();
    const size_t tenant = below(64);
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(where, sizeof where,
             "\"context\":{\"occurredAt\":\"%s.%03" PRIu64 "Z\",\"requestId\":\"req_%010" PRIx64
             "\",\"traceId\":\"%016" PRIx64 "%016" PRIx64 "\",\"tenantId\":\"tnt_%03zu\",\"sourceService\":\"%s\"}",
             when, ms % 1000, request, trace_high, trace_low, tenant, service);

    const char *reason = PICK(reasons), *method = PICK(methods), *route = PICK(routes);
    const size_t attempt = below(8), whole = below(250), tenth = 1 + below(9);
    snprintf(password, sizeof password, "hunter2-%06" PRIx64, wide(24));
    snprintf(bearer, sizeof bearer, "tkn%012" PRIx64, wide(48));
    secret(password);
    secret(bearer);
    extra_members(extra, sizeof extra);
    return printf(
        "{\"action\":\"%s\",\"outcome\":\"%s\",%s,%s,\"metadata\":{\"reason\":\"%s\",\"attempt\":%zu,\"durationMs\":%"
        "zu.%zu,"
        "\"http\":{\"method\":\"%s\",\"route\":\"%s\"},\"request\":{\"password\":\"%s\",\"headers\":{\"authorization\":"
        "\"Bearer %s\"}}%s}}\n",
        action, outcome, head, where, reason, attempt, whole, tenth, method, route, password, bearer, extra);
}

static int usage(void)
{
    fputs("usage: gen_events [-n EVENTS] [-s SEED] [-k SECRETS]\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    unsigned long long count = 100000;
    uint64_t ms = UINT64_C(1717740000000); /* 2024-06-07T06:00:00Z */
    char *end = NULL;
    int option;
    state = 20240607;
    while ((option = getopt(argc, argv, "n:s:k:")) != -1) {
        if (option == 'k') {
            secrets = fopen(optarg, "w");
            if (!secrets) {
                perror(optarg);
                return 3;
            }
            continue;
        }
        if (option != 'n' && option != 's')
            return usage();
        const unsigned long long number = strtoull(optarg, &end, 10);
        if (*optarg < '0' || *optarg > '9' || *end)
            return usage();
        if (option == 'n')
            count = number;
        else
            state = number;
    }
    if (optind != argc)
        return usage();
    for (unsigned long long i = 0; i < count; i++) {
        ms += below(300);
        if (write_event(ms) < 0)
            break;
    }
    const int bad_secrets = secrets && (ferror(secrets) | fclose(secrets));
    if (fflush(stdout) != 0 || ferror(stdout) || bad_secrets) {
        perror("gen_events");
        return 3;
    }
    return 0;
}
