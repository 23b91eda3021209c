/* clock.c - see clock.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"

#include "base/base.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000
#define SECONDS_PER_DAY 86400

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t); /* cannot fail for these two ids */
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_real_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void clock_sleep_ns(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
        ;
}

/* Days since 1970-01-01 of a proleptic Gregorian date, and back: counting from 1 March of year 0 puts the leap day at a
 * year's end, so that both directions are plain arithmetic. */
static int64_t days_from_civil(unsigned y, unsigned m, unsigned d)
{
    static const uint16_t before[12] = {306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275}; /* days since March */
    y += m > 2 ? 400 : 399; /* 400 years have 146097 days */
    return (int64_t)((uint64_t)y * 365 + y / 4 - y / 100 + y / 400 + before[m - 1] + d) - 146097 - 719469;
}

static void civil_from_days(int64_t days, int64_t *y, unsigned *m, unsigned *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static void put_digits(char *out, unsigned value, size_t count)
{
    for (size_t i = count; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
}

size_t clock_format_rfc3339(int64_t ns, char out[CLOCK_RFC3339_MAX])
{
    /* int64_t nanoseconds reach from 1677 to 2262: always four digits of year. */
    int64_t secs = ns / NS_PER_S;
    int64_t frac = ns % NS_PER_S;
    if (frac < 0) {
        frac += NS_PER_S;
        secs--;
    }
    int64_t days = secs / SECONDS_PER_DAY;
    int64_t rem = secs % SECONDS_PER_DAY;
    if (rem < 0) {
        rem += SECONDS_PER_DAY;
        days--;
    }
    int64_t y;
    unsigned m, d;
    civil_from_days(days, &y, &m, &d);
    memcpy(out, "0000-00-00T00:00:00.000Z", 25);
    put_digits(out, (unsigned)y, 4);
    put_digits(out + 5, m, 2);
    put_digits(out + 8, d, 2);
    put_digits(out + 11, (unsigned)(rem / 3600), 2);
    put_digits(out + 14, (unsigned)(rem / 60 % 60), 2);
    put_digits(out + 17, (unsigned)(rem % 60), 2);
    put_digits(out + 20, (unsigned)(frac / 1000000), 3);
    return 24;
}

static bool get_digits(const char *s, size_t count, unsigned *ret)
{
    unsigned v = 0;
    for (size_t i = 0; i < count; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s[i] - '0');
    }
    *ret = v;
    return true;
}

static bool is_leap(unsigned y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static bool parse_fraction(const char **s, const char *end, int64_t *ret_ns)
{
    static const int64_t unit[] = {0, 100000000, 10000000, 1000000, 100000, 10000, 1000, 100, 10, 1};
    int64_t digits = 0;
    unsigned n = 0;
    const char *p = *s;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (n < AW_ARRAY_LEN(unit) - 1) {
            digits = digits * 10 + (*p - '0');
            n++;
        }
    }
    *s = p;
    *ret_ns = digits * unit[n];
    return n > 0;
}

/* "Z", "+hh:mm" or "-hh:mm" up to the end, as seconds east of UTC. */
static bool parse_offset(const char *s, const char *end, int64_t *ret)
{
    if (end - s == 1 && (*s == 'Z' || *s == 'z')) {
        *ret = 0;
        return true;
    }
    unsigned hh, mm;
    if (end - s != 6 || (*s != '+' && *s != '-') || s[3] != ':' || !get_digits(s + 1, 2, &hh) ||
        !get_digits(s + 4, 2, &mm) || hh > 23 || mm > 59)
        return false;
    int64_t secs = (int64_t)hh * 3600 + (int64_t)mm * 60;
    *ret = *s == '-' ? -secs : secs;
    return true;
}

struct civil_time {
    unsigned y, mo, d, h, mi, sec;
    int64_t frac, offset; /* ns; seconds east of UTC */
};

static bool parse_any(const char *s, size_t len, struct civil_time *t)
{
    if (len < 20 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't') || s[13] != ':' || s[16] != ':' ||
        !get_digits(s, 4, &t->y) || !get_digits(s + 5, 2, &t->mo) || !get_digits(s + 8, 2, &t->d) ||
        !get_digits(s + 11, 2, &t->h) || !get_digits(s + 14, 2, &t->mi) || !get_digits(s + 17, 2, &t->sec))
        return false;
    const char *p = s + 19, *end = s + len;
    t->frac = 0;
    if (*p == '.') {
        p++;
        if (!parse_fraction(&p, end, &t->frac))
            return false;
    }
    return p < end && parse_offset(p, end, &t->offset);
}

/* Eight bytes of a form such as "0000-00-", in which '0' stands for any digit; `room` has 6 there and 15 elsewhere. Of
 * digits their values remain, of the rest 0; *bad: it has not that form. */
static inline uint64_t take_form(const char *s, const char form[8], const char room[8], uint64_t *bad)
{
    uint64_t x = base_le64(s) ^ base_le64(form);
    *bad |= (x | (x + base_le64(room))) & UINT64_C(0xf0f0f0f0f0f0f0f0);
    return x;
}

static inline unsigned two_digits(uint64_t digits, unsigned at)
{
    return (unsigned)(digits >> 8 * at & 15) * 10 + (unsigned)(digits >> 8 * (at + 1) & 15);
}

/* What we write ourselves, and nearly everybody: 24 bytes, all looked at at once. */
static bool parse_usual(const char *s, size_t len, struct civil_time *t)
{
    uint64_t bad = 0;
    if (len != 24)
        return false;
    uint64_t a = take_form(s, "0000-00-", "\6\6\6\6\17\6\6\17", &bad);
    uint64_t b = take_form(s + 8, "00T00:00", "\6\6\17\6\6\17\6\6", &bad);
    uint64_t c = take_form(s + 16, ":00.000Z", "\17\6\6\17\6\6\6\17", &bad);
    if (bad)
        return false;
    *t = (struct civil_time){.y = two_digits(a, 0) * 100 + two_digits(a, 2),
                             .mo = two_digits(a, 5),
                             .d = two_digits(b, 0),
                             .h = two_digits(b, 3),
                             .mi = two_digits(b, 6),
                             .sec = two_digits(c, 1),
                             .frac = (int64_t)(two_digits(c, 4) * 10 + (unsigned)(c >> 48 & 15)) * 1000000};
    return true;
}

bool clock_parse_rfc3339(const char *s, size_t len, int64_t *ret_ns)
{
    static const unsigned char month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct civil_time t;
    if (!parse_usual(s, len, &t) && !parse_any(s, len, &t))
        return false;
    if (t.mo < 1 || t.mo > 12 || t.d < 1 || t.h > 23 || t.mi > 59 || t.sec > 60)
        return false;
    if (t.d > month_days[t.mo - 1] + (unsigned)(t.mo == 2 && is_leap(t.y)))
        return false;
    int64_t secs = days_from_civil(t.y, t.mo, t.d) * SECONDS_PER_DAY + (int64_t)(t.h * 3600 + t.mi * 60 + t.sec);
    secs -= t.offset;
    /* Years outside 1678..2261 are valid text but no int64_t nanoseconds: clamped, order is kept. */
    if (__builtin_mul_overflow(secs, (int64_t)NS_PER_S, ret_ns) || __builtin_add_overflow(*ret_ns, t.frac, ret_ns))
        *ret_ns = secs < 0 ? INT64_MIN : INT64_MAX;
    return true;
}
