/* exec_write.c - events to the program, acknowledgements from it. SPDX-License-Identifier: Apache-2.0
 *
 * Both pipes are served by one poll, so that a program which answers while we write never stands against us. Answers
 * may come in any order: the usual one, that of the events, is looked for first, then a table of the batch's ids.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "exec_sink.h"

#define IOV_MAX_LINES 128

struct job {
    struct exec_sink *s;
    const struct aw_batch *batch;
    struct aw_result *result;
    size_t next;    /* first event of which nothing was sent to this program */
    size_t expect;  /* where the next answer is looked for first */
    size_t open;    /* events without an answer */
    size_t settled; /* by this call */
    uint64_t retry_after_ms;
    bool carried; /* answers to an earlier call are outstanding: what we send now is no progress of the program */
    bool weak;    /* "accepted" where the settings say that all is durable */
};

/* ---- the batch ---- */

void ex_free_batch(struct exec_sink *s)
{
    free(s->lines);
    free(s->ids);
    free(s->done);
    free(s->table);
    s->lines = s->ids = NULL;
    s->done = NULL;
    s->table = NULL;
    s->cap = s->table_size = 0;
}

static bool grow(struct exec_sink *s, size_t count)
{
    if (count <= s->cap)
        return true;
    ex_free_batch(s);
    size_t slots = 64;
    while (slots < 2 * count)
        slots *= 2;
    s->lines = calloc(count, sizeof *s->lines);
    s->ids = calloc(count, sizeof *s->ids);
    s->done = calloc(count, 1);
    s->table = calloc(slots, sizeof *s->table);
    if (s->lines == NULL || s->ids == NULL || s->done == NULL || s->table == NULL) {
        ex_free_batch(s);
        return false;
    }
    s->cap = count;
    s->table_size = slots;
    return true;
}

static int32_t take_batch(struct exec_sink *s, const struct aw_batch *batch)
{
    if (!grow(s, batch->count))
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    for (size_t i = 0; i < batch->count; i++) {
        int32_t r = s->host->event_encoded(batch->events[i], "json", &s->lines[i]);
        if (r != AW_OK)
            return aw_host_error(s->host, r == AW_E_UNSUPPORTED ? AW_E_INTERNAL : r, "the host cannot render an event");
        if (s->host->event_field(batch->events[i], AW_FIELD_EVENT_ID, &s->ids[i]) != AW_OK)
            s->ids[i] = (struct aw_str){"", 0};
    }
    memset(s->done, 0, batch->count);
    s->table_ready = false;
    return AW_OK;
}

static bool same(struct aw_str a, struct aw_str b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

static size_t slot_of(const struct exec_sink *s, struct aw_str id)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.ptr[i]) * UINT64_C(1099511628211);
    return (size_t)(h ^ (h >> 32)) & (s->table_size - 1);
}

static void make_table(struct exec_sink *s, size_t count)
{
    memset(s->table, 0, s->table_size * sizeof *s->table);
    for (size_t i = 0; i < count; i++) {
        size_t at = slot_of(s, s->ids[i]);
        while (s->table[at] != 0)
            at = (at + 1) & (s->table_size - 1);
        s->table[at] = (uint32_t)i + 1;
    }
    s->table_ready = true;
}

/* The event that an answer is for: of several with one id the first without an answer. SIZE_MAX: none; *known: there is
 * one, which has its answer. */
static size_t find(struct job *j, struct aw_str id, bool *known)
{
    struct exec_sink *s = j->s;
    size_t count = j->batch->count;
    *known = false;
    while (j->expect < count && s->done[j->expect])
        j->expect++;
    if (j->expect < count && same(s->ids[j->expect], id))
        return j->expect++;
    if (!s->table_ready)
        make_table(s, count);
    for (size_t at = slot_of(s, id); s->table[at] != 0; at = (at + 1) & (s->table_size - 1)) {
        size_t i = s->table[at] - 1;
        if (!same(s->ids[i], id))
            continue;
        if (!s->done[i])
            return i;
        *known = true;
    }
    return SIZE_MAX;
}

