/* events.c - made-up events: sealed as auditwell seals them, and what a plugin sees of them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each is canonical JSON (RFC 8785) with a real hash chain, so that a store that was filled by the kit verifies.
 */
#include "config.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kit.h"

#define FIELDS 64
#define NUMBERS 7
#define SCOPES 2
static uint64_t last_seq;
static char last_hash[SCOPES][65];
static unsigned made;

/* What is behind a struct aw_event of the kit. */
#define ALIVE 0x4556454eu
struct aw_event {
    uint32_t alive;
    struct aw_str fields[FIELDS]; /* ptr NULL: absent */
    uint64_t numbers[NUMBERS];
    struct aw_str json;
};

/* ---- making one ---- */

struct parts {
    char id[160], at[40], actor[64], text[80], scope[80], tenant[64];
    uint64_t ns;
};

static void escape(FILE *f, const char *s, size_t n)
{
    (void)putc('"', f);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            (void)fprintf(f, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\b' || c == '\f' || c == '\r')
            (void)fprintf(f, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : c == '\b' ? 'b' : c == '\f' ? 'f' : 'r');
        else if (c < 0x20)
            (void)fprintf(f, "\\u%04x", c);
        else
            (void)putc(c, f);
    }
    (void)putc('"', f);
}

static void member(FILE *f, const char *before, const char *text)
{
    (void)fputs(before, f);
    escape(f, text, strlen(text));
}

/* What stands in many a trail and breaks a careless store. */
static const char odd_text[] = "caf\xc3\xa9 \"quoted\" back\\slash tab\t new\nline '; -- \xf0\x9f\x94\x91 %s%n \x7f";

static void put_metadata(FILE *f, enum kit_kind kind, unsigned n)
{
    (void)fputs(",\"metadata\":{", f);
    if (kind == KIT_LARGE) {
        (void)fputs("\"large\":\"", f);
        for (int i = 0; i < 48 * 1024; i++)
            (void)putc("abcdefghijklmnopqrstuvwxyz-012345"[i % 32], f);
        (void)fputs("\",", f);
    }
    (void)fprintf(f, "\"n\":%u", n);
    if (kind == KIT_POISON)
        (void)fputs(",\"nul\":\"a\\u0000b\"", f); /* valid JSON that some stores refuse */
    if (n % 2 == 0)
        member(f, ",\"odd\":", odd_text);
    (void)putc('}', f);
}

/* The event; with integrity where it belongs if there is a hash. */
static void put_event(FILE *f, const struct parts *p, enum kit_kind kind, unsigned n, uint64_t seq, const char *hash,
                      const char *prev)
{
    bool full = n % 3 != 2;
    (void)fputs("{\"action\":\"document.read\",\"actor\":{", f);
    if (full)
        member(f, "\"displayName\":", n % 2 == 0 ? odd_text : "Alice");
    member(f, full ? ",\"id\":" : "\"id\":", p->actor);
    (void)fputs(
        full ? ",\"ip\":\"192.0.2.7\",\"roles\":[\"admin\",\"auditor\"],\"type\":\"user\"}" : ",\"type\":\"user\"}", f);
    member(f, ",\"context\":{\"occurredAt\":", p->at);
    (void)fputs(",\"sourceService\":\"auditwell-check\"", f);
    if (p->tenant[0])
        member(f, ",\"tenantId\":", p->tenant);
    member(f, "},\"eventId\":", p->id);
    if (hash) {
        (void)fprintf(f, ",\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"%s\"", hash);
        if (prev[0])
            (void)fprintf(f, ",\"prevHash\":\"%s\"", prev);
        (void)fprintf(f, ",\"seq\":%llu}", (unsigned long long)seq);
    }
    put_metadata(f, kind, n);
    (void)fputs(",\"outcome\":\"SUCCESS\",\"schemaVersion\":1", f);
    (void)fputs(full ? ",\"target\":{\"id\":\"doc-7\",\"type\":\"document\"}}" : "}", f);
}

static void digest(const char *text, size_t len, char out[65])
{
    unsigned char d[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)text, len, d);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", d[i]);
}

