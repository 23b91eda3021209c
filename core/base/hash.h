/* hash.h - checksums and digests. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_HASH_H
#define AW_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720), processor instruction where there is one. crc is 0 or the value so far. */
uint32_t hash_crc32c(uint32_t crc, const void *buf, size_t len);

/* SipHash-2-4 with 128-bit output; 16-byte key. */
struct hash128 {
    uint64_t lo, hi;
};
struct hash128 hash_sip128(const uint8_t key[16], const void *buf, size_t len);

/* SHA-256 on a context that is made once and used again: no allocation after the first use. One thread at a time. */
#define HASH_SHA256_LEN 32
struct hash_sha256;                               /* opaque */
int hash_sha256_create(struct hash_sha256 **ret); /* 0, -ENOMEM, -EIO when the crypto library refuses */
void hash_sha256_destroy(struct hash_sha256 *h);
bool hash_sha256_begin(struct hash_sha256 *h);
bool hash_sha256_update(struct hash_sha256 *h, const void *buf, size_t len);
bool hash_sha256_finish(struct hash_sha256 *h, uint8_t out[HASH_SHA256_LEN]);
/* Both updates, in less time than one after the other where the processor allows. */
bool hash_sha256_update_two(struct hash_sha256 *a, const void *p, size_t p_len, struct hash_sha256 *b, const void *q,
                            size_t q_len);
/* For tests: what is created from now on is OpenSSL's, though the processor has instructions. */
void hash_sha256_use_library(bool wanted);
int hash_sha256_file(int fd, uint8_t out[HASH_SHA256_LEN]);

void hash_hex(const uint8_t *in, size_t len, char *out);       /* lower case, 2*len bytes, no NUL */
bool hash_unhex(const char *in, size_t hex_len, uint8_t *out); /* lower or upper case; false: not hex */

#endif
