/* deadletter_line.h - one line of a dead-letter file: how it is written, read and checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A line is one JSON object with its members in this order, and nothing between them:
 *
 *   {"n":N,"type":"T","time":"…",members of T,"prev":"…","hash":"…"}
 *
 *   letter    "sink", "seq", "attempts", "reason", "event" (as sinks get it), "record" (hex: the record's header and
 *             field table, from which with the event the sealed record comes back byte for byte)
 *   rejected  "letter", "seq", "attempts", "reason": the letter with that number was replayed and refused again
 *   replayed  "letters" [[first,last],…]: these are done with
 *   purged    "what", "letters", "replayed", "ranges" [[first,last,"hash of last"],…]: these lines were taken out
 *   begun     "file", "reason": a new file, since the one before was damaged and bears the name `file` now
 *
 * n rises by one from line to line. hash is the SHA-256 of the line up to its own comma, prev the hash of the line
 * before, so that no line can be changed, taken out, put in or moved without a trace. No key is in it: it finds damage
 * and thoughtless edits, not somebody who computes all hashes anew; the events inside bear their trail's own hashes.
 */
#ifndef AW_DEADLETTER_LINE_H
#define AW_DEADLETTER_LINE_H

#include "base/base.h"
#include "seal/record.h"

#define DL_HEX 64u /* digits of a hash */

enum dl_type { DL_LETTER = 1, DL_REJECTED, DL_REPLAYED, DL_PURGED, DL_BEGUN };

/* Texts point into the line, escaped as they stand there. */
struct dl_line {
    enum dl_type type;
    uint64_t number;
    struct aw_str time, prev, hash; /* prev is empty in the very first line */
    size_t sealed;                  /* so many bytes of the line are hashed */
    uint64_t seq, letter, attempts;
    struct aw_str reason, event, record;
    struct aw_str list; /* content of "letters" of replayed, or of "ranges" */
    struct aw_str file, what;
    uint64_t letters, replayed; /* purged: how many letters, and how many of them had been replayed */
};

/* The line without its newline. 0, or -EBADMSG with *ret_why (static). Does not check the hash. */
int dl_parse(const char *line, size_t len, struct dl_line *ret, const char **ret_why);
/* Takes the next range of `list` off its front. hash is empty where there is none. false: the end, or no range. */
bool dl_next_range(struct aw_str *list, uint64_t *ret_first, uint64_t *ret_last, struct aw_str *ret_hash);
/* The record of a letter in a buffer of its own (malloc'd, *ret_buffer), checked. 0, -EBADMSG, -ENOMEM. */
int dl_record(const struct dl_line *line, void **ret_buffer, struct record_view *ret);

/* ---- writing ---- */
struct dl_text {
    char *ptr;
    size_t len, capacity;
    bool nomem; /* then the text is of no use; checked once, at the end */
};
void dl_text_free(struct dl_text *t);
void dl_put(struct dl_text *t, const char *bytes, size_t len);
void dl_printf(struct dl_text *t, const char *fmt, ...) AW_PRINTF(2, 3);
/* JSON string content: escaped, and bytes that are not ASCII text replaced, since a plugin wrote it; cut at 1000. */
void dl_put_reason(struct dl_text *t, const char *reason);
/* {"n":N,"type":"T","time":"now" */
void dl_begin(struct dl_text *t, uint64_t number, const char *type);
void dl_letter(struct dl_text *t, uint64_t number, const char *sink, const struct record_view *view, uint32_t attempts,
               const char *reason);
/* The letter of an older line under a new number. */
void dl_letter_again(struct dl_text *t, uint64_t number, const char *line, const struct dl_line *letter);
/* Ends the line that begins at `start` (newline included) and puts its hash into hash, where the line before's stands
 * ("" for none). 0, -ENOMEM, -EIO. */
int dl_end(struct dl_text *t, size_t start, struct hash_sha256 *sha, char hash[DL_HEX + 1]);
/* Has the line the hash it bears? */
bool dl_hash_good(const char *line, const struct dl_line *parsed, struct hash_sha256 *sha);

#endif
