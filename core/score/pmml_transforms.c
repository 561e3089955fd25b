/* pmml_transforms.c: what happens to a PMML file's fields before its model sees them: what its
 * MiningSchema wants of missing, invalid and extreme values, and the fields that are derived of one
 * other, as the operations of columns.h. See pmml_private.h. */
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 32 };

static int is(const mw_xml *e, const char *attribute, const char *value)
{
    return strcmp(mw_xml_text(e, attribute, ""), value) == 0;
}

static void add_op(mw_buffer *ops, const char *name, double number)
{
    mw_buffer_format(ops, "%s[\"%s\",%.17g]", ops->len ? "," : "", name, number);
}

/* ["map", from, to, unknown, missing] of values to numbers; NaN is written as null. */
typedef struct mapping {
    mw_buffer from, to;
} mapping;

static void add_number(mw_buffer *list, double number)
{
    if (list->len) mw_buffer_text(list, ",");
    if (isnan(number)) mw_buffer_text(list, "null");
    else
        mw_buffer_format(list, "%.17g", number);
}

static void add_map(mw_buffer *ops, mapping *m, double unknown, double missing)
{
    mw_buffer rest = {0};
    add_number(&rest, unknown), add_number(&rest, missing);
    mw_buffer_format(ops, "%s[\"map\",[%.*s],[%.*s],%.*s]", ops->len ? "," : "", (int)m->from.len,
                     m->from.len ? m->from.bytes : "", (int)m->to.len, m->to.len ? m->to.bytes : "",
                     (int)rest.len, rest.bytes);
    mw_buffer_close(&rest), mw_buffer_close(&m->from), mw_buffer_close(&m->to);
}

static mw_pmml_field *add_field(mw_pmml *t, const mw_xml *element, uint32_t feature)
{
    if (t->field_count == t->field_room) {
        t->field_room = t->field_room ? 2 * t->field_room : 64;
        t->fields = realloc(t->fields, t->field_room * sizeof *t->fields);
        mw_assert(t->fields != NULL);
    }
    t->fields[t->field_count] = (mw_pmml_field){element, feature, {0}};
    return &t->fields[t->field_count++];
}

static void add_type(mw_pmml_field *f)
{
    if (is(f->element, "dataType", "float"))
        mw_buffer_text(&f->ops, f->ops.len ? ",[\"float\"]" : "[\"float\"]");
}

/* ---- what the schema wants ---- */

static double value_code(mw_pmml *t, const mw_xml *field, const char *value)
{
    double code = mw_pmml_code_of(field, value, strlen(value));
    if (isnan(code)) mw_pmml_fault(t, "a field has no such value as", value);
    return code;
}

/* Values that are none of the field's become another, or missing (NaN). */
static void replace_invalid(mw_pmml_field *f, double by)
{
    mapping m = {{0}, {0}};
    for (const mw_xml *v = mw_xml_child(f->element, "Value"); v; v = mw_xml_next(v, "Value")) {
        const char *text = mw_xml_text(v, "value", "");
        double code = mw_pmml_code_of(f->element, text, strlen(text));
        if (isnan(code) || !is(v, "property", "")) continue;
        add_number(&m.from, code), add_number(&m.to, code);
    }
    add_map(&f->ops, &m, by, NAN);
}

static int read_invalid(mw_pmml *t, mw_pmml_field *f, const mw_xml *mining)
{
    const char *how = mw_xml_text(mining, "invalidValueTreatment", "returnInvalid");
    const char *by = mw_xml_text(mining, "invalidValueReplacement", NULL);
    int missing = strcmp(how, "asMissing") == 0, value = strcmp(how, "asValue") == 0;
    int as_is = strcmp(how, "returnInvalid") == 0 || strcmp(how, "asIs") == 0;
    if ((!as_is && !missing && !value) || (by && !value) || (value && !by))
        return mw_pmml_refuse(t, "the invalidValueTreatment", how);
    if (as_is) return 1;
    if (mw_xml_child(f->element, "Interval"))
        return mw_pmml_refuse(t, "invalid values by", "Interval");
    if (mw_xml_child(f->element, "Value"))
        replace_invalid(f, value ? value_code(t, f->element, by) : NAN);
    return t->status == MW_OK;
}

