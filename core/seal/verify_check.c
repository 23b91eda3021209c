/* verify_check.c - one row by itself: is it an event, is its integrity member sound, does its content have the hash it
 * carries?
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Runs on any thread; touches nothing but the batch and the thread's checker. No allocation for rows in canonical form.
 */
#include "config.h"

#include "base/diag.h"
#include "event/replay_event.h"
#include "event/retention_event.h"
#include "event/view.h"
#include "seal/verify_impl.h"

#include <stdio.h>

/* What surrounds the event in the hashed payload. */
#define PAYLOAD_HEAD "{\"event\":"
#define PAYLOAD_PREV ",\"prevHash\":\""
#define PAYLOAD_TAIL "\"}"
#define PAYLOAD_EXTRA (sizeof PAYLOAD_HEAD + sizeof PAYLOAD_PREV + VERIFY_HEX + sizeof PAYLOAD_TAIL)

int verify_checker_init(struct verify_checker *checker, const uint8_t scope_key[16], const uint64_t seen_key[4])
{
    memset(checker, 0, sizeof *checker);
    memcpy(checker->scope_key, scope_key, sizeof checker->scope_key);
    memcpy(checker->seen_key, seen_key, sizeof checker->seen_key);
    for (size_t i = 0; i < VERIFY_PAIR; i++) {
        int rc = hash_sha256_create(&checker->payload[i].sha);
        if (rc < 0) {
            verify_checker_clear(checker);
            return rc;
        }
    }
    return 0;
}

void verify_checker_clear(struct verify_checker *checker)
{
    for (size_t i = 0; i < VERIFY_PAIR; i++) {
        if (checker->payload[i].sha)
            hash_sha256_destroy(checker->payload[i].sha);
        free(checker->payload[i].bytes);
    }
    memset(checker, 0, sizeof *checker);
}

/* ---- text that lives as long as the batch ---- */

static char *text_take(struct verify_batch *batch, size_t len)
{
    struct verify_text *t = batch->text;
    if (!t || t->size - t->used < len) {
        size_t size = len > 4096 ? len : 4096;
        t = malloc(sizeof *t + size);
        if (!t)
            return NULL;
        *t = (struct verify_text){batch->text, 0, size};
        batch->text = t;
    }
    char *p = t->data + t->used;
    t->used += len;
    return p;
}

/* A decoded string that stays: the row's own bytes where they can serve, else a copy. */
static bool keep(struct verify_batch *batch, const struct verify_row *row, struct aw_str escaped, struct aw_str *ret)
{
    const char *json = batch->bytes + row->json_at;
    bool plain = escaped.len == 0 || !memchr(escaped.ptr, '\\', escaped.len);
    if (plain && escaped.len > 0 && (uintptr_t)escaped.ptr >= (uintptr_t)json &&
        (uintptr_t)escaped.ptr < (uintptr_t)json + row->json_len) {
        *ret = escaped;
        return true;
    }
    *ret = (struct aw_str){"", 0};
    if (escaped.len == 0)
        return true;
    char *copy = text_take(batch, escaped.len);
    if (!copy)
        return false;
    size_t len = escaped.len;
    if (plain)
        memcpy(copy, escaped.ptr, len);
    else
        len = event_unescape(escaped.ptr, escaped.len, copy);
    *ret = (struct aw_str){copy, len};
    return true;
}

/* The reason the event reader gave, and a clean slate for the thread. */
static const char *take_problem(struct verify_batch *batch)
{
    static const char unknown[] = "not an event";
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    const char *why = unknown;
    if (count > 0) {
        const struct aw_problem *p = problems[0];
        size_t size = strlen(p->path) + strlen(p->message) + 3;
        char *copy = text_take(batch, size);
        if (copy) {
            snprintf(copy, size, "%s%s%s", p->path, *p->path ? ": " : "", p->message);
            why = copy;
        }
    }
    diag_reset();
    return why;
}

/* ---- hashes ---- */

