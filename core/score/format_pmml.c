/* format_pmml.c: PMML 4 files (dmg.org) of trees, sums and averages of trees, and regressions, also
 * chained (as JPMML writes them): put as the JSON that format_sklearn.c reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mw_pmml_refuse(mw_pmml *t, const char *what, const char *name)
{
    if (t->status != MW_OK) return 0;
    t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s' is not supported", what, name);
    return 0;
}

int mw_pmml_fault(mw_pmml *t, const char *what, const char *name)
{
    if (t->status == MW_OK) t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s'", what, name);
    return 0;
}

/* ---- fields and columns ---- */

static int is_category(const mw_xml *field)
{
    return strcmp(mw_xml_text(field, "optype", "continuous"), "continuous") != 0;
}

int mw_pmml_field_of(mw_pmml *t, const char *name)
{
    for (uint32_t i = 0; i < t->field_count; i++)
        if (strcmp(mw_xml_text(t->fields[i], "name", ""), name) == 0) return (int)i;
    mw_pmml_fault(t, "there is no such field as", name);
    return -1;
}

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
    if (!is && !is_category(t->fields[field]) &&
        strcmp(mw_xml_text(t->fields[field], "dataType", "double"), "float") != 0)
        t->any_double = 1;
    return (int)t->column_count++;
}

static const mw_xml *value_of(mw_pmml *t, int field, const char *value)
{
    const mw_xml *is = mw_xml_child(t->fields[field], "Value");
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
    if (!value && is_category(t->fields[field]))
        return mw_pmml_refuse(t, "a comparison of the categories of", name) - 1;
    return add_column(t, (uint32_t)field, is, !value);
}

