/* format_onnx.c: ONNX-ML files of one tree ensemble or linear model, with scalers and imputers
 * before it (onnx.ai, "ai.onnx.ml operators"): put as the JSON that format_sklearn.c reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 1 << 16, DEEP = 32 };

typedef struct column {
    uint32_t feature;
    mw_buffer ops; /* JSON, without its brackets */
} column;

typedef struct translation {
    mw_onnx onnx;
    const mw_onnx_node *model;
    column *columns;
    uint32_t count, room;
    int normalized; /* a Normalizer makes shares of the scores */
    mw_buffer json;
    mw_error *error;
    mw_status status;
} translation;

static int refuse(translation *t, const char *what, mw_onnx_name name)
{
    if (t->status == MW_OK)
        t->status = mw_fail(t->error, MW_INVALID, "%s '%.*s'", what,
                            (int)(name.len < 60 ? name.len : 60), name.len ? name.text : "");
    return 0;
}

static int fault(translation *t, const char *what)
{
    if (t->status == MW_OK) t->status = mw_fail(t->error, MW_INVALID, "%s", what);
    return 0;
}

/* ---- what the model sees ---- */

static int add_column(translation *t, uint32_t feature)
{
    if (t->count == COLUMNS_MOST) return fault(t, "it has too many columns");
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->columns = realloc(t->columns, t->room * sizeof *t->columns);
        mw_assert(t->columns != NULL);
    }
    t->columns[t->count++] = (column){feature, {0}};
    return 1;
}

static void add_op(column *c, const char *op, double number)
{
    mw_buffer_format(&c->ops, c->ops.len ? ",[\"%s\"," : "[\"%s\",", op);
    mw_json_number(&c->ops, number);
    mw_buffer_text(&c->ops, "]");
}

/* One number for all of some columns, or one each. */
static int per_column(translation *t, uint32_t from, const char *op, const double *list,
                      size_t count)
{
    if (count != 1 && count != t->count - from)
        return fault(t, "a scaler or imputer is not of as many columns as it has");
    for (uint32_t i = from; i < t->count; i++)
        add_op(&t->columns[i], op, list[count == 1 ? 0 : i - from]);
    return 1;
}

static int scale(translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *offset, *factor;
    size_t offsets, factors;
    int good = mw_onnx_floats(n, "offset", &offset, &offsets) &
               mw_onnx_floats(n, "scale", &factor, &factors);
    good = good ? per_column(t, from, "subtract", offset, offsets) &&
                      per_column(t, from, "multiply", factor, factors)
                : fault(t, "a Scaler without offset and scale");
    free(offset), free(factor);
    return good;
}

static int impute(translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *list;
    size_t count;
    int good = mw_onnx_floats(n, "imputed_value_floats", &list, &count);
    if (!isnan(mw_onnx_float(n, "replaced_value_float", NAN)))
        good = fault(t, "an Imputer of other values than NaN");
    else
        good = good ? per_column(t, from, "impute", list, count)
                    : fault(t, "an Imputer without imputed_value_floats");
    free(list);
    return good;
}

static int add_input(translation *t, mw_onnx_name tensor)
{
    uint32_t feature = 0;
    for (uint32_t i = 0; i < t->onnx.input_count; i++) {
        const mw_onnx_input *in = &t->onnx.inputs[i];
        if (mw_onnx_same(in->name, tensor)) {
            if (in->is_text)
                return refuse(t, "texts are not supported, and are what it takes as", tensor);
            if (!in->columns)
                return refuse(t, "it does not say how many columns it takes as", tensor);
            for (uint32_t k = 0; k < in->columns; k++)
                if (!add_column(t, feature + k)) return 0;
            return 1;
        }
        feature += in->columns;
    }
    return refuse(t, "nothing makes", tensor);
}

