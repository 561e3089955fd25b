/* json_write.c: text into JSON and back: quoting, unescaping, numbers. */
#include "event/json_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static unsigned hex4(const char *p)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)p[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

static void append_rune(mw_buffer *out, unsigned rune)
{
    unsigned char utf8[4];
    size_t n;
    if (rune < 0x80) utf8[0] = (unsigned char)rune, n = 1;
    else if (rune < 0x800)
        utf8[0] = (unsigned char)(0xc0 | rune >> 6), utf8[1] = (unsigned char)(0x80 | (rune & 63)),
        n = 2;
    else if (rune < 0x10000)
        utf8[0] = (unsigned char)(0xe0 | rune >> 12),
        utf8[1] = (unsigned char)(0x80 | (rune >> 6 & 63)),
        utf8[2] = (unsigned char)(0x80 | (rune & 63)), n = 3;
    else
        utf8[0] = (unsigned char)(0xf0 | rune >> 18),
        utf8[1] = (unsigned char)(0x80 | (rune >> 12 & 63)),
        utf8[2] = (unsigned char)(0x80 | (rune >> 6 & 63)),
        utf8[3] = (unsigned char)(0x80 | (rune & 63)), n = 4;
    mw_buffer_append(out, utf8, n);
}

/* `p` is at the backslash of \uXXXX; returns how many bytes were used. */
static size_t unescape_unicode(mw_buffer *out, const char *p, const char *end)
{
    unsigned rune = hex4(p + 2);
    if (rune < 0xd800 || rune > 0xdfff) return append_rune(out, rune), 6;
    if (rune < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        unsigned low = hex4(p + 8);
        if (low >= 0xdc00 && low <= 0xdfff)
            return append_rune(out, 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00)), 12;
    }
    return mw_buffer_append(out, replacement, 3), 6;
}

void mw_json_unescape(mw_buffer *out, const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        if (!slash) slash = end;
        mw_buffer_append(out, p, (size_t)(slash - p));
        if (slash == end) return;
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        if (slash[1] == 'u') {
            p = slash + unescape_unicode(out, slash, end);
        } else {
            const char *which = strchr(from, slash[1]);
            mw_buffer_append(out, &to[which - from], 1);
            p = slash + 2;
        }
    }
}

static void quote_one(mw_buffer *out, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *which = c ? strchr(from, c) : NULL;
    if (which) mw_buffer_append(out, (char[]){'\\', to[which - from]}, 2);
    else
        mw_buffer_format(out, "\\u%04x", c);
}

void mw_json_quote(mw_buffer *out, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    mw_buffer_append(out, "\"", 1);
    while (p < end) {
        const unsigned char *run = p;
        while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
        mw_buffer_append(out, run, (size_t)(p - run));
        if (p == end) break;
        if (*p < 0x80) {
            quote_one(out, *p++);
            continue;
        }
        size_t valid = mw_utf8_prefix((const char *)p, (size_t)(end - p < 4 ? end - p : 4));
        if (valid) {
            /* the prefix may go on with ASCII that wants quoting: take the first sequence only */
            size_t step = 1;
            while (step < valid && (p[step] & 0xc0) == 0x80) step++;
            mw_buffer_append(out, p, step);
            p += step;
        } else {
            mw_buffer_append(out, replacement, 3);
            p++;
        }
    }
    mw_buffer_append(out, "\"", 1);
}

void mw_json_number(mw_buffer *out, double number)
{
    char text[40];
    if (!isfinite(number)) {
        mw_buffer_append(out, "null", 4);
        return;
    }
    if (number == floor(number) && fabs(number) < 1e15) {
        if (number == 0 && signbit(number)) mw_buffer_append(out, "-0.0", 4);
        else
            mw_buffer_append(out, text,
                             (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
        return;
    }
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    mw_buffer_append(out, text, (size_t)n);
}
