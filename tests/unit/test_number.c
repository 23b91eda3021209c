/* test_number.c - number text against an independent oracle. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/json.h"
#include "event/number.h"
#include "event/pow10.h"
#include "base/base.h"
#include "harness.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>

#define DOUBLES 1200000u

static double from_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static uint64_t to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* Of every kind that matters: any bit pattern, borders of powers of two, decimals as programs write them, big integers.
 */
static double draw(uint64_t *random, size_t i)
{
    uint64_t r = harness_random(random);
    switch (i % 8) {
    case 0:
    case 1:
    case 2:
        return from_bits(r);
    case 3:
        return from_bits((r % 2047) << 52) + 0.0; /* powers of two: the interval below is half as wide */
    case 4:
        return from_bits(((r % 2046) << 52) + (harness_random(random) % 5) - 2);
    case 5:
        return (double)(int64_t)(r % 2000000000u) / 1000.0;
    case 6:
        return (double)(r >> (r % 64));
    default:
        return (double)(r % 100000000000000000u) * pow(10, (double)(harness_random(random) % 40) - 20.0);
    }
}

struct oracle {
    const char *program, *argument;
};

/* 16 hexadecimal digits a line in, number text a line out. */
static const char node_script[] =
    "const l=require('fs').readFileSync(0,'latin1').split('\\n');const v=new DataView(new ArrayBuffer(8));const o=[];"
    "for(const s of l){if(!s)continue;v.setBigUint64(0,BigInt('0x'+s));o.push(String(v.getFloat64(0)));}"
    "process.stdout.write(o.join('\\n')+'\\n');";
static const char python_script[] =
    "import sys,struct\n"
    "from decimal import Decimal\n"
    "def js(v):\n"
    "    if v==0: return '0'\n"
    "    s='-' if v<0 else ''\n"
    "    t=Decimal(repr(abs(v))).as_tuple()\n"
    "    d=''.join(map(str,t.digits)).lstrip('0'); e=t.exponent\n"
    "    k=d.rstrip('0'); e+=len(d)-len(k); d=k; k=len(d); n=k+e\n"
    "    if k<=n<=21: r=d+'0'*(n-k)\n"
    "    elif 0<n<=21: r=d[:n]+'.'+d[n:]\n"
    "    elif -6<n<=0: r='0.'+'0'*-n+d\n"
    "    else: r=d[0]+('.'+d[1:] if k>1 else '')+'e'+('+' if n>0 else '-')+str(abs(n-1))\n"
    "    return s+r\n"
    "for l in sys.stdin:\n"
    "    print(js(struct.unpack('>d',bytes.fromhex(l.strip()))[0]))\n";

static bool have(const char *program)
{
    char command[600];
    snprintf(command, sizeof command, "%s --version >/dev/null 2>&1", program);
    return *program && system(command) == 0;
}

static FILE *ask(const char *program, const char *flag, const char *script, const char *in)
{
    char path[600], command[2400];
    snprintf(path, sizeof path, "%s/oracle", harness_tmpdir());
    FILE *f = fopen(path, "w");
    if (!f || fputs(script, f) < 0 || fclose(f) != 0)
        return NULL;
    snprintf(command, sizeof command, "%s%s '%s' < '%s'", program, flag, path, in);
    return popen(command, "r");
}

static FILE *start_oracle(const char *in)
{
    const char *node = getenv("NODE"), *python = getenv("PYTHON3");
    if (have(node && *node ? node : "node")) {
        harness_note("oracle: node");
        return ask(node && *node ? node : "node", "", node_script, in);
    }
    if (have(python && *python ? python : "python3")) {
        harness_note("oracle: python3");
        return ask(python && *python ? python : "python3", "", python_script, in);
    }
    return NULL;
}

