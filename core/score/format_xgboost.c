/* format_xgboost.c: models as XGBoost 1.0 to 3.x saves them, as JSON or UBJSON
 * (xgboost.readthedocs.io, "Introduction to Model IO"). See model_private.h.
 *
 * XGBoost compares float32, adds float32 in the order of the trees to a margin that begins with the
 * base score, and keeps the base score on the scale of the prediction. */
#include "score/document.h"
#include "score/model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The objectives: what becomes of a margin, and what the base score is the inverse of. */
static const struct objective {
    const char *name;
    mw_output_kind output;
    enum { BASE_SAME, BASE_LOGIT, BASE_LOG } base;
} objectives[] = {
    {"reg:squarederror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:linear", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:squaredlogerror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:pseudohubererror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:absoluteerror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:quantileerror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:expectileerror", MW_OUTPUT_SAME, BASE_SAME},
    {"reg:logistic", MW_OUTPUT_SIGMOID, BASE_LOGIT},
    {"binary:logistic", MW_OUTPUT_SIGMOID, BASE_LOGIT},
    {"binary:logitraw", MW_OUTPUT_SAME, BASE_SAME},
    {"binary:hinge", MW_OUTPUT_STEP, BASE_SAME},
    {"count:poisson", MW_OUTPUT_EXP, BASE_LOG},
    {"reg:gamma", MW_OUTPUT_EXP, BASE_LOG},
    {"reg:tweedie", MW_OUTPUT_EXP, BASE_LOG},
    {"survival:cox", MW_OUTPUT_EXP, BASE_LOG},
    {"survival:aft", MW_OUTPUT_EXP, BASE_LOG},
    {"multi:softmax", MW_OUTPUT_GREATEST, BASE_SAME},
    {"multi:softprob", MW_OUTPUT_SOFTMAX, BASE_SAME},
    {"rank:pairwise", MW_OUTPUT_SAME, BASE_SAME},
    {"rank:ndcg", MW_OUTPUT_SAME, BASE_SAME},
    {"rank:map", MW_OUTPUT_SAME, BASE_SAME},
};

enum { SET_WORDS = 1 << 22 }; /* most that a tree's sets of categories take, of 32 bits */

static const struct objective *objective_of(mw_value name)
{
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (mw_document_is(name, objectives[i].name)) return &objectives[i];
    return NULL;
}

static mw_status fault(mw_error *error, const char *name, const char *what)
{
    return mw_fail(error, MW_INVALID, "%s: %s; is it a model that XGBoost saved?", name, what);
}

/* ---- trees ---- */

enum list {
    LEFT,
    RIGHT,
    FEATURE,
    CONDITION,
    DEFAULT_LEFT,
    COVER,
    TYPE,
    NODES,
    SEGMENTS,
    SIZES,
    CATEGORIES,
    WEIGHTS,
    LEAF_WEIGHTS,
    LISTS
};
static const char *const list_names[LISTS] = {
    "left_children",       "right_children",   "split_indices", "split_conditions",
    "default_left",        "sum_hessian",      "split_type",    "categories_nodes",
    "categories_segments", "categories_sizes", "categories",    "base_weights",
    "leaf_weights"};

typedef struct lists {
    double *at[LISTS];
    size_t count[LISTS];
} lists;

static void lists_close(lists *l)
{
    for (int i = 0; i < LISTS; i++) free(l->at[i]);
}

static void lists_read(lists *l, mw_value tree)
{
    for (int i = 0; i < LISTS; i++)
        mw_document_numbers(mw_json_field(tree, list_names[i]),
                            i == CONDITION || i == WEIGHTS || i == LEAF_WEIGHTS, &l->at[i],
                            &l->count[i]);
}

/* A number of something, out of a list; what is none becomes UINT32_MAX, which there never is. */
static uint32_t whole(double d)
{
    return d >= 0 && d < 4294967295.0 ? (uint32_t)d : UINT32_MAX;
}

/* The set of categories of a node, appended as bits. 0: the lists do not fit together. */
static int add_set(const lists *l, size_t n, mw_node *node, uint32_t **sets, size_t *set_count)
{
    double from = l->at[SEGMENTS][n], count = l->at[SIZES][n];
    if (!(from >= 0 && count >= 0 && from + count <= (double)l->count[CATEGORIES])) return 0;
    const double *c = l->at[CATEGORIES] + (size_t)from;
    uint32_t most = 0;
    for (size_t i = 0; i < (size_t)count; i++) {
        if (!(c[i] >= 0 && c[i] < 1 << 24)) return 0;
        if (c[i] > most) most = (uint32_t)c[i];
    }
    node->set = (uint32_t)*set_count, node->set_len = most / 32 + 1;
    if (*set_count + node->set_len > SET_WORDS) return 0;
    *sets = realloc(*sets, (*set_count + node->set_len) * sizeof **sets);
    mw_assert(*sets != NULL);
    memset(*sets + *set_count, 0, node->set_len * sizeof **sets);
    for (size_t i = 0; i < (size_t)count; i++)
        (*sets)[*set_count + (size_t)c[i] / 32] |= 1u << (unsigned)c[i] % 32;
    *set_count += node->set_len;
    node->test = MW_TEST_OUT;
    return 1;
}

static const char *lists_fault(const lists *l, uint32_t width)
{
    for (int i = LEFT; i <= CONDITION; i++)
        if (!l->at[i] || l->count[i] != l->count[LEFT]) return "a tree's lists differ in length";
    if (l->count[LEFT] > UINT32_MAX / 2 || !l->count[LEFT]) return "a tree without nodes";
    if (l->count[NODES] != l->count[SEGMENTS] || l->count[NODES] != l->count[SIZES])
        return "a tree's lists of categories differ in length";
    if (width > 1 && l->count[WEIGHTS] < l->count[LEFT] * width && !l->count[LEAF_WEIGHTS])
        return "a tree has fewer weights than nodes";
    return NULL;
}

static void make_node(const lists *l, uint32_t i, uint32_t width, mw_node *n)
{
    n->cover = i < l->count[COVER] ? l->at[COVER][i] : 0;
    if (l->at[LEFT][i] < 0) {
        n->test = MW_TEST_LEAF, n->right = i;
        /* leaves' vectors are either by node, or a list of their own that the right child tells */
        n->left = width == 1               ? i
                  : l->count[LEAF_WEIGHTS] ? whole(l->at[RIGHT][i]) * width
                                           : i * width;
        return;
    }
    n->test = MW_TEST_BELOW;
    n->threshold = l->at[CONDITION][i];
    n->left = whole(l->at[LEFT][i]), n->right = whole(l->at[RIGHT][i]);
    n->feature = whole(l->at[FEATURE][i]);
    n->missing = MW_MISSING_NAN;
    n->missing_left = i < l->count[DEFAULT_LEFT] && l->at[DEFAULT_LEFT][i] != 0;
}

static mw_status read_tree(mw_model *m, mw_value value, uint32_t output, double weight,
                           uint32_t width, const char *name, mw_error *error)
{
    lists l = {0};
    uint32_t *sets = NULL;
    size_t set_count = 0;
    lists_read(&l, value);
    const char *wrong = lists_fault(&l, width);
    mw_node *nodes = mw_model_zeros(l.count[LEFT], sizeof *nodes);
    for (uint32_t i = 0; !wrong && i < l.count[LEFT]; i++) make_node(&l, i, width, &nodes[i]);
    for (size_t i = 0; !wrong && i < l.count[NODES]; i++) {
        uint32_t n = whole(l.at[NODES][i]);
        if (n >= l.count[LEFT] || nodes[n].test == MW_TEST_LEAF ||
            !add_set(&l, i, &nodes[n], &sets, &set_count))
            wrong = "a set of categories that fits no node";
    }
    enum list values = width == 1 ? CONDITION : l.count[LEAF_WEIGHTS] ? LEAF_WEIGHTS : WEIGHTS;
    mw_error inner;
    mw_status status =
        wrong ? fault(error, name, wrong)
              : mw_forest_tree(m->forest,
                               &(mw_tree){nodes, (uint32_t)l.count[LEFT], l.at[values],
                                          l.count[values], sets, set_count, output, weight},
                               &inner);
    if (status != MW_OK && !wrong) mw_fail(error, status, "%s: %s", name, inner.message);
    free(nodes), free(sets), lists_close(&l);
    return status;
}

static mw_status read_trees(mw_model *m, mw_value booster, mw_value drops, const char *name,
                            mw_error *error)
{
    mw_value list = mw_document_at(booster, "trees"), key, tree;
    double *info, *weights;
    size_t infos, weight_count, cursor = 0, n = 0;
    if (list.kind != MW_ARRAY) return fault(error, name, "it has no list of trees");
    mw_document_numbers(mw_document_at(booster, "tree_info"), 0, &info, &infos);
    mw_document_numbers(drops, 1, &weights, &weight_count);
    mw_status status = MW_OK;
    while (status == MW_OK && mw_json_next(list.text, list.len, &cursor, &key, &tree)) {
        uint32_t width =
            whole(mw_document_number(mw_document_at(tree, "tree_param.size_leaf_vector"), 1));
        if (width == 0) width = 1; /* 1.x */
        if (!n) {
            mw_forest_options o = {m->features, m->margins, width, 1, 1, 0, 1};
            if (width != 1 && width != m->margins)
                status = fault(error, name,
                               "its leaves have another number of values than it has outputs");
            else
                m->forest = mw_forest_new(&o);
        }
        if (status == MW_OK)
            status = read_tree(m, tree, n < infos ? whole(info[n]) : 0,
                               n < weight_count ? weights[n] : 1, width, name, error);
        n++;
    }
    if (!m->forest)
        m->forest = mw_forest_new(&(mw_forest_options){m->features, m->margins, 1, 1, 1, 0, 1});
    free(info), free(weights);
    return status;
}

static void read_iterations(mw_model *m, mw_value booster)
{
    double *starts;
    size_t count;
    double parallel =
        mw_document_number(mw_document_at(booster, "gbtree_model_param.num_parallel_tree"), 1);
    m->trees_an_iteration = m->margins * (parallel >= 1 ? whole(parallel) : 1);
    if (mw_document_numbers(mw_document_at(booster, "iteration_indptr"), 0, &starts, &count) &&
        count > 1) {
        m->iterations = mw_model_zeros(count, sizeof *m->iterations);
        for (size_t i = 0; i < count; i++) m->iterations[i] = whole(starts[i]);
        m->iteration_count = (uint32_t)count - 1;
    }
    free(starts);
}

/* ---- linear ---- */

static mw_status read_linear(mw_model *m, mw_value list, const char *name, mw_error *error)
{
    double *w;
    size_t count, features = m->features, margins = m->margins;
    if (!mw_document_numbers(list, 1, &w, &count) || count != (features + 1) * margins) {
        free(w);
        return fault(error, name, "it has another number of weights than of features");
    }
    m->weights = mw_model_zeros(count, sizeof *w);
    for (size_t k = 1; k < margins; k++) m->base[k] = m->base[0]; /* it looks at no other */
    for (size_t j = 0; j <= features; j++)
        for (size_t k = 0; k < margins; k++)
            m->weights[j < features ? k * features + j : features * margins + k] =
                w[j * margins + k];
    free(w);
    return MW_OK;
}

/* ---- features ---- */

static mw_status read_names(mw_model *m, mw_value learner, const char *name, mw_error *error)
{
    mw_value list = mw_document_at(learner, "feature_names"), key, v;
    size_t cursor = 0;
    uint32_t n = 0;
    mw_buffer plain = {0};
    while (list.kind == MW_ARRAY && n < m->features &&
           mw_json_next(list.text, list.len, &cursor, &key, &v)) {
        plain.len = 0;
        if (v.kind == MW_ESCAPED) mw_json_unescape(&plain, v.text, v.len);
        else
            mw_buffer_append(&plain, v.text, v.len);
        m->names[n++] = mw_model_text(plain.bytes, plain.len);
    }
    mw_buffer_close(&plain);
    mw_error inner;
    if (mw_model_name_features(m, "f", &inner) == MW_OK) return MW_OK;
    return mw_fail(error, MW_INVALID, "%s: %s", name, inner.message);
}

/* From 3.1 on: the texts of a feature's categories, in the order of their codes, end to end. */
static void read_texts(mw_categories *c, mw_value coded)
{
    double *ends, *bytes;
    size_t end_count, byte_count;
    mw_document_numbers(mw_json_field(coded, "offsets"), 0, &ends, &end_count);
    mw_document_numbers(mw_json_field(coded, "values"), 0, &bytes, &byte_count);
    if (ends && bytes && end_count > 1) {
        c->texts = mw_model_zeros(end_count - 1, sizeof *c->texts);
        c->unknown = NAN;
        for (size_t i = 0; i + 1 < end_count; i++) {
            double from = ends[i], to = ends[i + 1];
            int good = from >= 0 && from <= to && to <= (double)byte_count;
            char *t = c->texts[c->count++] =
                mw_model_zeros(good ? (size_t)to - (size_t)from + 1 : 1, 1);
            for (size_t b = 0; good && b < (size_t)to - (size_t)from; b++)
                t[b] = (char)(int)bytes[(size_t)from + b];
        }
    }
    free(ends), free(bytes);
}

static void read_categories(mw_model *m, mw_value booster)
{
    mw_value list = mw_document_at(booster, "cats.enc"), key, v;
    size_t cursor = 0;
    uint32_t n = 0;
    while (list.kind == MW_ARRAY && n < m->features &&
           mw_json_next(list.text, list.len, &cursor, &key, &v)) {
        if (!m->categories) m->categories = mw_model_zeros(m->features, sizeof *m->categories);
        /* categories that are numbers have another shape, and are given as their codes */
        if (mw_json_field(v, "offsets").kind == MW_ARRAY) read_texts(&m->categories[n], v);
        n++;
    }
}

/* ---- the whole ---- */

static double margin_of(const struct objective *o, float score)
{
    if (o->base == BASE_LOGIT) return (double)-logf(1.0f / score - 1.0f);
    return o->base == BASE_LOG ? (double)logf(score) : (double)score;
}

/* "5E-1", 0.5, or "[1E0,2E0]", one a margin. */
static mw_status read_base(mw_model *m, mw_value base, const struct objective *o, const char *name,
                           mw_error *error)
{
    char *after;
    uint32_t n = 0;
    m->base = mw_model_zeros(m->margins, sizeof *m->base);
    if (base.kind != MW_STRING && base.kind != MW_NUMBER)
        return fault(error, name, "it has no base_score");
    for (const char *p = base.text, *end = base.text + base.len; p < end; p++) {
        if (*p == '[' || *p == ']' || *p == ',' || *p == ' ') continue;
        float score = strtof(p, &after);
        if (after == p || n == m->margins || !isfinite(margin_of(o, score)))
            return fault(error, name, "its base_score is not what its objective wants");
        m->base[n++] = margin_of(o, score);
        p = after - 1;
    }
    for (uint32_t i = n; n && i < m->margins; i++) m->base[i] = m->base[0];
    return n ? MW_OK : fault(error, name, "its base_score is empty");
}

static mw_status read_booster(mw_model *m, mw_value gradient, const char *name, mw_error *error)
{
    mw_value kind = mw_document_at(gradient, "name");
    if (mw_document_is(kind, "gblinear"))
        return read_linear(m, mw_document_at(gradient, "model.weights"), name, error);
    int dart = mw_document_is(kind, "dart");
    if (!dart && !mw_document_is(kind, "gbtree"))
        return mw_fail(error, MW_INVALID,
                       "%s: its booster '%.*s' is not supported (gbtree, dart and gblinear are)",
                       name, (int)kind.len, kind.text ? kind.text : "");
    mw_value model = mw_document_at(gradient, dart ? "gbtree.model" : "model");
    read_categories(m, model);
    read_iterations(m, model);
    return read_trees(m, model, mw_document_at(gradient, "weight_drop"), name, error);
}

static mw_status read_learner(mw_model *m, mw_value root, const char *name, mw_error *error)
{
    mw_value learner = mw_document_at(root, "learner");
    mw_value param = mw_document_at(learner, "learner_model_param");
    mw_value objective = mw_document_at(learner, "objective.name");
    double features = mw_document_number(mw_document_at(param, "num_feature"), -1);
    double classes = mw_document_number(mw_document_at(param, "num_class"), 0);
    double targets = mw_document_number(mw_document_at(param, "num_target"), 1);
    if (learner.kind != MW_OBJECT || param.kind != MW_OBJECT)
        return fault(error, name, "it has no learner");
    if (!(features >= 0 && features <= MW_MODEL_FEATURES))
        return mw_fail(error, MW_LIMIT, "%s: num_feature is not from 0 to %d", name,
                       MW_MODEL_FEATURES);
    double margins = classes > targets ? classes : targets;
    if (!(margins <= MW_FOREST_OUTPUTS))
        return mw_fail(error, MW_LIMIT, "%s: it has more than %d classes", name, MW_FOREST_OUTPUTS);
    const struct objective *o = objective_of(objective);
    if (!o)
        return mw_fail(error, MW_INVALID, "%s: the objective '%.*s' is not supported", name,
                       (int)objective.len, objective.text ? objective.text : "");
    m->kind = "xgboost", m->objective = mw_model_text(o->name, strlen(o->name));
    m->features = (uint32_t)features, m->margins = margins < 1 ? 1 : (uint32_t)margins;
    m->names = mw_model_zeros(m->features, sizeof *m->names);
    m->output = (mw_output){o->output, 1, 1};
    mw_status status = read_names(m, learner, name, error);
    if (status == MW_OK) status = read_base(m, mw_document_at(param, "base_score"), o, name, error);
    return status == MW_OK
               ? read_booster(m, mw_document_at(learner, "gradient_booster"), name, error)
               : status;
}

mw_status mw_model_read_xgboost(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_buffer json = {0}, text = {0};
    mw_value root;
    const char *bytes = file->bytes;
    size_t len = file->len;
    mw_status status = MW_OK;
    if (len > 1 && bytes[0] == '{' && strchr("iUIlL", bytes[1])) {
        status = mw_ubjson_text(&json, bytes, len, file->name, error);
        bytes = json.bytes, len = json.len;
    }
    if (status == MW_OK) status = mw_document_read(&text, bytes, len, file->name, &root, error);
    if (status == MW_OK) status = read_learner(m, root, file->name, error);
    mw_buffer_close(&json), mw_buffer_close(&text);
    return status;
}
