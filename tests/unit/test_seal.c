/* test_seal.c - the hash chain's payload, and a crypto library that fails. SPDX-License-Identifier: Apache-2.0 */
#define OPENSSL_SUPPRESS_DEPRECATED /* these are the functions under test */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "journal_support.h"
#include "seal/seal.h"

#include <dlfcn.h>
#include <openssl/sha.h>

static int fail_at = -1, calls;

static int failing(void)
{
    return fail_at >= 0 && calls++ == fail_at;
}

/* What hash.c calls of OpenSSL 3; the C library finds these first. */
int SHA256_Init(SHA256_CTX *ctx)
{
    int (*real)(SHA256_CTX *);
    *(void **)&real = dlsym(RTLD_NEXT, "SHA256_Init");
    return failing() ? 0 : real(ctx);
}

int SHA256_Update(SHA256_CTX *ctx, const void *d, size_t cnt)
{
    int (*real)(SHA256_CTX *, const void *, size_t);
    *(void **)&real = dlsym(RTLD_NEXT, "SHA256_Update");
    return failing() ? 0 : real(ctx, d, cnt);
}

int SHA256_Final(unsigned char *md, SHA256_CTX *ctx)
{
    int (*real)(unsigned char *, SHA256_CTX *);
    *(void **)&real = dlsym(RTLD_NEXT, "SHA256_Final");
    return failing() ? 0 : real(md, ctx);
}

static void hex_of(const uint8_t *hash, char out[65])
{
    hash_hex(hash, 32, out);
    out[64] = '\0';
}

/* Written down by hand: echo -n '{"event":{"a":1}}' | sha256sum, and so on. */
static void known_payloads(void)
{
    struct sealer *s = NULL;
    uint8_t first[32], second[32];
    char hex[65];
    CU_ASSERT_EQUAL_FATAL(sealer_create(&s), 0);
    CU_ASSERT(seal_begin(s, "{\"a\":1}", 7) && seal_finish(s, 0, NULL, first));
    hex_of(first, hex);
    CU_ASSERT_STRING_EQUAL(hex, "b45cbd2ef645ddd053c5e6f090098dd88ba6bc8241eb5629c28d550b0d8eb8c9");
    CU_ASSERT(seal_begin(s, "{\"a\":2}", 7) && seal_finish(s, 0, first, second));
    hex_of(second, hex);
    CU_ASSERT_STRING_EQUAL(hex, "7497f69d02cb8e4c4cd046c6374b333ce84d803db31ad5c0aa9700d76eabaee5");
    sealer_destroy(s);
}

static void test_known(void)
{
    known_payloads();
    hash_sha256_use_library(true);
    known_payloads();
    hash_sha256_use_library(false);
}

/* Any crypto call that fails: no event is stored, no number is used up, and the next event continues the chain. */
static void test_crypto_failures(void)
{
    struct journal_options o = support_options(support_path("crypto"));
    hash_sha256_use_library(true);
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(support_fill(j, 1, 10, 1, 10), 10);
    int failed = 0, n;
    for (n = 0; n < 20; n++) {
        struct journal_receipt r;
        uint64_t head = journal_head(j);
        calls = 0;
        fail_at = n;
        int rc = journal_append(j, support_event("t0", head + 1, 10), 0, &r);
        fail_at = -1;
        if (calls <= n) { /* the call was not reached: all of them were tried */
            CU_ASSERT_EQUAL(rc, 0);
            break;
        }
        CU_ASSERT_EQUAL(rc, -EIO);
        CU_ASSERT_EQUAL(journal_head(j), head);
        failed++;
        CU_ASSERT_EQUAL(support_fill(j, head + 1, 1, 1, 10), head + 1);
    }
    CU_ASSERT(failed >= 4);
    CU_ASSERT(n < 20);
    struct support_read read = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(read.count, journal_head(j));
    CU_ASSERT_EQUAL(read.bad_chain + read.bad_hash + read.missing, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

HARNESS_MAIN("seal", {"known payloads", test_known}, {"a crypto call that fails stores nothing", test_crypto_failures})