static int add_columns(translation *t, mw_onnx_name tensor, int depth)
{
    const mw_onnx_node *n = mw_onnx_maker(&t->onnx, tensor);
    uint32_t from = t->count;
    if (depth > DEEP) return fault(t, "its nodes are too deep, or in a ring");
    if (!n) return add_input(t, tensor);
    int joins = mw_onnx_is(n->op, "Concat") || mw_onnx_is(n->op, "FeatureVectorizer");
    for (uint32_t i = 0; i < (joins ? n->input_count : n->input_count > 0); i++)
        if (!add_columns(t, n->inputs[i], depth + 1)) return 0;
    if (mw_onnx_is(n->op, "Scaler")) return scale(t, n, from);
    if (mw_onnx_is(n->op, "Imputer")) return impute(t, n, from);
    if (joins || mw_onnx_is(n->op, "Cast") || mw_onnx_is(n->op, "Identity")) return 1;
    return refuse(t, "before the model there is the operator", n->op);
}

/* ---- trees ---- */

enum { TREE, NODE, FEATURE, TRUE_NODE, FALSE_NODE, MISSING, LEAF_TREE, LEAF_NODE, LEAF_ID, INTS };

typedef struct trees {
    int64_t *ints[INTS];
    size_t counts[INTS];
    double *values, *weights, *base;
    size_t value_count, weight_count, base_count;
    mw_onnx_name *modes;
    size_t mode_count;
    uint32_t *by_id; /* nodes by tree and number */
} trees;

static int order(const trees *t, int64_t tree, int64_t node, uint32_t i)
{
    if (t->ints[TREE][i] != tree) return tree < t->ints[TREE][i] ? -1 : 1;
    return (node > t->ints[NODE][i]) - (node < t->ints[NODE][i]);
}

static int by_id(const void *a, const void *b, void *self)
{
    const trees *t = self;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    return order(t, t->ints[TREE][i], t->ints[NODE][i], k);
}

/* Which node of the lists is of that tree and number; UINT32_MAX: none. */
static uint32_t find(const trees *t, int64_t tree, int64_t node)
{
    size_t from = 0, to = t->counts[TREE];
    while (from < to) {
        size_t middle = (from + to) / 2;
        int way = order(t, tree, node, t->by_id[middle]);
        if (way == 0) return t->by_id[middle];
        if (way < 0) to = middle;
        else
            from = middle + 1;
    }
    return UINT32_MAX;
}

static void trees_close(trees *t)
{
    for (int i = 0; i < INTS; i++) free(t->ints[i]);
    free(t->values), free(t->weights), free(t->base), free(t->modes), free(t->by_id);
}

static int read_lists(translation *t, trees *of, int classifier)
{
    static const char *const names[2][INTS] = {
        {"nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids",
         "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids",
         "target_nodeids", "target_ids"},
        {"nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids",
         "nodes_falsenodeids", "nodes_missing_value_tracks_true", "class_treeids", "class_nodeids",
         "class_ids"}};
    const mw_onnx_node *m = t->model;
    for (int i = 0; i < INTS; i++)
        mw_onnx_ints(m, names[classifier][i], &of->ints[i], &of->counts[i]);
    mw_onnx_floats(m, "nodes_values", &of->values, &of->value_count);
    mw_onnx_floats(m, classifier ? "class_weights" : "target_weights", &of->weights,
                   &of->weight_count);
    mw_onnx_floats(m, "base_values", &of->base, &of->base_count);
    mw_onnx_names(m, "nodes_modes", &of->modes, &of->mode_count);
    size_t n = of->counts[TREE];
    for (int i = NODE; i <= FALSE_NODE; i++)
        if (of->counts[i] != n) return fault(t, "its lists of nodes differ in length");
    if (!n || n > UINT32_MAX / 4 || of->value_count != n || of->mode_count != n ||
        (of->counts[MISSING] && of->counts[MISSING] != n))
        return fault(t, "its lists of nodes differ in length");
    for (int i = LEAF_TREE; i <= LEAF_ID; i++)
        if (of->counts[i] != of->weight_count)
            return fault(t, "its lists of weights differ in length");
    of->by_id = mw_model_zeros(n, sizeof *of->by_id);
    for (uint32_t i = 0; i < n; i++) of->by_id[i] = i;
    qsort_r(of->by_id, n, sizeof *of->by_id, by_id, of);
    return 1;
}

