/* file_write.c - a batch becomes lines; what the statuses say is what the file holds.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Events are copied into one reused buffer and written with one write() a buffer. Only a prefix of a batch is ever
 * stored, so that the order of the lines is the order of the chain. When a write fails, the file is cut back to its
 * last whole line; when a sync fails, to what was on disk before (the kernel may have dropped the pages and marked them
 * clean: syncing them again would lie), and the host is made to send those events again.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_sink.h"

#define WRITEBACK_UNIT 65536u /* whole multiples of this: of any page size */
#define WRITEBACK_MIN (1u << 20)

/* One batch on its way. Events [from, to) are in the buffer, those before `from` have their final status. */
struct job {
    const struct aw_batch *batch;
    uint8_t *status;
    size_t from, to;
    bool durable;           /* nothing may be reported before it is on disk */
    bool earlier;           /* accepted events of earlier batches wait for their flush */
    uint64_t stored_before; /* stored_seq before this batch */
};

static bool in_buffer(const struct job *job, size_t i)
{
    return job->status[i] == AW_EVENT_UNKNOWN;
}

static void mark_stored(struct file_sink *s, struct job *job, size_t lines)
{
    uint64_t seq = 0;
    size_t i = job->from, last = job->from;
    for (; lines > 0 && i < job->to; i++) {
        if (!in_buffer(job, i))
            continue;
        job->status[i] = AW_EVENT_ACCEPTED;
        last = i;
        lines--;
    }
    if (i > job->from && job->status[last] == AW_EVENT_ACCEPTED &&
        s->host->event_number(job->batch->events[last], AW_NUMBER_SEQ, &seq) == AW_OK && seq > s->stored_seq)
        s->stored_seq = seq;
    job->from = i;
}

/* What is written goes to the disk at once, so that the sync that follows in a moment finds little to do, and the next
 * lines do not wait for it. Whole pages only: one that is on its way could not be written to. Only a hint: what goes
 * wrong shows with the sync. */
static void begin_writeback(struct file_sink *s)
{
#if defined(SYNC_FILE_RANGE_WRITE)
    if (s->begun_size > s->size)
        s->begun_size = s->size; /* it was cut back */
    if (s->fsync == SF_FSYNC_NEVER || s->size - s->begun_size < WRITEBACK_MIN)
        return;
    uint64_t upto = s->size & ~(uint64_t)(WRITEBACK_UNIT - 1);
    (void)sync_file_range(s->fd, (off_t)s->begun_size, (off_t)(upto - s->begun_size), SYNC_FILE_RANGE_WRITE);
    s->begun_size = upto;
#else
    (void)s;
#endif
}

int32_t sf_append(struct file_sink *s, const char *lines, size_t len, size_t *ret_lines)
{
    size_t done = 0, whole = 0;
    int error = 0;
    *ret_lines = SIZE_MAX;
    while (done < len) {
        ssize_t w = write(s->fd, lines + done, len - done);
        if (w > 0)
            done += (size_t)w;
        else if (w == 0 || errno != EINTR) {
            error = w == 0 ? EIO : errno;
            break;
        }
    }
    if (error == 0) {
        s->size += len;
        begin_writeback(s);
        return AW_OK;
    }
    *ret_lines = 0;
    for (const char *p = lines, *nl; (nl = memchr(p, '\n', (size_t)(lines + done - p))) != NULL; p = nl + 1) {
        whole = (size_t)(nl - lines) + 1;
        ++*ret_lines;
    }
    s->size += whole;
    if (done > whole)
        s->tail_dirty = ftruncate(s->fd, (off_t)s->size) < 0;
    return sf_fail(s, error, "cannot write", s->at.path);
}

/* Writes the buffer. On failure exactly the whole lines that are in the file count as stored. */
static int32_t drain(struct file_sink *s, struct job *job)
{
    size_t lines;
    int32_t r = sf_append(s, s->buffer, s->buffered, &lines);
    s->buffered = 0;
    mark_stored(s, job, lines);
    if (r == AW_OK)
        job->from = job->to;
    return r;
}

/* Everything of this batch that is in the file now is on disk. */
static void mark_durable(struct job *job, size_t upto)
{
    for (size_t i = 0; i < upto; i++)
        if (job->status[i] == AW_EVENT_ACCEPTED)
            job->status[i] = AW_EVENT_DURABLE;
}

/* A sync failed: nothing since the last good one counts. */
static void unstore(struct file_sink *s, struct job *job)
{
    for (size_t i = 0; i < job->batch->count; i++)
        if (job->status[i] == AW_EVENT_ACCEPTED)
            job->status[i] = AW_EVENT_UNKNOWN;
    if (job->earlier)
        s->lost_pending = true;
    s->stored_seq = job->stored_before > s->archived_seq ? job->stored_before : s->archived_seq;
    sf_rollback(s);
}

static int32_t rotate(struct file_sink *s, struct job *job)
{
    bool sync = job->durable || s->fsync != SF_FSYNC_NEVER;
    int32_t r = drain(s, job);
    if (r != AW_OK)
        return r;
    r = sf_rotate(s, sync);
    if (r != AW_OK && s->fd >= 0) /* the sync failed; later failures leave no file open */
        unstore(s, job);
    else {
        if (sync)
            mark_durable(job, job->from);
        job->earlier = false;
    }
    return r;
}

