/* pseudonym.h - names that stand for values without telling them. SPDX-License-Identifier: Apache-2.0
 *
 * A pseudonym is pn:KEYID:TAG. TAG is HMAC-SHA-256 of the value's UTF-8 bytes (of a number, true, false or null: its
 * canonical JSON text) under the key, cut to 128 bits, as 32 lower-case hex digits. Where the value stood does not go
 * into it: the same person has the same pseudonym in every field and event, so that records can be joined. KEYID tells
 * keys apart: the first 8 hex digits of SHA-256 over a fixed label and the key.
 */
#ifndef AW_PSEUDONYM_H
#define AW_PSEUDONYM_H

#include "base/hash.h"

#define PSEUDONYM_KEY_MIN 32u /* bytes */
#define PSEUDONYM_ID 8u
#define PSEUDONYM_TAG 32u
#define PSEUDONYM_LEN (3u + PSEUDONYM_ID + 1u + PSEUDONYM_TAG)

struct pseudonym_key {
    char id[PSEUDONYM_ID + 1];    /* NUL-terminated */
    uint8_t inner[64], outer[64]; /* the key, padded and masked as HMAC wants it */
};

/* 0, -EINVAL (shorter than PSEUDONYM_KEY_MIN), -ENOMEM, -EIO (the crypto library refuses). */
int pseudonym_key_init(struct pseudonym_key *key, const char *secret, size_t len);
void pseudonym_key_clear(struct pseudonym_key *key); /* leaves no trace in memory */
/* out is not NUL-terminated. false: the crypto library failed. */
bool pseudonym_make(const struct pseudonym_key *key, struct hash_sha256 *sha, const void *value, size_t len,
                    char out[PSEUDONYM_LEN]);
/* Does the text look like a pseudonym under the key of this id? */
bool pseudonym_form(const char *text, size_t len, const char *key_id);
bool pseudonym_id_ok(const char *id, size_t len); /* 8 lower-case hex digits */

#endif
