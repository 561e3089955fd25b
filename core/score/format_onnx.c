/* format_onnx.c: ONNX-ML files of one tree ensemble or linear model, with what makes
 * its columns before it (onnx.ai, "ai.onnx.ml operators"): put as the JSON that format_sklearn.c
 * reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/onnx_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 32 };

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

static int translate(mw_onnx_translation *t)
{
    if (!find_model(t) || !mw_onnx_read_columns(t, t->model->inputs[0])) return 0;
    int classifier = mw_onnx_is(t->model->op, kinds[1]) || mw_onnx_is(t->model->op, kinds[3]);
    if (classifier && t->model->output_count < 2)
        return mw_onnx_fault(t, "its classifier has no scores");
    if (!check_behind(t, t->model->outputs[classifier], 0)) return 0;
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%.*s\"", (int)t->model->op.len,
                     t->model->op.text);
    int trees = mw_onnx_is(t->model->op, kinds[0]) || mw_onnx_is(t->model->op, kinds[1]);
    if (!(trees ? mw_onnx_put_trees(t, classifier) : put_linear(t, classifier))) return 0;
    mw_onnx_put_columns(t);
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
    mw_onnx_columns_close(&t);
    mw_buffer_close(&t.json), mw_onnx_close(&t.onnx);
    return status;
}