/* ---- answers ---- */

static uint8_t promised(struct job *j, uint8_t status)
{
    const struct exec_sink *s = j->s;
    if (status == AW_EVENT_DURABLE && s->durability == EX_NEVER)
        return AW_EVENT_ACCEPTED;
    if (status == AW_EVENT_ACCEPTED && s->durability == EX_ON_WRITE) {
        j->weak = true;
        return AW_EVENT_UNKNOWN;
    }
    return status;
}

static void take_answer(void *arg, struct ex_ack *ack)
{
    struct job *j = arg;
    struct exec_sink *s = j->s;
    bool known = false;
    if (ack->kind != EX_ACK_EVENT) {
        ex_ignore(s, ack, "flushed, without being asked for");
        return;
    }
    size_t i = find(j, ack->id, &known);
    if (i == SIZE_MAX) {
        ex_ignore(s, ack, known ? "acknowledged twice" : "not an event that waits for one");
        return;
    }
    uint8_t status = promised(j, ack->status);
    s->nonsense = 0;
    s->waiting_since_ns = s->host->mono_ns();
    s->done[i] = 1;
    j->open--;
    if (status == AW_EVENT_UNKNOWN)
        return;
    s->has_acked = true;
    j->settled++;
    j->result->status[i] = status;
    if (status == AW_EVENT_REJECTED || status == AW_EVENT_RETRY) {
        char text[EX_TEXT];
        ex_clean(ack->error.ptr, ack->error.len, text, sizeof text);
        aw_host_event_error(s->host, i, "%s", text[0] != '\0' ? text : "the program gave no reason");
    }
    if (status == AW_EVENT_RETRY && ack->retry_after_ms > j->retry_after_ms)
        j->retry_after_ms = ack->retry_after_ms;
    s->accepted_pending = s->accepted_pending || (status == AW_EVENT_ACCEPTED && s->durability == EX_ON_FLUSH);
}

/* ---- sending ---- */

/* What of a line is not sent yet must come first next time, also when its event is never asked for again. */
static bool keep_rest(struct exec_sink *s, struct aw_str line, size_t sent)
{
    size_t left = line.len - sent;
    s->rest = malloc(left + 1);
    if (s->rest == NULL)
        return false;
    memcpy(s->rest, line.ptr + sent, left);
    s->rest[left] = '\n';
    s->rest_len = left + 1;
    s->rest_off = 0;
    return true;
}

/* 0: sent, or full now; else -errno. */
static int send_rest(struct exec_sink *s)
{
    struct iovec v = {s->rest + s->rest_off, s->rest_len - s->rest_off};
    ssize_t n = ex_writev(s->in_fd, &v, 1);
    if (n < 0)
        return (int)n;
    s->rest_off += (size_t)n;
    if (s->rest_off == s->rest_len) {
        free(s->rest);
        s->rest = NULL;
    }
    return 0;
}

/* Lines from j->next on. */
static int send_lines(struct job *j)
{
    static char newline[] = "\n";
    struct exec_sink *s = j->s;
    struct iovec v[2 * IOV_MAX_LINES];
    size_t index[IOV_MAX_LINES];
    int lines = 0;
    for (size_t i = j->next; i < j->batch->count && lines < IOV_MAX_LINES; i++) {
        if (s->done[i]) /* a late answer to its last sending */
            continue;
        v[2 * lines] = (struct iovec){(char *)(uintptr_t)s->lines[i].ptr, s->lines[i].len};
        v[2 * lines + 1] = (struct iovec){newline, 1};
        index[lines++] = i;
    }
    if (lines == 0) {
        j->next = j->batch->count;
        return 0;
    }
    ssize_t n = ex_writev(s->in_fd, v, 2 * lines);
    if (n < 0)
        return (int)n;
    s->was_sent = true;
    if (!j->carried)
        s->waiting_since_ns = s->host->mono_ns();
    size_t left = (size_t)n;
    for (int k = 0; k < lines && left > 0; k++) {
        struct aw_str line = s->lines[index[k]];
        j->next = index[k] + 1;
        if (left < line.len + 1)
            return keep_rest(s, line, left) ? 0 : -ENOMEM;
        left -= line.len + 1;
    }
    return 0;
}

