/* ubjson.c: UBJSON as JSON text. See document.h. */
#include "score/document.h"

#include <math.h>
#include <string.h>

enum { DEPTH = 64 };

typedef struct reader {
    const unsigned char *bytes;
    size_t at, len;
    mw_buffer *out;
    const char *fault;
} reader;

static void value(reader *r, int type, int depth);

static int fail(reader *r, const char *what)
{
    if (!r->fault) r->fault = what;
    return 0;
}

static int next(reader *r)
{
    if (r->at >= r->len) return fail(r, "it ends too early");
    return r->bytes[r->at++];
}

static int peek(reader *r)
{
    return r->at < r->len ? r->bytes[r->at] : fail(r, "it ends too early");
}

static uint64_t big_endian(reader *r, size_t bytes)
{
    uint64_t word = 0;
    if (r->len - r->at < bytes) return (uint64_t)fail(r, "it ends too early");
    while (bytes--) word = word << 8 | r->bytes[r->at++];
    return word;
}

static size_t size_of(int type)
{
    switch (type) {
    case 'i':
    case 'U':
    case 'C':
        return 1;
    case 'I':
        return 2;
    case 'l':
    case 'd':
        return 4;
    case 'L':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

static int64_t integer(reader *r, int type)
{
    size_t size = size_of(type);
    if (!size || type == 'd' || type == 'D' || type == 'C')
        return fail(r, "it has no whole number where one belongs");
    uint64_t word = big_endian(r, size);
    if (type == 'U') return (int64_t)word;
    unsigned shift = 64 - 8 * (unsigned)size;
    return (int64_t)(word << shift) >> shift;
}

static size_t length(reader *r)
{
    int64_t n = integer(r, next(r));
    if (n < 0 || (uint64_t)n > r->len - r->at)
        return (size_t)fail(r, "a length goes beyond its end");
    return (size_t)n;
}

static void text(reader *r)
{
    size_t len = length(r);
    if (r->fault) return;
    mw_json_quote(r->out, (const char *)r->bytes + r->at, len);
    r->at += len;
}

static void number(reader *r, int type)
{
    uint64_t word = big_endian(r, size_of(type));
    uint32_t half = (uint32_t)word;
    double d;
    float f;
    memcpy(&f, &half, sizeof f), memcpy(&d, &word, sizeof d);
    if (type == 'd') d = f;
    if (!isfinite(d)) mw_buffer_text(r->out, "null");
    else
        mw_buffer_format(r->out, type == 'd' ? "%.9g" : "%.17g", d);
}

/* The type and count that may stand before the contents. A count of nothing but types without bytes
 * could be as large as it likes, so it is refused. */
static int head(reader *r, int *type, size_t *count)
{
    *type = 0;
    if (peek(r) == '$') {
        r->at++, *type = next(r);
        if (!size_of(*type) && *type != 'S' && *type != '[' && *type != '{')
            return fail(r, "a list of a type that it should not have");
        if (peek(r) != '#') return fail(r, "a typed list without a count");
    }
    if (peek(r) != '#') return 0;
    r->at++, *count = length(r);
    return 1;
}

static void items(reader *r, int close, int depth)
{
    int type;
    size_t count = 0;
    int counted = head(r, &type, &count);
    mw_buffer_append(r->out, close == ']' ? "[" : "{", 1);
    for (size_t i = 0; !r->fault && (counted ? i < count : peek(r) != close); i++) {
        if (i) mw_buffer_append(r->out, ",", 1);
        if (close == '}') text(r), mw_buffer_append(r->out, ":", 1);
        if (!r->fault) value(r, type ? type : next(r), depth + 1);
    }
    if (!counted) r->at++;
    mw_buffer_append(r->out, close == ']' ? "]" : "}", 1);
}

static void value(reader *r, int type, int depth)
{
    char character;
    if (depth > DEPTH) {
        fail(r, "it is nested too deeply");
        return;
    }
    switch (type) {
    case 'Z':
        mw_buffer_text(r->out, "null");
        break;
    case 'T':
        mw_buffer_text(r->out, "true");
        break;
    case 'F':
        mw_buffer_text(r->out, "false");
        break;
    case 'i':
    case 'U':
    case 'I':
    case 'l':
    case 'L':
        mw_buffer_format(r->out, "%lld", (long long)integer(r, type));
        break;
    case 'd':
    case 'D':
        number(r, type);
        break;
    case 'C':
        character = (char)next(r), mw_json_quote(r->out, &character, 1);
        break;
    case 'S':
        text(r);
        break;
    case '[':
        items(r, ']', depth);
        break;
    case '{':
        items(r, '}', depth);
        break;
    default:
        fail(r, "a type that UBJSON does not have");
    }
}

mw_status mw_ubjson_text(mw_buffer *out, const char *bytes, size_t len, const char *name,
                         mw_error *error)
{
    reader r = {.bytes = (const unsigned char *)bytes, .len = len, .out = out};
    value(&r, next(&r), 0);
    if (!r.fault && r.at != len) fail(&r, "there is something behind its end");
    if (!r.fault) return MW_OK;
    return mw_fail(error, MW_INVALID, "%s: it is no UBJSON: %s at byte %zu", name, r.fault, r.at);
}
