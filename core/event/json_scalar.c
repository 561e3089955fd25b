/* json_scalar.c: strings, numbers and atoms: where they end, whether they are valid, what they
 * mean. */
#include "event/json_private.h"

#include <stdlib.h>

/* Length of the UTF-8 sequence at p, or 0 (RFC 3629: no overlong forms, no surrogates, nothing past
 * U+10FFFF). */
static unsigned utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    unsigned char c = *p;
    if (c < 0x80) return 1;
    if (c < 0xc2) return 0;
    size_t left = (size_t)(end - p);
    if (c < 0xe0) return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (c < 0xf0) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) return 0;
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f)) return 0;
        return 3;
    }
    if (c < 0xf5) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
            return 0;
        if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f)) return 0;
        return 4;
    }
    return 0;
}

size_t mw_utf8_prefix(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        unsigned step = utf8_sequence(p, end);
        if (!step) break;
        p += step;
    }
    return (size_t)(p - (const unsigned char *)text);
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

static const char *escape_end(mw_json_reader *r, const char *p)
{
    if (p + 1 >= r->end) return mw_json_fault_at(r, p, "a string that does not end");
    if (strchr("\"\\/bfnrt", p[1]) && p[1]) return p + 2;
    if (p[1] != 'u') return mw_json_fault_at(r, p, "an unknown escape in a string");
    if (r->end - p < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
        return mw_json_fault_at(r, p, "\\u wants four hexadecimal digits");
    return p + 6;
}

const char *mw_json_string_end(mw_json_reader *r, const char *p, int *plain)
{
    *plain = 1;
    for (;;) {
        unsigned run = mw_json_plain_run(p);
        p += run;
        if (p >= r->end) return mw_json_fault_at(r, r->end, "a string that does not end");
        if (run == 32) continue;
        if (*p == '"') return p;
        if (*p == '\\') {
            *plain = 0;
            p = escape_end(r, p);
            if (!p) return NULL;
        } else if ((unsigned char)*p < 0x20) {
            return mw_json_fault_at(r, p,
                                    "a control character in a string (write it as an escape)");
        } else {
            unsigned step = utf8_sequence((const unsigned char *)p, (const unsigned char *)r->end);
            if (!step) return mw_json_fault_at(r, p, "bytes that are not UTF-8");
            p += step;
        }
    }
}

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

const char *mw_json_number_end(mw_json_reader *r, const char *p)
{
    const char *end = r->end;
    if (p < end && *p == '-') p++;
    const char *whole = p;
    p = digits(p, end);
    if (p == whole) return mw_json_fault_at(r, p, "a number without digits");
    if (*whole == '0' && p - whole > 1)
        return mw_json_fault_at(r, whole, "a number with a leading zero");
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = digits(p, end);
        if (p == fraction)
            return mw_json_fault_at(r, p, "a number without digits behind its point");
    }
    if (p < end && (*p | 32) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        const char *exponent = p;
        p = digits(p, end);
        if (p == exponent) return mw_json_fault_at(r, p, "a number without digits in its exponent");
    }
    return p;
}

const char *mw_json_atom_end(mw_json_reader *r, const char *p, uint32_t *kind)
{
    size_t left = (size_t)(r->end - p);
    if (left >= 4 && memcmp(p, "true", 4) == 0) return *kind = MW_TRUE, p + 4;
    if (left >= 5 && memcmp(p, "false", 5) == 0) return *kind = MW_FALSE, p + 5;
    if (left >= 4 && memcmp(p, "null", 4) == 0) return *kind = MW_NULL, p + 4;
    return mw_json_fault_at(r, p, "something that is no JSON value");
}

/* Up to 15 digits and a power of ten up to 22 are exact in doubles, and so is one operation on them
 * (Clinger, "How to read floating point numbers accurately", PLDI 1990); everything else is left to
 * strtod. */
void mw_json_number_read(mw_value *v, const char *text, size_t len)
{
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text, *end = text + len, *point = NULL;
    int negative = *p == '-';
    uint64_t whole = 0;
    for (p += negative; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9) break;
        whole = whole * 10 + digit;
    }
    unsigned count = (unsigned)(p - text) - (unsigned)negative, fraction = 0;
    if (p < end && *p == '.') {
        for (point = ++p; p < end; p++) {
            unsigned digit = (unsigned)(unsigned char)*p - '0';
            if (digit > 9) break;
            whole = whole * 10 + digit;
        }
        fraction = (unsigned)(p - point), count += fraction;
    }
    v->kind = MW_NUMBER, v->text = text, v->len = (uint32_t)len;
    if (p == end && count <= 15) {
        double d = point ? (double)whole / powers[fraction] : (double)whole;
        v->number = negative ? -d : d;
        return;
    }
    char copy[64];
    if (len < sizeof copy) {
        memcpy(copy, text, len), copy[len] = 0;
        v->number = strtod(copy, NULL);
    } else {
        char *heap = strndup(text, len);
        mw_assert(heap != NULL);
        v->number = strtod(heap, NULL);
        free(heap);
    }
    if (p == end && !point && (count > 19 || whole > (uint64_t)1 << 53)) v->kind = MW_INTEGER;
}
