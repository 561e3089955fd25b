/* rows.c: see rows.h. */
#include "score/rows.h"

#include "score/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 512, DEEP = 16 };

/* What no score depends on may be anything. */
static mw_status refuse(const mw_model *m, uint32_t feature, const mw_value *v, mw_error *error)
{
    if (!mw_model_uses(m, feature)) return MW_OK;
    const char *is = v->kind == MW_OBJECT  ? "an object"
                     : v->kind == MW_ARRAY ? "a list"
                                           : "a text, and the model knows no categories of it";
    return mw_fail(error, MW_INVALID, "the feature '%s' is %s (%.*s)", mw_model_feature(m, feature),
                   is, (int)(v->len < 60 ? v->len : 60), v->text);
}

static mw_status set_text(const mw_model *m, uint32_t feature, const mw_value *v, double *to,
                          mw_error *error)
{
    mw_buffer plain = {0};
    if (v->kind == MW_ESCAPED) mw_json_unescape(&plain, v->text, v->len);
    int known = mw_model_category(m, feature, v->kind == MW_ESCAPED ? plain.bytes : v->text,
                                  v->kind == MW_ESCAPED ? plain.len : v->len, to);
    mw_buffer_close(&plain);
    return known ? MW_OK : refuse(m, feature, v, error);
}

mw_status mw_row_set(const mw_model *m, uint32_t feature, const mw_value *v, double *row,
                     mw_error *error)
{
    double *to = &row[feature];
    switch ((mw_kind)v->kind) {
    case MW_NUMBER:
        *to = v->number;
        return MW_OK;
    case MW_INTEGER:
        *to = strtod(v->text, NULL);
        return MW_OK;
    case MW_TRUE:
        *to = 1;
        return MW_OK;
    case MW_FALSE:
        *to = 0;
        return MW_OK;
    case MW_NULL:
    case MW_ABSENT:
        *to = NAN;
        return MW_OK;
    case MW_STRING:
    case MW_ESCAPED:
        return set_text(m, feature, v, to, error);
    default:
        *to = NAN; /* what holds other features is none itself */
        if (v->kind == MW_OBJECT &&
            mw_model_holds(m, mw_model_feature(m, feature), strlen(mw_model_feature(m, feature))))
            return MW_OK;
        return refuse(m, feature, v, error);
    }
}

/* `name` holds the way here, `len` bytes with a dot at the end. */
static mw_status read_object(const mw_model *m, const mw_value *object, char *name, size_t len,
                             int depth, double *row, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0;
    mw_status status = MW_OK;
    mw_buffer plain = {0};
    while (status == MW_OK && mw_json_next(object->text, object->len, &cursor, &key, &v)) {
        plain.len = 0;
        if (key.kind == MW_ESCAPED) mw_json_unescape(&plain, key.text, key.len);
        else
            mw_buffer_append(&plain, key.text, key.len);
        if (len + plain.len + 1 >= NAME) continue; /* no feature is called so */
        memcpy(name + len, plain.bytes ? plain.bytes : "", plain.len);
        size_t all = len + plain.len;
        int feature = mw_model_find(m, name, all);
        if (v.kind == MW_OBJECT && depth < DEEP && mw_model_holds(m, name, all)) {
            name[all] = '.';
            status = read_object(m, &v, name, all + 1, depth + 1, row, error);
        } else if (feature >= 0) {
            status = mw_row_set(m, (uint32_t)feature, &v, row, error);
        }
    }
    mw_buffer_close(&plain);
    return status;
}

static mw_status read_list(const mw_model *m, const mw_value *list, double *row, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0, count = mw_json_length(list->text, list->len);
    mw_status status = MW_OK;
    if (count != mw_model_features(m))
        return mw_fail(error, MW_INVALID, "the row has %zu values, and the model %u features",
                       count, mw_model_features(m));
    for (uint32_t i = 0; status == MW_OK && mw_json_next(list->text, list->len, &cursor, &key, &v);
         i++)
        status = mw_row_set(m, i, &v, row, error);
    return status;
}

static mw_status read_valid(const mw_model *m, const char *text, size_t len, double *row,
                            mw_error *error)
{
    char name[NAME];
    size_t from = strspn(text, " \t\r\n");
    mw_value v = mw_json_value(text + from, len - from);
    for (uint32_t i = 0; i < mw_model_features(m); i++) row[i] = NAN;
    if (v.kind == MW_OBJECT) return read_object(m, &v, name, 0, 0, row, error);
    if (v.kind == MW_ARRAY) return read_list(m, &v, row, error);
    return mw_fail(error, MW_INVALID, "a row is an object or a list");
}

mw_status mw_row_read(const mw_model *m, const char *text, size_t len, double *row, mw_error *error)
{
    if (mw_json_check(text, len) < 0) return read_valid(m, text, len, row, error);
    mw_buffer tidy = {0};
    mw_document_tidy(&tidy, text, len);
    memset(mw_buffer_reserve(&tidy, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    int fault = mw_json_check(tidy.bytes, tidy.len);
    mw_status status = fault < 0 ? read_valid(m, tidy.bytes, tidy.len, row, error)
                                 : mw_fail(error, MW_INVALID, "it is no JSON from byte %d on",
                                           mw_json_check(text, len));
    mw_buffer_close(&tidy);
    return status;
}