/* Eight lower-case hex digits at once, as four bytes. The digits are put together again from the values and compared:
 * whatever else stood there does not come out the same. */
static inline bool decode_eight(const char *hex, uint8_t out[4])
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t c = base_le64(hex);
    uint64_t value = (c & 0x0f * ones) + (c >> 6 & ones) * 9;
    uint64_t letters = (value + 6 * ones) >> 4 & ones; /* 1 where value >= 10; value is at most 24 here */
    bool strict = (value & 0xf0 * ones) == 0 && value + 0x30 * ones + letters * 39 == c;
    uint64_t pairs = (value << 4 | value >> 8) & 0x00ff00ff00ff00ffu;
    pairs = (pairs | pairs >> 8) & 0x0000ffff0000ffffu;
    base_put_le32(out, (uint32_t)(pairs | pairs >> 16));
    return strict;
}

/* 64 lower-case hex digits. Upper case is decoded too, so that the chain can be followed, but *ret_strict says no. */
static bool decode_hash(struct aw_str hex, uint8_t out[VERIFY_HASH], bool *ret_strict)
{
    *ret_strict = false;
    if (hex.len != VERIFY_HEX)
        return false;
    bool strict = true;
    for (size_t i = 0; i < VERIFY_HASH / 4; i++)
        strict &= decode_eight(hex.ptr + 8 * i, out + 4 * i);
    *ret_strict = strict;
    return strict || hash_unhex(hex.ptr, hex.len, out);
}

/* payload = {"event":E} or {"event":E,"prevHash":"P"}; gathered first, because one long update is faster than six. */
static bool gather(struct verify_payload *pl, const struct stored_event *ev, const char *prev_hex)
{
    size_t need = ev->prefix.len + ev->suffix.len + PAYLOAD_EXTRA;
    if (need > pl->size) {
        size_t size = need + need / 2;
        char *bigger = realloc(pl->bytes, size);
        if (!bigger)
            return false;
        pl->bytes = bigger;
        pl->size = size;
    }
    char *p = pl->bytes;
    memcpy(p, PAYLOAD_HEAD, sizeof PAYLOAD_HEAD - 1);
    p += sizeof PAYLOAD_HEAD - 1;
    memcpy(p, ev->prefix.ptr, ev->prefix.len);
    p += ev->prefix.len;
    if (ev->suffix.len > 0)
        memcpy(p, ev->suffix.ptr, ev->suffix.len);
    p += ev->suffix.len;
    if (prev_hex) {
        memcpy(p, PAYLOAD_PREV, sizeof PAYLOAD_PREV - 1);
        p += sizeof PAYLOAD_PREV - 1;
        memcpy(p, prev_hex, VERIFY_HEX);
        p += VERIFY_HEX;
        memcpy(p, PAYLOAD_TAIL, sizeof PAYLOAD_TAIL - 1);
        p += sizeof PAYLOAD_TAIL - 1;
    } else {
        *p++ = '}';
    }
    pl->len = (size_t)(p - pl->bytes);
    return true;
}

static bool hash_one(struct verify_payload *pl, uint8_t out[VERIFY_HASH])
{
    return hash_sha256_begin(pl->sha) && hash_sha256_update(pl->sha, pl->bytes, pl->len) &&
           hash_sha256_finish(pl->sha, out);
}

static bool hash_both(struct verify_payload *a, struct verify_payload *b)
{
    return hash_sha256_begin(a->sha) && hash_sha256_begin(b->sha) &&
           hash_sha256_update_two(a->sha, a->bytes, a->len, b->sha, b->bytes, b->len) &&
           hash_sha256_finish(a->sha, a->row->computed) && hash_sha256_finish(b->sha, b->row->computed);
}

/* ---- the row ---- */