int mw_pmml_column_equal(mw_pmml *t, const char *name, const mw_xml *p)
{
    int field = mw_pmml_field_of(t, name);
    if (field < 0) return -1;
    const mw_xml *is = p; /* which has a number, if the field is none of categories */
    if (is_category(t->fields[field])) is = value_of(t, field, mw_xml_text(p, "value", ""));
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

static int read_fields(mw_pmml *t, const mw_xml *root, const mw_xml *model)
{
    const mw_xml *dictionary = mw_xml_child(root, "DataDictionary");
    const mw_xml *schema = mw_xml_child(model, "MiningSchema");
    if (!dictionary || !schema)
        return mw_pmml_fault(t, "it has no", "DataDictionary or MiningSchema");
    size_t count = 0;
    for (const mw_xml *f = mw_xml_child(dictionary, "DataField"); f;
         f = mw_xml_next(f, "DataField"))
        count++;
    t->fields = mw_model_zeros(count, sizeof *t->fields);
    for (const mw_xml *f = mw_xml_child(dictionary, "DataField"); f;
         f = mw_xml_next(f, "DataField")) {
        const char *name = mw_xml_text(f, "name", ""), *use = NULL;
        for (const mw_xml *m = mw_xml_child(schema, "MiningField"); m;
             m = mw_xml_next(m, "MiningField"))
            if (strcmp(mw_xml_text(m, "name", ""), name) == 0)
                use = mw_xml_text(m, "usageType", "active");
        if (use && (strcmp(use, "target") == 0 || strcmp(use, "predicted") == 0)) t->target = f;
        else if (use && t->field_count < MW_PMML_FIELDS)
            t->fields[t->field_count++] = f;
    }
    const mw_xml *v = t->target ? mw_xml_child(t->target, "Value") : NULL;
    for (; v && t->class_count < MW_PMML_CLASSES; v = mw_xml_next(v, "Value"))
        t->classes[t->class_count++] = v;
    return t->field_count ? 1 : mw_pmml_fault(t, "its MiningSchema has no", "active field");
}

int mw_pmml_class_of(mw_pmml *t, const char *value)
{
    for (uint32_t i = 0; i < t->class_count; i++)
        if (strcmp(mw_xml_text(t->classes[i], "value", ""), value) == 0) return (int)i;
    mw_pmml_fault(t, "the target has no such value as", value);
    return -1;
}

/* ---- models ---- */

const mw_xml *mw_pmml_model_in(const mw_xml *e)
{
    static const char *const kinds[] = {"TreeModel", "RegressionModel", "MiningModel"};
    for (const mw_xml *c = e->child; c; c = c->next)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (mw_xml_is(c, kinds[i])) return c;
    return NULL;
}

const char *mw_pmml_other_model(const mw_xml *e)
{
    for (const mw_xml *c = e->child; c; c = c->next)
        if (strstr(c->name, "Model") || strstr(c->name, "Network")) return c->name;
    return "none";
}

/* ---- the whole ---- */

static void put_features(mw_pmml *t)
{
    mw_buffer_text(&t->json, ",\"features\":[");
    for (uint32_t i = 0; i < t->field_count; i++) {
        const char *name = mw_xml_text(t->fields[i], "name", "");
        mw_buffer_text(&t->json, i ? ",{\"name\":" : "{\"name\":");
        mw_json_quote(&t->json, name, strlen(name));
        const mw_xml *v = mw_xml_child(t->fields[i], "Value");
        int texts = v && is_category(t->fields[i]) &&
                    strcmp(mw_xml_text(t->fields[i], "dataType", ""), "string") == 0;
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

/* The number by which a row has a value: its place among the texts, or itself. NaN: it has none. */
static double code_of(const mw_xml *field, const char *value, size_t len)
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
    const mw_xml *field = t->fields[c->field];
    mw_buffer value = {0};
    int array = mw_xml_is(c->is, "Array"), count = 0;
    const char *text = array ? c->is->text ? c->is->text : "" : mw_xml_text(c->is, "value", "");
    mw_buffer_text(&t->json, "[\"map\",[");
    for (const char *at = text; array ? next_value(&at, &value) : !count;) {
        if (!array) mw_buffer_append(&value, text, strlen(text));
        double code = code_of(field, value.len ? value.bytes : "", value.len);
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

static int put_columns(mw_pmml *t)
{
    if (!t->column_count) { /* a tree that tests nothing */
        t->columns = mw_model_zeros(1, sizeof *t->columns);
        t->column_count = 1;
    }
    mw_buffer_text(&t->json, ",\"columns\":[");
    for (uint32_t i = 0; i < t->column_count; i++) {
        const mw_pmml_column *c = &t->columns[i];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", c->field);
        if (c->is && !put_values(t, c)) return 0;
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_format(&t->json, "],\"float\":%s", t->any_double ? "false" : "true");
    return 1;
}

static int translate(mw_pmml *t, const mw_xml *root)
{
    const mw_xml *model = mw_pmml_model_in(root),
                 *segments = model ? mw_xml_child(model, "Segmentation") : NULL;
    if (!mw_xml_is(root, "PMML")) return mw_pmml_fault(t, "it begins with", root->name);
    if (!model) return mw_pmml_refuse(t, "a model of the kind", mw_pmml_other_model(root));
    if (mw_xml_child(root, "TransformationDictionary") &&
        mw_xml_child(root, "TransformationDictionary")->child)
        return mw_pmml_refuse(t, "a", "TransformationDictionary that is not empty");
    if (mw_xml_child(model, "LocalTransformations"))
        return mw_pmml_refuse(t, "the element", "LocalTransformations");
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%s\"", model->name);
    if (!read_fields(t, root, model)) return 0;
    put_features(t);
    int chain =
        segments && strcmp(mw_xml_text(segments, "multipleModelMethod", ""), "modelChain") == 0;
    int good = mw_xml_is(model, "RegressionModel") ? mw_pmml_put_regression(t, model)
               : chain                             ? mw_pmml_put_chain(t, segments)
                                                   : mw_pmml_put_trees(t, model);
    if (!good || !put_columns(t)) return 0;
    if (t->trees) {
        mw_buffer_text(&t->json, ",\"base\":[");
        for (uint32_t k = 0; k < t->outputs; k++)
            mw_buffer_format(&t->json, k ? ",%.17g" : "%.17g", t->base[k]);
        mw_buffer_text(&t->json, "]");
    }
    mw_buffer_text(&t->json, "}");
    return t->status == MW_OK;
}

mw_status mw_model_read_pmml(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_error inner;
    mw_arena arena;
    mw_xml *root = NULL;
    mw_pmml *t = mw_model_zeros(1, sizeof *t);
    t->error = &inner;
    mw_arena_init(&arena, 1 << 16);
    t->status = mw_xml_read(&root, &arena, file->bytes, file->len, &inner);
    if (t->status == MW_OK) translate(t, root);
    mw_status status = t->status;
    if (status != MW_OK) mw_fail(error, status, "%s: %s", file->name, inner.message);
    else {
        mw_model_file json = {t->json.bytes, t->json.len, file->name};
        status = mw_model_read_sklearn(m, &json, error);
        m->kind = "pmml";
    }
    free(t->fields), free(t->columns), free(t->nodes), free(t->values);
    mw_buffer_close(&t->json), mw_arena_close(&arena), free(t);
    return status;
}