/* false: the program's input is broken in a way that only a new program mends. */
static bool send_some(struct job *j)
{
    struct exec_sink *s = j->s;
    int e = 0;
    while (e == 0 && s->rest != NULL)
        e = send_rest(s);
    while (e == 0 && s->rest == NULL && j->next < j->batch->count)
        e = send_lines(j);
    if (e == -EPIPE)
        s->in_broken = true; /* its answers to what it has read may still come */
    return e == 0 || e == -EAGAIN || e == -EINTR || e == -EPIPE;
}

/* ---- one exchange ---- */

enum outcome { ALL_ANSWERED, PROGRAM_ENDED, PROGRAM_HANGS, PROGRAM_TALKS, NO_MEMORY, DEADLINE };

static enum outcome exchange(struct job *j)
{
    struct exec_sink *s = j->s;
    uint64_t deadline = j->batch->deadline_ns != 0 ? j->batch->deadline_ns : UINT64_MAX;
    j->carried = s->waiting_since_ns != 0;
    if (!j->carried)
        s->waiting_since_ns = s->host->mono_ns();
    while (j->open > 0) {
        bool to_send = !s->in_broken && (s->rest != NULL || j->next < j->batch->count);
        if (to_send && !send_some(j))
            return NO_MEMORY;
        int r = ex_read_lines(s, take_answer, j);
        if (r < 0)
            return PROGRAM_ENDED;
        if (s->nonsense > EX_NONSENSE_MAX)
            return PROGRAM_TALKS;
        if (r > 0)
            continue;
        /* After a broken input only what is on its way can come. */
        uint64_t patience = s->in_broken && s->grace_ns < s->ack_timeout_ns ? s->grace_ns : s->ack_timeout_ns;
        uint64_t now = s->host->mono_ns(), until = s->waiting_since_ns + patience;
        if (now >= until)
            return s->in_broken ? PROGRAM_ENDED : PROGRAM_HANGS;
        if (now >= deadline)
            return DEADLINE;
        to_send = !s->in_broken && (s->rest != NULL || j->next < j->batch->count);
        ex_poll(s, to_send, until < deadline ? until : deadline);
    }
    s->waiting_since_ns = 0;
    return ALL_ANSWERED;
}

static int32_t program_ended(struct job *j)
{
    struct exec_sink *s = j->s;
    ex_end(s, EX_END_ASK, j->batch->deadline_ns);
    if (s->exit_code == EX_EXIT_CONFIG)
        return aw_host_error(s->host, AW_E_CONFIG, "%s: %s", s->argv[0], s->ended);
    /* Some of the batch is done: what is not comes again soon. Nothing is: that looks like more of the same. */
    return aw_host_error(s->host, j->settled > 0 ? AW_E_RETRY : AW_E_UNAVAILABLE,
                         "%s: %s, %zu events of the batch are open", s->argv[0], s->ended, j->open);
}

