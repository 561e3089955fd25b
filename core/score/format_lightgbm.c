/* format_lightgbm.c: models as LightGBM saves them, as text (its src/boosting/gbdt_model_text.cpp
 * writes them). See model_private.h.
 *
 * LightGBM compares and adds double, in the order of the trees. A test's decision_type says whether
 * it is a set of categories (bit 0), where missing values go (bit 1: left), and what is missing
 * (bits 2 and 3: nothing, zero, NaN). */
#include "score/document.h"
#include "score/model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A part of the file: lines of name=value. */
typedef struct part {
    const char *at, *end;
} part;

typedef struct text {
    const char *at;
    size_t len;
} text;

typedef struct list {
    double *at;
    size_t count;
} list;

static size_t line_length(const char *p, const char *end)
{
    const char *feed = memchr(p, '\n', (size_t)(end - p));
    size_t len = (size_t)((feed ? feed : end) - p);
    return len;
}

/* The value of a name; NULL where there is none. */
static text value_of(part p, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = p.at; at < p.end;) {
        size_t line = line_length(at, p.end);
        if (line >= len && memcmp(at, name, len) == 0 && (line == len || at[len] == '=')) {
            text t = {at + len + (line > len), line - len - (line > len)};
            if (t.len && t.at[t.len - 1] == '\r') t.len--;
            return t;
        }
        at += line + 1;
    }
    return (text){NULL, 0};
}

static list list_of(part p, const char *name)
{
    text t = value_of(p, name);
    list l = {mw_model_zeros(t.len / 2 + 1, sizeof(double)), 0};
    if (!t.at) return l;
    for (const char *at = t.at, *end = t.at + t.len; at < end;) {
        char *after;
        double d = strtod(at, &after);
        if (after == at || after > end) break;
        l.at[l.count++] = d;
        for (at = after; at < end && *at == ' ';) at++;
    }
    return l;
}

static double number_of(part p, const char *name, double fallback)
{
    text t = value_of(p, name);
    return t.len ? strtod(t.at, NULL) : fallback;
}

static int is_word(text t, const char *word)
{
    size_t len = strlen(word);
    return t.len >= len && memcmp(t.at, word, len) == 0 && (t.len == len || t.at[len] == ' ');
}

/* The word behind the n-th space; empty where there is none. */
static text word_of(text t, uint32_t n)
{
    for (; n; n--) {
        const char *space = t.len ? memchr(t.at, ' ', t.len) : NULL;
        if (!space) return (text){t.at, 0};
        t.len -= (size_t)(space + 1 - t.at), t.at = space + 1;
    }
    const char *space = t.len ? memchr(t.at, ' ', t.len) : NULL;
    if (space) t.len = (size_t)(space - t.at);
    return t;
}

static uint32_t whole(double d)
{
    return d >= 0 && d < 4294967295.0 ? (uint32_t)d : UINT32_MAX;
}

/* ---- objectives ---- */

static const struct objective {
    const char *name;
    mw_output_kind output;
} objectives[] = {
    {"regression", MW_OUTPUT_SAME},
    {"regression_l1", MW_OUTPUT_SAME},
    {"huber", MW_OUTPUT_SAME},
    {"fair", MW_OUTPUT_SAME},
    {"quantile", MW_OUTPUT_SAME},
    {"mape", MW_OUTPUT_SAME},
    {"poisson", MW_OUTPUT_EXP},
    {"gamma", MW_OUTPUT_EXP},
    {"tweedie", MW_OUTPUT_EXP},
    {"binary", MW_OUTPUT_SIGMOID},
    {"multiclass", MW_OUTPUT_SOFTMAX},
    {"multiclassova", MW_OUTPUT_SIGMOID},
    {"cross_entropy", MW_OUTPUT_SIGMOID},
    {"cross_entropy_lambda", MW_OUTPUT_SOFTPLUS},
    {"lambdarank", MW_OUTPUT_SAME},
    {"rank_xendcg", MW_OUTPUT_SAME},
    {"custom", MW_OUTPUT_SAME},
    {"none", MW_OUTPUT_SAME},
};