struct hash128 verify_scope_key(const uint8_t key[16], bool tenant, struct aw_str value, uint32_t stream)
{
    /* "tenant:" and "service:" are told apart by the first byte; the value follows as it is. */
    char buf[512];
    struct hash128 h;
    if (value.len < sizeof buf) {
        buf[0] = tenant ? 't' : 's';
        memcpy(buf + 1, value.ptr, value.len);
        h = hash_sip128(key, buf, value.len + 1);
    } else {
        h = hash_sip128(key, value.ptr, value.len);
        h.hi ^= tenant ? 't' : 's';
    }
    h.hi ^= (uint64_t)stream << 32;
    return h;
}

static bool check_scope(struct verify_checker *c, struct verify_batch *batch, struct verify_row *row,
                        const struct stored_event *ev)
{
    row->scope_is_tenant = ev->tenant_id.len > 0;
    if (!keep(batch, row, row->scope_is_tenant ? ev->tenant_id : ev->source_service, &row->scope))
        return false;
    if (row->scope.len == 0)
        row->scope = (struct aw_str){"unknown", 7};
    row->stream = ev->integrity_stream;
    row->scope_key = verify_scope_key(c->scope_key, row->scope_is_tenant, row->scope, row->stream);
    return true;
}

/* Reads the integrity member; sets why when it is not what it must be. prev_hex gets the text to be hashed. */
static void check_integrity(struct verify_row *row, const struct stored_event *ev, const char **ret_prev_hex)
{
    bool strict;
    *ret_prev_hex = NULL;
    row->seq = ev->integrity_seq;
    row->has_signature = ev->has_signature;
    row->view = ev->is_view;
    row->view_fields = ev->view_fault ? 0 : ev->view_fields;
    if (ev->view_fault)
        row->why = ev->view_fault;
    if (ev->has_unknown_integrity)
        row->why = "integrity has a member that is unknown or not what it must be";
    if (!base_str_eq(ev->integrity_alg, base_str("SHA-256")))
        row->why = ev->integrity_alg.len ? "integrity.alg is not \"SHA-256\"" : "integrity.alg is missing";
    row->chainable = decode_hash(ev->integrity_hash, row->hash, &strict);
    if (!row->chainable || !strict)
        row->why =
            !ev->integrity_hash.len ? "integrity.hash is missing" : "integrity.hash is not 64 lower-case hex digits";
    row->has_prev = ev->integrity_prev.len > 0;
    if (row->has_prev) {
        if (!decode_hash(ev->integrity_prev, row->prev, &strict))
            memset(row->prev, 0, sizeof row->prev); /* follows nothing */
        if (!strict)
            row->why = "integrity.prevHash is not 64 lower-case hex digits";
        if (ev->integrity_prev.len == VERIFY_HEX)
            *ret_prev_hex = ev->integrity_prev.ptr;
    }
}

struct view_fault {
    struct verify_batch *batch;
    struct verify_row *row;
};

static void take_view_fault(void *arg, const struct view_difference *d)
{
    struct view_fault *f = arg;
    size_t size = d->path.len + strlen(d->message) + 2;
    char *why = f->row->why ? NULL : text_take(f->batch, size); /* the first one is enough */
    if (why) {
        snprintf(why, size, "%.*s %s", (int)d->path.len, d->path.ptr, d->message);
        f->row->why = why;
    } else if (!f->row->why) {
        f->row->why = "integrity.view says what is not so";
    }
}

/* Is the event what its integrity.view says of it? Reads it again: what came from the first reading is no longer valid.
 * false: no memory. */
static bool check_view(struct verify_batch *batch, struct verify_row *row)
{
    struct view_fault fault = {batch, row};
    struct view_check check = {.on_difference = take_view_fault, .arg = &fault};
    const struct aw_str json = {batch->bytes + row->json_at, row->json_len};
    int rc = event_view_check(&check, json, NULL);
    diag_reset();
    return rc == AW_SUCCESS;
}

