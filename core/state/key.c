/* key.c: see key.h. */
#include "state/key.h"
#include "base/hash.h"
#include "event/json.h"

static uint64_t fold(uint64_t h, uint64_t part)
{
    uint64_t parts[2] = {h, part};
    return mw_hash(parts, sizeof parts);
}

uint64_t mw_key_hash(const mw_value *const *values, uint32_t count)
{
    uint64_t h = count ? mw_json_hash(values[0]) : 0;
    for (uint32_t i = 1; i < count; i++) h = fold(h, mw_json_hash(values[i]));
    return h;
}

uint64_t mw_key_of_text(const char *text, size_t len)
{
    return mw_hash(text, len);
}

/* Kind and bytes of one value. Zero is one number, whatever its sign. */
static mw_key_fault part_of(const mw_value *v, mw_buffer *scratch, double *number, uint32_t *kind,
                            const char **bytes, uint32_t *len)
{
    *bytes = "", *len = 0;
    switch (v->kind) {
    case MW_STRING:
        *kind = MW_KEY_TEXT, *bytes = v->text, *len = v->len;
        break;
    case MW_ESCAPED: {
        size_t from = scratch->len;
        mw_json_unescape(scratch, v->text, v->len);
        *kind = MW_KEY_TEXT, *bytes = scratch->bytes + from, *len = (uint32_t)(scratch->len - from);
        break;
    }
    case MW_NUMBER:
        *number = v->number + 0.0;
        *kind = MW_KEY_NUMBER, *bytes = (const char *)number, *len = sizeof *number;
        break;
    case MW_INTEGER:
        *kind = MW_KEY_INTEGER, *bytes = v->text, *len = v->len;
        break;
    case MW_TRUE:
        *kind = MW_KEY_TRUE;
        break;
    case MW_FALSE:
        *kind = MW_KEY_FALSE;
        break;
    case MW_ABSENT:
    case MW_NULL:
        return MW_KEY_ABSENT;
    default:
        return MW_KEY_ODD;
    }
    return *len > MW_KEY_BYTES_MAX ? MW_KEY_LONG : MW_KEY_GOOD;
}

static mw_key_fault make_list(mw_key *k, const mw_value *const *values, uint32_t count,
                              mw_buffer *scratch, uint32_t *at)
{
    mw_buffer plain = {0};
    mw_key_fault fault = MW_KEY_GOOD;
    for (*at = 0; *at < count && fault == MW_KEY_GOOD; *at += 1) {
        double number;
        uint32_t kind, len;
        const char *bytes;
        plain.len = 0;
        fault = part_of(values[*at], &plain, &number, &kind, &bytes, &len);
        if (fault != MW_KEY_GOOD) break;
        char byte = (char)kind;
        mw_buffer_append(scratch, &byte, 1);
        mw_buffer_append(scratch, &len, sizeof len);
        mw_buffer_append(scratch, bytes, len);
        if (scratch->len > MW_KEY_BYTES_MAX) fault = MW_KEY_LONG;
    }
    mw_buffer_close(&plain);
    k->kind = MW_KEY_LIST, k->bytes = scratch->bytes, k->len = (uint32_t)scratch->len;
    return fault;
}

mw_key_fault mw_key_make(mw_key *k, const mw_value *const *values, uint32_t count,
                         mw_buffer *scratch, uint32_t *at)
{
    return mw_key_make_hashed(k, mw_key_hash(values, count), values, count, scratch, at);
}

mw_key_fault mw_key_make_hashed(mw_key *k, uint64_t hash, const mw_value *const *values,
                                uint32_t count, mw_buffer *scratch, uint32_t *at)
{
    scratch->len = 0;
    *at = 0;
    k->hash = hash;
    if (count != 1) return make_list(k, values, count, scratch, at);
    double number;
    mw_key_fault fault = part_of(values[0], scratch, &number, &k->kind, &k->bytes, &k->len);
    if (k->bytes == (const char *)&number) {
        mw_buffer_append(scratch, &number, sizeof number);
        k->bytes = scratch->bytes;
    }
    return fault;
}