static mw_status read_objective(mw_model *m, part head, const char *name, mw_error *error)
{
    text o = value_of(head, "objective"), w;
    m->output = (mw_output){.factor = 1};
    m->objective = mw_model_text(o.at ? o.at : "none", o.at ? o.len : 4);
    if (!o.at) return MW_OK; /* trained with a function of one's own */
    const struct objective *found = NULL;
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (is_word(o, objectives[i].name)) found = &objectives[i];
    if (!found)
        return mw_fail(error, MW_INVALID, "%s: the objective '%s' is not supported", name,
                       m->objective);
    m->output.kind = found->output;
    for (uint32_t n = 1; (w = word_of(o, n)).len; n++) {
        if (w.len > 8 && memcmp(w.at, "sigmoid:", 8) == 0)
            m->output.factor = strtod(w.at + 8, NULL);
        if (is_word(w, "sqrt")) m->output.kind = MW_OUTPUT_SQUARE;
    }
    return MW_OK;
}

/* ---- features ---- */

static mw_status read_names(mw_model *m, part head, const char *name, mw_error *error)
{
    text t = value_of(head, "feature_names");
    for (uint32_t i = 0; t.at && i < m->features; i++) {
        text w = word_of(t, 0);
        if (w.len) m->names[i] = mw_model_text(w.at, w.len);
        t = word_of(t, 0).len < t.len ? (text){w.at + w.len + 1, t.len - w.len - 1}
                                      : (text){t.at, 0};
    }
    mw_error inner;
    if (mw_model_name_features(m, "Column_", &inner) == MW_OK) return MW_OK;
    return mw_fail(error, MW_INVALID, "%s: %s", name, inner.message);
}

static void read_texts(mw_categories *c, mw_value texts)
{
    mw_value key, v;
    size_t cursor = 0;
    mw_buffer plain = {0};
    c->texts = mw_model_zeros(mw_json_length(texts.text, texts.len), sizeof *c->texts);
    c->unknown = NAN;
    while (mw_json_next(texts.text, texts.len, &cursor, &key, &v)) {
        plain.len = 0;
        if (v.kind == MW_ESCAPED) mw_json_unescape(&plain, v.text, v.len);
        else
            mw_buffer_append(&plain, v.text, v.len);
        c->texts[c->count++] = mw_model_text(plain.bytes, plain.len);
    }
    mw_buffer_close(&plain);
}

/* pandas_categorical lists the texts of each categorical column, by the columns' order;
 * feature_infos tells which those are: theirs has no brackets ("none": a constant one). */
static void read_categories(mw_model *m, part head, mw_value lists)
{
    text infos = value_of(head, "feature_infos");
    mw_value key, v;
    size_t cursor = 0, count = mw_json_length(lists.text, lists.len), columns = 0;
    if (!count || !infos.at) return;
    uint32_t *column = mw_model_zeros(m->features, sizeof *column);
    for (uint32_t i = 0; i < m->features && infos.len; i++) {
        text w = word_of(infos, 0);
        if (w.len && *w.at != '[' && !is_word(w, "none")) column[columns++] = i;
        if (w.len >= infos.len) break;
        infos = (text){w.at + w.len + 1, infos.len - w.len - 1};
    }
    if (columns == count) {
        m->categories = mw_model_zeros(m->features, sizeof *m->categories);
        for (size_t i = 0; mw_json_next(lists.text, lists.len, &cursor, &key, &v); i++)
            if (v.kind == MW_ARRAY) read_texts(&m->categories[column[i]], v);
    }
    free(column);
}

/* ---- trees ---- */

enum {
    FEATURE,
    THRESHOLD,
    DECISION,
    LEFT,
    RIGHT,
    VALUE,
    LEAF_COUNT,
    COUNT,
    BOUNDARIES,
    BITS,
    LISTS
};
static const char *const list_names[LISTS] = {
    "split_feature", "threshold",  "decision_type",  "left_child",     "right_child",
    "leaf_value",    "leaf_count", "internal_count", "cat_boundaries", "cat_threshold"};

/* Children are numbers of inner nodes, or leaves as -1, -2, …; leaves come behind inner nodes here.
 */
static uint32_t child(double d, uint32_t inner)
{
    return d < 0 ? whole(-1 - d + inner) : whole(d);
}

