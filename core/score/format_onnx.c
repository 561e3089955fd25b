/* format_onnx.c: ONNX-ML files of one tree ensemble or linear model, with scalers and imputers
 * before it (onnx.ai, "ai.onnx.ml operators"): put as the JSON that format_sklearn.c reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/onnx_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 1 << 16, DEEP = 32 };

int mw_onnx_refuse(mw_onnx_translation *t, const char *what, mw_onnx_name name)
{
    if (t->status == MW_OK)
        t->status = mw_fail(t->error, MW_INVALID, "%s '%.*s'", what,
                            (int)(name.len < 60 ? name.len : 60), name.len ? name.text : "");
    return 0;
}

int mw_onnx_fault(mw_onnx_translation *t, const char *what)
{
    if (t->status == MW_OK) t->status = mw_fail(t->error, MW_INVALID, "%s", what);
    return 0;
}

/* ---- what the model sees ---- */

int mw_onnx_add_column(mw_onnx_translation *t, uint32_t feature)
{
    if (t->count == COLUMNS_MOST) return mw_onnx_fault(t, "it has too many columns");
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->columns = realloc(t->columns, t->room * sizeof *t->columns);
        mw_assert(t->columns != NULL);
    }
    t->columns[t->count++] = (mw_onnx_column){feature, {0}};
    return 1;
}

static void add_op(mw_onnx_column *c, const char *op, double number)
{
    mw_buffer_format(&c->ops, c->ops.len ? ",[\"%s\"," : "[\"%s\",", op);
    mw_json_number(&c->ops, number);
    mw_buffer_text(&c->ops, "]");
}

/* One number for all of some columns, or one each. */
static int per_column(mw_onnx_translation *t, uint32_t from, const char *op, const double *list,
                      size_t count)
{
    if (count != 1 && count != t->count - from)
        return mw_onnx_fault(t, "a scaler or imputer is not of as many columns as it has");
    for (uint32_t i = from; i < t->count; i++)
        add_op(&t->columns[i], op, list[count == 1 ? 0 : i - from]);
    return 1;
}

static int scale(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *offset, *factor;
    size_t offsets, factors;
    int good = mw_onnx_floats(n, "offset", &offset, &offsets) &
               mw_onnx_floats(n, "scale", &factor, &factors);
    good = good ? per_column(t, from, "subtract", offset, offsets) &&
                      per_column(t, from, "multiply", factor, factors)
                : mw_onnx_fault(t, "a Scaler without offset and scale");
    free(offset), free(factor);
    return good;
}

static int impute(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *list;
    size_t count;
    int good = mw_onnx_floats(n, "imputed_value_floats", &list, &count);
    if (!isnan(mw_onnx_float(n, "replaced_value_float", NAN)))
        good = mw_onnx_fault(t, "an Imputer of other values than NaN");
    else
        good = good ? per_column(t, from, "impute", list, count)
                    : mw_onnx_fault(t, "an Imputer without imputed_value_floats");
    free(list);
    return good;
}

static int add_input(mw_onnx_translation *t, mw_onnx_name tensor)
{
    uint32_t feature = 0;
    for (uint32_t i = 0; i < t->onnx.input_count; i++) {
        const mw_onnx_input *in = &t->onnx.inputs[i];
        if (mw_onnx_same(in->name, tensor)) {
            if (in->is_text)
                return mw_onnx_refuse(t, "texts are not supported, and are what it takes as",
                                      tensor);
            if (!in->columns)
                return mw_onnx_refuse(t, "it does not say how many columns it takes as", tensor);
            for (uint32_t k = 0; k < in->columns; k++)
                if (!mw_onnx_add_column(t, feature + k)) return 0;
            return 1;
        }
        feature += in->columns;
    }
    return mw_onnx_refuse(t, "nothing makes", tensor);
}

static int add_columns(mw_onnx_translation *t, mw_onnx_name tensor, int depth)
{
    const mw_onnx_node *n = mw_onnx_maker(&t->onnx, tensor);
    uint32_t from = t->count;
    if (depth > DEEP) return mw_onnx_fault(t, "its nodes are too deep, or in a ring");
    if (!n) return add_input(t, tensor);
    int joins = mw_onnx_is(n->op, "Concat") || mw_onnx_is(n->op, "FeatureVectorizer");
    for (uint32_t i = 0; i < (joins ? n->input_count : n->input_count > 0); i++)
        if (!add_columns(t, n->inputs[i], depth + 1)) return 0;
    if (mw_onnx_is(n->op, "Scaler")) return scale(t, n, from);
    if (mw_onnx_is(n->op, "Imputer")) return impute(t, n, from);
    if (joins || mw_onnx_is(n->op, "Cast") || mw_onnx_is(n->op, "Identity")) return 1;
    return mw_onnx_refuse(t, "before the model there is the operator", n->op);
}

/* ---- what comes of the scores ---- */

int mw_onnx_is_softmax(const mw_onnx_translation *t)
{
    return mw_onnx_is(mw_onnx_text(t->model, "post_transform", "NONE"), "SOFTMAX");
}

/* A Normalizer behind the model makes shares of its scores: which of two it only repeats, and of
 * raw scores would make something else. */
