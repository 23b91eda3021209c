/* json_doc.h - the layout of a JSON document, for event/ alone. SPDX-License-Identifier: Apache-2.0
 *
 * A document is an array of nodes. Node 0 is never used, so that index 0 means "none". Texts are pointers: into the
 * document's own padded copy of the input, into its buffer of decoded strings, or into an arena; each has at least 16
 * readable bytes behind it, so that copies and comparisons may run in big steps. Members of an object are linked in
 * canonical order.
 */
#ifndef AW_JSON_DOC_H
#define AW_JSON_DOC_H

#include "event/arena.h"
#include "event/json.h"
#include "event/text.h"

enum json_type { JSON_NONE, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

#define JSON_TEXT_ESCAPE TEXT_ESCAPE /* the text must be escaped when written */
#define JSON_MARKED 4u               /* a value scanner should look at it */
#define JSON_KEY_ESCAPE 8u
#define JSON_KEY_NON_ASCII 16u

#define JSON_TEXT_PAD 64u /* zero bytes behind a document's text */

struct json_node {
    const char *text;  /* string: decoded; number, true, false, null: canonical text; containers: NULL */
    const char *key;   /* decoded; NULL in arrays and at the top */
    uint64_t key_head; /* text_head(key) */
    uint32_t len;      /* of text; containers: how many children */
    uint32_t key_len;
    uint32_t next;        /* sibling */
    uint32_t first, last; /* containers: children */
    uint8_t type, flags;  /* enum json_type, JSON_* */
    uint16_t extra;       /* free for the owner of the tree */
};

struct json_shape;
struct json_shape_member;
#define JSON_SLOTS 64u                /* slots are below */
#define JSON_EXPECTS (2 * JSON_SLOTS) /* after a member; and, behind those, at an object's begin */

/* A known member that came after another one last time; see json.c. */
struct json_expect {
    uint64_t literal[3], mask[3]; /* "name": and which bytes of it count */
    uint64_t head;                /* text_head() of the name */
    const struct json_shape *shape;
    const struct json_shape_member *member;
    uint8_t len, slot; /* of the literal; of the member */
};

struct json_doc {
    struct json_node *nodes;
    uint32_t count, capacity; /* of nodes */
    char *text;               /* padded copy of the input */
    char *decoded;            /* strings that had escapes; as large as text */
    size_t len, text_capacity;
    struct sort_item *sort; /* work space of big objects */
    size_t sort_capacity;
    char *out; /* json_canonical() */
    size_t out_capacity;
    struct arena arena;         /* number texts that are not their literal */
    struct json_expect *expect; /* JSON_EXPECTS entries; NULL: nothing learnt yet */
};

/* A known object: its members' values go into slots[] and are not linked as children. Members stand sorted by length;
 * the last entry has length 0; first[n] is the index of the first member of length n (or of the last entry). */
#define JSON_SHAPE_NAME 24u
struct json_shape_member {
    char name[JSON_SHAPE_NAME]; /* zero-filled */
    uint8_t len, slot;
    const struct json_shape *shape; /* of the value, when it is an object; or NULL */
};
struct json_shape {
    uint8_t first[JSON_SHAPE_NAME];
    const struct json_shape_member *members;
};

struct json_read_options {
    uint32_t max_depth;
    bool accept_rounded; /* integers that are the ES6 text of their double are fine: what a canonical writer wrote */
    const struct json_shape *shape; /* of the top object; or NULL */
    uint32_t *slots;                /* with shape: node indexes of known members, valid where present says so */
    const uint32_t *marks; /* rising offsets, ended by UINT32_MAX: strings and numbers over one get JSON_MARKED */
    bool mark_all;
    bool want_canonical; /* result->canonical is wanted */
    uint8_t span_slot;   /* whose place in the text is wanted; 0 = none */
};
struct json_read_result {
    uint64_t present;            /* a bit for each slot that was found */
    bool canonical;              /* the text is, byte for byte, what a canonical writer would have written */
    size_t span_start, span_end; /* of span_slot's member, from its name's quote to its value's end; both 0: absent */
};

/* Two steps, so that the padded copy can be looked at in between: take a copy of the text, read it. Node 1 is the top.
 * ret may be NULL when nothing is wanted in it. */
int json_load(struct json_doc *doc, const char *text, size_t len); /* 0, -ENOMEM, -E2BIG */
int json_read(struct json_doc *doc, const struct json_read_options *options, struct json_read_result *ret,
              struct json_error *ret_error);
#define JSON_TOP 1u

void json_doc_init(struct json_doc *doc);
void json_doc_reset(struct json_doc *doc); /* no nodes, empty arena; memory is kept unless it is very large */
void json_doc_release(struct json_doc *doc);
/* A new zeroed node's index, 0 without memory. Moves the array. */
uint32_t json_node_slow(struct json_doc *doc);
/* Makes room for so many more nodes: json_node_new() does not move the array for that long. False: no memory. */
bool json_reserve(struct json_doc *doc, uint32_t more);
static inline uint32_t json_node_new(struct json_doc *doc)
{
    if (AW_UNLIKELY(doc->count >= doc->capacity))
        return json_node_slow(doc);
    memset(&doc->nodes[doc->count], 0, sizeof doc->nodes[0]);
    return doc->count++;
}

/* Canonical order of two members' names. */
static inline int json_compare_keys(const struct json_node *a, const struct json_node *b)
{
    if (AW_LIKELY(a->key_head != b->key_head && ((a->flags | b->flags) & JSON_KEY_NON_ASCII) == 0))
        return a->key_head < b->key_head ? -1 : 1;
    return text_compare_utf16(a->key, a->key_len, b->key, b->key_len);
}

/* Writes a value canonically; out needs json_canonical_bound() bytes. Returns the end. */
char *json_write(char *out, const struct json_node *base, const struct json_node *value);
size_t json_canonical_bound(const struct json_node *base, const struct json_node *value);

static inline char *json_put_text(char *out, const char *text, size_t len, bool escape)
{
    *out++ = '"';
    out = AW_UNLIKELY(escape) ? text_escape(out, text, len) : text_copy(out, text, len);
    *out++ = '"';
    return out;
}

/* Where an error stands in the text, for messages: fills line and column from offset. */
void json_error_place(struct json_error *error, const char *text, size_t len);

#endif
