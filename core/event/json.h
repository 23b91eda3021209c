/* json.h - the one reader of JSON text (RFC 8259, strict) and writer of canonical JSON (RFC 8785).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The reader makes a document: nodes in one flat array, linked by index, text left where it stands unless it has
 * escapes. Documents are reused without allocation once warm. One thread at a time.
 */
#ifndef AW_JSON_H
#define AW_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/plugin.h"

struct json_doc; /* opaque outside event/ : see json_doc.h for its layout */

struct json_error {
    size_t offset;         /* byte offset in the text */
    uint32_t line, column; /* 1-based, bytes */
    const char *message;   /* static: what is wrong and what would be right */
};

#define JSON_MAX_DEPTH_DEFAULT 64

int json_doc_create(struct json_doc **ret); /* 0 or -ENOMEM */
void json_doc_destroy(struct json_doc *doc);
/* Refuses: anything RFC 8259 refuses, duplicate member names, bad UTF-8, lone surrogates, a byte order mark, integer
 * literals that a double cannot hold, numbers out of range, depth over max_depth. 0, -EINVAL (see *ret_error), -ENOMEM,
 * -E2BIG. The text must outlive the document's use. */
int json_parse(struct json_doc *doc, const char *text, size_t len, uint32_t max_depth, struct json_error *ret_error);
/* Canonical form (RFC 8785) of the whole document, appended to a growable buffer of the document; valid until its next
 * use. */
int json_canonical(struct json_doc *doc, struct aw_str *ret);

/* ECMAScript Number::toString, as RFC 8785 wants it. Writes at most JSON_NUMBER_MAX bytes, no NUL; returns the length.
 * value must be finite. Independent of the locale. */
#define JSON_NUMBER_MAX 32
size_t json_format_double(double value, char out[JSON_NUMBER_MAX]);

#endif
