/* format_pmml.c: PMML 4 files (dmg.org) of trees, sums and averages of trees, and regressions, also
 * chained (as JPMML writes them): put as the JSON that format_sklearn.c reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/xml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MOST = 1 << 16, CLASSES_MOST = 1 << 10, DEEP = 256 };

/* A column: a field's number, or whether it is a value of it. */
typedef struct column {
    uint32_t field;
    const mw_xml *is; /* a Value, of a field of categories; NULL: the number */
} column;

/* A tree as it is put together. */
typedef struct tree_node {
    double threshold, left, right, feature, missing_left, strict, cover;
} tree_node;

typedef struct translation {
    const mw_xml **fields; /* DataFields of the features */
    uint32_t field_count;
    const mw_xml *target;
    const mw_xml *classes[CLASSES_MOST]; /* Values of the target */
    uint32_t class_count, width;
    column *columns;
    uint32_t column_count, column_room;
    int any_double;
    tree_node *nodes; /* of the tree that is read */
    double *values;
    uint32_t node_count, node_room;
    double base[CLASSES_MOST];
    uint32_t trees;
    mw_buffer json;
    mw_error *error;
    mw_status status;
} translation;

static int refuse(translation *t, const char *what, const char *name)
{
    if (t->status != MW_OK) return 0;
    t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s' is not supported", what, name);
    return 0;
}

static int fault(translation *t, const char *what, const char *name)
{
    if (t->status == MW_OK) t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s'", what, name);
    return 0;
}

/* ---- fields and columns ---- */

static int is_category(const mw_xml *field)
{
    return strcmp(mw_xml_text(field, "optype", "continuous"), "continuous") != 0;
}

static int field_of(translation *t, const char *name)
{
    for (uint32_t i = 0; i < t->field_count; i++)
        if (strcmp(mw_xml_text(t->fields[i], "name", ""), name) == 0) return (int)i;
    fault(t, "there is no such field as", name);
    return -1;
}

static int column_of(translation *t, const char *name, const char *value)
{
    int field = field_of(t, name);
    const mw_xml *is = NULL;
    if (field < 0) return -1;
    if (value) {
        is = mw_xml_child(t->fields[field], "Value");
        while (is && strcmp(mw_xml_text(is, "value", ""), value) != 0)
            is = mw_xml_next(is, "Value");
        if (!is) return fault(t, "a field has no such value as", value) - 1;
    } else if (is_category(t->fields[field])) {
        return refuse(t, "a comparison of the categories of", name) - 1;
    }
    for (uint32_t i = 0; i < t->column_count; i++)
        if (t->columns[i].field == (uint32_t)field && t->columns[i].is == is) return (int)i;
    if (t->column_count == t->column_room) {
        t->column_room = t->column_room ? 2 * t->column_room : 64;
        t->columns = realloc(t->columns, t->column_room * sizeof *t->columns);
        mw_assert(t->columns != NULL);
    }
    t->columns[t->column_count] = (column){(uint32_t)field, is};
    if (!is && strcmp(mw_xml_text(t->fields[field], "dataType", "double"), "float") != 0)
        t->any_double = 1;
    return (int)t->column_count++;
}

static int read_fields(translation *t, const mw_xml *root, const mw_xml *model)
{
    const mw_xml *dictionary = mw_xml_child(root, "DataDictionary");
    const mw_xml *schema = mw_xml_child(model, "MiningSchema");
    if (!dictionary || !schema) return fault(t, "it has no", "DataDictionary or MiningSchema");
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
        else if (use && t->field_count < FIELDS_MOST)
            t->fields[t->field_count++] = f;
    }
    const mw_xml *v = t->target ? mw_xml_child(t->target, "Value") : NULL;
    for (; v && t->class_count < CLASSES_MOST; v = mw_xml_next(v, "Value"))
        t->classes[t->class_count++] = v;
    return t->field_count ? 1 : fault(t, "its MiningSchema has no", "active field");
}

static int class_of(translation *t, const char *value)
{
    for (uint32_t i = 0; i < t->class_count; i++)
        if (strcmp(mw_xml_text(t->classes[i], "value", ""), value) == 0) return (int)i;
    fault(t, "the target has no such value as", value);
    return -1;
}