const char *mw_onnx_output_of(mw_onnx_translation *t, size_t outputs)
{
    mw_onnx_name transform = mw_onnx_text(t->model, "post_transform", "NONE");
    if (mw_onnx_is(transform, "SOFTMAX")) return outputs > 1 ? "softmax" : "sigmoid";
    if (mw_onnx_is(transform, "LOGISTIC"))
        return outputs > 1 && t->normalized ? "shares of sigmoids" : "sigmoid";
    if (!mw_onnx_is(transform, "NONE")) mw_onnx_refuse(t, "it has the post_transform", transform);
    if (t->normalized)
        mw_onnx_fault(t, "behind raw scores there is a Normalizer, which is not supported");
    return "same";
}

/* ---- linear ---- */

static int put_linear(mw_onnx_translation *t, int classifier)
{
    double *weights, *bias;
    size_t weight_count, bias_count;
    mw_onnx_floats(t->model, "coefficients", &weights, &weight_count);
    mw_onnx_floats(t->model, "intercepts", &bias, &bias_count);
    size_t columns = t->count, outputs = columns ? weight_count / columns : 0, from = 0;
    int good = outputs >= 1 && outputs <= MW_FOREST_OUTPUTS && outputs * columns == weight_count &&
               (!bias_count || bias_count == outputs);
    if (!good)
        mw_onnx_fault(t, "it has another number of coefficients than of columns and outputs");
    if (good && classifier && outputs == 2) { /* the second class's score alone */
        for (size_t j = 0; j < columns; j++) {
            if (t->normalized && !mw_onnx_is_softmax(t) && weights[j] != -weights[columns + j])
                good =
                    mw_onnx_fault(t, "it normalizes two scores that are not each other's contrary");
            if (mw_onnx_is_softmax(t)) weights[columns + j] -= weights[j];
        }
        if (mw_onnx_is_softmax(t) && bias_count) bias[1] -= bias[0];
        from = 1;
    }
    const char *output = mw_onnx_output_of(t, outputs - from);
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
static int is_harmless(mw_onnx_translation *t, const mw_onnx_node *n, mw_onnx_name tensor)
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

static int check_behind(mw_onnx_translation *t, mw_onnx_name tensor, int depth)
{
    if (depth > DEEP) return mw_onnx_fault(t, "its nodes are too deep, or in a ring");
    for (uint32_t i = 0; i < t->onnx.node_count; i++) {
        const mw_onnx_node *n = &t->onnx.nodes[i];
        int reads = 0;
        for (uint32_t k = 0; k < n->input_count; k++) reads |= mw_onnx_same(n->inputs[k], tensor);
        if (!reads) continue;
        if (!is_harmless(t, n, tensor))
            return mw_onnx_refuse(t, "behind the model there is the operator", n->op);
        for (uint32_t k = 0; k < n->output_count; k++)
            if (!check_behind(t, n->outputs[k], depth + 1)) return 0;
    }
    return 1;
}

static const char *const kinds[] = {"TreeEnsembleRegressor", "TreeEnsembleClassifier",
                                    "LinearRegressor", "LinearClassifier"};

static int find_model(mw_onnx_translation *t)
{
    for (uint32_t i = 0; i < t->onnx.node_count; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (mw_onnx_is(t->onnx.nodes[i].op, kinds[k])) {
                if (t->model) return mw_onnx_fault(t, "it has more than one model");
                t->model = &t->onnx.nodes[i];
            }
    if (t->model && t->model->input_count && t->model->output_count) return 1;
    mw_onnx_name none = {"none", 4};
    return mw_onnx_refuse(
        t, "there is no TreeEnsemble or Linear operator in it; its first operator is",
        t->onnx.node_count ? t->onnx.nodes[0].op : none);
}

static void put_features(mw_onnx_translation *t)
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
    mw_buffer_text(&t->json, "]");
    mw_buffer_close(&name);
}

static void put_columns(mw_onnx_translation *t)
{
    mw_buffer_text(&t->json, ",\"columns\":[");
    for (uint32_t i = 0; i < t->count; i++) {
        mw_onnx_column *c = &t->columns[i];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", c->feature);
        mw_buffer_append(&t->json, c->ops.bytes, c->ops.len);
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_text(&t->json, "]");
}

static int translate(mw_onnx_translation *t)
{
    if (!find_model(t) || !add_columns(t, t->model->inputs[0], 0)) return 0;
    int classifier = mw_onnx_is(t->model->op, kinds[1]) || mw_onnx_is(t->model->op, kinds[3]);
    if (classifier && t->model->output_count < 2)
        return mw_onnx_fault(t, "its classifier has no scores");
    if (!check_behind(t, t->model->outputs[classifier], 0)) return 0;
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%.*s\"", (int)t->model->op.len,
                     t->model->op.text);
    put_features(t);
    int trees = mw_onnx_is(t->model->op, kinds[0]) || mw_onnx_is(t->model->op, kinds[1]);
    if (!(trees ? mw_onnx_put_trees(t, classifier) : put_linear(t, classifier))) return 0;
    put_columns(t);
    mw_buffer_text(&t->json, "}");
    return t->status == MW_OK;
}

mw_status mw_model_read_onnx(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_error inner;
    mw_onnx_translation t = {.error = &inner};
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