static int read_extremes(mw_pmml *t, mw_pmml_field *f, const mw_xml *mining)
{
    const char *how = mw_xml_text(mining, "outliers", "asIs");
    double low = mw_xml_number(mining, "lowValue", -HUGE_VAL),
           high = mw_xml_number(mining, "highValue", HUGE_VAL);
    if (strcmp(how, "asIs") == 0) return 1;
    if (strcmp(how, "asExtremeValues") != 0) return mw_pmml_refuse(t, "outliers", how);
    if (!(low <= high)) return mw_pmml_fault(t, "outliers have no", "lowValue and highValue");
    mw_buffer_text(&f->ops, f->ops.len ? ",[\"clip\"" : "[\"clip\"");
    mw_buffer_format(&f->ops, isfinite(low) ? ",%.17g" : ",-1e308", low);
    mw_buffer_format(&f->ops, isfinite(high) ? ",%.17g]" : ",1e308]", high);
    return 1;
}

static int read_mining(mw_pmml *t, mw_pmml_field *f, const mw_xml *mining)
{
    const char *missing = mw_xml_text(mining, "missingValueReplacement", NULL);
    if (is(mining, "missingValueTreatment", "returnInvalid"))
        return mw_pmml_refuse(t, "the missingValueTreatment", "returnInvalid");
    for (const mw_xml *v = mw_xml_child(f->element, "Value"); v; v = mw_xml_next(v, "Value"))
        if (is(v, "property", "missing"))
            return mw_pmml_refuse(t, "a Value with the property", "missing");
    if (!read_invalid(t, f, mining) || !read_extremes(t, f, mining)) return 0;
    if (missing) add_op(&f->ops, "impute", value_code(t, f->element, missing));
    return t->status == MW_OK;
}

static int read_data(mw_pmml *t, const mw_xml *dictionary, const mw_xml *schema)
{
    for (const mw_xml *d = mw_xml_child(dictionary, "DataField"); d;
         d = mw_xml_next(d, "DataField")) {
        const mw_xml *m = mw_xml_child(schema, "MiningField");
        while (m && !is(m, "name", mw_xml_text(d, "name", ""))) m = mw_xml_next(m, "MiningField");
        const char *use = m ? mw_xml_text(m, "usageType", "active") : "";
        if (strcmp(use, "target") == 0 || strcmp(use, "predicted") == 0) t->target = d;
        else if (m && t->field_count < MW_PMML_FIELDS) {
            mw_pmml_field *f = add_field(t, d, t->field_count);
            add_type(f);
            if (!read_mining(t, f, m)) return 0;
        }
    }
    t->input_count = t->field_count;
    return t->field_count ? 1 : mw_pmml_fault(t, "its MiningSchema has no", "active field");
}

/* ---- derived fields ---- */

static int read_expression(mw_pmml *t, const mw_xml *e, mw_pmml_field *to, int depth);

static int start_with(mw_pmml *t, const char *name, mw_pmml_field *to)
{
    int from = mw_pmml_field_of(t, name);
    if (from < 0) return 0;
    to->feature = t->fields[from].feature;
    mw_buffer_append(&to->ops, t->fields[from].ops.bytes, t->fields[from].ops.len);
    return 1;
}

static void impute_last(mw_pmml_field *to, const mw_xml *e)
{
    double missing = mw_xml_number(e, "mapMissingTo", NAN);
    if (!isnan(missing)) add_op(&to->ops, "impute", missing);
}

static double constant_of(const mw_xml *e)
{
    char *rest;
    double number = e->text && mw_xml_is(e, "Constant") ? strtod(e->text, &rest) : NAN;
    return isnan(number) || *rest ? NAN : number;
}

/* if (is missing, a constant, the field), or the other way around. */
static int read_if(mw_pmml *t, const mw_xml *e, mw_pmml_field *to, int depth)
{
    const mw_xml *test = e->child, *yes = test ? test->next : NULL, *no = yes ? yes->next : NULL;
    int missing = test && is(test, "function", "isMissing");
    if (!no || (!missing && !is(test, "function", "isNotMissing")) || !test->child)
        return mw_pmml_refuse(t, "an 'if' of anything but what is missing:", "Apply");
    const mw_xml *field = missing ? no : yes;
    double constant = constant_of(missing ? yes : no);
    if (isnan(constant) || !mw_xml_is(field, "FieldRef") || !mw_xml_is(test->child, "FieldRef") ||
        !is(field, "field", mw_xml_text(test->child, "field", "")))
        return mw_pmml_refuse(t, "an 'if' of two fields, or of no number:", "Apply");
    if (!read_expression(t, field, to, depth + 1)) return 0;
    add_op(&to->ops, "impute", constant);
    return 1;
}