static int32_t settle(struct job *j, enum outcome outcome)
{
    struct exec_sink *s = j->s;
    const struct aw_host *h = s->host;
    switch (outcome) {
    case ALL_ANSWERED:
        return AW_OK;
    case PROGRAM_ENDED:
        return program_ended(j);
    case PROGRAM_HANGS:
        ex_end(s, EX_END_TERM, j->batch->deadline_ns);
        return aw_host_error(h, AW_E_TIMEOUT,
                             "%s: no answer for %.1f s, %zu events of the batch are open; it was ended", s->argv[0],
                             (double)s->ack_timeout_ns / 1e9, j->open);
    case PROGRAM_TALKS:
        ex_report_ignored(s, true);
        ex_end(s, EX_END_TERM, j->batch->deadline_ns);
        return aw_host_error(h, AW_E_UNAVAILABLE,
                             "%s: writes other things than acknowledgements to its standard output (%s); it was ended",
                             s->argv[0], s->ignored_text);
    case NO_MEMORY:
        ex_end(s, EX_END_TERM, j->batch->deadline_ns); /* its input ends within a line: it cannot be gone on with */
        return aw_host_error(h, AW_E_NOMEM, "out of memory");
    default:
        return aw_host_error(h, AW_E_TIMEOUT, "%s: the deadline passed, %zu events of the batch are open", s->argv[0],
                             j->open);
    }
}

/* Once more to a fresh program, when the last one did some and then ended as it should. */
static bool goes_on(const struct job *j, enum outcome outcome, int32_t r, size_t settled_before)
{
    const struct exec_sink *s = j->s;
    return outcome == PROGRAM_ENDED && r == AW_E_RETRY && s->exit_code == 0 && j->settled > settled_before &&
           !s->accepted_lost;
}

static int32_t give(struct job *j)
{
    struct exec_sink *s = j->s;
    for (;;) {
        size_t before = j->settled;
        int32_t r = ex_ready(s);
        if (r != AW_OK)
            return r;
        j->next = j->expect = 0;
        enum outcome outcome = exchange(j);
        r = settle(j, outcome);
        if (!goes_on(j, outcome, r, before))
            return r;
    }
}

/* ---- flushing ---- */

struct flush {
    struct exec_sink *s;
    uint64_t number;
    bool done, failed;
    char error[EX_TEXT];
};

static void take_flushed(void *arg, struct ex_ack *ack)
{
    struct flush *f = arg;
    if (ack->kind != EX_ACK_FLUSHED || ack->number != f->number) {
        ex_ignore(f->s, ack,
                  ack->kind == EX_ACK_FLUSHED ? "flushed, with a number that was not asked for" : "too late");
        return;
    }
    f->done = true;
    f->failed = ack->error.ptr != NULL;
    ex_clean(ack->error.ptr, ack->error.len, f->error, sizeof f->error);
}

/* ALL_ANSWERED when the program said that all is flushed. */
static enum outcome exchange_flush(struct flush *f, uint64_t deadline_ns)
{
    struct exec_sink *s = f->s;
    char line[64];
    int n = snprintf(line, sizeof line, "{\"flush\":%llu}\n", (unsigned long long)f->number), off = 0;
    uint64_t until = s->host->mono_ns() + s->ack_timeout_ns;
    bool hangs = deadline_ns == 0 || until <= deadline_ns;
    until = hangs ? until : deadline_ns;
    while (!f->done) {
        int e = 0;
        while (e == 0 && s->rest != NULL)
            e = send_rest(s);
        while (e == 0 && off < n) {
            struct iovec v = {line + off, (size_t)(n - off)};
            ssize_t w = ex_writev(s->in_fd, &v, 1);
            e = w < 0 ? (int)w : 0;
            off += w > 0 ? (int)w : 0;
        }
        if (e != 0 && e != -EAGAIN && e != -EINTR)
            return PROGRAM_ENDED;
        int r = ex_read_lines(s, take_flushed, f);
        if (r < 0)
            return PROGRAM_ENDED;
        if (s->nonsense > EX_NONSENSE_MAX)
            return PROGRAM_TALKS;
        if (s->host->mono_ns() >= until && !f->done)
            return PROGRAM_HANGS; /* also with the deadline: half a line may be sent, and what it holds is in doubt */
        if (r == 0)
            ex_poll(s, off < n || s->rest != NULL, until);
    }
    s->nonsense = 0;
    return ALL_ANSWERED;
}