static void test_oracle(void)
{
    uint64_t random = harness_seed();
    char in[600];
    snprintf(in, sizeof in, "%s/doubles", harness_tmpdir());
    double *values = malloc(DOUBLES * sizeof *values);
    FILE *f = fopen(in, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (size_t i = 0; i < DOUBLES; i++) {
        do
            values[i] = draw(&random, i);
        while (!isfinite(values[i]));
        fprintf(f, "%016llx\n", (unsigned long long)to_bits(values[i]));
    }
    CU_ASSERT_EQUAL_FATAL(fclose(f), 0);
    FILE *oracle = start_oracle(in);
    if (!oracle) {
        free(values);
        harness_skip("neither node nor python3 is here");
        return;
    }
    size_t compared = 0, bad = 0;
    char line[128], mine[JSON_NUMBER_MAX + 1];
    for (; compared < DOUBLES && fgets(line, sizeof line, oracle); compared++) {
        line[strcspn(line, "\n")] = '\0';
        size_t n = json_format_double(values[compared], mine);
        mine[n] = '\0';
        double back = 0;
        bool same = strcmp(line, mine) == 0;
        mine[n] = ','; /* what may follow a number */
        bool reads =
            number_parse(mine, n, &back) && (to_bits(back) == to_bits(values[compared]) || values[compared] == 0);
        mine[n] = '\0';
        if ((!same || !reads) && bad++ < 5)
            harness_note("%016llx: oracle %s, here %s", (unsigned long long)to_bits(values[compared]), line, mine);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_EQUAL(compared, DOUBLES);
    CU_ASSERT_EQUAL(pclose(oracle), 0);
    free(values);
}

static void expect(double v, const char *text)
{
    char out[JSON_NUMBER_MAX + 1];
    out[json_format_double(v, out)] = '\0';
    if (strcmp(out, text) != 0)
        harness_note("%a: %s, expected %s", v, out, text);
    CU_ASSERT_STRING_EQUAL(out, text);
}

static void test_known(void)
{
    expect(0.0, "0");
    expect(-0.0, "0");
    expect(1.0, "1");
    expect(-1.5, "-1.5");
    expect(12.345, "12.345");
    expect(0.1 + 0.2, "0.30000000000000004");
    expect(5e-324, "5e-324");
    expect(2.2250738585072014e-308, "2.2250738585072014e-308");
    expect(1.7976931348623157e308, "1.7976931348623157e+308");
    expect(9007199254740992.0, "9007199254740992");
    expect(1e21, "1e+21");
    expect(123456789012345680000.0, "123456789012345680000");
    expect(0.000001, "0.000001");
    expect(0.0000001, "1e-7");
    expect(333333333.33333329, "333333333.3333333"); /* appendix B of RFC 8785 */
    expect(1424953923781206.2, "1424953923781206.2");
    expect(9.5367431640625e-7, "9.5367431640625e-7");
    expect(2e-44, "2e-44");
    expect(4.35, "4.35");
    expect(1e23, "1e+23");
}

static void test_integers(void)
{
    static const struct {
        int64_t v;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1, "-1"},
                 {9, "9"},
                 {10, "10"},
                 {99, "99"},
                 {100, "100"},
                 {12345, "12345"},
                 {9007199254740992, "9007199254740992"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        char out[32];
        out[number_format_int(cases[i].v, out)] = '\0';
        CU_ASSERT_STRING_EQUAL(out, cases[i].text);
    }
}

/* A decimal comma must not leak in, neither way. */
static void test_locale(void)
{
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"};
    bool set = false;
    for (size_t i = 0; i < AW_ARRAY_LEN(commas) && !set; i++)
        set = setlocale(LC_ALL, commas[i]) != NULL;
    double back = 0;
    expect(0.5, "0.5");
    expect(1.0 / 3, "0.3333333333333333");
    CU_ASSERT_TRUE(number_parse("0.33333333333333331,", 19, &back));
    CU_ASSERT_EQUAL(back, 1.0 / 3);
    CU_ASSERT_TRUE(number_parse("1.5e300,", 7, &back));
    CU_ASSERT_EQUAL(back, 1.5e300);
    CU_ASSERT_TRUE(number_holds_integer(1e22, "10000000000000000000000", 23));
    CU_ASSERT_FALSE(number_holds_integer(1e23, "100000000000000000000000", 24));
    if (!set)
        harness_note("no locale with a decimal comma is installed: only the C locale was tried");
    setlocale(LC_ALL, "C");
}

/* ---- the table, computed anew with numbers of 64 words ---- */

#define WORDS 40
struct big {
    uint32_t w[WORDS]; /* little endian */
};

static void big_mul(struct big *b, uint32_t by)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < WORDS; i++) {
        carry += (uint64_t)b->w[i] * by;
        b->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* Divides by ten; true: without remainder. */
static bool big_div10(struct big *b)
{
    uint64_t rest = 0;
    for (size_t i = WORDS; i-- > 0;) {
        rest = rest << 32 | b->w[i];
        b->w[i] = (uint32_t)(rest / 10);
        rest %= 10;
    }
    return rest == 0;
}

static int big_top(const struct big *b)
{
    for (int i = WORDS * 32 - 1; i >= 0; i--) {
        if (b->w[i / 32] >> (i % 32) & 1)
            return i;
    }
    return -1;
}

static bool big_bit(const struct big *b, int i)
{
    return i >= 0 && (b->w[i / 32] >> (i % 32) & 1);
}

/* The 128 bits from the top down, rounded up when anything lies below or was lost before. */
static void big_head(const struct big *b, bool lost, uint64_t out[2])
{
    int top = big_top(b);
    out[0] = out[1] = 0;
    for (int i = 0; i < 128; i++)
        out[i / 64] |= (uint64_t)big_bit(b, top - i) << (63 - i % 64);
    for (int i = top - 128; i >= 0 && !lost; i--)
        lost = big_bit(b, i);
    if (lost && ++out[1] == 0)
        out[0]++;
}

static void test_table(void)
{
    struct big b = {{1}};
    int bad = 0;
    for (int k = 0; k <= POW10_MAX; k++) {
        uint64_t head[2];
        big_head(&b, false, head);
        bad += memcmp(head, pow10_table[k - POW10_MIN], sizeof head) != 0;
        if (k < POW10_MAX)
            big_mul(&b, 10);
    }
    CU_ASSERT_EQUAL(bad, 0);
    /* 10^-k from 2^1279 / 10^k: 300 bits and more are left at the smallest, and never is it exact. */
    memset(&b, 0, sizeof b);
    b.w[WORDS - 1] = 1u << 31;
    bool lost = false;
    for (int k = 1; k <= -POW10_MIN; k++) {
        uint64_t head[2];
        lost |= !big_div10(&b);
        big_head(&b, lost, head);
        bad += memcmp(head, pow10_table[-k - POW10_MIN], sizeof head) != 0;
    }
    CU_ASSERT_EQUAL(bad, 0);
}

HARNESS_MAIN("number", {"known values", test_known}, {"integers", test_integers}, {"locale", test_locale},
             {"powers of ten", test_table}, {"1,200,000 doubles against an oracle", test_oracle})
