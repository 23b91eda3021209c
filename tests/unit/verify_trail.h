/* verify_trail.h - trails for the verifier's tests, built by other means than the core's.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Events are printed by hand, in canonical form or as JSON.stringify of the predecessor ordered and spaced them; hashes
 * come straight from OpenSSL. Nothing of core/event or core/seal is used, so that a mistake there cannot hide itself.
 */
#ifndef AW_TEST_VERIFY_TRAIL_H
#define AW_TEST_VERIFY_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"

enum trail_style {
    TRAIL_CANONICAL, /* ours: RFC 8785, integrity.seq */
    TRAIL_STRINGIFY, /* the predecessor's: members in the order they were made, no seq */
    TRAIL_SPACED,    /* the same with spaces and \u escapes */
    TRAIL_STYLES
};

#define TRAIL_SCOPES 8
struct trail_line {
    char *text;
    size_t len;
    uint64_t store_seq; /* 0 = the store does not know */
    unsigned scope;
    char hash[65];
};
struct trail {
    struct trail_line *lines;
    size_t count, size;
    enum trail_style style;
    uint64_t next_seq;
    char head[TRAIL_SCOPES][65]; /* "" = chain not begun */
};

void trail_init(struct trail *trail, enum trail_style style);
void trail_free(struct trail *trail);
/* Appends one honest event of scope 0..TRAIL_SCOPES-1 (even: tenants, odd: services) with this number in id and
 * metadata. */
void trail_add(struct trail *trail, unsigned scope, unsigned number);
/* Makes a line as trail_add does, but with any tenant or service, prevHash ("" = none) and seq (0 = none), at the end.
 */
void trail_forge(struct trail *trail, unsigned scope, unsigned number, const char *prev, uint64_t seq);
/* Appends the sealed record of a replay of these lines (copies; of this trail or taken out of it). Canonical only. */
void trail_record(struct trail *trail, unsigned scope, const char *sink, const struct trail_line *const *lines,
                  size_t count);
/* Appends the sealed record of a retention by which all below keep_seq may go, as the trail is now. Lies where asked
 * to.
 */
#define TRAIL_LIE_HASH 1   /* which event stays first */
#define TRAIL_LIE_CHAINS 2 /* how chains begin */
#define TRAIL_LIE_STREAM 3 /* of another stream */
#define TRAIL_LIE_SEQ 4    /* one seq less goes */
#define TRAIL_NO_CHAINS 5  /* no lie: of a trail that had findings */
#define TRAIL_BEGIN 6      /* no lie: an auditwell.begin */
void trail_retention(struct trail *trail, unsigned scope, const char *sink, uint64_t keep_seq, int lie);
uint64_t trail_seq(const struct trail_line *line); /* integrity.seq, 0 = none */
void trail_copy(struct trail *to, const struct trail *from);
void trail_delete(struct trail *trail, size_t at);
void trail_move(struct trail *trail, size_t from, size_t to); /* to: index after removal */
void trail_duplicate(struct trail *trail, size_t at, size_t to);
void trail_replace(struct trail *trail, size_t at, const char *text, size_t len);
/* Replaces the first occurrence of a text in a line; fails the test when there is none. */
void trail_edit(struct trail *trail, size_t at, const char *from, const char *to);
/* Writes the chains of all lines anew, as somebody would who knows the format: no key is needed (S3). */
void trail_reseal(struct trail *trail);
/* The scope's name, "tenant:t0", "service:s1". */
const char *trail_scope(unsigned scope);

/* ---- verifying, and what it said ---- */
#define TRAIL_FINDINGS 400
struct trail_finding {
    int kind;
    char scope[64], location[64], id[64], expected[80], found[80], message[400];
};
struct trail_result {
    int rc;
    struct aw_verify_report report;
    size_t finding_count; /* given to the callback; all of them are counted, TRAIL_FINDINGS kept */
    struct trail_finding findings[TRAIL_FINDINGS];
    size_t scope_count;
    struct {
        char scope[64], first_location[64], last_location[64], first_hash[68], last_hash[68], first_time[40],
            last_time[40];
        uint64_t count, findings, first_seq, last_seq;
        int verdict, origin;
    } scopes[64];
    char warnings[2000];
};
struct trail_check {
    uint32_t flags, threads; /* threads 0 here means 1 */
    const char *expect;
    uint64_t max_findings;
    const char *sink;
};
/* The result is valid until the next call. Location of line i: "trail.jsonl:i+1". */
const struct trail_result *trail_verify(const struct trail *trail, const struct trail_check *check);
/* How many findings of this kind; *ret_first (may be NULL) the first. */
size_t trail_count(const struct trail_result *result, int kind, const struct trail_finding **ret_first);
void trail_print(const struct trail_result *result);

/* ---- common to the tests ---- */
/* count events, round robin over so many scopes. */
void trail_make(struct trail *trail, enum trail_style style, unsigned count, unsigned scopes);
void expect_good(const struct trail_result *result);
/* Exactly these findings: kind, location (NULL: any), part of the message (NULL: any); ended by kind 0. */
struct want {
    int kind;
    const char *location, *message;
};
void expect_findings(const struct trail_result *result, const struct want *want, const char *what);

#endif