static bool seal(struct kit_event *e, const struct parts *p, enum kit_kind kind, unsigned n, char prev[65])
{
    char *payload = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&payload, &len);
    if (!f)
        return false;
    (void)fputs("{\"event\":", f);
    put_event(f, p, kind, n, e->seq, NULL, prev);
    if (prev[0])
        (void)fprintf(f, ",\"prevHash\":\"%s\"", prev);
    (void)putc('}', f);
    if (fclose(f) != 0)
        return false;
    digest(payload, len, e->hash);
    free(payload);
    f = open_memstream(&e->json, &e->json_len);
    if (!f)
        return false;
    put_event(f, p, kind, n, e->seq, e->hash, prev);
    if (fclose(f) != 0)
        return false;
    memcpy(prev, e->hash, 65);
    return true;
}

static void fill_parts(struct parts *p, unsigned n, enum kit_kind kind)
{
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    p->ns = ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) * 1000000;
    (void)gmtime_r(&now.tv_sec, &tm);
    size_t len = strftime(p->at, sizeof p->at, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(p->at + len, sizeof p->at - len, ".%03ldZ", now.tv_nsec / 1000000);
    unsigned long long ms = p->ns / 1000000;
    (void)snprintf(p->id, sizeof p->id, "%08llx-%04llx-7%03x-8%03x-%06x%06x", ms >> 16, ms & 0xffff, n & 0xfff,
                   (unsigned)getpid() & 0xfff, ((unsigned)getpid() >> 12) & 0xffffff, n);
    if (kind == KIT_POISON) /* the longest id that is allowed */
        (void)snprintf(
            p->id + 36, sizeof p->id - 36, "%.*s", 128 - 36,
            "------------------------------------------------------------------------------------------------");
    (void)snprintf(p->actor, sizeof p->actor, "usr_%u", n % 16);
    if (n % 2 == 0)
        (void)snprintf(p->tenant, sizeof p->tenant, "check-%s", kit_id);
}

uint64_t kit_events_last(void)
{
    return last_seq;
}

void kit_events_after(uint64_t seq)
{
    if (seq > last_seq)
        last_seq = seq;
}

struct kit_set kit_events(size_t count, enum kit_kind kind)
{
    struct kit_set set = {calloc(count, sizeof(struct kit_event)), 0};
    if (last_seq == 0) { /* higher than those of earlier checks, in case they share a store */
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        last_seq = (uint64_t)now.tv_sec * 10000 + (uint64_t)now.tv_nsec / 100000;
    }
    for (; set.event && set.count < count; set.count++) {
        struct kit_event *e = &set.event[set.count];
        struct parts p = {.tenant = ""};
        fill_parts(&p, ++made, kind);
        e->seq = ++last_seq;
        e->ns = p.ns;
        e->poisoned = kind == KIT_POISON;
        memcpy(e->id, p.id, sizeof e->id);
        if (!seal(e, &p, kind, made, last_hash[p.tenant[0] != '\0']))
            break;
    }
    if (set.count < count)
        kit_finding("the kit is out of memory");
    return set;
}

void kit_events_free(struct kit_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->event[i].json);
    free(set->event);
    *set = (struct kit_set){NULL, 0};
}

void kit_events_reopen(struct kit_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        set->event[i].settled = KIT_OPEN;
        set->event[i].sent = false;
    }
}

/* ---- batches ---- */

static bool longer;
static struct {
    void *memory;
    size_t size;
} ended[64]; /* regions of calls that have returned, not readable */
static unsigned ended_at;
static pthread_mutex_t ended_lock = PTHREAD_MUTEX_INITIALIZER; /* guards both, but for who asks in a signal handler */

void kit_batch_use_longer(bool on)
{
    longer = on;
}

bool kit_memory_was_batch(const void *address)
{
    for (size_t i = 0; i < sizeof ended / sizeof ended[0]; i++)
        if (ended[i].memory && (const char *)address >= (const char *)ended[i].memory &&
            (const char *)address < (const char *)ended[i].memory + ended[i].size)
            return true;
    return false;
}

