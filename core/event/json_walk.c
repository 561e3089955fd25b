/* json_walk.c: looking into JSON that is known to be valid: members, extents, iteration. */
#include "event/json_private.h"

#include <string.h>

/* The end of the valid value at p. */
static const char *skip(const char *p, const char *end)
{
    int depth = 0;
    for (; p < end; p++) {
        switch (*p) {
        case '"':
            for (p++; *p != '"'; p++)
                if (*p == '\\') p++;
            break;
        case '{':
        case '[':
            depth++;
            continue;
        case '}':
        case ']':
            depth--;
            break;
        case ' ':
        case '\t':
        case '\n':
        case '\r':
        case ':':
        case ',':
            continue;
        default: /* a number or an atom */
            while (p + 1 < end && !strchr(",]}: \t\r\n", p[1])) p++;
        }
        if (depth == 0) return p + 1;
    }
    return end;
}

mw_value mw_json_value(const char *text, size_t len)
{
    const char *end = text + len, *p = mw_json_space(text, end);
    mw_value v = {0};
    mw_json_reader r = {.end = end};
    if (p == end) return v;
    const char *stop = skip(p, end);
    switch (*p) {
    case '"':
        v = (mw_value){.text = p + 1, .len = (uint32_t)(stop - p - 2), .kind = MW_STRING};
        if (memchr(v.text, '\\', v.len)) v.kind = MW_ESCAPED;
        return v;
    case '{':
    case '[':
        return (mw_value){
            .text = p, .len = (uint32_t)(stop - p), .kind = *p == '{' ? MW_OBJECT : MW_ARRAY};
    case 't':
    case 'f':
    case 'n':
        v.text = p, v.len = (uint32_t)(stop - p);
        mw_json_atom_end(&r, p, &v.kind);
        return v;
    default:
        mw_json_number_read(&v, p, (size_t)(stop - p));
        return v;
    }
}

static size_t raw_len(const mw_value *v)
{
    return v->len + (v->kind == MW_STRING || v->kind == MW_ESCAPED ? 1u : 0u);
}

int mw_json_next(const char *text, size_t len, size_t *cursor, mw_value *key, mw_value *value)
{
    const char *end = text + len, *p = *cursor ? text + *cursor : mw_json_space(text, end) + 1;
    int object = *mw_json_space(text, end) == '{';
    p = mw_json_space(p, end);
    if (p < end && *p == ',') p = mw_json_space(p + 1, end);
    if (p >= end || *p == '}' || *p == ']') return 0;
    *key = (mw_value){0};
    if (object) {
        *key = mw_json_value(p, (size_t)(end - p));
        p = mw_json_space(key->text + key->len + 1, end);
        p = mw_json_space(p + 1, end);
    }
    *value = mw_json_value(p, (size_t)(end - p));
    *cursor = (size_t)(value->text + raw_len(value) - text);
    return 1;
}

mw_value mw_json_member(const char *text, size_t len, const char *key, size_t key_len,
                        uint32_t index)
{
    mw_value k, v, found = {0};
    size_t cursor = 0;
    uint32_t count = 0;
    while (mw_json_next(text, len, &cursor, &k, &v)) {
        if (!key) {
            if (k.kind == MW_ABSENT && ++count == index) return v;
        } else if (k.kind == MW_STRING) {
            if (k.len == key_len && memcmp(k.text, key, key_len) == 0) found = v;
        } else if (k.kind == MW_ESCAPED) {
            mw_buffer plain = {0};
            mw_json_unescape(&plain, k.text, k.len);
            if (plain.len == key_len && memcmp(plain.bytes, key, key_len) == 0) found = v;
            mw_buffer_close(&plain);
        }
    }
    return found;
}

size_t mw_json_length(const char *text, size_t len)
{
    mw_value k, v;
    size_t cursor = 0, count = 0;
    while (mw_json_next(text, len, &cursor, &k, &v)) count++;
    return count;
}

mw_value mw_json_field(mw_value of, const char *name)
{
    if (of.kind != MW_OBJECT) return (mw_value){0};
    return mw_json_member(of.text, of.len, name, strlen(name), 0);
}
