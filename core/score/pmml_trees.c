/* pmml_trees.c: see pmml_private.h. */
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

uint32_t mw_pmml_add_node(mw_pmml *t)
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

/* The shares of the classes that a leaf has; or of one, of which its score is, or which has the
 * greatest. */
static int read_shares(mw_pmml *t, const mw_pmml_tree *m, const mw_xml *node, double *shares)
{
    const char *score = mw_xml_text(node, "score", NULL);
    const mw_xml *s = mw_xml_child(node, "ScoreDistribution");
    double all = 0;
    uint32_t most = 0;
    if (score && (m->votes || !s)) {
        int k = mw_pmml_class_of(t, score);
        if (k >= 0) shares[k] = 1;
        return k >= 0;
    }
    for (; s; s = mw_xml_next(s, "ScoreDistribution")) {
        int k = mw_pmml_class_of(t, mw_xml_text(s, "value", ""));
        if (k < 0) return 0;
        shares[k] = mw_xml_number(s, "probability", mw_xml_number(s, "recordCount", 0));
        all += shares[k];
        if (shares[k] > shares[most]) most = (uint32_t)k;
    }
    if (!(all > 0)) return mw_pmml_fault(t, "a leaf has no", "ScoreDistribution");
    for (uint32_t k = 0; k < t->class_count; k++)
        shares[k] = m->votes ? k == most : shares[k] / all;
    return 1;
}

/* A leaf's value: its score, or of classes their shares (of two the second's). */
static int64_t add_leaf(mw_pmml *t, const mw_pmml_tree *m, const mw_xml *node)
{
    uint32_t at = mw_pmml_add_node(t);
    double *to = t->values + (size_t)at * t->width;
    if (!m->classes) {
        *to = mw_xml_number(node, "score", NAN);
        return isnan(*to) ? mw_pmml_fault(t, "a leaf has no number as its", "score") - 1
                          : (int64_t)at;
    }
    double *shares = mw_model_zeros(t->class_count, sizeof *shares);
    int good = read_shares(t, m, node, shares);
    if (good && t->width > 1) memcpy(to, shares, t->width * sizeof *to);
    else if (good)
        *to = shares[1];
    free(shares);
    return good ? (int64_t)at : -1;
}

static const mw_xml *predicate_of(const mw_xml *node)
{
    for (const mw_xml *e = node->child; e; e = e->next)
        if (strstr(e->name, "Predicate") || mw_xml_is(e, "True") || mw_xml_is(e, "False")) return e;
    return NULL;
}

/* What a tree says of a row for which it says nothing. */
static int64_t add_nothing(mw_pmml *t)
{
    uint32_t at = mw_pmml_add_node(t);
    for (uint32_t k = 0; k < t->width; k++) t->values[(size_t)at * t->width + k] = NAN;
    return at;
}

static const mw_xml *default_child(const mw_xml *node)
{
    const char *id = mw_xml_text(node, "defaultChild", "");
    const mw_xml *child = mw_xml_child(node, "Node");
    while (child && strcmp(mw_xml_text(child, "id", ""), id) != 0)
        child = mw_xml_next(child, "Node");
    return child;
}

/* Where a child leads whose predicate is unknown. `rest`: its next sibling, were it false. */
static mw_pmml_way when_unknown(const mw_pmml_tree *m, const mw_xml *node, const mw_xml *rest)
{
    const mw_xml *child;
    switch (m->missing) {
    case MW_PMML_DEFAULT:
        child = default_child(node);
        return (mw_pmml_way){child ? MW_PMML_INTO : MW_PMML_NOTHING, m, child, NULL, NULL};
    case MW_PMML_LAST:
        return (mw_pmml_way){MW_PMML_SELF, m, node, NULL, NULL};
    case MW_PMML_NULL:
        return (mw_pmml_way){MW_PMML_NOTHING, m, NULL, NULL, NULL};
    default:
        return (mw_pmml_way){MW_PMML_CHILD, m, node, rest, NULL};
    }
}

/* The first of the children, from one on, whose predicate is true. */
static int64_t add_children(mw_pmml *t, const mw_pmml_tree *m, const mw_xml *node,
                            const mw_xml *child, const mw_pmml_known *k, int depth)
{
    if (!child) return m->last_counts ? add_leaf(t, m, node) : add_nothing(t);
    const mw_xml *p = predicate_of(child), *next = mw_xml_next(child, "Node");
    if (!p) return mw_pmml_fault(t, "a node has no", "predicate") - 1;
    mw_pmml_way yes = {MW_PMML_INTO, m, child, NULL, NULL},
                no = {MW_PMML_CHILD, m, node, next, NULL};
    mw_pmml_way unknown = when_unknown(m, node, next);
    if (next && mw_pmml_is_contrary(t, p, predicate_of(next))) {
        no = (mw_pmml_way){MW_PMML_INTO, m, next, NULL, NULL};
        unknown = when_unknown(m, node, mw_xml_next(next, "Node"));
    }
    return mw_pmml_add_predicate(t, p, &(mw_pmml_ways){&yes, &no, &unknown}, k, depth + 1);
}