static int read_apply(mw_pmml *t, const mw_xml *e, mw_pmml_field *to, int depth)
{
    static const char *const ops[][2] = {
        {"+", "add"}, {"-", "subtract"}, {"*", "multiply"}, {"/", "divide"}};
    const char *function = mw_xml_text(e, "function", "");
    const mw_xml *a = e->child, *b = a ? a->next : NULL;
    size_t n = 0;
    if (strcmp(function, "if") == 0) return read_if(t, e, to, depth);
    while (n < 4 && strcmp(ops[n][0], function) != 0) n++;
    if (n == 4 || !b || b->next || mw_xml_text(e, "defaultValue", NULL))
        return mw_pmml_refuse(t, "the function", function);
    double first = constant_of(a), second = constant_of(b);
    if (isnan(first) == isnan(second))
        return mw_pmml_refuse(t, "a function of two fields, or of none:", function);
    if (!read_expression(t, isnan(first) ? a : b, to, depth + 1)) return 0;
    if (!isnan(second)) add_op(&to->ops, ops[n][1], second);
    else if (*function == '-')
        add_op(&to->ops, "multiply", -1), add_op(&to->ops, "add", first);
    else if (*function == '/')
        return mw_pmml_refuse(t, "a division by a field in", "Apply");
    else
        add_op(&to->ops, ops[n][1], first);
    impute_last(to, e);
    return 1;
}

/* A line through two points. */
static int read_norm(mw_pmml *t, const mw_xml *e, mw_pmml_field *to)
{
    const mw_xml *a = mw_xml_child(e, "LinearNorm"), *b = a ? mw_xml_next(a, "LinearNorm") : NULL;
    if (!b || mw_xml_next(b, "LinearNorm"))
        return mw_pmml_refuse(t, "a NormContinuous of other than two", "LinearNorm");
    double x = mw_xml_number(a, "orig", NAN), y = mw_xml_number(a, "norm", NAN);
    double dx = mw_xml_number(b, "orig", NAN) - x, dy = mw_xml_number(b, "norm", NAN) - y;
    const char *outliers = mw_xml_text(e, "outliers", "asIs");
    int clips = strcmp(outliers, "asExtremeValues") == 0;
    if (!(dx > 0) || !isfinite(dy)) return mw_pmml_fault(t, "a number is none in", "LinearNorm");
    if (!clips && strcmp(outliers, "asIs") != 0) return mw_pmml_refuse(t, "outliers", outliers);
    if (!start_with(t, mw_xml_text(e, "field", ""), to)) return 0;
    if (clips)
        mw_buffer_format(&to->ops, "%s[\"clip\",%.17g,%.17g]", to->ops.len ? "," : "", x, x + dx);
    add_op(&to->ops, "subtract", x), add_op(&to->ops, "divide", dx);
    add_op(&to->ops, "multiply", dy), add_op(&to->ops, "add", y);
    impute_last(to, e);
    return 1;
}

/* Values of one field to numbers. */
static int read_map(mw_pmml *t, const mw_xml *e, mw_pmml_field *to)
{
    const mw_xml *pair = mw_xml_child(e, "FieldColumnPair"),
                 *table = mw_xml_child(e, "InlineTable");
    const char *name = pair ? mw_xml_text(pair, "field", "") : "", *column, *output, *colon;
    int field = mw_pmml_field_of(t, name);
    mapping m = {{0}, {0}};
    if (field < 0) return 0;
    if (!table || mw_xml_next(pair, "FieldColumnPair"))
        return mw_pmml_refuse(t, "MapValues of several fields, or without an", "InlineTable");
    column = mw_xml_text(pair, "column", ""), output = mw_xml_text(e, "outputColumn", "");
    if ((colon = strrchr(column, ':'))) column = colon + 1; /* names are without prefixes */
    if ((colon = strrchr(output, ':'))) output = colon + 1;
    if (!start_with(t, name, to)) return 0;
    for (const mw_xml *row = mw_xml_child(table, "row"); row; row = mw_xml_next(row, "row")) {
        const mw_xml *from = mw_xml_child(row, column), *in = mw_xml_child(row, output);
        const char *text = from && from->text ? from->text : "";
        char *rest = NULL;
        double code = mw_pmml_code_of(t->fields[field].element, text, strlen(text));
        double number = in && in->text ? strtod(in->text, &rest) : NAN;
        if (!rest || *rest || isnan(number)) {
            mw_pmml_refuse(t, "MapValues to anything but numbers:", output);
            break;
        }
        if (isnan(code)) continue; /* no row has it */
        add_number(&m.from, code), add_number(&m.to, number);
    }
    add_map(&to->ops, &m, mw_xml_number(e, "defaultValue", NAN),
            mw_xml_number(e, "mapMissingTo", NAN));
    return t->status == MW_OK;
}

