/* format_sklearn.c: models of scikit-learn as scripts/python/moonweir_export.py writes them: JSON
 * with features, columns made of them, and trees or layers over the columns. See model_private.h.
 */
#include "score/document.h"
#include "score/model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    mw_output output;
} outputs[] = {{"same", {MW_OUTPUT_SAME, 1, 0}},
               {"sigmoid", {MW_OUTPUT_SIGMOID, 1, 0}},
               {"sigmoid of double", {MW_OUTPUT_SIGMOID, 2, 0}},
               {"softmax", {MW_OUTPUT_SOFTMAX, 1, 0}},
               {"shares of sigmoids", {MW_OUTPUT_SHARES, 1, 0}},
               {"greatest", {MW_OUTPUT_GREATEST, 1, 0}},
               {"exp", {MW_OUTPUT_EXP, 1, 0}},
               {"halves", {MW_OUTPUT_HALVES, 1, 0}}};

static uint32_t whole(double d)
{
    return d >= 0 && d < 4294967295.0 ? (uint32_t)d : UINT32_MAX;
}

static char *text_of(mw_value v)
{
    mw_buffer plain = {0};
    if (v.kind == MW_ESCAPED) mw_json_unescape(&plain, v.text, v.len);
    else if (v.kind == MW_STRING)
        mw_buffer_append(&plain, v.text, v.len);
    char *copy = mw_model_text(plain.bytes, plain.len);
    mw_buffer_close(&plain);
    return copy;
}

/* A text that is none of them is no missing value, but -1, which no category is. */
static void read_texts(mw_categories *c, mw_value list)
{
    mw_value key, v;
    size_t cursor = 0;
    if (list.kind != MW_ARRAY) return;
    c->texts = mw_model_zeros(mw_json_length(list.text, list.len), sizeof *c->texts);
    c->unknown = -1;
    while (mw_json_next(list.text, list.len, &cursor, &key, &v)) c->texts[c->count++] = text_of(v);
}

static mw_status read_features(mw_model *m, mw_value list, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0, count = list.kind == MW_ARRAY ? mw_json_length(list.text, list.len) : 0;
    if (!count || count > MW_MODEL_FEATURES)
        return mw_fail(error, MW_LIMIT, "its features are not from 1 to %d", MW_MODEL_FEATURES);
    m->names = mw_model_zeros(count, sizeof *m->names);
    m->categories = mw_model_zeros(count, sizeof *m->categories);
    m->features = (uint32_t)count;
    for (uint32_t i = 0; mw_json_next(list.text, list.len, &cursor, &key, &v); i++) {
        m->names[i] = text_of(mw_json_field(v, "name"));
        read_texts(&m->categories[i], mw_json_field(v, "texts"));
    }
    return mw_model_name_features(m, "x", error);
}

static mw_status read_output(mw_model *m, mw_value root, mw_error *error)
{
    mw_value name = mw_json_field(root, "output");
    double factor = mw_document_number(mw_json_field(root, "factor"), 0);
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (!mw_document_is(name, outputs[i].name)) continue;
        m->output = outputs[i].output;
        if (factor > 0) m->output.factor = factor;
        return MW_OK;
    }
    return mw_fail(error, MW_INVALID, "its output '%.*s' is not known", (int)name.len,
                   name.text ? name.text : "");
}

/* ---- trees ---- */

/* Behind the values what a tree need not have: whether its tests are strict, its nodes' sets of
 * categories, and the words of these. */
enum { LEFT, RIGHT, FEATURE, THRESHOLD, MISSING, COVER, VALUE, STRICT, SET, WORDS, LISTS };
enum { SET_WORDS = 8 };
static const char *const list_names[LISTS] = {"left",         "right", "feature", "threshold",
                                              "missing_left", "cover", "value",   "strict",
                                              "set",          "sets"};