/* ---- trees ---- */

static uint32_t add_node(translation *t)
{
    if (t->node_count == t->node_room) {
        t->node_room = t->node_room ? 2 * t->node_room : 256;
        t->nodes = realloc(t->nodes, t->node_room * sizeof *t->nodes);
        t->values = realloc(t->values, (size_t)t->node_room * t->width * sizeof *t->values);
        mw_assert(t->nodes && t->values);
    }
    memset(&t->values[(size_t)t->node_count * t->width], 0, t->width * sizeof *t->values);
    t->nodes[t->node_count] = (tree_node){.left = -1, .right = -1, .cover = 1};
    return t->node_count++;
}

/* A leaf's value: its score, or of classes their shares (of two the second's). */
static int64_t add_leaf(translation *t, const mw_xml *node, int classes)
{
    uint32_t at = add_node(t);
    double *to = t->values + (size_t)at * t->width, all = 0, *shares;
    if (!classes) {
        *to = mw_xml_number(node, "score", NAN);
        return isnan(*to) ? fault(t, "a leaf has no number as its", "score") - 1 : (int64_t)at;
    }
    shares = mw_model_zeros(t->class_count, sizeof *shares);
    for (const mw_xml *s = mw_xml_child(node, "ScoreDistribution"); s;
         s = mw_xml_next(s, "ScoreDistribution")) {
        int k = class_of(t, mw_xml_text(s, "value", ""));
        if (k < 0) break;
        shares[k] = mw_xml_number(s, "probability", mw_xml_number(s, "recordCount", 0));
        all += shares[k];
    }
    if (t->status == MW_OK && !(all > 0)) fault(t, "a leaf has no", "ScoreDistribution");
    for (uint32_t k = 0; all > 0 && k < t->class_count; k++)
        if (t->width > 1) to[k] = shares[k] / all;
        else if (k == 1)
            *to = shares[k] / all;
    free(shares);
    return t->status == MW_OK ? (int64_t)at : -1;
}

typedef struct test {
    int column, turned, strict; /* turned: what is true is to the right */
    double threshold;
} test;

static int read_test(translation *t, const mw_xml *p, test *to)
{
    const char *operator= mw_xml_text(p, "operator", ""), *field = mw_xml_text(p, "field", "");
    const char *value = mw_xml_text(p, "value", "");
    int equal = strcmp(operator, "equal") == 0, other = strcmp(operator, "notEqual") == 0;
    *to = (test){.threshold = 0.5};
    if (equal || other) {
        to->column = column_of(t, field, value), to->turned = equal;
        return to->column >= 0;
    }
    to->column = column_of(t, field, NULL);
    to->threshold = mw_xml_number(p, "value", NAN);
    int greater = strcmp(operator, "greaterThan") == 0,
        at_least = strcmp(operator, "greaterOrEqual") == 0;
    to->turned = greater || at_least;
    to->strict = strcmp(operator, "lessThan") == 0 || at_least;
    if (!to->turned && !to->strict && strcmp(operator, "lessOrEqual") != 0)
        return refuse(t, "a predicate with the operator", operator);
    if (to->column >= 0 && isnan(to->threshold))
        return fault(t, "a predicate compares with", value);
    return to->column >= 0;
}

static const mw_xml *predicate_of(const mw_xml *node)
{
    for (const mw_xml *e = node->child; e; e = e->next)
        if (strstr(e->name, "Predicate") || mw_xml_is(e, "True") || mw_xml_is(e, "False")) return e;
    return NULL;
}

typedef struct tree_model {
    int classes, last_counts; /* noTrueChildStrategy is returnLastPrediction */
    int by_default;           /* missingValueStrategy is defaultChild */
} tree_model;

