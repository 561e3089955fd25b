/* document.c: see document.h. */
#include "score/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *odd, *even;
} words[] = {{"NaN", "null"}, {"-NaN", "null"}, {"Infinity", "1e999"}, {"-Infinity", "-1e999"}};

/* Which of the words begins here; -1: none. */
static int word_at(const char *at, size_t left)
{
    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++) {
        size_t len = strlen(words[i].odd);
        if (left >= len && memcmp(at, words[i].odd, len) == 0) return i;
    }
    return -1;
}

void mw_document_tidy(mw_buffer *text, const char *bytes, size_t len)
{
    for (size_t i = 0, quoted = 0; i < len; i++) {
        int odd = -1;
        if (quoted && bytes[i] == '\\' && i + 1 < len) mw_buffer_append(text, bytes + i++, 1);
        else if (bytes[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            odd = word_at(bytes + i, len - i);
        if (odd >= 0) {
            mw_buffer_text(text, words[odd].even);
            i += strlen(words[odd].odd) - 1;
        } else {
            mw_buffer_append(text, bytes + i, 1);
        }
    }
}

mw_status mw_document_read(mw_buffer *text, const char *bytes, size_t len, const char *name,
                           mw_value *root, mw_error *error)
{
    mw_json_fault fault;
    mw_paths none;
    mw_document_tidy(text, bytes, len);
    memset(mw_buffer_reserve(text, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    if (text->len > UINT32_MAX)
        return mw_fail(error, MW_LIMIT, "%s: it is greater than 4 GiB", name);
    mw_paths_init(&none);
    mw_status status = mw_json_scan(text->bytes, text->len, &none, NULL, &fault);
    mw_paths_close(&none);
    if (status != MW_OK)
        return mw_fail(error, MW_INVALID, "%s: it is no JSON: %s at byte %zu", name, fault.what,
                       fault.at);
    size_t from = strspn(text->bytes, " \t\r\n");
    *root = mw_json_value(text->bytes + from, text->len - from);
    return MW_OK;
}

mw_value mw_document_at(mw_value of, const char *path)
{
    char name[64];
    while (*path) {
        size_t len = strcspn(path, ".");
        mw_assert(len < sizeof name);
        memcpy(name, path, len), name[len] = 0;
        of = mw_json_field(of, name);
        path += len + (path[len] == '.');
    }
    return of;
}

int mw_document_is(mw_value v, const char *text)
{
    return v.kind == MW_STRING && v.len == strlen(text) && memcmp(v.text, text, v.len) == 0;
}

/* The text ends where no number goes on, and is followed by padding. */
static double number_of(const mw_value *v, int floats)
{
    if (v->kind == MW_TRUE || v->kind == MW_FALSE) return v->kind == MW_TRUE;
    if (v->kind != MW_NUMBER && v->kind != MW_INTEGER && v->kind != MW_STRING) return NAN;
    return floats ? (double)strtof(v->text, NULL) : strtod(v->text, NULL);
}

int mw_document_numbers(mw_value list, int floats, double **numbers, size_t *count)
{
    mw_value key, v;
    size_t cursor = 0;
    *numbers = NULL, *count = 0;
    if (list.kind != MW_ARRAY) return 0;
    *numbers = malloc((mw_json_length(list.text, list.len) + 1) * sizeof **numbers);
    mw_assert(*numbers != NULL);
    while (mw_json_next(list.text, list.len, &cursor, &key, &v)) {
        if (v.kind == MW_ARRAY || v.kind == MW_OBJECT || v.kind == MW_ESCAPED) {
            free(*numbers), *numbers = NULL, *count = 0;
            return 0;
        }
        (*numbers)[(*count)++] = number_of(&v, floats);
    }
    return 1;
}

double mw_document_number(mw_value v, double fallback)
{
    double n = number_of(&v, 0);
    return isnan(n) ? fallback : n;
}