static int32_t reserve(struct file_sink *s, size_t len)
{
    if (len <= s->buffer_cap)
        return AW_OK;
    char *more = realloc(s->buffer, len);
    if (more == NULL)
        return sf_fail(s, ENOMEM, "no memory for one event", s->at.path);
    s->buffer = more;
    s->buffer_cap = len;
    return AW_OK;
}

/* Puts one event into the buffer. */
static int32_t put(struct file_sink *s, struct job *job, size_t i, uint64_t now)
{
    const struct aw_event *event = job->batch->events[i];
    struct aw_str json;
    uint64_t seq;
    int32_t r = s->host->event_encoded(event, "json", &json);
    if (r != AW_OK)
        return aw_host_error(s->host, r == AW_E_UNSUPPORTED ? AW_E_INTERNAL : r, "the host cannot render event %zu", i);
    if (json.len == 0 || memchr(json.ptr, '\n', json.len) != NULL) {
        aw_host_event_error(s->host, i, "the event is empty or holds a raw newline: it cannot be one line");
        job->status[i] = AW_EVENT_REJECTED;
        return AW_OK;
    }
    if (s->skip_hi != 0 && s->host->event_number(event, AW_NUMBER_SEQ, &seq) == AW_OK && seq >= s->skip_lo &&
        seq <= s->skip_hi) {
        job->status[i] = AW_EVENT_DUPLICATE; /* in an archive, on disk, although its flush failed later */
        return AW_OK;
    }
    if (sf_rotation_due(s, now, json.len + 1) && (r = rotate(s, job)) != AW_OK)
        return r;
    if (s->buffered + json.len + 1 > s->buffer_cap &&
        ((r = drain(s, job)) != AW_OK || (r = reserve(s, json.len + 1)) != AW_OK))
        return r;
    memcpy(s->buffer + s->buffered, json.ptr, json.len);
    s->buffered += json.len;
    s->buffer[s->buffered++] = '\n';
    job->to = i + 1;
    return AW_OK;
}

int32_t sf_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct file_sink *s = sink;
    struct job job = {
        batch, result->status, 0, 0, s->fsync == SF_FSYNC_ALWAYS || (batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0,
        false, s->stored_seq};
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->at.path);
    int32_t r = sf_ready(s), synced;
    if (r == AW_OK)
        r = sf_settle_suspect(s, batch->first_seq);
    if (r != AW_OK)
        return r;
    if (s->skip_hi != 0 && batch->first_seq > s->skip_hi)
        s->skip_lo = s->skip_hi = 0;
    job.earlier = s->size > s->durable_size;
    uint64_t now = s->rotate_interval != 0 ? s->host->now_ns() : 0;
    bool refused = false; /* position() must not pass one before the host has it among its dead letters */
    for (size_t i = 0; r == AW_OK && i < batch->count && !refused; i++) {
        r = put(s, &job, i, now);
        refused = job.status[i] == AW_EVENT_REJECTED;
    }
    if (s->fd >= 0 && s->buffered > 0) {
        int32_t w = drain(s, &job);
        r = r == AW_OK ? w : r;
    }
    s->buffered = 0;
    if (job.durable && s->fd >= 0) {
        if ((synced = s->size > s->durable_size ? sf_sync(s) : AW_OK) == AW_OK) {
            s->durable_size = s->size;
            mark_durable(&job, batch->count);
        } else {
            unstore(s, &job);
            r = synced;
        }
    }
    return r == AW_OK ? sf_set_health(s, AW_OK, "") : r;
}

int32_t sf_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct file_sink *s = sink;
    struct stat st;
    int32_t r = AW_OK;
    (void)deadline_ns; /* a sync cannot be left half-way */
    if (s->fd >= 0 && s->size > s->durable_size) {
        if (fstat(s->fd, &st) < 0 || st.st_nlink == 0)
            s->lost_pending = true; /* deleted under us */
        else if (s->fsync != SF_FSYNC_NEVER)
            r = sf_sync(s);
    }
    if (r != AW_OK || s->lost_pending) {
        if (r == AW_OK) {
            aw_host_error(s->host, AW_E_RETRY, "%s: accepted events did not reach the disk or went with a deleted file",
                          s->at.path);
            r = sf_set_health(s, AW_E_RETRY, "accepted events were lost and are asked for again");
        }
        sf_rollback(s);
        s->lost_pending = false;
        if (s->archived_seq > s->flushed_seq) {
            s->skip_lo = s->flushed_seq + 1;
            s->skip_hi = s->archived_seq;
        }
        s->stored_seq = s->archived_seq > s->flushed_seq ? s->archived_seq : s->flushed_seq;
        return r;
    }
    s->durable_size = s->size;
    s->flushed_seq = s->stored_seq > s->flushed_seq ? s->stored_seq : s->flushed_seq;
    *ret_durable_seq = s->flushed_seq;
    return AW_OK;
}
