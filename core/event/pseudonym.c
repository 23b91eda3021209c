/* pseudonym.c - see pseudonym.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/pseudonym.h"

#include "base/base.h"

#include <string.h>

#define BLOCK 64u /* of SHA-256 */
static const char id_label[] = "auditwell pseudonym key 1:";

static int derive(struct pseudonym_key *key, struct hash_sha256 *sha, const char *secret, size_t len)
{
    uint8_t block[BLOCK] = {0}, digest[HASH_SHA256_LEN];
    bool good = hash_sha256_begin(sha) && hash_sha256_update(sha, id_label, sizeof id_label - 1) &&
                hash_sha256_update(sha, secret, len) && hash_sha256_finish(sha, digest);
    if (good)
        hash_hex(digest, PSEUDONYM_ID / 2, key->id);
    key->id[PSEUDONYM_ID] = '\0';
    if (len <= BLOCK)
        memcpy(block, secret, len);
    else
        good = good && hash_sha256_begin(sha) && hash_sha256_update(sha, secret, len) && hash_sha256_finish(sha, block);
    for (size_t i = 0; i < BLOCK; i++) {
        key->inner[i] = block[i] ^ 0x36u;
        key->outer[i] = block[i] ^ 0x5cu;
    }
    explicit_bzero(block, sizeof block);
    if (!good)
        pseudonym_key_clear(key);
    return good ? 0 : -EIO;
}

int pseudonym_key_init(struct pseudonym_key *key, const char *secret, size_t len)
{
    struct hash_sha256 *sha;
    memset(key, 0, sizeof *key);
    if (len < PSEUDONYM_KEY_MIN)
        return -EINVAL;
    int rc = hash_sha256_create(&sha);
    if (rc < 0)
        return rc;
    rc = derive(key, sha, secret, len);
    hash_sha256_destroy(sha);
    return rc;
}

void pseudonym_key_clear(struct pseudonym_key *key)
{
    explicit_bzero(key, sizeof *key);
}

bool pseudonym_make(const struct pseudonym_key *key, struct hash_sha256 *sha, const void *value, size_t len,
                    char out[PSEUDONYM_LEN])
{
    uint8_t digest[HASH_SHA256_LEN];
    if (!hash_sha256_begin(sha) || !hash_sha256_update(sha, key->inner, sizeof key->inner) ||
        !hash_sha256_update(sha, value, len) || !hash_sha256_finish(sha, digest) || !hash_sha256_begin(sha) ||
        !hash_sha256_update(sha, key->outer, sizeof key->outer) || !hash_sha256_update(sha, digest, sizeof digest) ||
        !hash_sha256_finish(sha, digest))
        return false;
    memcpy(out, "pn:", 3);
    memcpy(out + 3, key->id, PSEUDONYM_ID);
    out[3 + PSEUDONYM_ID] = ':';
    hash_hex(digest, PSEUDONYM_TAG / 2, out + 4 + PSEUDONYM_ID);
    return true;
}

static bool all_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

bool pseudonym_id_ok(const char *id, size_t len)
{
    return len == PSEUDONYM_ID && all_hex(id, len);
}

bool pseudonym_form(const char *text, size_t len, const char *key_id)
{
    return len == PSEUDONYM_LEN && memcmp(text, "pn:", 3) == 0 && memcmp(text + 3, key_id, PSEUDONYM_ID) == 0 &&
           text[3 + PSEUDONYM_ID] == ':' && all_hex(text + 4 + PSEUDONYM_ID, PSEUDONYM_TAG);
}
