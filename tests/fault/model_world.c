/* model_world.c - what stands below the tested code: clock, waiting, journal, dead letters, decisions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "model.h"

#include <stdarg.h>
#include <stdio.h>

struct model W;
jmp_buf model_on_failure, model_on_kill;

/* ---- chance, time, waiting --------------------------------------------------------------------------------------- */

uint64_t model_random(uint64_t below)
{
    uint64_t z = (W.random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

bool model_chance(unsigned of_16)
{
    return model_random(16) < of_16;
}

void model_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(W.why, sizeof W.why, fmt, ap);
    va_end(ap);
    longjmp(model_on_failure, 1);
}

void model_trace(const char *fmt, ...)
{
    if (!W.verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("# %10.3f ms  ", (double)W.now / 1e6);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

void model_point(void)
{
    if (W.kill_in == 0 || !W.can_kill || W.known_gap || --W.kill_in > 0)
        return;
    model_trace("the process dies");
    longjmp(model_on_kill, 1);
}

void model_allow_pause(uint64_t ns)
{
    W.pause_allowed = W.now + ns > W.pause_allowed ? W.now + ns : W.pause_allowed;
}

void model_pass(uint64_t ns)
{
    W.still = ns ? 0 : W.still;
    W.now += ns;
    if (W.sync_due && W.now >= W.sync_due) {
        W.durable = W.head;
        W.sync_due = 0;
    }
}

uint64_t __wrap_clock_mono_ns(void);
uint64_t __wrap_clock_mono_ns(void)
{
    return W.now;
}

uint64_t __wrap_clock_real_ns(void);
uint64_t __wrap_clock_real_ns(void)
{
    return W.now + UINT64_C(1700000000000000000);
}

int __wrap_ids_random(void *buf, size_t len);
int __wrap_ids_random(void *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = (uint8_t)model_random(256);
    return 0;
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    (void)attr;
    (void)fn;
    (void)arg;
    *ret = pthread_self(); /* model_step() takes its place; the thread gets a name */
    W.actor[W.actors++] = (struct model_actor){.alive = true, .due = W.now};
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_join(pthread_t thread, void **ret)
{
    (void)thread;
    (void)ret;
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *t)
{
    (void)cond;
    uint64_t until = (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
    pthread_mutex_unlock(mutex);
    if (W.now < until)
        model_turn(until);
    pthread_mutex_lock(mutex);
    return W.now >= until ? ETIMEDOUT : 0;
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

struct journal_cursor {
    struct model_sink *sink;
};
static struct journal_cursor cursors[MODEL_SINKS];

static int put_event(const struct prepared *p, struct journal_receipt *ret)
{
    if (W.head == MODEL_EVENTS || W.text_used + p->json_len >= sizeof W.text)
        return -ENOSPC;
    uint64_t seq = ++W.head;
    struct model_event *e = &W.events[seq];
    memset(e, 0, sizeof *e);
    e->json = memcpy(W.text + W.text_used, p->json, p->json_len);
    W.text_used += p->json_len;
    W.text[W.text_used++] = '\0';
    memcpy(e->fields, p->fields, p->field_count * sizeof e->fields[0]);
    e->head = (struct record_header){.magic = RECORD_MAGIC,
                                     .kind = RECORD_KIND_EVENT,
                                     .seq = seq,
                                     .json_len = p->json_len,
                                     .integrity_at = p->integrity_at,
                                     .sealed_ns = __wrap_clock_real_ns(),
                                     .field_count = (uint16_t)p->field_count};
    for (size_t i = 0; i < sizeof e->head.hash; i++)
        e->head.hash[i] = (uint8_t)model_random(256);
    for (size_t i = 0; i < W.sinks; i++)
        e->bad[i] = W.quiet_life || !model_chance(1) ? 0 : 1 + (unsigned)model_random(2);
    const char *count = strstr(e->json, "\"auditwell.gap\"") ? strstr(e->json, "\"count\":") : NULL;
    if (count)
        W.gaps_recorded += e->gap = strtoull(count + 8, NULL, 10);
    *ret = (struct journal_receipt){.seq = seq, .sealed_ns = e->head.sealed_ns};
    memcpy(ret->hash, e->head.hash, sizeof ret->hash);
    if (e->gap)
        model_trace("event %llu: a gap of %llu", (unsigned long long)seq, (unsigned long long)e->gap);
    else
        model_trace("event %llu", (unsigned long long)seq);
    return 0;
}

int __wrap_journal_append(struct journal *j, const struct prepared *p, uint64_t deadline, struct journal_receipt *ret);
int __wrap_journal_append(struct journal *j, const struct prepared *p, uint64_t deadline, struct journal_receipt *ret)
{
    (void)j;
    while (W.full && W.now < deadline) {
        if (model_chance(1))
            W.full = false;
        else
            model_turn(deadline);
    }
    return W.full ? -ENOSPC : put_event(p, ret);
}

const char *__wrap_journal_why_full(const struct journal *j);
const char *__wrap_journal_why_full(const struct journal *j)
{
    (void)j;
    return "disk_full";
}

int __wrap_journal_sync(struct journal *j, uint64_t seq);
int __wrap_journal_sync(struct journal *j, uint64_t seq)
{
    (void)j;
    (void)seq;
    W.durable = W.head;
    return 0;
}

uint64_t __wrap_journal_head(const struct journal *j);
uint64_t __wrap_journal_head(const struct journal *j)
{
    (void)j;
    return W.head;
}

void __wrap_journal_get_id(const struct journal *j, uint8_t ret[16]);
void __wrap_journal_get_id(const struct journal *j, uint8_t ret[16])
{
    (void)j;
    memset(ret, 0x5a, 16);
}

void __wrap_journal_wake(struct journal *j);
void __wrap_journal_wake(struct journal *j)
{
    (void)j;
    W.wakes++;
}

int __wrap_journal_lookup_hash(struct journal *j, uint64_t seq, uint8_t ret[32]);
int __wrap_journal_lookup_hash(struct journal *j, uint64_t seq, uint8_t ret[32])
{
    (void)j;
    if (seq == 0 || seq > W.head || W.events[seq].lost)
        return -ENOENT;
    memcpy(ret, W.events[seq].head.hash, 32);
    return 0;
}

int __wrap_journal_cursor_open(struct journal *j, const char *name, int from, struct journal_cursor **ret);
int __wrap_journal_cursor_open(struct journal *j, const char *name, int from, struct journal_cursor **ret)
{
    (void)j;
    (void)from;
    struct model_sink *s = model_sink_named(name);
    cursors[s->index].sink = s;
    s->position = s->acked + 1;
    *ret = &cursors[s->index];
    return 0;
}

void __wrap_journal_cursor_close(struct journal_cursor *c);
void __wrap_journal_cursor_close(struct journal_cursor *c)
{
    (void)c;
}

uint64_t __wrap_journal_cursor_acked(const struct journal_cursor *c);
uint64_t __wrap_journal_cursor_acked(const struct journal_cursor *c)
{
    return c->sink->acked;
}

int __wrap_journal_cursor_ack(struct journal_cursor *c, uint64_t seq);
int __wrap_journal_cursor_ack(struct journal_cursor *c, uint64_t seq)
{
    struct model_sink *s = c->sink;
    model_point();
    if (seq > s->acked) {
        model_trace("%s: cursor at %llu", s->name, (unsigned long long)seq);
        expect_ack(s, seq);
        s->acked = seq;
    }
    model_point();
    return 0;
}

int __wrap_journal_cursor_seek(struct journal_cursor *c, uint64_t seq);
int __wrap_journal_cursor_seek(struct journal_cursor *c, uint64_t seq)
{
    c->sink->position = seq + 1;
    return 0;
}

int __wrap_journal_cursor_read(struct journal_cursor *c, struct record_view *views, size_t max, size_t max_bytes,
                               size_t *ret_count);
int __wrap_journal_cursor_read(struct journal_cursor *c, struct record_view *views, size_t max, size_t max_bytes,
                               size_t *ret_count)
{
    struct model_sink *s = c->sink;
    size_t n = 0, bytes = 0;
    *ret_count = 0;
    if (!W.quiet_life && model_chance(1) && model_chance(1)) {
        model_allow_pause(s->settings.retry_base_ns);
        return -EIO;
    }
    while (s->position <= W.durable && n < max && (n == 0 || bytes < max_bytes)) {
        const struct model_event *e = &W.events[s->position];
        if (e->lost && n > 0)
            break;
        s->position++;
        if (e->lost) { /* seen for the first time, or known before and passed in silence */
            if (model_chance(8))
                return -EBADMSG;
            continue;
        }
        views[n++] = (struct record_view){.head = &e->head, .fields = e->fields, .json = e->json};
        bytes += e->head.json_len;
    }
    *ret_count = n;
    return 0;
}

uint64_t __wrap_journal_cursor_passed(const struct journal_cursor *c);
uint64_t __wrap_journal_cursor_passed(const struct journal_cursor *c)
{
    return c->sink->position - 1;
}

void model_lose_power(void)
{
    uint64_t keep = W.durable;
    for (uint64_t i = W.durable + 1; i <= W.head && model_chance(8); i++)
        keep = i;
    for (uint64_t i = keep + 1; i <= W.head; i++)
        W.dropped -= W.events[i].gap; /* the evidence went with the power, as any event may */
    for (uint64_t i = keep + 1; i <= W.head; i++)
        W.gaps_recorded -= W.events[i].gap;
    W.head = W.durable = keep;
    W.sync_due = 0;
    for (size_t i = 0; i < W.sinks; i++) {
        struct model_sink *s = &W.sink[i];
        if (s->acked_on_disk > s->acked)
            s->acked_on_disk = s->acked;
        uint64_t back = s->acked_on_disk + model_random(s->acked - s->acked_on_disk + 1);
        s->reset |= back < s->acked;
        s->acked = s->acked_on_disk = back;
    }
    model_trace("power loss: the journal ends with %llu", (unsigned long long)W.head);
}

/* ---- dead letters ------------------------------------------------------------------------------------------------ */

struct deadletter {
    char name[8];
};

int __wrap_deadletter_create(const char *dir, const char *sink, const struct diag_out *diag, struct deadletter **ret);
int __wrap_deadletter_create(const char *dir, const char *sink, const struct diag_out *diag, struct deadletter **ret)
{
    static struct deadletter files[MODEL_SINKS];
    (void)dir;
    (void)diag;
    struct deadletter *f = &files[model_sink_named(sink)->index];
    snprintf(f->name, sizeof f->name, "%s", sink);
    *ret = f;
    return 0;
}

void __wrap_deadletter_destroy(struct deadletter *f);
void __wrap_deadletter_destroy(struct deadletter *f)
{
    (void)f;
}

const char *__wrap_deadletter_path(const struct deadletter *f);
const char *__wrap_deadletter_path(const struct deadletter *f)
{
    return f->name;
}

int __wrap_deadletter_add(struct deadletter *f, const struct record_view *view, uint32_t attempts, const char *reason);
int __wrap_deadletter_add(struct deadletter *f, const struct record_view *view, uint32_t attempts, const char *reason)
{
    struct model_sink *s = model_sink_named(f->name);
    model_point();
    if (W.letters_fail && model_chance(12)) {
        model_trace("%s: no dead letter for %llu: disk full", s->name, (unsigned long long)view->head->seq);
        expect_letter_failed(s);
        return -ENOSPC;
    }
    model_trace("%s: dead letter for %llu (%s)", s->name, (unsigned long long)view->head->seq, reason);
    expect_letter(s, view->head->seq, attempts, reason);
    model_point();
    return 0;
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */

int __wrap_decision_open(const char *dir, const uint8_t id[16], struct decision_file **ret, struct decision *ret_last);
int __wrap_decision_open(const char *dir, const uint8_t id[16], struct decision_file **ret, struct decision *ret_last)
{
    (void)dir;
    (void)id;
    if (W.decision_in_doubt && model_chance(8))
        W.decided = W.doubtful;
    W.decision_in_doubt = false;
    *ret = (struct decision_file *)(void *)&W.decided;
    *ret_last = W.decided;
    return 0;
}

void __wrap_decision_close(struct decision_file *f);
void __wrap_decision_close(struct decision_file *f)
{
    (void)f;
}

const char *__wrap_decision_path(const struct decision_file *f);
const char *__wrap_decision_path(const struct decision_file *f)
{
    (void)f;
    return "together";
}

int __wrap_decision_store(struct decision_file *f, const struct decision *d);
int __wrap_decision_store(struct decision_file *f, const struct decision *d)
{
    (void)f;
    bool in_recovery = W.together && !W.together->recovered; /* a list of tokens is in memory: see model_sink.c */
    model_point();
    expect_decision(d);
    if (W.decisions_fail && !W.known_gap && model_chance(12)) {
        model_trace("the decision for %s cannot be stored", d->token);
        model_allow_pause(400 * MS);
        W.decision_in_doubt = true;
        W.doubtful = *d;
        return -EIO;
    }
    model_trace("decided: %s", d->token);
    W.decided = *d;
    W.decision_in_doubt = W.known_gap = false;
    if (!in_recovery)
        model_point();
    return 0;
}
