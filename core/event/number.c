/* number.c - doubles to text as ECMAScript prints them, and back; never through the locale.
 * SPDX-License-Identifier: Apache-2.0
 *
 * RFC 8785 wants Number::toString of ECMA-262: the shortest digits that read back as the same double, and of those the
 * ones nearest to it. Small integers and short decimals, which are nearly all numbers of audit events, are found with
 * one division; the rest by Raffaello Giulietti's Schubfach method ("The Schubfach way to render doubles"): scale the
 * double and the borders of its rounding interval by a power of ten with 128-bit arithmetic, and pick the shortest
 * integer in between.
 */
#include "config.h"

#include "event/number.h"

#include "base/base.h"
#include "event/json.h"
#include "event/pow10.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t v)
{
    unsigned n = 1;
    for (; v >= 10000; v /= 10000)
        n += 4;
    return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

static void put_digits(char *out, uint64_t v, unsigned count)
{
    while (count >= 2) {
        count -= 2;
        memcpy(out + count, digit_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (count)
        *out = (char)('0' + v % 10);
}

size_t number_format_int(int64_t value, char *out)
{
    uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *p = out;
    if (value < 0)
        *p++ = '-';
    unsigned n = count_digits(v);
    put_digits(p, v, n);
    return (size_t)(p - out) + n;
}

struct decimal { /* digits * 10^exponent */
    uint64_t digits;
    int exponent;
};

/* ECMA-262 Number::toString, from step 5 on. */
static size_t layout(struct decimal d, char *out)
{
    while (d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    int k = (int)count_digits(d.digits);
    int n = k + d.exponent;
    char *p = out;
    if (k <= n && n <= 21) {
        put_digits(p, d.digits, (unsigned)k);
        memset(p + k, '0', (size_t)(n - k));
        return (size_t)n;
    }
    if (0 < n && n <= 21) {
        char tmp[24];
        put_digits(tmp, d.digits, (unsigned)k);
        memcpy(p, tmp, (size_t)n);
        p[n] = '.';
        memcpy(p + n + 1, tmp + n, (size_t)(k - n));
        return (size_t)k + 1;
    }
    if (-6 < n && n <= 0) {
        memcpy(p, "0.00000", 7);
        put_digits(p + 2 - n, d.digits, (unsigned)k);
        return (size_t)(2 - n + k);
    }
    put_digits(p + 1, d.digits, (unsigned)k);
    p[0] = p[1];
    p[1] = '.';
    p += k == 1 ? 1 : k + 1;
    int e = n - 1;
    *p++ = 'e';
    *p++ = e < 0 ? '-' : '+';
    e = e < 0 ? -e : e;
    unsigned width = e >= 100 ? 3 : e >= 10 ? 2 : 1;
    put_digits(p, (uint64_t)e, width);
    return (size_t)(p - out) + width;
}

/* floor(g * cp / 2^128), with the lowest bit set when anything was cut off: enough to compare it rightly with integers.
 */
static uint64_t round_to_odd(const uint64_t g[2], uint64_t cp)
{
    __extension__ typedef unsigned __int128 u128;
    u128 low = (u128)g[1] * cp;
    u128 high = (u128)g[0] * cp + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* floor(x / 2^bits), also of a negative x. */
static inline int shift_down(int x, int bits)
{
    return x < 0 ? ~(~x >> bits) : x >> bits;
}

#define FRACTION_BITS 52
#define EXPONENT_BIAS 1075 /* of the significand read as an integer */

/* value: positive, finite. The value's interval of numbers that round to it is [cbl, cbr] / 4 * 2^q; at a power of two
 * the lower half is only half as wide, because the next smaller double is nearer. */
static struct decimal shortest(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & ((UINT64_C(1) << FRACTION_BITS) - 1);
    int be = (int)(bits >> FRACTION_BITS);
    uint64_t c = be ? fraction | UINT64_C(1) << FRACTION_BITS : fraction;
    int q = (be ? be : 1) - EXPONENT_BIAS;
    bool narrow_below = fraction == 0 && be > 1;
    bool even = (c & 1) == 0;
    uint64_t cb = 4 * c, cbl = cb - 2 + narrow_below, cbr = cb + 2;
    /* k = floor(log10(width of the interval)); h brings the product to a whole number of quarters */
    int k = shift_down(q * 1262611 - (narrow_below ? 524031 : 0), 22);
    int h = q + shift_down(-k * 1741647, 19) + 1;
    const uint64_t *g = pow10_table[-k - POW10_MIN];
    uint64_t vbl = round_to_odd(g, cbl << h), vb = round_to_odd(g, cb << h), vbr = round_to_odd(g, cbr << h);
    uint64_t lower = vbl + !even, upper = vbr - !even;
    uint64_t s = vb / 4;
    if (s >= 10) { /* one digit less? */
        uint64_t t = s / 10;
        bool down = lower <= 40 * t, up = 40 * t + 40 <= upper;
        if (down != up)
            return (struct decimal){t + up, k + 1};
    }
    bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    if (down != up)
        return (struct decimal){s + up, k};
    uint64_t mid = 4 * s + 2;
    return (struct decimal){s + (vb > mid || (vb == mid && (s & 1))), k};
}

/* Integers below 2^53 and decimals with few places: value * 10^p is tried as an integer r < 10^15; r / 10^p is
 * correctly rounded, so when it gives the value back, r's digits (at most 15, hence unique) are the shortest. */
static bool try_short(double value, struct decimal *ret)
{
    static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    static const int places[] = {3, 6};
    if (!(value < 1e15))
        return false;
    uint64_t whole = (uint64_t)value;
    if ((double)whole == value) {
        *ret = (struct decimal){whole, 0};
        return true;
    }
    for (size_t i = 0; i < AW_ARRAY_LEN(places); i++) {
        double t = value * tens[places[i]];
        if (!(t < 1e15))
            return false;
        uint64_t r = (uint64_t)(t + 0.5);
        if ((double)r / tens[places[i]] == value) {
            *ret = (struct decimal){r, -places[i]};
            return true;
        }
    }
    return false;
}

size_t json_format_double(double value, char out[JSON_NUMBER_MAX])
{
    char *p = out;
    if (value == 0) { /* -0 too */
        *p = '0';
        return 1;
    }
    if (value < 0) {
        *p++ = '-';
        value = -value;
    }
    struct decimal d;
    if (!try_short(value, &d))
        d = shortest(value);
    return (size_t)(p - out) + layout(d, p);
}

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Up to 19 digits and a power of ten that a double holds exactly: one rounding, hence right (Clinger). */
static bool parse_exactly(const char *text, size_t len, double *ret)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text, *end = text + len;
    bool negative = *p == '-';
    p += negative;
    uint64_t m = 0;
    int exponent = 0, e = 0, digits = 0;
    bool point = false;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        m = m * 10 + (uint64_t)(*p - '0');
        digits += m != 0;
        exponent -= point;
        if (digits > 18)
            return false;
    }
    if (p < end) {
        p++;
        bool down = *p == '-';
        p += *p == '-' || *p == '+';
        for (; p < end; p++) {
            e = e * 10 + (*p - '0');
            if (e > 1000)
                return false;
        }
        exponent += down ? -e : e;
    }
    if (m > UINT64_C(1) << 53 || exponent < -22 || exponent > 22)
        return false;
    double v = (double)m;
    v = exponent < 0 ? v / tens[-exponent] : v * tens[exponent];
    *ret = negative ? -v : v;
    return true;
}

bool number_parse(const char *text, size_t len, double *ret)
{
#if FLT_EVAL_METHOD == 0 || defined(__SSE2__)
    if (parse_exactly(text, len, ret))
        return true;
#endif
    (void)pthread_once(&locale_once, make_locale);
    if (c_locale == (locale_t)0)
        return false;
    *ret = strtod_l(text, NULL, c_locale);
    return true;
}

bool number_holds_integer(double value, const char *text, size_t len)
{
    bool negative = *text == '-';
    text += negative;
    len -= negative;
    double magnitude = value < 0 ? -value : value;
    if (len <= 19) {
        uint64_t v = 0;
        for (size_t i = 0; i < len; i++)
            v = v * 10 + (uint64_t)(text[i] - '0');
        return magnitude < 18446744073709551616.0 && (uint64_t)magnitude == v;
    }
    char exact[320]; /* the largest double has 309 digits; without decimals nothing of it depends on the locale */
    int n = snprintf(exact, sizeof exact, "%.0f", magnitude);
    return n > 0 && (size_t)n == len && memcmp(exact, text, len) == 0;
}
