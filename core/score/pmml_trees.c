/* pmml_trees.c: see pmml_private.h. */
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static uint32_t add_node(mw_pmml *t)
{
    if (t->node_count == t->node_room) {
        t->node_room = t->node_room ? 2 * t->node_room : 256;
        t->nodes = realloc(t->nodes, t->node_room * sizeof *t->nodes);
        t->values = realloc(t->values, (size_t)t->node_room * t->width * sizeof *t->values);
        mw_assert(t->nodes && t->values);
    }
    memset(&t->values[(size_t)t->node_count * t->width], 0, t->width * sizeof *t->values);
    t->nodes[t->node_count] = (mw_pmml_node){.left = -1, .right = -1};
    return t->node_count++;
}

/* A leaf's value: its score, or of classes their shares (of two the second's). */
static int64_t add_leaf(mw_pmml *t, const mw_xml *node, int classes)
{
    uint32_t at = add_node(t);
    double *to = t->values + (size_t)at * t->width, all = 0, *shares;
    if (!classes) {
        *to = mw_xml_number(node, "score", NAN);
        return isnan(*to) ? mw_pmml_fault(t, "a leaf has no number as its", "score") - 1
                          : (int64_t)at;
    }
    shares = mw_model_zeros(t->class_count, sizeof *shares);
    for (const mw_xml *s = mw_xml_child(node, "ScoreDistribution"); s;
         s = mw_xml_next(s, "ScoreDistribution")) {
        int k = mw_pmml_class_of(t, mw_xml_text(s, "value", ""));
        if (k < 0) break;
        shares[k] = mw_xml_number(s, "probability", mw_xml_number(s, "recordCount", 0));
        all += shares[k];
    }
    if (t->status == MW_OK && !(all > 0)) mw_pmml_fault(t, "a leaf has no", "ScoreDistribution");
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

static int read_test(mw_pmml *t, const mw_xml *p, test *to)
{
    const char *operator= mw_xml_text(p, "operator", ""), *field = mw_xml_text(p, "field", "");
    const char *value = mw_xml_text(p, "value", "");
    int equal = strcmp(operator, "equal") == 0, other = strcmp(operator, "notEqual") == 0;
    *to = (test){.threshold = 0.5};
    if (equal || other) {
        to->column = mw_pmml_column_of(t, field, value), to->turned = equal;
        return to->column >= 0;
    }
    to->column = mw_pmml_column_of(t, field, NULL);
    to->threshold = mw_xml_number(p, "value", NAN);
    int greater = strcmp(operator, "greaterThan") == 0,
        at_least = strcmp(operator, "greaterOrEqual") == 0;
    to->turned = greater || at_least;
    to->strict = strcmp(operator, "lessThan") == 0 || at_least;
    if (!to->turned && !to->strict && strcmp(operator, "lessOrEqual") != 0)
        return mw_pmml_refuse(t, "a predicate with the operator", operator);
    if (to->column >= 0 && isnan(to->threshold))
        return mw_pmml_fault(t, "a predicate compares with", value);
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
    int by_default, by_null;  /* missingValueStrategy is defaultChild, or nullPrediction */
} tree_model;

/* The fields that are not missing where a node is reached, the last first. */
typedef struct known {
    uint32_t field;
    const struct known *before;
} known;

static int64_t add_subtree(mw_pmml *t, const tree_model *m, const mw_xml *node, const known *k,
                           int depth);
static int64_t add_children(mw_pmml *t, const tree_model *m, const mw_xml *node, const mw_xml *from,
                            const known *k, int depth);

static int is_known(const known *k, uint32_t field)
{
    while (k && k->field != field) k = k->before;
    return k != NULL;
}

/* What a tree says of a row for which it says nothing. */
static int64_t add_null(mw_pmml *t)
{
    uint32_t at = add_node(t);
    for (uint32_t k = 0; k < t->width; k++) t->values[(size_t)at * t->width + k] = NAN;
    return at;
}

/* A missing value ends here: the prediction is null, or, where none of a node's children is meant
 * then, the node's own if that counts. Below, the field is known. */
static int64_t add_guard(mw_pmml *t, const tree_model *m, const mw_xml *node, const mw_xml *from,
                         int column, const known *k, int depth)
{
    const known with = {t->columns[column].field, k};
    int plain = mw_pmml_plain_column(t, column);
    uint32_t at = add_node(t);
    int64_t there = add_children(t, m, node, from, &with, depth + 1);
    int64_t missing = m->by_null || !m->last_counts ? add_null(t) : add_leaf(t, node, m->classes);
    mw_pmml_node *n = &t->nodes[at];
    n->feature = plain, n->threshold = INFINITY; /* any value is below or at it */
    n->left = (double)there, n->right = (double)missing;
    return there < 0 || missing < 0 ? -1 : (int64_t)at;
}

/* Whether the next child's predicate is the contrary of a test. */
static int is_contrary(mw_pmml *t, const test *of, const mw_xml *next)
{
    const mw_xml *p = next ? predicate_of(next) : NULL;
    test other;
    return p && mw_xml_is(p, "SimplePredicate") && read_test(t, p, &other) &&
           other.column == of->column && other.threshold == of->threshold &&
           other.turned != of->turned && other.strict == of->strict;
}

/* The first of the children, from one on, whose predicate is true. */
static int64_t add_children(mw_pmml *t, const tree_model *m, const mw_xml *node, const mw_xml *from,
                            const known *k, int depth)
{
    test of;
    if (depth > MW_PMML_DEEP) return mw_pmml_fault(t, "its trees are too deep:", "Node") - 1;
    if (!from) return m->last_counts ? add_leaf(t, node, m->classes) : add_null(t);
    const mw_xml *p = predicate_of(from), *next = mw_xml_next(from, "Node");
    if (!p) return mw_pmml_fault(t, "a node has no", "predicate") - 1;
    if (mw_xml_is(p, "False")) return add_children(t, m, node, next, k, depth + 1);
    if (mw_xml_is(p, "True")) return add_subtree(t, m, from, k, depth + 1);
    if (!mw_xml_is(p, "SimplePredicate"))
        return mw_pmml_refuse(t, "a predicate of the kind", p->name) - 1;
    if (!read_test(t, p, &of)) return -1;
    int contrary = is_contrary(t, &of, next);
    if (!m->by_default && (m->by_null || contrary) && !is_known(k, t->columns[of.column].field))
        return add_guard(t, m, node, from, of.column, k, depth);
    uint32_t at = add_node(t);
    int64_t yes = add_subtree(t, m, from, k, depth + 1);
    int64_t no = contrary ? add_subtree(t, m, next, k, depth + 1)
                          : add_children(t, m, node, next, k, depth + 1);
    const char *missing = mw_xml_text(node, "defaultChild", "");
    int to_yes = m->by_default && strcmp(mw_xml_text(from, "id", "-"), missing) == 0;
    mw_pmml_node *n = &t->nodes[at];
    n->feature = of.column, n->threshold = of.threshold, n->strict = of.strict;
    n->left = (double)(of.turned ? no : yes), n->right = (double)(of.turned ? yes : no);
    n->missing_left = of.turned ? !to_yes : to_yes;
    return yes < 0 || no < 0 ? -1 : (int64_t)at;
}

static int64_t add_subtree(mw_pmml *t, const tree_model *m, const mw_xml *node, const known *k,
                           int depth)
{
    const mw_xml *first = mw_xml_child(node, "Node");
    return first ? add_children(t, m, node, first, k, depth) : add_leaf(t, node, m->classes);
}

/* JSON has neither of the two, and readers of it read these so. */
static void put_number(mw_pmml *t, double number, int first)
{
    if (!first) mw_buffer_text(&t->json, ",");
    if (isfinite(number)) mw_buffer_format(&t->json, "%.17g", number);
    else
        mw_buffer_text(&t->json, isnan(number) ? "null" : "1e999");
}

static void put_list(mw_pmml *t, const char *name, size_t offset)
{
    mw_buffer_format(&t->json, ",\"%s\":[", name);
    for (uint32_t i = 0; i < t->node_count; i++) {
        put_number(t, *(const double *)((const char *)&t->nodes[i] + offset), !i);
    }
    mw_buffer_text(&t->json, "]");
}

static int put_tree(mw_pmml *t, const mw_xml *tree, uint32_t output, double factor)
{
    const char *missing = mw_xml_text(tree, "missingValueStrategy", "none");
    const char *last = mw_xml_text(tree, "noTrueChildStrategy", "returnNullPrediction");
    tree_model m = {strcmp(mw_xml_text(tree, "functionName", ""), "classification") == 0,
                    strcmp(last, "returnLastPrediction") == 0, strcmp(missing, "defaultChild") == 0,
                    strcmp(missing, "nullPrediction") == 0};
    const mw_xml *node = mw_xml_child(tree, "Node");
    t->node_count = 0;
    if (!node) return mw_pmml_fault(t, "a tree has no", "Node");
    if (!m.by_default && !m.by_null && strcmp(missing, "none") != 0)
        return mw_pmml_refuse(t, "the missingValueStrategy", missing);
    if (add_subtree(t, &m, node, NULL, 0) < 0) return 0;
    mw_buffer_format(&t->json, "%s{\"output\":%u", t->trees++ ? "," : "", output);
    put_list(t, "left", offsetof(mw_pmml_node, left));
    put_list(t, "right", offsetof(mw_pmml_node, right));
    put_list(t, "feature", offsetof(mw_pmml_node, feature));
    put_list(t, "threshold", offsetof(mw_pmml_node, threshold));
    put_list(t, "strict", offsetof(mw_pmml_node, strict));
    put_list(t, "cover", offsetof(mw_pmml_node, cover)); /* which is not known */
    put_list(t, "missing_left", offsetof(mw_pmml_node, missing_left));
    mw_buffer_text(&t->json, ",\"value\":[");
    for (size_t i = 0; i < (size_t)t->node_count * t->width; i++)
        put_number(t, t->values[i] * factor, !i);
    mw_buffer_text(&t->json, "]}");
    return 1;
}

/* ---- ensembles ---- */

/* Trees of one output: their sum, or average, times a factor, and a constant beside it. */
int mw_pmml_put_ensemble(mw_pmml *t, const mw_xml *model, uint32_t output)
{
    const mw_xml *targets = mw_xml_child(model, "Targets"),
                 *segments = mw_xml_child(model, "Segmentation");
    const mw_xml *target = targets ? mw_xml_child(targets, "Target") : NULL;
    double factor = target ? mw_xml_number(target, "rescaleFactor", 1) : 1;
    double constant = target ? mw_xml_number(target, "rescaleConstant", 0) : 0;
    if (mw_xml_is(model, "RegressionModel"))
        return mw_pmml_refuse(t, "a chain that begins with a", "RegressionModel");
    for (uint32_t k = 0; k < t->width; k++) t->base[t->width > 1 ? k : output] += constant;
    if (isnan(factor) || isnan(constant)) return mw_pmml_fault(t, "a number is none in", "Target");
    if (mw_xml_is(model, "TreeModel")) return put_tree(t, model, output, factor);
    if (!segments) return mw_pmml_fault(t, "a MiningModel has no", "Segmentation");
    const char *how = mw_xml_text(segments, "multipleModelMethod", "");
    int average = strcmp(how, "average") == 0;
    size_t count = 0;
    if (!average && strcmp(how, "sum") != 0)
        return mw_pmml_refuse(t, "the multipleModelMethod", how);
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment"))
        count++;
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment")) {
        const mw_xml *inner = mw_pmml_model_in(s);
        if (!inner || !mw_xml_is(inner, "TreeModel"))
            return mw_pmml_refuse(t, "a sum or average of",
                                  inner ? inner->name : mw_pmml_other_model(s));
        if (!mw_xml_child(s, "True"))
            return mw_pmml_refuse(t, "a Segment with another predicate than", "True");
        if (!put_tree(t, inner, output, average ? factor / (double)count : factor)) return 0;
    }
    return 1;
}

/* Trees, whose shares of classes are the scores (the second's, of two). */
int mw_pmml_put_trees(mw_pmml *t, const mw_xml *model)
{
    int classes = strcmp(mw_xml_text(model, "functionName", ""), "classification") == 0;
    t->width = classes && t->class_count > 2 ? t->class_count : 1;
    mw_buffer_text(&t->json, ",\"trees\":[");
    if (classes && t->class_count < 2) return mw_pmml_fault(t, "its target has no", "Value");
    if (!mw_pmml_put_ensemble(t, model, 0)) return 0;
    t->outputs = t->width;
    mw_buffer_format(&t->json, "],\"outputs\":%u,\"width\":%u,\"output\":\"same\"", t->width,
                     t->width);
    return 1;
}
