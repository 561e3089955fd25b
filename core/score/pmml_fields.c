/* pmml_fields.c: a PMML file's fields, given and derived, and the columns that tests and predictors
 * are of: what has to happen to a field, and whether it has a value. See pmml_private.h. */
#include "event/json.h"
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- fields ---- */

static int is_category(const mw_xml *field)
{
    return strcmp(mw_xml_text(field, "optype", "continuous"), "continuous") != 0;
}

int mw_pmml_is_float(const mw_pmml *t, int column)
{
    const mw_xml *field = t->fields[t->columns[column].field].element;
    return strcmp(mw_xml_text(field, "dataType", "double"), "float") == 0;
}

int mw_pmml_find_field(const mw_pmml *t, const char *name)
{
    for (uint32_t i = 0; i < t->field_count; i++)
        if (strcmp(mw_xml_text(t->fields[i].element, "name", ""), name) == 0) return (int)i;
    return -1;
}

int mw_pmml_field_of(mw_pmml *t, const char *name)
{
    int field = mw_pmml_find_field(t, name);
    if (field < 0) mw_pmml_fault(t, "there is no such field as", name);
    return field;
}

/* ---- columns ---- */

static int is_same(const mw_xml *a, const mw_xml *b)
{
    if (a == b || !a || !b || strcmp(a->name, b->name) != 0) return a == b;
    if (mw_xml_is(a, "Array")) return a->text && b->text && strcmp(a->text, b->text) == 0;
    return strcmp(mw_xml_text(a, "value", ""), mw_xml_text(b, "value", "")) == 0;
}

static int add_column(mw_pmml *t, uint32_t field, const mw_xml *is, int or_missing)
{
    for (uint32_t i = 0; i < t->column_count; i++)
        if (t->columns[i].field == field && t->columns[i].or_missing == or_missing &&
            is_same(t->columns[i].is, is))
            return (int)i;
    if (t->column_count == t->column_room) {
        t->column_room = t->column_room ? 2 * t->column_room : 64;
        t->columns = realloc(t->columns, t->column_room * sizeof *t->columns);
        mw_assert(t->columns != NULL);
    }
    t->columns[t->column_count] = (mw_pmml_column){field, is, or_missing};
    return (int)t->column_count++;
}

static const mw_xml *value_of(mw_pmml *t, int field, const char *value)
{
    const mw_xml *is = mw_xml_child(t->fields[field].element, "Value");
    while (is && strcmp(mw_xml_text(is, "value", ""), value) != 0) is = mw_xml_next(is, "Value");
    if (!is) mw_pmml_fault(t, "a field has no such value as", value);
    return is;
}

int mw_pmml_column_of(mw_pmml *t, const char *name, const char *value)
{
    int field = mw_pmml_field_of(t, name);
    if (field < 0) return -1;
    const mw_xml *is = value ? value_of(t, field, value) : NULL;
    if (value && !is) return -1;
    if (!value && is_category(t->fields[field].element))
        return mw_pmml_refuse(t, "a comparison of the categories of", name) - 1;
    return add_column(t, (uint32_t)field, is, !value);
}

int mw_pmml_column_equal(mw_pmml *t, const char *name, const mw_xml *p)
{
    int field = mw_pmml_field_of(t, name);
    if (field < 0) return -1;
    const mw_xml *is = p; /* which has a number, if the field is none of categories */
    if (is_category(t->fields[field].element)) is = value_of(t, field, mw_xml_text(p, "value", ""));
    return is ? add_column(t, (uint32_t)field, is, 1) : -1;
}

int mw_pmml_column_in(mw_pmml *t, const char *name, const mw_xml *values)
{
    int field = mw_pmml_field_of(t, name);
    return field < 0 ? -1 : add_column(t, (uint32_t)field, values, 1);
}

int mw_pmml_plain_column(mw_pmml *t, uint32_t field)
{
    return add_column(t, field, NULL, 1);
}

/* ---- as JSON ---- */