/* How a test is done on one side: `turned`, its true branch is to the right. */
static int mode_of(translation *t, mw_onnx_name mode, int *strict, int *turned)
{
    *strict = mw_onnx_is(mode, "BRANCH_LT") || mw_onnx_is(mode, "BRANCH_GTE");
    *turned = mw_onnx_is(mode, "BRANCH_GT") || mw_onnx_is(mode, "BRANCH_GTE");
    if (mw_onnx_is(mode, "BRANCH_LEQ") || *strict || *turned) return 1;
    return refuse(t, "its trees have tests of the mode", mode);
}

static void put_list(mw_buffer *out, const char *name, const double *list, size_t count)
{
    mw_buffer_format(out, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i) mw_buffer_text(out, ",");
        if (isfinite(list[i])) mw_buffer_format(out, "%.17g", list[i]);
        else
            mw_buffer_text(out, "null");
    }
    mw_buffer_text(out, "]");
}

enum { LEFT, RIGHT, OF, THRESHOLD, STRICT, MISSING_LEFT, COVER, LISTS };
static const char *const list_names[LISTS] = {"left",   "right",        "feature", "threshold",
                                              "strict", "missing_left", "cover"};

/* The nodes first … end - 1, which are a tree, whose first is the root. */
static int put_tree(translation *t, const trees *of, uint32_t first, uint32_t end,
                    const double *values, uint32_t width)
{
    uint32_t count = end - first;
    double *lists = mw_model_zeros((size_t)count * LISTS, sizeof *lists);
    int good = 1;
    for (uint32_t i = 0; good && i < count; i++) {
        uint32_t at = first + i;
        int64_t tree = of->ints[TREE][at];
        int strict = 0, turned = 0;
        double *l[LISTS];
        for (int k = 0; k < LISTS; k++) l[k] = &lists[(size_t)k * count + i];
        *l[LEFT] = *l[RIGHT] = -1; /* and no cover, which ONNX does not know */
        if (mw_onnx_is(of->modes[at], "LEAF")) continue;
        uint32_t yes = find(of, tree, of->ints[TRUE_NODE][at]);
        uint32_t no = find(of, tree, of->ints[FALSE_NODE][at]);
        good = mode_of(t, of->modes[at], &strict, &turned);
        if (good && (yes - first >= count || no - first >= count))
            good = fault(t, "a node's branch is none of its tree's");
        *l[LEFT] = (turned ? no : yes) - first, *l[RIGHT] = (turned ? yes : no) - first;
        *l[OF] = (double)of->ints[FEATURE][at], *l[THRESHOLD] = of->values[at];
        *l[STRICT] = strict;
        int tracks = of->counts[MISSING] && of->ints[MISSING][at];
        *l[MISSING_LEFT] = turned ? !tracks : tracks;
    }
    mw_buffer_text(&t->json, first ? ",{\"output\":0" : "{\"output\":0");
    for (int k = 0; k < LISTS; k++)
        put_list(&t->json, list_names[k], lists + (size_t)k * count, count);
    put_list(&t->json, "value", values + (size_t)first * width, (size_t)count * width);
    mw_buffer_text(&t->json, "}");
    free(lists);
    return good;
}