static int64_t add_subtree(translation *t, const tree_model *m, const mw_xml *node, int depth);
/* The first of the children, from one on, whose predicate is true. */
static int64_t add_children(translation *t, const tree_model *m, const mw_xml *node,
                            const mw_xml *from, int depth)
{
    test of;
    if (depth > DEEP) return fault(t, "its trees are too deep:", "Node") - 1;
    if (!from) {
        if (m->last_counts) return add_leaf(t, node, m->classes);
        return fault(t,
                     "none of the predicates of a node's children may be true, and "
                     "noTrueChildStrategy is",
                     "returnNullPrediction") -
               1;
    }
    const mw_xml *p = predicate_of(from), *next = mw_xml_next(from, "Node");
    if (!p) return fault(t, "a node has no", "predicate") - 1;
    if (mw_xml_is(p, "False")) return add_children(t, m, node, next, depth + 1);
    if (mw_xml_is(p, "True")) return add_subtree(t, m, from, depth + 1);
    if (!mw_xml_is(p, "SimplePredicate")) return refuse(t, "a predicate of the kind", p->name) - 1;
    if (!read_test(t, p, &of)) return -1;
    /* what is left when there are two, of which the second is the first's contrary */
    uint32_t at = add_node(t);
    int64_t yes = add_subtree(t, m, from, depth + 1), no;
    const mw_xml *other = next ? predicate_of(next) : NULL;
    test contrary;
    int is_contrary = other && mw_xml_is(other, "SimplePredicate") &&
                      read_test(t, other, &contrary) && contrary.column == of.column &&
                      contrary.threshold == of.threshold && contrary.turned != of.turned &&
                      contrary.strict == of.strict;
    no = is_contrary ? add_subtree(t, m, next, depth + 1)
                     : add_children(t, m, node, next, depth + 1);
    const char *missing = mw_xml_text(node, "defaultChild", "");
    int to_yes = m->by_default && strcmp(mw_xml_text(from, "id", "-"), missing) == 0;
    tree_node *n = &t->nodes[at];
    n->feature = of.column, n->threshold = of.threshold, n->strict = of.strict;
    n->left = (double)(of.turned ? no : yes), n->right = (double)(of.turned ? yes : no);
    n->missing_left = of.turned ? !to_yes : to_yes;
    return yes < 0 || no < 0 ? -1 : (int64_t)at;
}

static int64_t add_subtree(translation *t, const tree_model *m, const mw_xml *node, int depth)
{
    const mw_xml *first = mw_xml_child(node, "Node");
    return first ? add_children(t, m, node, first, depth) : add_leaf(t, node, m->classes);
}

static void put_list(translation *t, const char *name, size_t offset)
{
    mw_buffer_format(&t->json, ",\"%s\":[", name);
    for (uint32_t i = 0; i < t->node_count; i++) {
        double number = *(const double *)((const char *)&t->nodes[i] + offset);
        mw_buffer_format(&t->json, i ? ",%.17g" : "%.17g", number);
    }
    mw_buffer_text(&t->json, "]");
}

static int put_tree(translation *t, const mw_xml *tree, uint32_t output, double factor)
{
    const char *missing = mw_xml_text(tree, "missingValueStrategy", "none");
    const char *last = mw_xml_text(tree, "noTrueChildStrategy", "returnNullPrediction");
    tree_model m = {strcmp(mw_xml_text(tree, "functionName", ""), "classification") == 0,
                    strcmp(last, "returnLastPrediction") == 0,
                    strcmp(missing, "defaultChild") == 0};
    const mw_xml *node = mw_xml_child(tree, "Node");
    t->node_count = 0;
    if (!node) return fault(t, "a tree has no", "Node");
    if (!m.by_default && strcmp(missing, "none") != 0 && strcmp(missing, "nullPrediction") != 0)
        return refuse(t, "the missingValueStrategy", missing);
    if (add_subtree(t, &m, node, 0) < 0) return 0;
    mw_buffer_format(&t->json, "%s{\"output\":%u", t->trees++ ? "," : "", output);
    put_list(t, "left", offsetof(tree_node, left)),
        put_list(t, "right", offsetof(tree_node, right));
    put_list(t, "feature", offsetof(tree_node, feature));
    put_list(t, "threshold", offsetof(tree_node, threshold));
    put_list(t, "strict", offsetof(tree_node, strict)),
        put_list(t, "cover", offsetof(tree_node, cover));
    put_list(t, "missing_left", offsetof(tree_node, missing_left));
    mw_buffer_text(&t->json, ",\"value\":[");
    for (size_t i = 0; i < (size_t)t->node_count * t->width; i++)
        mw_buffer_format(&t->json, i ? ",%.17g" : "%.17g", t->values[i] * factor);
    mw_buffer_text(&t->json, "]}");
    return 1;
}