static mw_status read_tree(mw_model *m, mw_value v, uint32_t width, double weight, mw_error *error)
{
    double *at[LISTS];
    size_t count[LISTS];
    mw_status status = MW_OK;
    for (int i = 0; i < LISTS; i++)
        mw_document_numbers(mw_json_field(v, list_names[i]), 0, &at[i], &count[i]);
    size_t n = count[LEFT];
    for (int i = 0; i < VALUE; i++)
        if (count[i] != n) status = MW_INVALID;
    if (!n || n > UINT32_MAX / 2 || count[VALUE] != n * width) status = MW_INVALID;
    if ((at[STRICT] && count[STRICT] != n) || (at[SET] && count[SET] != n)) status = MW_INVALID;
    if (status != MW_OK) mw_fail(error, status, "a tree's lists differ in length");
    mw_node *nodes = mw_model_zeros(n, sizeof *nodes);
    for (uint32_t i = 0; status == MW_OK && i < n; i++) {
        int leaf = at[LEFT][i] < 0;
        nodes[i] = (mw_node){.threshold = at[THRESHOLD][i],
                             .cover = at[COVER][i],
                             .test = leaf                          ? MW_TEST_LEAF
                                     : at[STRICT] && at[STRICT][i] ? MW_TEST_BELOW
                                                                   : MW_TEST_AT_MOST,
                             .left = leaf ? i * width : whole(at[LEFT][i]),
                             .right = leaf ? i : whole(at[RIGHT][i]),
                             .feature = leaf ? 0 : whole(at[FEATURE][i]),
                             .missing = MW_MISSING_NAN,
                             .missing_left = at[MISSING][i] != 0};
        if (leaf || !at[SET] || at[SET][i] < 0) continue;
        nodes[i].test = MW_TEST_IN, nodes[i].set_len = SET_WORDS;
        nodes[i].set = at[SET][i] < UINT32_MAX / SET_WORDS ? whole(at[SET][i]) * SET_WORDS
                                                           : UINT32_MAX - SET_WORDS;
    }
    uint32_t *words = mw_model_zeros(count[WORDS], sizeof *words);
    for (size_t i = 0; i < count[WORDS]; i++) words[i] = whole(at[WORDS][i]);
    if (status == MW_OK)
        status = mw_forest_tree(
            m->forest,
            &(mw_tree){.nodes = nodes,
                       .count = (uint32_t)n,
                       .values = at[VALUE],
                       .value_count = count[VALUE],
                       .sets = words,
                       .set_count = count[WORDS],
                       .output = whole(mw_document_number(mw_json_field(v, "output"), 0)),
                       .weight = weight},
            error);
    free(nodes), free(words);
    for (int i = 0; i < LISTS; i++) free(at[i]);
    return status;
}

static mw_status read_trees(mw_model *m, mw_value root, mw_value list, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0, bases;
    double margins = mw_document_number(mw_json_field(root, "outputs"), 1);
    double width = mw_document_number(mw_json_field(root, "width"), 1);
    double weight = mw_document_number(mw_json_field(root, "weight"), 1);
    double *base;
    mw_status status = MW_OK;
    if (!(margins >= 1 && margins <= MW_FOREST_OUTPUTS) || (width != 1 && width != margins))
        return mw_fail(error, MW_INVALID, "its outputs are not from 1 to %d", MW_FOREST_OUTPUTS);
    m->margins = whole(margins);
    m->divisor = mw_document_number(mw_json_field(root, "divide"), 0);
    m->trees_an_iteration = width == 1 ? m->margins : 1;
    m->forest = mw_forest_new(
        &(mw_forest_options){mw_columns_count(m->columns), m->margins, whole(width),
                             .round_to_float = mw_json_field(root, "float").kind == MW_TRUE});
    if (mw_document_numbers(mw_json_field(root, "base"), 0, &base, &bases)) {
        if (bases == m->margins) m->base = base;
        else {
            free(base);
            return mw_fail(error, MW_INVALID, "its base is not one for each output");
        }
    }
    while (status == MW_OK && mw_json_next(list.text, list.len, &cursor, &key, &v))
        status = read_tree(m, v, whole(width), weight, error);
    return status;
}

/* ---- the whole ---- */

static mw_status read_root(mw_model *m, mw_value root, mw_error *error)
{
    mw_value trees = mw_json_field(root, "trees");
    if (mw_json_field(root, "moonweir").number != 1)
        return mw_fail(error, MW_INVALID, "it is of a version that is not known");
    m->kind = "scikit-learn";
    m->objective = text_of(mw_json_field(root, "kind"));
    mw_status status = read_features(m, mw_json_field(root, "features"), error);
    if (status == MW_OK)
        status = mw_columns_read(&m->columns, mw_json_field(root, "columns"), m->features, error);
    if (status == MW_OK) status = read_output(m, root, error);
    if (status != MW_OK) return status;
    if (trees.kind == MW_ARRAY) return read_trees(m, root, trees, error);
    status = mw_layers_read(&m->layers, mw_json_field(root, "layers"), mw_columns_count(m->columns),
                            error);
    if (status == MW_OK) m->margins = mw_layers_outputs(m->layers);
    return status;
}

mw_status mw_model_read_sklearn(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_buffer text = {0};
    mw_value root;
    mw_error inner;
    mw_status status = mw_document_read(&text, file->bytes, file->len, file->name, &root, error);
    if (status == MW_OK) {
        status = read_root(m, root, &inner);
        if (status != MW_OK) mw_fail(error, status, "%s: %s", file->name, inner.message);
    }
    mw_buffer_close(&text);
    return status;
}
