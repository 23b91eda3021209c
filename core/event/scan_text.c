/* scan_text.c - the close look: finds and masks secrets inside a text. SPDX-License-Identifier: Apache-2.0
 *
 * Runs only on texts that scan.c finds suspicious. Each matcher has a validator behind its beginning, so that ordinary
 * words, ids and numbers stay: Luhn's check and issuer prefixes for cards, structure for tokens, decoding for Basic
 * credentials.
 */
#include "config.h"

#include "event/redact.h"
#include "event/text.h"

struct span { /* of the secret; end 0: none */
    size_t start, end;
};
static const struct span no_span = {0, 0};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
    return is_digit(c) || is_upper(c) || (c >= 'a' && c <= 'z');
}

static bool is_word(char c) /* of base64url */
{
    return is_alnum(c) || c == '_' || c == '-';
}

static bool is_token68(char c) /* RFC 9110 */
{
    return is_word(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static size_t run(const char *s, size_t at, size_t len, bool (*is)(char))
{
    size_t i = at;
    while (i < len && is(s[i]))
        i++;
    return i - at;
}

static bool has(const char *s, size_t at, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len - at >= n && memcmp(s + at, word, n) == 0;
}

static bool has_any_case(const char *s, size_t at, size_t len, const char *word)
{
    size_t n = strlen(word);
    if (len - at < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if ((s[at + i] | 0x20) != (word[i] | 0x20))
            return false;
    }
    return true;
}

/* ---- card numbers ---- */

static bool luhn(const char *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0');
        if (i % 2 == 1)
            d = d * 2 > 9 ? d * 2 - 9 : d * 2;
        sum += d;
    }
    return sum % 10 == 0;
}

/* Issuer ranges with the lengths they use. */
static bool issued(const char *digits, size_t n)
{
    static const struct {
        unsigned from, to; /* of the first four digits */
        unsigned lengths;  /* bit per length */
    } ranges[] = {
        {4000, 4999, 1u << 13 | 1u << 16 | 1u << 19},
        {5100, 5599, 1u << 16},
        {2221, 2720, 1u << 16},
        {3400, 3499, 1u << 15},
        {3700, 3799, 1u << 15},
        {3000, 3059, 1u << 14 | 1u << 16},
        {3600, 3699, 1u << 14 | 1u << 16},
        {3800, 3999, 1u << 14 | 1u << 16},
        {6011, 6011, 15u << 16},
        {6440, 6599, 15u << 16},
        {6200, 6299, 15u << 16},
        {3528, 3589, 15u << 16},
        {5018, 5038, 127u << 13},
        {5893, 5893, 127u << 13},
        {6304, 6304, 127u << 13},
        {6759, 6763, 127u << 13},
        {2200, 2204, 15u << 16},
    };
    unsigned head = 0;
    for (size_t i = 0; i < 4; i++)
        head = head * 10 + (unsigned)(digits[i] - '0');
    for (size_t i = 0; i < AW_ARRAY_LEN(ranges); i++) {
        if (head >= ranges[i].from && head <= ranges[i].to && (ranges[i].lengths >> n & 1))
            return true;
    }
    return false;
}

/* Digits inside a longer hexadecimal word (trace ids, digests) or a UUID are no card number. */
static bool inside_hex_word(const char *s, size_t len, size_t start, size_t end)
{
    size_t a = start, b = end;
    bool letters = false, other = false;
    while (a > 0 && is_word(s[a - 1]))
        a--;
    while (b < len && is_word(s[b]))
        b++;
    for (size_t i = a; i < b; i++) {
        if (i >= start && i < end)
            continue;
        letters |= is_hex(s[i]) && !is_digit(s[i]);
        other |= !is_hex(s[i]) && s[i] != '-';
    }
    return letters && !other;
}

static struct span card(const char *s, size_t at, size_t len)
{
    char digits[19];
    size_t n = 0, end = 0, i = at;
    if (at > 0 && (is_digit(s[at - 1]) || s[at - 1] == '+')) /* +: a telephone number */
        return no_span;
    while (i < len && n < sizeof digits) {
        if (!is_digit(s[i]))
            break;
        digits[n++] = s[i++];
        bool group_end = i == len || !is_digit(s[i]);
        if (group_end && n >= 13 && luhn(digits, n) && issued(digits, n) && !inside_hex_word(s, len, at, i))
            end = i;
        if (group_end && i + 1 < len && (s[i] == ' ' || s[i] == '-') && is_digit(s[i + 1]))
            i++;
    }
    return end ? (struct span){at, end} : no_span;
}

bool scan_number(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]))
            return false;
    }
    return len >= 13 && len <= 19 && luhn(text, len) && issued(text, len);
}

