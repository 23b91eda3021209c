/* seal.c - see seal.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "seal/seal.h"

#include "base/base.h"

struct sealer {
    struct hash_sha256 *sha;
};

int sealer_create(struct sealer **ret)
{
    AW_AUTOFREE struct sealer *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    int rc = hash_sha256_create(&s->sha);
    if (rc < 0)
        return rc;
    *ret = base_take(s);
    return 0;
}

void sealer_destroy(struct sealer *sealer)
{
    if (!sealer)
        return;
    hash_sha256_destroy(sealer->sha);
    free(sealer);
}

#define OPENING "{\"event\":"
#define PREVIOUS ",\"prevHash\":\""

bool seal_begin(struct sealer *sealer, const char *json, size_t len)
{
    return hash_sha256_begin(sealer->sha) && hash_sha256_update(sealer->sha, OPENING, sizeof OPENING - 1) &&
           hash_sha256_update(sealer->sha, json, len);
}

bool seal_finish(struct sealer *sealer, const uint8_t *prev, uint8_t ret_hash[32])
{
    if (!prev)
        return hash_sha256_update(sealer->sha, "}", 1) && hash_sha256_finish(sealer->sha, ret_hash);
    char tail[sizeof PREVIOUS - 1 + 64 + 2];
    memcpy(tail, PREVIOUS, sizeof PREVIOUS - 1);
    hash_hex(prev, 32, tail + sizeof PREVIOUS - 1);
    memcpy(tail + sizeof PREVIOUS - 1 + 64, "\"}", 2);
    return hash_sha256_update(sealer->sha, tail, sizeof tail) && hash_sha256_finish(sealer->sha, ret_hash);
}