/* The value of a member of the event's JSON, as it stands there. inside: the object it is in, or the event. */
static struct aw_str value_of(struct aw_str in, const char *name)
{
    char key[64];
    int n = snprintf(key, sizeof key, "\"%s\":", name);
    int depth = 0;
    bool text = false;
    size_t from = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (text) {
            i += c == '\\';
            text = c != '"';
            continue;
        }
        if (from == 0 && depth == 1 && c == '"' && in.len - i > (size_t)n && memcmp(in.ptr + i, key, (size_t)n) == 0 &&
            (in.ptr[i - 1] == '{' || in.ptr[i - 1] == ',')) {
            from = i + (size_t)n;
            i = from - 1;
            continue;
        }
        text = c == '"';
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (from && ((c == ',' && depth == 1) || depth == 0))
            return (struct aw_str){in.ptr + from, i - from};
    }
    return (struct aw_str){NULL, 0};
}

/* The text of a JSON string, decoded at *room, which moves on. */
static struct aw_str decode(struct aw_str json, char **room)
{
    char *out = *room;
    size_t n = 0;
    if (!json.ptr || json.len < 2 || json.ptr[0] != '"')
        return (struct aw_str){NULL, 0};
    for (size_t i = 1; i + 1 < json.len; i++) {
        char c = json.ptr[i];
        if (c == '\\') {
            c = json.ptr[++i];
            if (c == 'u') {
                c = (char)strtol((char[]){json.ptr[i + 3], json.ptr[i + 4], '\0'}, NULL, 16);
                i += 4;
            } else {
                c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'r' ? '\r' : c;
            }
        }
        out[n++] = c;
    }
    *room += n;
    return (struct aw_str){out, n};
}

static void fill_fields(struct aw_event *e, char **room)
{
    static const struct {
        int field;
        const char *in, *name;
    } texts[] = {{AW_FIELD_EVENT_ID, NULL, "eventId"},
                 {AW_FIELD_ACTION, NULL, "action"},
                 {AW_FIELD_OUTCOME, NULL, "outcome"},
                 {AW_FIELD_OCCURRED_AT, "context", "occurredAt"},
                 {AW_FIELD_ACTOR_ID, "actor", "id"},
                 {AW_FIELD_ACTOR_TYPE, "actor", "type"},
                 {AW_FIELD_ACTOR_DISPLAY_NAME, "actor", "displayName"},
                 {AW_FIELD_ACTOR_IP, "actor", "ip"},
                 {AW_FIELD_TARGET_ID, "target", "id"},
                 {AW_FIELD_TARGET_TYPE, "target", "type"},
                 {AW_FIELD_TENANT_ID, "context", "tenantId"},
                 {AW_FIELD_SOURCE_SERVICE, "context", "sourceService"},
                 {AW_FIELD_HASH, "integrity", "hash"},
                 {AW_FIELD_PREV_HASH, "integrity", "prevHash"}};
    static const struct {
        int field;
        const char *name;
    } objects[] = {{AW_FIELD_ACTOR, "actor"},
                   {AW_FIELD_TARGET, "target"},
                   {AW_FIELD_CONTEXT, "context"},
                   {AW_FIELD_METADATA, "metadata"},
                   {AW_FIELD_INTEGRITY, "integrity"}};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++)
        e->fields[objects[i].field] = value_of(e->json, objects[i].name);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct aw_str in = texts[i].in ? value_of(e->json, texts[i].in) : e->json;
        e->fields[texts[i].field] = in.ptr ? decode(value_of(in, texts[i].name), room) : in;
    }
    e->fields[AW_FIELD_ACTOR_ROLES] = value_of(e->fields[AW_FIELD_ACTOR], "roles");
    struct aw_str tenant = e->fields[AW_FIELD_TENANT_ID], service = e->fields[AW_FIELD_SOURCE_SERVICE];
    struct aw_str name = tenant.ptr ? tenant : service;
    char *scope = *room;
    size_t n = tenant.ptr ? 7 : 8;
    memcpy(scope, tenant.ptr ? "tenant:" : "service:", n);
    memcpy(scope + n, name.ptr, name.len);
    *room += n + name.len;
    e->fields[AW_FIELD_SCOPE] = (struct aw_str){scope, n + name.len};
}

