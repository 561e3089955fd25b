/* onnx_trees.c: ONNX-ML's tree ensembles as the JSON that format_sklearn.c reads. See
 * onnx_private.h. */
#include "event/json.h"
#include "score/model_private.h"
#include "score/onnx_private.h"

#include <math.h>
#include <stdlib.h>

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

static int read_lists(mw_onnx_translation *t, trees *of, int classifier)
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
        if (of->counts[i] != n) return mw_onnx_fault(t, "its lists of nodes differ in length");
    if (!n || n > UINT32_MAX / 4 || of->value_count != n || of->mode_count != n ||
        (of->counts[MISSING] && of->counts[MISSING] != n))
        return mw_onnx_fault(t, "its lists of nodes differ in length");
    for (int i = LEAF_TREE; i <= LEAF_ID; i++)
        if (of->counts[i] != of->weight_count)
            return mw_onnx_fault(t, "its lists of weights differ in length");
    of->by_id = mw_model_zeros(n, sizeof *of->by_id);
    for (uint32_t i = 0; i < n; i++) of->by_id[i] = i;
    qsort_r(of->by_id, n, sizeof *of->by_id, by_id, of);
    return 1;
}

static int is_equality(mw_onnx_name mode)
{
    return mw_onnx_is(mode, "BRANCH_EQ") || mw_onnx_is(mode, "BRANCH_NEQ");
}

static int by_test(const void *a, const void *b, void *self)
{
    const trees *t = self;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    if (t->ints[FEATURE][i] != t->ints[FEATURE][k])
        return t->ints[FEATURE][i] < t->ints[FEATURE][k] ? -1 : 1;
    return (t->values[i] > t->values[k]) - (t->values[i] < t->values[k]);
}

/* Whether a column is some value is a column of its own: 1, or 0. Nodes that test that are of it
 * then. */
static int split_equalities(mw_onnx_translation *t, trees *of)
{
    uint32_t *nodes = mw_model_zeros(of->counts[TREE], sizeof *nodes), count = 0;
    int64_t before = -1, columns = t->count;
    double value = NAN;
    int good = 1;
    for (uint32_t i = 0; good && i < of->counts[TREE]; i++) {
        int64_t feature = of->ints[FEATURE][i];
        if (mw_onnx_is(of->modes[i], "LEAF")) continue;
        if (feature < 0 || feature >= columns)
            good = mw_onnx_fault(t, "a node tests a column it has not");
        if (is_equality(of->modes[i])) nodes[count++] = i;
    }
    qsort_r(nodes, count, sizeof *nodes, by_test, of);
    for (uint32_t k = 0; good && k < count; k++) {
        uint32_t i = nodes[k];
        if (of->ints[FEATURE][i] != before || of->values[i] != value) {
            before = of->ints[FEATURE][i], value = of->values[i];
            if (!(good = mw_onnx_add_column(t, t->columns[before].feature))) break;
            mw_onnx_column *c = &t->columns[t->count - 1], *from = &t->columns[before];
            mw_buffer_append(&c->ops, from->ops.bytes, from->ops.len);
            mw_buffer_text(&c->ops,
                           c->ops.len ? ",[\"float\"],[\"map\",[" : "[\"float\"],[\"map\",[");
            mw_json_number(&c->ops, value);
            mw_buffer_text(&c->ops, "],[1],0,null]");
        }
        of->ints[FEATURE][i] = t->count - 1, of->values[i] = 0.5;
    }
    free(nodes);
    return good;
}

