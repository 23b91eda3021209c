/* seal.c - see seal.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "seal/seal.h"

#include "base/base.h"

struct sealer {
    struct hash_sha256 *sha[SEAL_EVENTS];
};

int sealer_create(struct sealer **ret)
{
    AW_AUTOFREE struct sealer *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    for (size_t i = 0; i < SEAL_EVENTS; i++) {
        int rc = hash_sha256_create(&s->sha[i]);
        if (rc < 0) {
            sealer_destroy(base_take(s));
            return rc;
        }
    }
    *ret = base_take(s);
    return 0;
}

void sealer_destroy(struct sealer *sealer)
{
    if (!sealer)
        return;
    for (size_t i = 0; i < SEAL_EVENTS; i++)
        hash_sha256_destroy(sealer->sha[i]);
    free(sealer);
}

#define OPENING "{\"event\":"
#define PREVIOUS ",\"prevHash\":\""

static bool open_payload(struct hash_sha256 *sha)
{
    return hash_sha256_begin(sha) && hash_sha256_update(sha, OPENING, sizeof OPENING - 1);
}

bool seal_begin(struct sealer *sealer, const char *json, size_t len)
{
    return open_payload(sealer->sha[0]) && hash_sha256_update(sealer->sha[0], json, len);
}

bool seal_begin_two(struct sealer *sealer, struct aw_str first, struct aw_str second)
{
    return open_payload(sealer->sha[0]) && open_payload(sealer->sha[1]) &&
           hash_sha256_update_two(sealer->sha[0], first.ptr, first.len, sealer->sha[1], second.ptr, second.len);
}

bool seal_finish(struct sealer *sealer, size_t event, const uint8_t *prev, uint8_t ret_hash[32])
{
    struct hash_sha256 *sha = sealer->sha[event];
    if (!prev)
        return hash_sha256_update(sha, "}", 1) && hash_sha256_finish(sha, ret_hash);
    char tail[sizeof PREVIOUS - 1 + 64 + 2];
    memcpy(tail, PREVIOUS, sizeof PREVIOUS - 1);
    hash_hex(prev, 32, tail + sizeof PREVIOUS - 1);
    memcpy(tail + sizeof PREVIOUS - 1 + 64, "\"}", 2);
    return hash_sha256_update(sha, tail, sizeof tail) && hash_sha256_finish(sha, ret_hash);
}