/* Makes what was accepted durable. */
static int32_t flush_accepted(struct exec_sink *s, uint64_t deadline_ns)
{
    struct flush f = {.s = s, .number = ++s->flush_number};
    if (s->accepted_lost || s->pid == 0) {
        s->accepted_pending = s->accepted_lost = false;
        return aw_host_error(s->host, AW_E_RETRY, "%s: it ended before it had flushed what it accepted: %s", s->argv[0],
                             s->ended);
    }
    enum outcome outcome = exchange_flush(&f, deadline_ns);
    if (outcome != ALL_ANSWERED)
        ex_end(s, outcome == PROGRAM_ENDED ? EX_END_ASK : EX_END_TERM, deadline_ns);
    s->accepted_pending = s->accepted_lost = false; /* the host sends again what this did not make durable */
    if (outcome == ALL_ANSWERED && !f.failed)
        return AW_OK;
    if (outcome == ALL_ANSWERED)
        return aw_host_error(s->host, AW_E_RETRY, "%s: cannot flush: %s", s->argv[0], f.error);
    if (outcome == PROGRAM_ENDED)
        return aw_host_error(s->host, AW_E_RETRY, "%s: it ended before it had flushed what it accepted: %s", s->argv[0],
                             s->ended);
    return aw_host_error(s->host, AW_E_TIMEOUT, "%s: no answer to a flush; it was ended", s->argv[0]);
}

int32_t ex_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct exec_sink *s = sink;
    if (s->accepted_pending) {
        int32_t r = flush_accepted(s, deadline_ns);
        if (r != AW_OK)
            return ex_set_health(s, r, "a flush failed");
    }
    *ret_durable_seq = s->last_seq;
    return AW_OK;
}

/* ---- the call ---- */

static int32_t make_durable(struct job *j)
{
    struct exec_sink *s = j->s;
    bool any = false;
    for (size_t i = 0; i < j->batch->count; i++)
        any = any || j->result->status[i] == AW_EVENT_ACCEPTED;
    int32_t r = any ? flush_accepted(s, j->batch->deadline_ns) : AW_OK;
    for (size_t i = 0; i < j->batch->count; i++)
        if (j->result->status[i] == AW_EVENT_ACCEPTED)
            j->result->status[i] = r == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN;
    return r;
}

int32_t ex_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct exec_sink *s = sink;
    struct job j = {.s = s, .batch = batch, .result = result, .open = batch->count};
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->argv[0]);
    if ((batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0 && s->durability == EX_NEVER)
        return aw_host_error(s->host, AW_E_UNSUPPORTED, "durability = \"never\": nothing can be made durable");
    int32_t r = take_batch(s, batch);
    if (r != AW_OK)
        return r;
    r = give(&j);
    if (j.settled > 0)
        s->last_seq = batch->last_seq;
    ex_report_ignored(s, false);
    if (j.weak) {
        r = aw_host_error(
            s->host, AW_E_CONFIG,
            "%s: says \"accepted\": set durability = \"on_flush\" or \"never\", or let it say \"durable\"", s->argv[0]);
        return ex_set_health(s, r, "the program promises less than the settings say");
    }
    if (r == AW_OK && (batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0)
        r = make_durable(&j);
    if (r == AW_OK && j.retry_after_ms > 0) {
        result->retry_after_ms = (uint32_t)j.retry_after_ms;
        r = aw_host_error(s->host, AW_E_THROTTLED, "%s: asks to wait %u ms", s->argv[0], result->retry_after_ms);
    }
    const char *detail = r == AW_OK            ? ""
                         : r == AW_E_THROTTLED ? "the program asks to wait"
                         : r == AW_E_TIMEOUT   ? "the program does not answer in time"
                                               : s->ended;
    return ex_set_health(s, r, detail);
}
