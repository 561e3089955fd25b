/* kept.c: see kept.h. */
#include "state/kept.h"
#include "base/status.h"
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

static int has_text(uint32_t kind)
{
    return kind == MW_STRING || kind == MW_INTEGER || kind == MW_OBJECT || kind == MW_ARRAY;
}

static void set_text(mw_kept *k, uint32_t kind, const char *text, size_t len)
{
    k->kind = kind, k->len = (uint32_t)len;
    size_t padding = kind == MW_OBJECT || kind == MW_ARRAY ? MW_JSON_PADDING : 1;
    k->text = malloc(len + padding);
    mw_assert(k->text != NULL);
    memcpy(k->text, text, len);
    memset(k->text + len, 0, padding);
}

void mw_kept_set(mw_kept *k, const mw_value *v)
{
    mw_kept_release(k);
    if (v->kind == MW_ESCAPED) {
        mw_buffer plain = {0};
        mw_json_unescape(&plain, v->text, v->len);
        set_text(k, MW_STRING, plain.bytes ? plain.bytes : "", plain.len);
        mw_buffer_close(&plain);
    } else if (v->kind == MW_OBJECT || v->kind == MW_ARRAY) {
        set_text(k, v->kind, v->text, mw_json_value(v->text, v->len).len);
    } else if (has_text(v->kind)) {
        set_text(k, v->kind, v->text, v->len);
    } else {
        k->kind = v->kind, k->number = v->number;
    }
}

void mw_kept_copy(mw_kept *k, const mw_kept *from)
{
    mw_kept_release(k);
    if (has_text(from->kind)) set_text(k, from->kind, from->text, from->len);
    else
        *k = *from;
}

void mw_kept_release(mw_kept *k)
{
    if (has_text(k->kind)) free(k->text);
    *k = (mw_kept){0};
}

void mw_kept_json(const mw_kept *k, mw_buffer *out)
{
    if (k->kind == MW_STRING) mw_json_quote(out, k->text, k->len);
    else if (has_text(k->kind))
        mw_buffer_append(out, k->text, k->len);
    else if (k->kind == MW_NUMBER)
        mw_json_number(out, k->number);
    else
        mw_buffer_text(out, k->kind == MW_TRUE ? "true" : k->kind == MW_FALSE ? "false" : "null");
}

mw_value mw_kept_value(const mw_kept *k)
{
    if (has_text(k->kind))
        return (mw_value){.kind = k->kind,
                          .text = k->text,
                          .len = k->len,
                          .number = k->kind == MW_INTEGER ? strtod(k->text, NULL) : 0};
    return (mw_value){.kind = k->kind, .number = k->number, .text = ""};
}

size_t mw_kept_bytes(const mw_kept *k)
{
    return has_text(k->kind) ? k->len + 1 : 0;
}

void mw_kept_save(const mw_kept *k, mw_buffer *out)
{
    mw_buffer_append(out, &k->kind, sizeof k->kind);
    mw_buffer_append(out, &k->len, sizeof k->len);
    if (has_text(k->kind)) mw_buffer_append(out, k->text, k->len);
    else
        mw_buffer_append(out, &k->number, sizeof k->number);
}

int mw_load(void *to, size_t len, const char **at, const char *end)
{
    if ((size_t)(end - *at) < len) return 0;
    memcpy(to, *at, len);
    *at += len;
    return 1;
}

int mw_kept_load(mw_kept *k, const char **at, const char *end)
{
    uint32_t kind, len;
    *k = (mw_kept){0};
    if (!mw_load(&kind, sizeof kind, at, end) || !mw_load(&len, sizeof len, at, end)) return 0;
    if (has_text(kind)) {
        if ((size_t)(end - *at) < len) return 0;
        set_text(k, kind, *at, len);
        *at += len;
        return 1;
    }
    if (kind > MW_TRUE) return 0;
    k->kind = kind;
    return mw_load(&k->number, sizeof k->number, at, end);
}