static const char *make_split(const list *l, uint32_t i, uint32_t inner, mw_node *n)
{
    unsigned decision = whole(l[DECISION].at[i]), missing = decision >> 2 & 3;
    n->cover = i < l[COUNT].count ? l[COUNT].at[i] : 0;
    n->threshold = l[THRESHOLD].at[i];
    n->feature = whole(l[FEATURE].at[i]);
    n->left = child(l[LEFT].at[i], inner), n->right = child(l[RIGHT].at[i], inner);
    n->missing = missing == 0 ? MW_MISSING_NONE : missing == 1 ? MW_MISSING_ZERO : MW_MISSING_NAN;
    n->missing_left = decision >> 1 & 1;
    n->test = MW_TEST_AT_MOST;
    if (missing == 3) return "a decision_type that there is not";
    if (!(decision & 1)) return NULL;
    size_t set = whole(n->threshold);
    n->test = MW_TEST_IN, n->threshold = 0;
    n->missing = MW_MISSING_NAN, n->missing_left = 0; /* NaN is in no set */
    if (set + 1 >= l[BOUNDARIES].count) return "a set of categories that there is not";
    n->set = whole(l[BOUNDARIES].at[set]);
    n->set_len = whole(l[BOUNDARIES].at[set + 1]) - n->set;
    return n->set_len <= l[BITS].count ? NULL : "a set of categories that there is not";
}

static const char *make_nodes(const list *l, uint32_t leaves, mw_node *nodes)
{
    uint32_t inner = leaves - 1;
    for (int i = FEATURE; inner && i <= RIGHT; i++)
        if (l[i].count != inner) return "its lists are not of num_leaves - 1";
    if (l[VALUE].count != leaves) return "it has not as many leaf_value as num_leaves";
    for (uint32_t i = 0; i < inner; i++) {
        const char *fault = make_split(l, i, inner, &nodes[i]);
        if (fault) return fault;
    }
    for (uint32_t i = 0; i < leaves; i++) {
        nodes[inner + i].test = MW_TEST_LEAF;
        nodes[inner + i].left = nodes[inner + i].right = i;
        nodes[inner + i].cover = i < l[LEAF_COUNT].count ? l[LEAF_COUNT].at[i] : 0;
    }
    return NULL;
}

/* Leaves that are linear: what each adds to its constant. A missing value makes it the plain one.
 */
static const char *read_linear(mw_model *m, part p, const list *values)
{
    list constant = list_of(p, "leaf_const"), number = list_of(p, "num_features"),
         feature = list_of(p, "leaf_features"), factor = list_of(p, "leaf_coeff");
    size_t at = 0, leaves = values->count;
    const char *fault = NULL;
    if (constant.count != leaves || number.count != leaves || feature.count != factor.count)
        fault = "its linear leaves do not fit together";
    for (size_t i = 0; !fault && i < leaves; i++) {
        size_t count = whole(number.at[i]);
        if (count > feature.count - at) {
            fault = "its linear leaves have more features than are listed";
            break;
        }
        for (size_t j = at; j < at + count; j++)
            if (whole(feature.at[j]) >= m->features)
                fault = "a linear leaf has a feature that there is not";
        if (fault) break;
        mw_lines_add(m->lines, constant.at[i], values->at[i], feature.at + at, factor.at + at,
                     count);
        at += count;
    }
    free(constant.at), free(number.at), free(feature.at), free(factor.at);
    return fault;
}

static mw_status read_tree(mw_model *m, part p, uint32_t number, const char *name, mw_error *error)
{
    list l[LISTS];
    uint32_t leaves = whole(number_of(p, "num_leaves", 0));
    const char *fault = NULL;
    mw_error inner;
    for (int i = 0; i < LISTS; i++) l[i] = list_of(p, list_names[i]);
    if (!leaves || leaves > l[VALUE].count) fault = "it has not as many leaf_value as num_leaves";
    mw_node *nodes = mw_model_zeros(fault ? 1 : 2ul * leaves, sizeof *nodes);
    uint32_t *bits = mw_model_zeros(l[BITS].count, sizeof *bits);
    for (size_t i = 0; i < l[BITS].count; i++) bits[i] = whole(l[BITS].at[i]);
    for (size_t i = 0; i < l[BITS].count; i++)
        if (l[BITS].at[i] == 4294967295.0) bits[i] = UINT32_MAX;
    if (!fault) fault = make_nodes(l, leaves, nodes);
    mw_tree tree = {nodes, 2 * leaves - 1, l[VALUE].at,         l[VALUE].count,
                    bits,  l[BITS].count,  number % m->margins, 1};
    mw_status status = fault ? MW_INVALID : mw_forest_tree(m->forest, &tree, &inner);
    if (status == MW_OK && m->lines) {
        mw_lines_tree(m->lines);
        if (number_of(p, "is_linear", 0) != 0) fault = read_linear(m, p, &l[VALUE]);
        else
            for (uint32_t i = 0; i < leaves; i++)
                mw_lines_add(m->lines, l[VALUE].at[i], l[VALUE].at[i], NULL, NULL, 0);
        if (fault) status = MW_INVALID;
    }
    if (fault) mw_fail(error, status, "%s: Tree=%u: %s", name, number, fault);
    else if (status != MW_OK)
        mw_fail(error, status, "%s: %s", name, inner.message);
    free(nodes), free(bits);
    for (int i = 0; i < LISTS; i++) free(l[i].at);
    return status;
}

