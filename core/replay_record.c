/* replay_record.c - see replay_record.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "replay_record.h"

#include "base/base.h"
#include "base/fs.h"
#include "delivery/replay.h"
#include "event/replay_event.h"
#include "own_record.h"

struct items {
    struct replay_event_item *list;
    size_t count;
};

/* ---- which events ---- */

static int by_seq(const void *a, const void *b)
{
    const struct replay_event_item *x = a, *y = b;
    return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq) : memcmp(x->hash, y->hash, sizeof x->hash);
}

static int add_letter(struct items *items, int fd, const struct dl_entry *entry)
{
    AW_AUTOFREE char *text = NULL;
    AW_AUTOFREE void *buffer = NULL;
    struct dl_line line;
    struct record_view view;
    int rc = dl_index_line(fd, entry, &text, &line);
    if (rc == 0)
        rc = dl_record(&line, &buffer, &view);
    if (rc == -EBADMSG)
        return 0; /* the replay will say so */
    if (rc == 0) {
        struct replay_event_item *item = &items->list[items->count++];
        item->seq = view.head->seq;
        memcpy(item->hash, view.head->hash, sizeof item->hash);
    }
    return rc;
}

static int gather(const struct replay_record_options *o, struct items *items)
{
    struct dl_index x;
    int fd = -1, rc = deadletter_look(o->deadletters, NULL, NULL, &x, &fd);
    if (rc == 0 && x.count > 0 && !(items->list = calloc(x.count, sizeof *items->list)))
        rc = -ENOMEM;
    for (size_t i = 0; i < x.count && rc == 0; i++)
        if (replay_wants(&x.entries[i], o->first_seq, o->last_seq))
            rc = add_letter(items, fd, &x.entries[i]);
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, deadletter_path(o->deadletters), "%s",
                            strerror(-rc));
    if (items->count == 0)
        return 0;
    qsort(items->list, items->count, sizeof *items->list, by_seq);
    size_t n = 1; /* an event can have two letters: it is named once */
    for (size_t i = 1; i < items->count; i++)
        if (by_seq(&items->list[n - 1], &items->list[i]) != 0)
            items->list[n++] = items->list[i];
    items->count = n;
    return 0;
}

/* ---- the record ---- */

struct writing {
    const struct items *items;
    const char *sink;
};

static char *make(void *arg, size_t index, size_t *ret_len)
{
    const struct writing *w = arg;
    size_t from = index * REPLAY_EVENT_MAX, n = w->items->count - from;
    return replay_event_write(w->sink, w->items->list + from, n < REPLAY_EVENT_MAX ? n : REPLAY_EVENT_MAX, ret_len);
}

int replay_record_seal(const struct replay_record_options *o)
{
    struct items items = {NULL, 0};
    struct writing writing = {&items, o->sink};
    int rc = gather(o, &items);
    const struct own_record record = {.config_path = o->config_path,
                                      .config_text = o->config_text,
                                      .slot = o->slot,
                                      .sink = o->sink,
                                      .what = "replay",
                                      .undone = "replayed",
                                      .diag = o->diag,
                                      .deadline_ns = o->deadline_ns,
                                      .count = (items.count + REPLAY_EVENT_MAX - 1) / REPLAY_EVENT_MAX,
                                      .make = make,
                                      .arg = &writing};
    if (rc == AW_SUCCESS && items.count > 0) {
        rc = own_record_seal(&record);
        if (rc == AW_ERR_BUSY)
            diag_log(&o->diag, AW_LOG_WARNING, o->sink,
                     "another process has the journal, so this replay cannot be recorded: a store that keeps the order "
                     "of writing, as a file does, will not verify");
        if (rc == AW_ERR_NOTFOUND)
            diag_log(&o->diag, AW_LOG_WARNING, o->sink, "is not enabled: it has no record of this replay before it");
        if (rc == AW_ERR_BUSY || rc == AW_ERR_NOTFOUND)
            rc = AW_SUCCESS;
    }
    free(items.list);
    return rc;
}
