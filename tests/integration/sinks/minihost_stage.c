/* minihost_stage.c - the transaction extension's part of minihost.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "minihost.h"

const struct aw_sink_transaction *mh_tx(struct mh_instance *m)
{
    return m->class->extension == NULL ? NULL : m->class->extension(m->sink, AW_EXT_SINK_TRANSACTION);
}

int32_t mh_stage_events(struct mh_instance *m, struct aw_event *const *events, size_t count, uint64_t deadline_ns,
                        const char *token, uint8_t *status)
{
    struct aw_batch b = {sizeof b,
                         0,
                         events[0]->numbers[0],
                         events[count - 1]->numbers[0],
                         deadline_ns,
                         count,
                         (const struct aw_event *const *)events};
    struct aw_result r = {sizeof r, 0, count, status};
    memset(status, AW_EVENT_UNKNOWN, count);
    return mh_tx(m)->stage(m->sink, &b, &r, token);
}

int32_t mh_stage(struct mh_instance *m, uint64_t from, uint64_t to, const char *token, uint8_t *status)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **events = calloc(n, sizeof *events);
    uint8_t *own = status != NULL ? status : calloc(n, 1);
    for (size_t i = 0; i < n; i++)
        events[i] = mh_event(from + i);
    int32_t r = mh_stage_events(m, events, n, 0, token, own);
    for (size_t i = 0; i < n; i++)
        mh_event_free(events[i]);
    free(events);
    if (status == NULL)
        free(own);
    return r;
}

int32_t mh_commit(struct mh_instance *m, const char *token)
{
    return mh_tx(m)->commit(m->sink, token);
}

int32_t mh_rollback(struct mh_instance *m, const char *token)
{
    return mh_tx(m)->rollback(m->sink, token);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *mh_in_doubt(struct mh_instance *m)
{
    static char text[2000];
    const char *const *tokens, *sorted[20];
    size_t count = 0, n = 0, at = 0;
    int32_t r = mh_tx(m)->in_doubt(m->sink, &tokens, &count);
    CU_ASSERT_EQUAL(r, AW_OK);
    for (; r == AW_OK && n < count && n < 20; n++)
        sorted[n] = tokens[n];
    qsort(sorted, n, sizeof *sorted, compare);
    text[0] = '\0';
    for (size_t i = 0; i < n && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "", sorted[i]);
    return text;
}
