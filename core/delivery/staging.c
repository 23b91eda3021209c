/* staging.c - see staging.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/staging.h"

#include "base/base.h"

#include <stdio.h>

#define PREFIX_LEN 17 /* 16 digits and a dot */

const struct aw_sink_transaction *staging_of(const struct delivery *d)
{
    const struct aw_sink_transaction *tx =
        d->class->extension ? d->class->extension(d->sink, AW_EXT_SINK_TRANSACTION) : NULL;
    if (!tx || !AW_HAS(struct aw_sink_transaction, tx, in_doubt) || !tx->stage || !tx->commit || !tx->rollback ||
        !tx->in_doubt)
        return NULL;
    return tx;
}

static void prefix(const struct journal *journal, char ret[PREFIX_LEN + 1])
{
    uint8_t id[16];
    journal_get_id(journal, id);
    hash_hex(id, 8, ret);
    ret[PREFIX_LEN - 1] = '.';
    ret[PREFIX_LEN] = '\0';
}

void staging_token(const struct journal *journal, uint64_t first, uint64_t last, uint64_t number, uint32_t attempt,
                   char ret[STAGING_TOKEN_MAX + 1])
{
    char mine[PREFIX_LEN + 1];
    prefix(journal, mine);
    /* 17 + 14 + 1 + 14 + 1 + 8 + 1 + 5: sequence numbers have 53 bits */
    int n = snprintf(ret, STAGING_TOKEN_MAX + 1, "%s%llx.%llx.%x.%x", mine, (unsigned long long)first,
                     (unsigned long long)last, (unsigned)(uint32_t)number, (unsigned)(attempt & 0xfffffu));
    if (n < 0)
        ret[0] = '\0';
}

int32_t staging_in_doubt(struct delivery *d, const struct aw_sink_transaction *tx, char (**ret)[STAGING_TOKEN_MAX + 1],
                         size_t *ret_count)
{
    const char *const *tokens = NULL;
    size_t count = 0, n = 0;
    char mine[PREFIX_LEN + 1];
    *ret = NULL;
    *ret_count = 0;
    int32_t rc = tx->in_doubt(d->sink, &tokens, &count);
    if (rc != AW_OK || count == 0 || !tokens)
        return rc;
    char(*list)[STAGING_TOKEN_MAX + 1] = calloc(count, sizeof *list);
    if (!list)
        return AW_E_NOMEM;
    prefix(d->journal, mine);
    for (size_t i = 0; i < count; i++) {
        size_t len = tokens[i] ? strnlen(tokens[i], STAGING_TOKEN_MAX + 1) : 0;
        if (len <= STAGING_TOKEN_MAX && len > PREFIX_LEN && memcmp(tokens[i], mine, PREFIX_LEN) == 0)
            memcpy(list[n++], tokens[i], len);
    }
    *ret = list;
    *ret_count = n;
    return AW_OK;
}

void staging_forget(struct delivery *d)
{
    const struct aw_sink_transaction *tx = staging_of(d);
    AW_AUTOFREE char(*tokens)[STAGING_TOKEN_MAX + 1] = NULL;
    size_t count = 0;
    if (!tx)
        return;
    int32_t rc = staging_in_doubt(d, tx, &tokens, &count);
    for (size_t i = 0; i < count && rc == AW_OK; i++)
        rc = tx->rollback(d->sink, tokens[i]);
    if (rc != AW_OK)
        diag_log(
            &d->diag, AW_LOG_WARNING, d->name,
            "what was staged for fanout = \"all_or_nothing\" could not be rolled back; no reader sees it, and it is "
            "tried again at the next start");
}