/* Values by node, `width` each, of the classes or targets; `minus`: of that, too, with a minus. */
static double *values_of(translation *t, const trees *of, uint32_t width, int64_t only,
                         int64_t minus)
{
    double *values = mw_model_zeros(of->counts[TREE] * width, sizeof *values);
    for (size_t i = 0; i < of->weight_count; i++) {
        uint32_t at = find(of, of->ints[LEAF_TREE][i], of->ints[LEAF_NODE][i]);
        int64_t id = of->ints[LEAF_ID][i];
        if (at == UINT32_MAX || id < 0 || (only < 0 && id >= width)) {
            fault(t, "a weight is of no node or output");
            break;
        }
        if (only < 0) values[(size_t)at * width + (size_t)id] += of->weights[i];
        else if (id == only)
            values[at] += of->weights[i];
        else if (id == minus)
            values[at] -= of->weights[i];
    }
    return values;
}

static int has_id(const trees *of, int64_t id)
{
    for (size_t i = 0; i < of->weight_count; i++)
        if (of->ints[LEAF_ID][i] == id) return 1;
    return 0;
}

static int is_softmax(const translation *t)
{
    return mw_onnx_is(mw_onnx_text(t->model, "post_transform", "NONE"), "SOFTMAX");
}

/* A Normalizer behind the model makes shares of its scores: which of two it only repeats, and of
 * raw scores would make something else. */
static const char *output_of(translation *t, size_t outputs)
{
    mw_onnx_name transform = mw_onnx_text(t->model, "post_transform", "NONE");
    if (mw_onnx_is(transform, "SOFTMAX")) return outputs > 1 ? "softmax" : "sigmoid";
    if (mw_onnx_is(transform, "LOGISTIC"))
        return outputs > 1 && t->normalized ? "shares of sigmoids" : "sigmoid";
    if (!mw_onnx_is(transform, "NONE")) refuse(t, "it has the post_transform", transform);
    if (t->normalized) fault(t, "behind raw scores there is a Normalizer, which is not supported");
    return "same";
}

static size_t class_count(const mw_onnx_node *n)
{
    int64_t *numbers;
    mw_onnx_name *texts;
    size_t count, text_count;
    mw_onnx_ints(n, "classlabels_int64s", &numbers, &count);
    if (!count) {
        free(numbers);
        mw_onnx_ints(n, "classlabels_ints", &numbers, &count);
    }
    mw_onnx_names(n, "classlabels_strings", &texts, &text_count);
    free(numbers), free(texts);
    return count > text_count ? count : text_count;
}

static int put_trees(translation *t, int classifier)
{
    trees of = {0};
    mw_onnx_name how = mw_onnx_text(t->model, "aggregate_function", "SUM");
    size_t outputs =
        classifier ? class_count(t->model) : (size_t)mw_onnx_int(t->model, "n_targets", 1);
    int64_t only = -1, minus = -1;
    if (!read_lists(t, &of, classifier) || outputs < 1 || outputs > MW_FOREST_OUTPUTS ||
        (!mw_onnx_is(how, "SUM") && !mw_onnx_is(how, "AVERAGE"))) {
        trees_close(&of);
        return fault(t, "its outputs, or how they are aggregated, are not supported");
    }
    if (classifier && outputs <= 2) { /* the second class's score alone */
        int both = has_id(&of, 0) && has_id(&of, 1);
        only = both || !has_id(&of, 0);
        if (both && is_softmax(t)) minus = 0;
        else if (is_softmax(t) || (both && t->normalized))
            fault(t, "it normalizes two scores that are not each other's contrary");
        if (of.base_count > 1) of.base[0] = of.base[1] - (minus == 0 ? of.base[0] : 0);
        outputs = 1;
    }
    const char *output = output_of(t, outputs);
    uint32_t width = (uint32_t)outputs, count = 0, n = (uint32_t)of.counts[TREE];
    double *values = values_of(t, &of, width, only, minus);
    mw_buffer_text(&t->json, ",\"trees\":[");
    int good = t->status == MW_OK;
    for (uint32_t first = 0, end; good && first < n; first = end, count++) {
        for (end = first + 1; end < n && of.ints[TREE][end] == of.ints[TREE][first];) end++;
        good = put_tree(t, &of, first, end, values, width);
    }
    mw_buffer_format(&t->json, "],\"outputs\":%u,\"width\":%u,\"float\":true,\"output\":\"%s\"",
                     width, width, output);
    if (mw_onnx_is(how, "AVERAGE")) { /* of the trees alone: the base is beside it */
        mw_buffer_format(&t->json, ",\"divide\":%u", count);
        for (size_t i = 0; i < of.base_count; i++) of.base[i] *= count;
    }
    if (of.base_count)
        put_list(&t->json, "base", of.base, width < of.base_count ? width : of.base_count);
    free(values), trees_close(&of);
    return good;
}