/* ---- and back ---- */

static mw_value value_of(uint32_t kind, const char *bytes, uint32_t len)
{
    static const uint32_t kinds[] = {[MW_KEY_TEXT] = MW_STRING,
                                     [MW_KEY_NUMBER] = MW_NUMBER,
                                     [MW_KEY_INTEGER] = MW_INTEGER,
                                     [MW_KEY_TRUE] = MW_TRUE,
                                     [MW_KEY_FALSE] = MW_FALSE};
    mw_value v = {.kind = kinds[kind], .text = bytes, .len = len};
    if (kind == MW_KEY_NUMBER) memcpy(&v.number, bytes, sizeof v.number);
    return v;
}

static void part_json(uint32_t kind, const char *bytes, uint32_t len, mw_buffer *out)
{
    mw_value v = value_of(kind, bytes, len);
    if (kind == MW_KEY_TEXT) mw_json_quote(out, bytes, len);
    else if (kind == MW_KEY_NUMBER)
        mw_json_number(out, v.number);
    else if (kind == MW_KEY_INTEGER)
        mw_buffer_append(out, bytes, len);
    else
        mw_buffer_text(out, kind == MW_KEY_TRUE ? "true" : "false");
}

/* The next part of a list; 0 at the end. */
static int next_part(const char **at, const char *end, uint32_t *kind, const char **bytes,
                     uint32_t *len)
{
    if (end - *at < 5) return 0;
    *kind = (unsigned char)**at;
    memcpy(len, *at + 1, sizeof *len);
    *bytes = *at + 5;
    if (*len > (size_t)(end - *bytes)) return 0;
    *at = *bytes + *len;
    return 1;
}

static int is_sound_part(uint32_t kind, const char *bytes, uint32_t len)
{
    switch (kind) {
    case MW_KEY_TEXT:
        return 1;
    case MW_KEY_NUMBER:
        return len == sizeof(double);
    case MW_KEY_INTEGER:
        for (uint32_t i = 0; i < len; i++)
            if ((bytes[i] < '0' || bytes[i] > '9') && (i || bytes[i] != '-')) return 0;
        return len > 0;
    case MW_KEY_TRUE:
    case MW_KEY_FALSE:
        return len == 0;
    default:
        return 0;
    }
}

int mw_key_is_sound(uint32_t kind, const char *bytes, uint32_t len)
{
    const char *at = bytes, *part;
    uint32_t part_kind, part_len;
    if (len > MW_KEY_BYTES_MAX) return 0;
    if (kind != MW_KEY_LIST) return is_sound_part(kind, bytes, len);
    while (next_part(&at, bytes + len, &part_kind, &part, &part_len))
        if (!is_sound_part(part_kind, part, part_len)) return 0;
    return at == bytes + len && len > 0;
}

void mw_key_json(uint32_t kind, const char *bytes, uint32_t len, mw_buffer *out)
{
    if (kind != MW_KEY_LIST) {
        part_json(kind, bytes, len, out);
        return;
    }
    const char *at = bytes, *part;
    uint32_t part_kind, part_len;
    mw_buffer_text(out, "[");
    for (int first = 1; next_part(&at, bytes + len, &part_kind, &part, &part_len); first = 0) {
        if (!first) mw_buffer_text(out, ",");
        part_json(part_kind, part, part_len, out);
    }
    mw_buffer_text(out, "]");
}

uint64_t mw_key_rehash(uint32_t kind, const char *bytes, uint32_t len)
{
    const char *at = bytes, *part;
    uint32_t part_kind, part_len;
    uint64_t h = 0;
    if (kind != MW_KEY_LIST) {
        mw_value v = value_of(kind, bytes, len);
        return mw_json_hash(&v);
    }
    for (int first = 1; next_part(&at, bytes + len, &part_kind, &part, &part_len); first = 0) {
        mw_value v = value_of(part_kind, part, part_len);
        h = first ? mw_json_hash(&v) : fold(h, mw_json_hash(&v));
    }
    return h;
}