/* 1 where a field has a value, else 0. */
static int read_indicator(mw_pmml *t, const mw_xml *e, mw_pmml_field *to)
{
    int field = mw_pmml_field_of(t, mw_xml_text(e, "field", ""));
    mapping m = {{0}, {0}};
    if (field < 0 || !start_with(t, mw_xml_text(e, "field", ""), to)) return 0;
    add_number(&m.from, value_code(t, t->fields[field].element, mw_xml_text(e, "value", "")));
    add_number(&m.to, 1);
    add_map(&to->ops, &m, 0, mw_xml_number(e, "mapMissingTo", NAN));
    return t->status == MW_OK;
}

static int read_expression(mw_pmml *t, const mw_xml *e, mw_pmml_field *to, int depth)
{
    if (depth > DEEP) return mw_pmml_fault(t, "a derived field is too deep:", e->name);
    if (mw_xml_is(e, "Apply")) return read_apply(t, e, to, depth);
    if (mw_xml_is(e, "NormContinuous")) return read_norm(t, e, to);
    if (mw_xml_is(e, "NormDiscrete")) return read_indicator(t, e, to);
    if (mw_xml_is(e, "MapValues")) return read_map(t, e, to);
    if (!mw_xml_is(e, "FieldRef")) return mw_pmml_refuse(t, "a DerivedField by", e->name);
    if (!start_with(t, mw_xml_text(e, "field", ""), to)) return 0;
    impute_last(to, e);
    return 1;
}

static int read_derived(mw_pmml *t, const mw_xml *d)
{
    const char *name = mw_xml_text(d, "name", "");
    const mw_xml *e = d->child;
    mw_pmml_field made = {.element = d};
    while (e && (mw_xml_is(e, "Extension") || mw_xml_is(e, "Value"))) e = e->next;
    if (mw_pmml_find_field(t, name) >= 0) return mw_pmml_refuse(t, "two fields of the name", name);
    if (is(d, "dataType", "string")) return mw_pmml_refuse(t, "a DerivedField of texts:", name);
    if (!e) return mw_pmml_fault(t, "a DerivedField has no", "expression");
    int good = t->field_count < MW_PMML_FIELDS && read_expression(t, e, &made, 0);
    if (!good) {
        mw_buffer_close(&made.ops);
        return mw_pmml_fault(t, "there are too many fields:", name);
    }
    add_type(&made);
    mw_pmml_field *f = add_field(t, d, made.feature);
    f->ops = made.ops;
    return 1;
}

static int changes_values(const mw_xml *m)
{
    return mw_xml_text(m, "missingValueReplacement", NULL) ||
           mw_xml_text(m, "invalidValueReplacement", NULL) ||
           is(m, "invalidValueTreatment", "asMissing") || is(m, "outliers", "asExtremeValues") ||
           is(m, "outliers", "asMissingValues");
}

/* The derived fields of an element and of all that are in it, whose names are one space. */
static int read_all_derived(mw_pmml *t, const mw_xml *e, int inner)
{
    for (const mw_xml *c = e->child; c; c = c->next) {
        if (mw_xml_is(c, "Node")) continue;
        if (mw_xml_is(c, "DerivedField")) {
            if (!read_derived(t, c)) return 0;
            continue;
        }
        if (inner && mw_xml_is(c, "MiningField") && changes_values(c))
            return mw_pmml_refuse(t, "a part's own treatment of the field",
                                  mw_xml_text(c, "name", ""));
        int schema = !inner && mw_xml_is(c, "MiningSchema");
        if (!schema && !read_all_derived(t, c, inner || mw_xml_is(c, "Segmentation"))) return 0;
    }
    return 1;
}

int mw_pmml_read_fields(mw_pmml *t, const mw_xml *root, const mw_xml *model)
{
    const mw_xml *dictionary = mw_xml_child(root, "DataDictionary");
    const mw_xml *schema = mw_xml_child(model, "MiningSchema");
    const mw_xml *shared = mw_xml_child(root, "TransformationDictionary");
    if (!dictionary || !schema)
        return mw_pmml_fault(t, "it has no", "DataDictionary or MiningSchema");
    if (!read_data(t, dictionary, schema)) return 0;
    if (shared && !read_all_derived(t, shared, 0)) return 0;
    if (!read_all_derived(t, model, 0)) return 0;
    const mw_xml *v = t->target ? mw_xml_child(t->target, "Value") : NULL;
    for (; v && t->class_count < MW_PMML_CLASSES; v = mw_xml_next(v, "Value"))
        t->classes[t->class_count++] = v;
    return 1;
}