/* ---- linear ---- */

static int put_linear(translation *t, int classifier)
{
    double *weights, *bias;
    size_t weight_count, bias_count;
    mw_onnx_floats(t->model, "coefficients", &weights, &weight_count);
    mw_onnx_floats(t->model, "intercepts", &bias, &bias_count);
    size_t columns = t->count, outputs = columns ? weight_count / columns : 0, from = 0;
    int good = outputs >= 1 && outputs <= MW_FOREST_OUTPUTS && outputs * columns == weight_count &&
               (!bias_count || bias_count == outputs);
    if (!good) fault(t, "it has another number of coefficients than of columns and outputs");
    if (good && classifier && outputs == 2) { /* the second class's score alone */
        for (size_t j = 0; j < columns; j++) {
            if (t->normalized && !is_softmax(t) && weights[j] != -weights[columns + j])
                good = fault(t, "it normalizes two scores that are not each other's contrary");
            if (is_softmax(t)) weights[columns + j] -= weights[j];
        }
        if (is_softmax(t) && bias_count) bias[1] -= bias[0];
        from = 1;
    }
    const char *output = output_of(t, outputs - from);
    mw_buffer_text(&t->json, ",\"layers\":[{\"activation\":\"identity\",\"weights\":[");
    for (size_t k = from; good && k < outputs; k++) {
        mw_buffer_text(&t->json, k > from ? ",[" : "[");
        for (size_t j = 0; j < columns; j++)
            mw_buffer_format(&t->json, j ? ",%.17g" : "%.17g", weights[k * columns + j]);
        mw_buffer_text(&t->json, "]");
    }
    mw_buffer_text(&t->json, "],\"bias\":[");
    for (size_t k = from; good && k < outputs; k++)
        mw_buffer_format(&t->json, k > from ? ",%.17g" : "%.17g", bias_count ? bias[k] : 0);
    mw_buffer_format(&t->json, "]}],\"output\":\"%s\"", output);
    free(weights), free(bias);
    return good;
}

/* ---- the whole ---- */

/* Whether a node leaves the scores in `tensor` as they are, or, of shares, makes them shares. */
static int is_harmless(translation *t, const mw_onnx_node *n, mw_onnx_name tensor)
{
    static const char *const known[] = {"Identity", "Cast", "ZipMap", "Reshape", "Flatten"};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (mw_onnx_is(n->op, known[k])) return 1;
    if (mw_onnx_is(n->op, "Normalizer")) {
        t->normalized = 1;
        return mw_onnx_is(mw_onnx_text(n, "norm", "MAX"), "L1");
    }
    if (!mw_onnx_is(n->op, "Mul") || n->input_count != 2) return 0;
    return mw_onnx_is_one(&t->onnx, n->inputs[mw_onnx_same(n->inputs[0], tensor)]);
}