/* ---- ensembles ---- */

static const mw_xml *model_in(const mw_xml *e)
{
    static const char *const kinds[] = {"TreeModel", "RegressionModel", "MiningModel"};
    for (const mw_xml *c = e->child; c; c = c->next)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (mw_xml_is(c, kinds[i])) return c;
    return NULL;
}

static const char *other_model(const mw_xml *e)
{
    for (const mw_xml *c = e->child; c; c = c->next)
        if (strstr(c->name, "Model") || strstr(c->name, "Network")) return c->name;
    return "none";
}

/* Trees of one output: their sum, or average, times a factor, and a constant beside it. */
static int put_ensemble(translation *t, const mw_xml *model, uint32_t output)
{
    const mw_xml *targets = mw_xml_child(model, "Targets"),
                 *segments = mw_xml_child(model, "Segmentation");
    const mw_xml *target = targets ? mw_xml_child(targets, "Target") : NULL;
    double factor = target ? mw_xml_number(target, "rescaleFactor", 1) : 1;
    double constant = target ? mw_xml_number(target, "rescaleConstant", 0) : 0;
    if (mw_xml_is(model, "RegressionModel"))
        return refuse(t, "a chain that begins with a", "RegressionModel");
    for (uint32_t k = 0; k < t->width; k++) t->base[t->width > 1 ? k : output] += constant;
    if (isnan(factor) || isnan(constant)) return fault(t, "a number is none in", "Target");
    if (mw_xml_is(model, "TreeModel")) return put_tree(t, model, output, factor);
    if (!segments) return fault(t, "a MiningModel has no", "Segmentation");
    const char *how = mw_xml_text(segments, "multipleModelMethod", "");
    int average = strcmp(how, "average") == 0;
    size_t count = 0;
    if (!average && strcmp(how, "sum") != 0) return refuse(t, "the multipleModelMethod", how);
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment"))
        count++;
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment")) {
        const mw_xml *inner = model_in(s);
        if (!inner || !mw_xml_is(inner, "TreeModel"))
            return refuse(t, "a sum or average of", inner ? inner->name : other_model(s));
        if (!mw_xml_child(s, "True"))
            return refuse(t, "a Segment with another predicate than", "True");
        if (!put_tree(t, inner, output, average ? factor / (double)count : factor)) return 0;
    }
    return 1;
}

/* Trees, whose shares of classes are the scores (the second's, of two). */
static int put_trees(translation *t, const mw_xml *model)
{
    int classes = strcmp(mw_xml_text(model, "functionName", ""), "classification") == 0;
    t->width = classes && t->class_count > 2 ? t->class_count : 1;
    mw_buffer_text(&t->json, ",\"trees\":[");
    if (classes && t->class_count < 2) return fault(t, "its target has no", "Value");
    if (!put_ensemble(t, model, 0)) return 0;
    mw_buffer_format(&t->json, "],\"outputs\":%u,\"width\":%u,\"output\":\"same\"", t->width,
                     t->width);
    return 1;
}

/* ---- regressions ---- */

static const char *transform_of(translation *t, const mw_xml *model, uint32_t outputs)
{
    const char *how = mw_xml_text(model, "normalizationMethod", "none");
    if (strcmp(how, "none") == 0) return "same";
    if (strcmp(how, "softmax") == 0) return outputs > 1 ? "softmax" : "sigmoid";
    if (strcmp(how, "logit") == 0) return outputs > 1 ? "shares of sigmoids" : "sigmoid";
    if (strcmp(how, "exp") == 0) return "exp";
    refuse(t, "the normalizationMethod", how);
    return "same";
}