/* Is it one of our own, by which others are judged? */
static void note_record(struct verify_row *row, struct aw_str action)
{
    static const struct aw_str own = {REPLAY_EVENT_OWN, sizeof REPLAY_EVENT_OWN - 1};
    if (AW_LIKELY(action.len <= own.len || memcmp(action.ptr, own.ptr, own.len) != 0))
        return;
    row->replay_record = base_str_eq(action, base_str(REPLAY_EVENT_ACTION));
    row->retention_record =
        base_str_eq(action, base_str(RETENTION_EVENT_ACTION)) || base_str_eq(action, base_str(RETENTION_EVENT_BEGIN));
}

/* The row's content has the hash `computed`. */
static void settle(const struct verify_checker *c, struct verify_row *row)
{
    if (!row->chainable)
        memcpy(row->hash, row->computed, VERIFY_HASH); /* the best guess for what follows */
    row->edited = memcmp(row->hash, row->computed, VERIFY_HASH) != 0;
    row->replay_record = row->replay_record && !row->edited;
    row->retention_record = row->retention_record && !row->edited;
    row->fingerprint = verify_fingerprint(c->seen_key, row->hash);
    row->state = VERIFY_SEALED;
}

/* All but the hash: its payload is gathered. */
static void check_row(struct verify_checker *c, struct verify_batch *batch, struct verify_row *row)
{
    struct stored_event ev;
    const char *prev_hex;
    memset(&ev, 0, sizeof ev);
    if (row->json_len > VERIFY_MAX_ROW) {
        row->state = VERIFY_MALFORMED;
        row->why = "longer than any event";
        return;
    }
    int rc = event_parse_stored(batch->bytes + row->json_at, row->json_len, &ev);
    if (rc != 0) {
        row->why = take_problem(batch);
        row->state = rc == AW_ERR_NOMEM || rc == -ENOMEM ? VERIFY_FAILED : VERIFY_MALFORMED;
        return;
    }
    row->state = VERIFY_FAILED;
    if (!check_scope(c, batch, row, &ev) || !keep(batch, row, ev.event_id, &row->id) ||
        !keep(batch, row, ev.occurred_at, &row->time))
        return;
    if (!ev.has_integrity) {
        row->state = VERIFY_UNSEALED;
        return;
    }
    check_integrity(row, &ev, &prev_hex);
    row->by_reference = ev.is_view && !ev.view_fault && ev.view_fields > 0;
    if (AW_UNLIKELY(row->by_reference)) {
        memcpy(row->computed, row->hash, VERIFY_HASH);
        settle(c, row);
        if (!check_view(batch, row))
            row->state = VERIFY_FAILED;
        return;
    }
    if (!row->why && row->seq != 0)
        note_record(row, ev.action);
    struct verify_payload *pl = &c->payload[c->gathered];
    if (!gather(pl, &ev, prev_hex))
        return;
    pl->row = row;
    c->gathered++;
}

/* Hashes what was gathered: two payloads at once take little longer than one. */
static void hash_gathered(struct verify_checker *c)
{
    struct verify_payload *pl = c->payload;
    bool good = c->gathered == VERIFY_PAIR ? hash_both(&pl[0], &pl[1])
                                           : c->gathered == 0 || hash_one(&pl[0], pl[0].row->computed);
    for (size_t i = 0; i < c->gathered && good; i++)
        settle(c, pl[i].row);
    c->gathered = 0;
}

void verify_check_batch(struct verify_checker *checker, struct verify_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        check_row(checker, batch, &batch->rows[i]);
        if (checker->gathered == VERIFY_PAIR)
            hash_gathered(checker);
    }
    hash_gathered(checker);
}

bool verify_check_as_successor(struct verify_checker *checker, const struct verify_batch *batch,
                               const struct verify_row *row, const uint8_t *prev, uint8_t ret[VERIFY_HASH])
{
    struct stored_event ev;
    char hex[VERIFY_HEX];
    memset(&ev, 0, sizeof ev);
    if (event_parse_stored(batch->bytes + row->json_at, row->json_len, &ev) != 0) {
        diag_reset();
        return false;
    }
    hash_hex(prev, VERIFY_HASH, hex);
    return gather(&checker->payload[0], &ev, hex) && hash_one(&checker->payload[0], ret);
}