bool kit_batch_make(struct kit_batch *b, struct kit_event *const *events, size_t count)
{
    size_t size = sizeof(struct aw_batch) + KIT_LATER + count * sizeof(struct aw_event *);
    for (size_t i = 0; i < count; i++)
        size += sizeof(struct aw_event) + 2 * events[i]->json_len + 256;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    char *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *b = (struct kit_batch){.count = count, .memory = m, .size = size, .status = malloc(count + 16)};
    if (m == MAP_FAILED || !b->status) {
        kit_finding("the kit is out of memory");
        return false;
    }
    const struct aw_event **list = (const struct aw_event **)(void *)m;
    struct aw_event *e = (struct aw_event *)(void *)(m + count * sizeof *list);
    char *room = (char *)(e + count);
    for (size_t i = 0; i < count; i++, e++) {
        list[i] = e;
        e->alive = ALIVE;
        e->json = (struct aw_str){room, events[i]->json_len};
        memcpy(room, events[i]->json, events[i]->json_len);
        room += events[i]->json_len;
        e->numbers[0] = events[i]->seq;
        e->numbers[1] = 1;
        e->numbers[2] = e->numbers[3] = events[i]->ns;
        fill_fields(e, &room);
    }
    memset(b->status, AW_EVENT_UNKNOWN, count);
    memset(b->status + count, KIT_LATER_BYTE, 16);
    b->batch = (struct aw_batch){
        sizeof b->batch + (longer ? KIT_LATER : 0u), 0, events[0]->seq, events[count - 1]->seq, 0, count, list};
    memset(b->later, KIT_LATER_BYTE, sizeof b->later);
    return true;
}

void kit_batch_end(struct kit_batch *b)
{
    for (size_t i = 0; b->status && i < 16; i++)
        if (!EXPECT(b->status[b->count + i] == KIT_LATER_BYTE, "wrote a status behind the last event of the batch"))
            break;
    free(b->status);
    b->status = NULL;
    if (b->memory == MAP_FAILED)
        return;
    (void)pthread_mutex_lock(&ended_lock);
    if (ended[ended_at].memory)
        (void)munmap(ended[ended_at].memory, ended[ended_at].size);
    (void)mprotect(b->memory, b->size, PROT_NONE);
    ended[ended_at].memory = b->memory;
    ended[ended_at].size = b->size;
    ended_at = (ended_at + 1) % (sizeof ended / sizeof ended[0]);
    (void)pthread_mutex_unlock(&ended_lock);
}

/* ---- what the plugin calls ---- */

int32_t kit_event_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    if (!EXPECT(e->alive == ALIVE, "event_field() was called with something that is no event"))
        return AW_E_INTERNAL;
    errno = ESTALE; /* only the calls that say so keep errno */
    if (field >= FIELDS || !e->fields[field].ptr)
        return AW_E_NOTFOUND;
    *ret = e->fields[field];
    return AW_OK;
}

int32_t kit_event_number(const struct aw_event *e, uint32_t number, uint64_t *ret)
{
    if (!EXPECT(e->alive == ALIVE, "event_number() was called with something that is no event"))
        return AW_E_INTERNAL;
    errno = ESTALE;
    if (number < AW_NUMBER_SEQ || number >= AW_NUMBER_SEQ + NUMBERS)
        return AW_E_NOTFOUND;
    *ret = e->numbers[number - AW_NUMBER_SEQ];
    return AW_OK;
}

int32_t kit_event_encoded(const struct aw_event *e, const char *encoding, struct aw_str *ret)
{
    if (!EXPECT(e->alive == ALIVE, "event_encoded() was called with something that is no event"))
        return AW_E_INTERNAL;
    errno = ESTALE;
    if (strcmp(encoding, "json") != 0)
        return AW_E_UNSUPPORTED;
    *ret = e->json;
    return AW_OK;
}