static int check_behind(translation *t, mw_onnx_name tensor, int depth)
{
    if (depth > DEEP) return fault(t, "its nodes are too deep, or in a ring");
    for (uint32_t i = 0; i < t->onnx.node_count; i++) {
        const mw_onnx_node *n = &t->onnx.nodes[i];
        int reads = 0;
        for (uint32_t k = 0; k < n->input_count; k++) reads |= mw_onnx_same(n->inputs[k], tensor);
        if (!reads) continue;
        if (!is_harmless(t, n, tensor))
            return refuse(t, "behind the model there is the operator", n->op);
        for (uint32_t k = 0; k < n->output_count; k++)
            if (!check_behind(t, n->outputs[k], depth + 1)) return 0;
    }
    return 1;
}

static const char *const kinds[] = {"TreeEnsembleRegressor", "TreeEnsembleClassifier",
                                    "LinearRegressor", "LinearClassifier"};

static int find_model(translation *t)
{
    for (uint32_t i = 0; i < t->onnx.node_count; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (mw_onnx_is(t->onnx.nodes[i].op, kinds[k])) {
                if (t->model) return fault(t, "it has more than one model");
                t->model = &t->onnx.nodes[i];
            }
    if (t->model && t->model->input_count && t->model->output_count) return 1;
    mw_onnx_name none = {"none", 4};
    return refuse(t, "there is no TreeEnsemble or Linear operator in it; its first operator is",
                  t->onnx.node_count ? t->onnx.nodes[0].op : none);
}

static void put_features(translation *t)
{
    mw_buffer name = {0};
    uint32_t n = 0;
    mw_buffer_text(&t->json, ",\"features\":[");
    for (uint32_t i = 0; i < t->onnx.input_count; i++) {
        const mw_onnx_input *in = &t->onnx.inputs[i];
        for (uint32_t k = 0; k < in->columns && n < COLUMNS_MOST; k++, n++) {
            name.len = 0;
            mw_buffer_append(&name, in->name.text, in->name.len);
            if (in->columns > 1) mw_buffer_format(&name, "%u", k);
            mw_buffer_text(&t->json, n ? ",{\"name\":" : "{\"name\":");
            mw_json_quote(&t->json, name.bytes ? name.bytes : "", name.len);
            mw_buffer_text(&t->json, "}");
        }
    }
    mw_buffer_text(&t->json, "],\"columns\":[");
    for (uint32_t i = 0; i < t->count; i++) {
        column *c = &t->columns[i];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", c->feature);
        mw_buffer_append(&t->json, c->ops.bytes, c->ops.len);
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_text(&t->json, "]");
    mw_buffer_close(&name);
}

static int translate(translation *t)
{
    if (!find_model(t) || !add_columns(t, t->model->inputs[0], 0)) return 0;
    int classifier = mw_onnx_is(t->model->op, kinds[1]) || mw_onnx_is(t->model->op, kinds[3]);
    if (classifier && t->model->output_count < 2) return fault(t, "its classifier has no scores");
    if (!check_behind(t, t->model->outputs[classifier], 0)) return 0;
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%.*s\"", (int)t->model->op.len,
                     t->model->op.text);
    put_features(t);
    int trees = mw_onnx_is(t->model->op, kinds[0]) || mw_onnx_is(t->model->op, kinds[1]);
    if (!(trees ? put_trees(t, classifier) : put_linear(t, classifier))) return 0;
    mw_buffer_text(&t->json, "}");
    return t->status == MW_OK;
}

mw_status mw_model_read_onnx(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_error inner;
    translation t = {.error = &inner};
    t.status = mw_onnx_read(&t.onnx, file->bytes, file->len, &inner);
    if (t.status == MW_OK) translate(&t);
    mw_status status = t.status;
    if (status != MW_OK) mw_fail(error, status, "%s: %s", file->name, inner.message);
    else {
        mw_model_file json = {t.json.bytes, t.json.len, file->name};
        status = mw_model_read_sklearn(m, &json, error);
        m->kind = "onnx";
    }
    for (uint32_t i = 0; i < t.count; i++) mw_buffer_close(&t.columns[i].ops);
    free(t.columns), mw_buffer_close(&t.json), mw_onnx_close(&t.onnx);
    return status;
}
