/* http_text.c - what others say, made fit for a message. SPDX-License-Identifier: Apache-2.0
 *
 * A receiver may echo what it was sent, credentials included: every text from outside passes ht_clean().
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http_reply.h"
#include "http_sink.h"

/* How many bytes at `text` are a secret, or the begin of one that was cut off at the end; 0: none. */
static size_t secret_at(const struct ht_settings *set, const char *text, size_t len)
{
    size_t longest = 0;
    for (size_t i = 0; i < set->secret_count; i++) {
        size_t n = strlen(set->secrets[i]), part = n < len ? n : len;
        if ((part == n || part >= 4) && part > longest && memcmp(text, set->secrets[i], part) == 0)
            longest = part;
    }
    return longest;
}

/* The length of the printable UTF-8 character at text, or 0. */
static size_t printable(const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];
    size_t n = c >= 0x20 && c < 0x7f ? 1 : c >= 0xc3 && c < 0xe0 ? 2 : c >= 0xe1 && c < 0xf0 ? 3 : 0;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    /* Marks that change the direction of what follows could make a log say something else. */
    return n == 3 && c == 0xe2 && ((unsigned char)text[1] == 0x80 || (unsigned char)text[1] == 0x81) ? 0 : n;
}

void ht_clean(const struct ht_settings *set, const char *text, size_t len, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        size_t hidden = secret_at(set, text + i, len - i), n = hidden > 0 ? 0 : printable(text + i, len - i);
        const char *from = hidden > 0 ? "***" : n > 0 ? text + i : text[i] == '\n' || text[i] == '\t' ? " " : "?";
        size_t add = hidden > 0 ? 3 : n > 0 ? n : 1;
        if (used + add >= size)
            break;
        memcpy(out + used, from, add);
        used += add;
        i += hidden > 0 ? hidden : add;
    }
    out[used] = '\0';
}

void ht_peer_says(const struct ht_sink *s, const struct ht_answer *a, char *out, size_t size)
{
    struct ht_reply reply;
    out[0] = '\0';
    if (ht_is_json(a) && ht_reply_read(a->text, a->len, NULL, NULL, &reply))
        ht_clean(s->settings, reply.message, reply.message_len, out, size);
    else if (!ht_is_json(a) && !ht_is_page(a) && strncasecmp(a->content_type, "text/plain", 10) == 0)
        ht_clean(s->settings, a->text, a->len < 4096 ? a->len : 4096, out, size);
}