/* How a test is done on one side: `turned`, its true branch is to the right. */
static int mode_of(mw_onnx_translation *t, mw_onnx_name mode, int *strict, int *turned)
{
    *strict = mw_onnx_is(mode, "BRANCH_LT") || mw_onnx_is(mode, "BRANCH_GTE");
    *turned = mw_onnx_is(mode, "BRANCH_GT") || mw_onnx_is(mode, "BRANCH_GTE");
    *turned |= mw_onnx_is(mode, "BRANCH_EQ");
    if (mw_onnx_is(mode, "BRANCH_LEQ") || *strict || *turned || is_equality(mode)) return 1;
    return mw_onnx_refuse(t, "its trees have tests of the mode", mode);
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

/* A tree whose nodes are first … end - 1 of the lists, from its root, the first, down: what several
 * nodes lead to, as converters have it of sets of categories, is there as often. NULL: it leads out
 * of the tree, or is too large. To be freed. */
static uint32_t *unfold(mw_onnx_translation *t, const trees *of, uint32_t first, uint32_t end,
                        uint32_t width, uint32_t *count)
{
    uint32_t room = 2 * (end - first) + 2, most = (1 << 16) / width + 16 * (end - first);
    uint32_t *nodes = mw_model_zeros(room, sizeof *nodes);
    nodes[0] = first, *count = 1;
    for (uint32_t i = 0; i < *count && t->status == MW_OK; i++) {
        if (mw_onnx_is(of->modes[nodes[i]], "LEAF")) continue;
        if (*count + 2 > room) {
            nodes = realloc(nodes, (room *= 2) * sizeof *nodes);
            mw_assert(nodes != NULL);
        }
        for (int side = TRUE_NODE; side <= FALSE_NODE; side++) {
            uint32_t child = find(of, of->ints[TREE][first], of->ints[side][nodes[i]]);
            if (child - first >= end - first)
                mw_onnx_fault(t, "a node's branch is none of its tree's");
            nodes[(*count)++] = child;
        }
        if (*count > most)
            mw_onnx_fault(t, "its nodes are in a ring, or their branches are shared by too many");
    }
    if (t->status == MW_OK) return nodes;
    free(nodes);
    return NULL;
}

static int put_tree(mw_onnx_translation *t, const trees *of, uint32_t first, uint32_t end,
                    const double *values, uint32_t width)
{
    uint32_t count, next = 1;
    uint32_t *nodes = unfold(t, of, first, end, width, &count);
    if (!nodes) return 0;
    double *lists = mw_model_zeros((size_t)count * LISTS, sizeof *lists);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = nodes[i];
        int strict = 0, turned = 0;
        double *l[LISTS];
        for (int k = 0; k < LISTS; k++) l[k] = &lists[(size_t)k * count + i];
        *l[LEFT] = *l[RIGHT] = -1; /* and no cover, which ONNX does not know */
        if (mw_onnx_is(of->modes[at], "LEAF")) continue;
        mode_of(t, of->modes[at], &strict, &turned);
        *l[LEFT] = next + (turned ? 1 : 0), *l[RIGHT] = next + (turned ? 0 : 1);
        next += 2;
        *l[OF] = (double)of->ints[FEATURE][at], *l[THRESHOLD] = of->values[at];
        *l[STRICT] = strict;
        int tracks = of->counts[MISSING] && of->ints[MISSING][at];
        tracks |= mw_onnx_is(of->modes[at], "BRANCH_NEQ"); /* NaN is not equal to anything */
        *l[MISSING_LEFT] = turned ? !tracks : tracks;
    }
    mw_buffer_text(&t->json, first ? ",{\"output\":0" : "{\"output\":0");
    for (int k = 0; k < LISTS; k++)
        put_list(&t->json, list_names[k], lists + (size_t)k * count, count);
    mw_buffer_text(&t->json, ",\"value\":[");
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < width; k++) {
            if (i || k) mw_buffer_text(&t->json, ",");
            mw_json_number(&t->json, values[(size_t)nodes[i] * width + k]);
        }
    mw_buffer_text(&t->json, "]}");
    free(lists), free(nodes);
    return t->status == MW_OK;
}

/* Values by node, `width` each, of the classes or targets; `minus`: of that, too, with a minus. */
static double *values_of(mw_onnx_translation *t, const trees *of, uint32_t width, int64_t only,
                         int64_t minus)
{
    double *values = mw_model_zeros(of->counts[TREE] * width, sizeof *values);
    for (size_t i = 0; i < of->weight_count; i++) {
        uint32_t at = find(of, of->ints[LEAF_TREE][i], of->ints[LEAF_NODE][i]);
        int64_t id = of->ints[LEAF_ID][i];
        if (at == UINT32_MAX || id < 0 || (only < 0 && id >= width)) {
            mw_onnx_fault(t, "a weight is of no node or output");
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

int mw_onnx_put_trees(mw_onnx_translation *t, int classifier)
{
    trees of = {0};
    mw_onnx_name how = mw_onnx_text(t->model, "aggregate_function", "SUM");
    size_t outputs =
        classifier ? class_count(t->model) : (size_t)mw_onnx_int(t->model, "n_targets", 1);
    int64_t only = -1, minus = -1;
    if (!read_lists(t, &of, classifier) || !split_equalities(t, &of) || outputs < 1 ||
        outputs > MW_FOREST_OUTPUTS || (!mw_onnx_is(how, "SUM") && !mw_onnx_is(how, "AVERAGE"))) {
        trees_close(&of);
        return mw_onnx_fault(t, "its outputs, or how they are aggregated, are not supported");
    }
    if (classifier && outputs <= 2) { /* the second class's score alone */
        int both = has_id(&of, 0) && has_id(&of, 1);
        only = both || !has_id(&of, 0);
        if (both && mw_onnx_is_softmax(t)) minus = 0;
        else if (mw_onnx_is_softmax(t) || (both && t->normalized))
            mw_onnx_fault(t, "it normalizes two scores that are not each other's contrary");
        if (of.base_count > 1) of.base[0] = of.base[1] - (minus == 0 ? of.base[0] : 0);
        outputs = 1;
    }
    const char *output = mw_onnx_output_of(t, outputs);
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