/* ---- tokens ---- */

static struct span jwt(const char *s, size_t at, size_t len)
{
    size_t i = at;
    for (int part = 0; part < 3; part++) {
        size_t n = run(s, i, len, is_word);
        if (n < (part == 0 ? 10u : part == 1 ? 4u : 0u))
            return no_span;
        i += n;
        if (part < 2 && (i >= len || s[i++] != '.'))
            return no_span;
    }
    return (struct span){at, i};
}

static size_t find(const char *s, size_t at, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = at; i + n <= len; i++) {
        if (s[i] == word[0] && memcmp(s + i, word, n) == 0)
            return i;
    }
    return len;
}

/* "-----BEGIN … PRIVATE KEY-----" up to its END line; without one everything behind it. */
static struct span pem(const char *s, size_t at, size_t len)
{
    size_t label_end = find(s, at + 11, len, "-----");
    size_t key = find(s, at, len, "PRIVATE KEY");
    if (label_end == len || key > label_end || label_end - at > 64)
        return no_span;
    size_t end = find(s, label_end, len, "-----END ");
    size_t close = end < len ? find(s, end + 9, len, "-----") : len;
    return (struct span){at, close < len ? close + 5 : len};
}

static bool is_key_id(char c)
{
    return is_upper(c) || is_digit(c);
}

/* Beginnings of tokens that their issuers chose so that they can be found. */
static struct span prefixed(const char *s, size_t at, size_t len)
{
    static const struct {
        const char *prefix;
        bool (*is)(char);
        unsigned min, max; /* of what follows the prefix */
    } kinds[] = {
        {"AKIA", is_key_id, 16, 16},     {"ASIA", is_key_id, 16, 16},     {"AIza", is_word, 35, 39},
        {"ghp_", is_alnum, 20, 255},     {"gho_", is_alnum, 20, 255},     {"ghu_", is_alnum, 20, 255},
        {"ghs_", is_alnum, 20, 255},     {"ghr_", is_alnum, 20, 255},     {"github_pat_", is_word, 20, 255},
        {"glpat-", is_word, 16, 255},    {"xoxb-", is_word, 10, 255},     {"xoxp-", is_word, 10, 255},
        {"xoxa-", is_word, 10, 255},     {"xoxr-", is_word, 10, 255},     {"xoxs-", is_word, 10, 255},
        {"xoxo-", is_word, 10, 255},     {"xoxe-", is_word, 10, 255},     {"xoxe.", is_token68, 10, 512},
        {"sk_live_", is_alnum, 16, 255}, {"rk_live_", is_alnum, 16, 255}, {"sk_test_", is_alnum, 16, 255},
        {"rk_test_", is_alnum, 16, 255}, {"npm_", is_alnum, 30, 255},     {"hf_", is_alnum, 30, 255},
        {"sk-ant-", is_word, 20, 512},   {"sk-proj-", is_word, 20, 512},
    };
    if (at > 0 && is_word(s[at - 1]) && s[at - 1] != '-')
        return no_span;
    for (size_t i = 0; i < AW_ARRAY_LEN(kinds); i++) {
        if (!has(s, at, len, kinds[i].prefix))
            continue;
        size_t n = strlen(kinds[i].prefix), body = run(s, at + n, len, kinds[i].is);
        if (body >= kinds[i].min && body <= kinds[i].max)
            return (struct span){at, at + n + body};
    }
    return no_span;
}

