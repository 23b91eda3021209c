/* json_doc.c - documents: the memory that the reader fills, used again from text to text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "event/json_doc.h"

#define MAX_TEXT (UINT32_C(1) << 30) /* offsets and lengths have 32 bits */
#define KEEP_NODES 16384u
#define KEEP_TEXT (UINT32_C(1) << 20)

void json_doc_init(struct json_doc *doc)
{
    memset(doc, 0, sizeof *doc);
    doc->count = 1;
}

void json_doc_release(struct json_doc *doc)
{
    free(doc->nodes);
    free(doc->text);
    free(doc->decoded);
    free(doc->sort);
    free(doc->out);
    free(doc->expect);
    arena_destroy(&doc->arena);
    json_doc_init(doc);
}

void json_doc_reset(struct json_doc *doc)
{
    if (AW_UNLIKELY(doc->capacity > KEEP_NODES || doc->text_capacity > KEEP_TEXT || doc->out_capacity > KEEP_TEXT)) {
        json_doc_release(doc); /* one giant document must not bind its memory for ever */
        return;
    }
    doc->count = 1;
    doc->len = 0;
    arena_reset(&doc->arena);
}

int json_doc_create(struct json_doc **ret)
{
    struct json_doc *doc = malloc(sizeof *doc);
    if (!doc)
        return -ENOMEM;
    json_doc_init(doc);
    *ret = doc;
    return 0;
}

void json_doc_destroy(struct json_doc *doc)
{
    if (doc)
        json_doc_release(doc);
    free(doc);
}

bool json_reserve(struct json_doc *doc, uint32_t more)
{
    uint64_t need = (uint64_t)doc->count + more, capacity = doc->capacity ? doc->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    if (capacity == doc->capacity)
        return true;
    size_t bytes;
    if (capacity > UINT32_MAX || !base_mul_size((size_t)capacity, sizeof doc->nodes[0], &bytes))
        return false;
    struct json_node *nodes = realloc(doc->nodes, bytes);
    if (!nodes)
        return false;
    doc->nodes = nodes;
    doc->capacity = (uint32_t)capacity;
    return true;
}

uint32_t json_node_slow(struct json_doc *doc)
{
    if (!json_reserve(doc, 1))
        return 0;
    memset(&doc->nodes[doc->count], 0, sizeof doc->nodes[0]);
    return doc->count++;
}

int json_load(struct json_doc *doc, const char *text, size_t len)
{
    json_doc_reset(doc);
    if (len > MAX_TEXT)
        return -E2BIG;
    if (AW_UNLIKELY(doc->text_capacity < len + JSON_TEXT_PAD)) {
        size_t capacity = (len + JSON_TEXT_PAD + 4095) & ~(size_t)4095;
        free(doc->text);
        free(doc->decoded);
        doc->decoded = NULL;
        doc->text_capacity = 0;
        doc->text = malloc(capacity);
        if (!doc->text)
            return -ENOMEM;
        doc->text_capacity = capacity;
    }
    if (len > 0)
        memcpy(doc->text, text, len);
    memset(doc->text + len, 0, JSON_TEXT_PAD);
    doc->len = len;
    return 0;
}

void json_error_place(struct json_error *error, const char *text, size_t len)
{
    size_t at = error->offset < len ? error->offset : len, line_start = 0;
    error->line = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            error->line++;
            line_start = i + 1;
        }
    }
    error->column = (uint32_t)(at - line_start + 1);
}