/* The tables that have an output: one, or of several classes one each; of two only the second's. */
static uint32_t tables_of(translation *t, const mw_xml *model, const mw_xml **tables)
{
    uint32_t count = 0;
    const mw_xml *one = mw_xml_child(model, "RegressionTable");
    for (; one && count < CLASSES_MOST; one = mw_xml_next(one, "RegressionTable"))
        tables[count++] = one;
    if (count != 2) return count;
    if (t->class_count < 2) return fault(t, "its target has no", "Value") * 0u;
    const char *second = mw_xml_text(t->classes[1], "value", "");
    if (strcmp(mw_xml_text(tables[0], "targetCategory", ""), second) != 0) {
        const mw_xml *other = tables[0];
        tables[0] = tables[1], tables[1] = other;
    }
    if (tables[1]->child || mw_xml_number(tables[1], "intercept", 0) != 0)
        return refuse(t, "a regression of two classes with two", "RegressionTable") * 0u;
    return 1;
}

static int add_predictors(translation *t, const mw_xml *table)
{
    for (const mw_xml *p = table->child; p; p = p->next) {
        int number = mw_xml_is(p, "NumericPredictor"),
            category = mw_xml_is(p, "CategoricalPredictor");
        if (!number && !category) return refuse(t, "a predictor of the kind", p->name);
        if (mw_xml_number(p, "exponent", 1) != 1)
            return refuse(t, "a predictor with an", "exponent");
        if (column_of(t, mw_xml_text(p, "name", ""),
                      category ? mw_xml_text(p, "value", "") : NULL) < 0)
            return 0;
    }
    return 1;
}

static void put_weights(translation *t, const mw_xml *table)
{
    double *weights = mw_model_zeros(t->column_count, sizeof *weights);
    for (const mw_xml *p = table->child; p; p = p->next) {
        int category = mw_xml_is(p, "CategoricalPredictor");
        int at =
            column_of(t, mw_xml_text(p, "name", ""), category ? mw_xml_text(p, "value", "") : NULL);
        double weight = mw_xml_number(p, "coefficient", NAN);
        if (isnan(weight))
            fault(t, "a predictor's coefficient is no number:", mw_xml_text(p, "name", ""));
        weights[at] += weight;
    }
    mw_buffer_text(&t->json, "[");
    for (uint32_t i = 0; i < t->column_count; i++)
        mw_buffer_format(&t->json, i ? ",%.17g" : "%.17g", weights[i]);
    mw_buffer_text(&t->json, "]");
    free(weights);
}

static int put_regression(translation *t, const mw_xml *model)
{
    const mw_xml *tables[CLASSES_MOST];
    uint32_t count = tables_of(t, model, tables);
    if (!count) return fault(t, "a RegressionModel has no", "RegressionTable");
    for (uint32_t k = 0; k < count; k++)
        if (!add_predictors(t, tables[k])) return 0;
    if (!t->column_count) return fault(t, "a RegressionModel has no", "predictor");
    mw_buffer_text(&t->json, ",\"layers\":[{\"activation\":\"identity\",\"weights\":[");
    for (uint32_t k = 0; k < count; k++) {
        if (k) mw_buffer_text(&t->json, ",");
        put_weights(t, tables[k]);
    }
    mw_buffer_text(&t->json, "],\"bias\":[");
    for (uint32_t k = 0; k < count; k++)
        mw_buffer_format(&t->json, k ? ",%.17g" : "%.17g",
                         mw_xml_number(tables[k], "intercept", 0));
    mw_buffer_format(&t->json, "]}],\"output\":\"%s\"", transform_of(t, model, count));
    return t->status == MW_OK;
}

/* ---- chains: ensembles, each an output, and a regression of them ---- */

static const mw_xml *segment_of(const mw_xml *segments, const char *output)
{
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment")) {
        const mw_xml *model = model_in(s), *outputs = model ? mw_xml_child(model, "Output") : NULL;
        const mw_xml *f = outputs ? mw_xml_child(outputs, "OutputField") : NULL;
        for (; f; f = mw_xml_next(f, "OutputField"))
            if (strcmp(mw_xml_text(f, "name", ""), output) == 0 &&
                strcmp(mw_xml_text(f, "feature", "predictedValue"), "predictedValue") == 0)
                return model;
    }
    return NULL;
}