enum found { FOUND_TREE, FOUND_END, FOUND_NOTHING };

/* Looks for the line that begins the next tree, or ends them; what is before it goes into `before`.
 */
static enum found next_tree(part *rest, part *before)
{
    *before = *rest;
    for (const char *at = rest->at; at < rest->end;) {
        size_t line = line_length(at, rest->end);
        int tree = line > 5 && memcmp(at, "Tree=", 5) == 0;
        if (tree || (line >= 12 && memcmp(at, "end of trees", 12) == 0)) {
            before->end = at;
            rest->at = at + line + (at + line < rest->end);
            return tree ? FOUND_TREE : FOUND_END;
        }
        at += line + 1;
    }
    rest->at = rest->end;
    return FOUND_NOTHING;
}

static int has_line(part p, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = p.at; at < p.end; at += line_length(at, p.end) + 1)
        if (line_length(at, p.end) >= len && memcmp(at, text, len) == 0) return 1;
    return 0;
}

static mw_status read_trees(mw_model *m, part *rest, enum found found, const char *name,
                            mw_error *error)
{
    part p;
    mw_status status = MW_OK;
    if (has_line(*rest, "is_linear=1")) m->lines = mw_model_zeros(1, sizeof *m->lines);
    m->forest = mw_forest_new(&(mw_forest_options){m->features, m->margins, 1, .tiny_is_zero = 1});
    for (uint32_t n = 0; status == MW_OK && found == FOUND_TREE; n++) {
        found = next_tree(rest, &p);
        status = read_tree(m, p, n, name, error);
    }
    if (status == MW_OK && found == FOUND_NOTHING)
        return mw_fail(error, MW_INVALID, "%s: it ends before 'end of trees': it is cut off", name);
    return status;
}

/* The list behind "pandas_categorical:"; empty where there is none. */
static text categories_in(part p)
{
    static const char name[] = "pandas_categorical:";
    for (const char *at = p.at; at < p.end; at += line_length(at, p.end) + 1) {
        size_t line = line_length(at, p.end), len = sizeof name - 1;
        if (line > len && memcmp(at, name, len) == 0) return (text){at + len, line - len};
    }
    return (text){NULL, 0};
}

/* ---- the whole ---- */

static mw_status read_head(mw_model *m, part head, const char *name, mw_error *error)
{
    double features = number_of(head, "max_feature_idx", -1) + 1;
    double trees = number_of(head, "num_tree_per_iteration", 1);
    if (!(features >= 1 && features <= MW_MODEL_FEATURES))
        return mw_fail(error, MW_LIMIT, "%s: max_feature_idx is not from 0 to %d", name,
                       MW_MODEL_FEATURES - 1);
    if (!(trees >= 1 && trees <= MW_FOREST_OUTPUTS))
        return mw_fail(error, MW_LIMIT, "%s: num_tree_per_iteration is not from 1 to %d", name,
                       MW_FOREST_OUTPUTS);
    m->kind = "lightgbm";
    m->features = whole(features), m->margins = m->trees_an_iteration = whole(trees);
    m->average = value_of(head, "average_output").at != NULL;
    m->names = mw_model_zeros(m->features, sizeof *m->names);
    mw_status status = read_names(m, head, name, error);
    return status == MW_OK ? read_objective(m, head, name, error) : status;
}

mw_status mw_model_read_lightgbm(mw_model *m, const mw_model_file *file, mw_error *error)
{
    part rest = {file->bytes, file->bytes + file->len}, head;
    enum found found = next_tree(&rest, &head);
    mw_status status = read_head(m, head, file->name, error);
    if (status == MW_OK) status = read_trees(m, &rest, found, file->name, error);
    text lists = categories_in(rest);
    if (status != MW_OK || !lists.len || *lists.at != '[') return status;
    mw_buffer copy = {0};
    mw_value root;
    status = mw_document_read(&copy, lists.at, lists.len, file->name, &root, error);
    if (status == MW_OK && root.kind == MW_ARRAY) read_categories(m, head, root);
    mw_buffer_close(&copy);
    return status;
}