/* Compound predicates may be many more tests than they are words, which a file must not make use
 * of; the nodes of those that trainers write are about as many as the file's elements. */
static int is_too_much(const mw_pmml *t)
{
    uint64_t nodes = t->all_nodes + t->node_count;
    return nodes > (1 << 16) + 16 * t->elements ||
           nodes * t->width > (1 << 21) + 16 * t->elements * t->width;
}

int64_t mw_pmml_add_way(mw_pmml *t, const mw_pmml_way *way, const mw_pmml_known *k, int depth)
{
    const mw_xml *first;
    if (depth > MW_PMML_DEEP) return mw_pmml_fault(t, "its trees are too deep:", "Node") - 1;
    if (is_too_much(t)) return mw_pmml_fault(t, "its predicates are too many in a", "Node") - 1;
    switch (way->kind) {
    case MW_PMML_INTO:
        first = mw_xml_child(way->node, "Node");
        return first ? add_children(t, way->tree, way->node, first, k, depth + 1)
                     : add_leaf(t, way->tree, way->node);
    case MW_PMML_CHILD:
        return add_children(t, way->tree, way->node, way->child, k, depth + 1);
    case MW_PMML_SELF:
        return add_leaf(t, way->tree, way->node);
    case MW_PMML_NOTHING:
        return add_nothing(t);
    default:
        return mw_pmml_add_rest(t, way->rest, k, depth + 1);
    }
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

/* 0: a strategy that is not supported. */
static int read_tree(mw_pmml *t, const mw_xml *tree, int votes, mw_pmml_tree *m)
{
    static const char *const strategies[] = {"none", "defaultChild", "nullPrediction",
                                             "lastPrediction"};
    const char *missing = mw_xml_text(tree, "missingValueStrategy", "none");
    const char *last = mw_xml_text(tree, "noTrueChildStrategy", "returnNullPrediction");
    *m = (mw_pmml_tree){strcmp(mw_xml_text(tree, "functionName", ""), "classification") == 0, votes,
                        strcmp(last, "returnLastPrediction") == 0, MW_PMML_NONE};
    while (m->missing < 4 && strcmp(strategies[m->missing], missing) != 0) m->missing++;
    return m->missing < 4 || mw_pmml_refuse(t, "the missingValueStrategy", missing);
}

static int put_tree(mw_pmml *t, const mw_xml *tree, uint32_t output, double factor, int votes)
{
    mw_pmml_tree m;
    const mw_xml *node = mw_xml_child(tree, "Node");
    const mw_pmml_way root = {MW_PMML_INTO, &m, node, NULL, NULL};
    if (!read_tree(t, tree, votes, &m)) return 0;
    t->node_count = 0;
    if (!node) return mw_pmml_fault(t, "a tree has no", "Node");
    if (mw_pmml_add_way(t, &root, NULL, 0) < 0) return 0;
    t->all_nodes += t->node_count;
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

typedef struct method {
    const char *name;
    int weighted, average, votes;
} method;

static const method methods[] = {{"sum", 0, 0, 0},
                                 {"weightedSum", 1, 0, 0},
                                 {"average", 0, 1, 0},
                                 {"weightedAverage", 1, 1, 0},
                                 {"majorityVote", 0, 1, 1},
                                 {"weightedMajorityVote", 1, 1, 1},
                                 {0}};

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
    if (mw_xml_is(model, "TreeModel")) return put_tree(t, model, output, factor, 0);
    if (!segments) return mw_pmml_fault(t, "a MiningModel has no", "Segmentation");
    const char *how = mw_xml_text(segments, "multipleModelMethod", "");
    const method *by = methods;
    double all = 0;
    while (by->name && strcmp(by->name, how) != 0) by++;
    if (!by->name) return mw_pmml_refuse(t, "the multipleModelMethod", how);
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment"))
        all += by->weighted ? mw_xml_number(s, "weight", 1) : 1;
    if (by->average && !(all > 0))
        return mw_pmml_fault(t, "the weights of a Segmentation are", "0");
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment")) {
        const mw_xml *inner = mw_pmml_model_in(s);
        if (!inner || !mw_xml_is(inner, "TreeModel"))
            return mw_pmml_refuse(t, "a sum or average of",
                                  inner ? inner->name : mw_pmml_other_model(s));
        if (!mw_xml_child(s, "True"))
            return mw_pmml_refuse(t, "a Segment with another predicate than", "True");
        double weight = factor * (by->weighted ? mw_xml_number(s, "weight", 1) : 1);
        if (isnan(weight)) return mw_pmml_fault(t, "a number is none in", "Segment");
        if (!put_tree(t, inner, output, by->average ? weight / all : weight, by->votes)) return 0;
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