static int put_chain(translation *t, const mw_xml *segments)
{
    const mw_xml *tables[CLASSES_MOST], *last = NULL;
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment"))
        last = model_in(s);
    if (!last || !mw_xml_is(last, "RegressionModel"))
        return refuse(t, "a modelChain that ends with", last ? last->name : "none");
    uint32_t count = tables_of(t, last, tables);
    if (!count) return fault(t, "a RegressionModel has no", "RegressionTable");
    t->width = 1;
    mw_buffer_text(&t->json, ",\"trees\":[");
    for (uint32_t k = 0; k < count; k++) {
        const mw_xml *p = mw_xml_child(tables[k], "NumericPredictor");
        const mw_xml *from = p ? segment_of(segments, mw_xml_text(p, "name", "")) : NULL;
        if (!from || mw_xml_number(p, "coefficient", 1) != 1 || mw_xml_next(p, "NumericPredictor"))
            return refuse(t, "a chain's RegressionTable of more than one output times 1:",
                          mw_xml_text(tables[k], "targetCategory", ""));
        if (!put_ensemble(t, from, k)) return 0;
        t->base[k] += mw_xml_number(tables[k], "intercept", 0);
    }
    mw_buffer_format(&t->json, "],\"outputs\":%u,\"width\":1,\"output\":\"%s\"", count,
                     transform_of(t, last, count));
    return t->status == MW_OK;
}

/* ---- the whole ---- */

static void put_features(translation *t)
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

/* The number by which a row has a value: its place among the texts, or itself. */
static double code_of(const mw_xml *field, const mw_xml *value)
{
    double code = 0;
    if (strcmp(mw_xml_text(field, "dataType", ""), "string") != 0)
        return mw_xml_number(value, "value", NAN);
    for (const mw_xml *v = mw_xml_child(field, "Value"); v && v != value;
         v = mw_xml_next(v, "Value"))
        code++;
    return code;
}

static int put_columns(translation *t)
{
    if (!t->column_count) { /* a tree that tests nothing */
        t->columns = mw_model_zeros(1, sizeof *t->columns);
        t->column_count = 1;
    }
    mw_buffer_text(&t->json, ",\"columns\":[");
    for (uint32_t i = 0; i < t->column_count; i++) {
        const column *c = &t->columns[i];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", c->field);
        if (c->is) {
            double code = code_of(t->fields[c->field], c->is);
            if (!isfinite(code))
                return fault(t, "a category is no number:", mw_xml_text(c->is, "value", ""));
            mw_buffer_format(&t->json, "[\"is\",%.17g]", code);
        }
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_format(&t->json, "],\"float\":%s", t->any_double ? "false" : "true");
    return 1;
}

static int translate(translation *t, const mw_xml *root)
{
    const mw_xml *model = model_in(root),
                 *segments = model ? mw_xml_child(model, "Segmentation") : NULL;
    if (!mw_xml_is(root, "PMML")) return fault(t, "it begins with", root->name);
    if (!model) return refuse(t, "a model of the kind", other_model(root));
    if (mw_xml_child(root, "TransformationDictionary") &&
        mw_xml_child(root, "TransformationDictionary")->child)
        return refuse(t, "a", "TransformationDictionary that is not empty");
    if (mw_xml_child(model, "LocalTransformations"))
        return refuse(t, "the element", "LocalTransformations");
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%s\"", model->name);
    if (!read_fields(t, root, model)) return 0;
    put_features(t);
    int chain =
        segments && strcmp(mw_xml_text(segments, "multipleModelMethod", ""), "modelChain") == 0;
    int good = mw_xml_is(model, "RegressionModel") ? put_regression(t, model)
               : chain                             ? put_chain(t, segments)
                                                   : put_trees(t, model);
    if (!good || !put_columns(t)) return 0;
    if (t->trees) {
        mw_buffer_text(&t->json, ",\"base\":[");
        uint32_t outputs = chain ? 0 : t->width;
        const mw_xml *tables[CLASSES_MOST];
        for (const mw_xml *s = chain ? mw_xml_child(segments, "Segment") : NULL; s;
             s = mw_xml_next(s, "Segment"))
            if (mw_xml_is(model_in(s), "RegressionModel"))
                outputs = tables_of(t, model_in(s), tables);
        for (uint32_t k = 0; k < outputs; k++)
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
    translation *t = mw_model_zeros(1, sizeof *t);
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