void mw_pmml_put_features(mw_pmml *t)
{
    mw_buffer_text(&t->json, ",\"features\":[");
    for (uint32_t i = 0; i < t->input_count; i++) {
        const mw_xml *field = t->fields[i].element;
        const char *name = mw_xml_text(field, "name", "");
        mw_buffer_text(&t->json, i ? ",{\"name\":" : "{\"name\":");
        mw_json_quote(&t->json, name, strlen(name));
        const mw_xml *v = mw_xml_child(field, "Value");
        int texts =
            v && is_category(field) && strcmp(mw_xml_text(field, "dataType", ""), "string") == 0;
        if (texts) mw_buffer_text(&t->json, ",\"texts\":[");
        for (int n = 0; texts && v; v = mw_xml_next(v, "Value"), n++) {
            const char *text = mw_xml_text(v, "value", "");
            if (n) mw_buffer_text(&t->json, ",");
            mw_json_quote(&t->json, text, strlen(text));
        }
        mw_buffer_text(&t->json, texts ? "]}" : "}");
    }
    mw_buffer_text(&t->json, "]");
}

double mw_pmml_code_of(const mw_xml *field, const char *value, size_t len)
{
    double code = 0;
    char number[64], *end;
    if (strcmp(mw_xml_text(field, "dataType", ""), "string") != 0) {
        snprintf(number, sizeof number, "%.*s", (int)len, value);
        code = strtod(number, &end);
        return len && len < sizeof number && !*end ? code : NAN;
    }
    for (const mw_xml *v = mw_xml_child(field, "Value"); v; v = mw_xml_next(v, "Value"), code++) {
        const char *text = mw_xml_text(v, "value", "");
        if (strlen(text) == len && memcmp(text, value, len) == 0) return code;
    }
    return NAN;
}

/* The next value of a list: words, which may be in quotes, in which a quote is behind a backslash.
 * 0: there is none. */
static int next_value(const char **at, mw_buffer *value)
{
    const char *p = *at + strspn(*at, " \t\r\n");
    int quoted = *p == '"';
    value->len = 0;
    if (!*p) return 0;
    for (p += quoted; *p && (quoted ? *p != '"' : !strchr(" \t\r\n", *p)); p++) {
        if (quoted && *p == '\\' && p[1] == '"') p++;
        mw_buffer_append(value, p, 1);
    }
    *at = p + (quoted && *p);
    return 1;
}

/* A column that is 1 where the field has one of some values, and 0 where it has another. */
static int put_values(mw_pmml *t, const mw_pmml_column *c)
{
    const mw_xml *field = t->fields[c->field].element;
    mw_buffer value = {0};
    int array = mw_xml_is(c->is, "Array"), count = 0;
    const char *text = array ? c->is->text ? c->is->text : "" : mw_xml_text(c->is, "value", "");
    mw_buffer_text(&t->json, "[\"map\",[");
    for (const char *at = text; array ? next_value(&at, &value) : !count;) {
        if (!array) mw_buffer_append(&value, text, strlen(text));
        double code = mw_pmml_code_of(field, value.len ? value.bytes : "", value.len);
        if (isnan(code) && strcmp(mw_xml_text(field, "dataType", ""), "string") != 0) {
            mw_buffer_append(&value, "", 1);
            mw_pmml_fault(t, "a category is no number:", value.bytes);
            break;
        }
        if (isnan(code)) code = -2; /* which no row has */
        mw_buffer_format(&t->json, count++ ? ",%.17g" : "%.17g", code);
    }
    mw_buffer_text(&t->json, "],[");
    for (int i = 0; i < count; i++) mw_buffer_text(&t->json, i ? ",1" : "1");
    mw_buffer_format(&t->json, "],0,%s]", c->or_missing ? "null" : "0");
    mw_buffer_close(&value);
    return t->status == MW_OK;
}

int mw_pmml_put_columns(mw_pmml *t)
{
    if (!t->column_count) { /* a tree that tests nothing */
        t->columns = mw_model_zeros(1, sizeof *t->columns);
        t->column_count = 1;
    }
    mw_buffer_text(&t->json, ",\"columns\":[");
    for (uint32_t i = 0; i < t->column_count; i++) {
        const mw_pmml_column *c = &t->columns[i];
        const mw_pmml_field *f = &t->fields[c->field];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", f->feature);
        mw_buffer_append(&t->json, f->ops.bytes, f->ops.len);
        if (c->is && f->ops.len) mw_buffer_text(&t->json, ",");
        if (c->is && !put_values(t, c)) return 0;
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_text(&t->json, "]");
    return 1;
}