/* ---- credentials of HTTP ---- */

static bool has_digit(const char *s, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        if (is_digit(s[i]))
            return true;
    }
    return false;
}

static struct span bearer(const char *s, size_t at, size_t len)
{
    size_t start = at + 7;
    while (start < len && s[start] == ' ')
        start++;
    size_t n = run(s, start, len, is_token68);
    bool lower_only = true;
    for (size_t i = start; i < start + n; i++)
        lower_only &= s[i] >= 'a' && s[i] <= 'z';
    bool secret = n >= 8 && (has_digit(s, start, n) || (n >= 16 && !lower_only));
    return secret ? (struct span){start, start + n} : no_span;
}

static int base64_value(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(alphabet, c == '-' ? '+' : c == '_' ? '/' : c) : NULL;
    return p ? (int)(p - alphabet) : -1;
}

/* Basic credentials are base64 of "user:password": decoding tells them from a word. */
static struct span basic(const char *s, size_t at, size_t len)
{
    size_t start = at + 6;
    while (start < len && s[start] == ' ')
        start++;
    size_t n = run(s, start, len, is_token68);
    unsigned bits = 0, held = 0;
    bool colon = false, printable = true;
    for (size_t i = start; i < start + n && s[i] != '='; i++) {
        int v = base64_value(s[i]);
        if (v < 0)
            return no_span;
        bits = (bits << 6 | (unsigned)v) & 0xffffu;
        held += 6;
        if (held >= 8) {
            unsigned char c = (unsigned char)(bits >> (held - 8));
            held -= 8;
            colon |= c == ':';
            printable &= c >= 0x20 && c != 0x7f;
        }
    }
    return n >= 4 && colon && printable ? (struct span){start, start + n} : no_span;
}

/* ---- all together ---- */

static struct span match_at(const char *s, size_t at, size_t len)
{
    bool inside = at > 0 && is_alnum(s[at - 1]);
    switch (s[at]) {
    case '-':
        return has(s, at, len, "-----BEGIN ") ? pem(s, at, len) : no_span;
    case 'e':
        return !inside && has(s, at, len, "eyJ") ? jwt(s, at, len) : no_span;
    case 'A':
    case 'g':
    case 'x':
    case 's':
    case 'r':
    case 'n':
    case 'h':
        return prefixed(s, at, len);
    case 'B':
    case 'b':
        if (!inside && has_any_case(s, at, len, "bearer "))
            return bearer(s, at, len);
        return !inside && has_any_case(s, at, len, "basic ") ? basic(s, at, len) : no_span;
    default:
        return is_digit(s[at]) ? card(s, at, len) : no_span;
    }
}

struct masked {
    struct arena *arena;
    char *start, *at, *end;
};

static bool append(struct masked *m, const char *text, size_t len)
{
    if (AW_UNLIKELY((size_t)(m->end - m->at) < len))
        return false;
    memcpy(m->at, text, len);
    m->at += len;
    return true;
}

int scan_text(const char *text, size_t len, const char *mask, size_t mask_len, struct arena *arena, struct aw_str *ret)
{
    struct masked m = {arena, NULL, NULL, NULL};
    size_t copied = 0;
    int count = 0;
    for (size_t i = 0; i < len;) {
        struct span found = match_at(text, i, len);
        if (AW_LIKELY(found.end == 0)) {
            i++;
            continue;
        }
        if (!m.start) { /* a secret has at least 4 bytes, so that this is always enough */
            size_t room = len + (len / 4 + 1) * mask_len;
            m.start = m.at = arena_text(arena, room);
            if (!m.start)
                return -1;
            m.end = m.start + room;
        }
        if (!append(&m, text + copied, found.start - copied) || !append(&m, mask, mask_len))
            return -1;
        copied = i = found.end;
        count++;
    }
    if (count == 0)
        return 0;
    if (!append(&m, text + copied, len - copied))
        return -1;
    arena_shrink(arena, m.at);
    *ret = (struct aw_str){m.start, (size_t)(m.at - m.start)};
    return count;
}
