/* layers.c: see layers.h. */
#include "score/layers.h"

#include "score/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS_MOST = 100, WIDTH_MOST = 1 << 16 };

enum activation { IDENTITY, RELU, TANH, LOGISTIC };
static const char *const activations[] = {"identity", "relu", "tanh", "logistic"};

typedef struct layer {
    double *weights, *centers, *bias; /* [outputs][inputs], or NULL; the same; [outputs] */
    uint32_t inputs, outputs;
    enum activation activation;
    int binary;
    double above;
} layer;

struct mw_layers {
    layer *layers;
    uint32_t count, widest;
};

void mw_layers_free(mw_layers *l)
{
    if (!l) return;
    for (uint32_t i = 0; i < l->count; i++)
        free(l->layers[i].weights), free(l->layers[i].centers), free(l->layers[i].bias);
    free(l->layers), free(l);
}

/* A list of lists of numbers, one an output. NULL: it is none of that shape. */
static double *matrix(mw_value list, uint32_t rows, uint32_t columns)
{
    mw_value key, v;
    size_t cursor = 0, count, n = 0;
    if (list.kind != MW_ARRAY || mw_json_length(list.text, list.len) != rows) return NULL;
    double *all = calloc((size_t)rows * columns + 1, sizeof *all), *row;
    mw_assert(all != NULL);
    while (mw_json_next(list.text, list.len, &cursor, &key, &v)) {
        int good = mw_document_numbers(v, 0, &row, &count) && count == columns;
        if (good) memcpy(all + n * columns, row, columns * sizeof *row);
        free(row);
        if (good && ++n) continue;
        free(all);
        return NULL;
    }
    return all;
}

static const char *read_layer(layer *l, mw_value v, uint32_t inputs)
{
    size_t outputs;
    mw_value centers = mw_json_field(v, "centers"), above = mw_json_field(v, "above");
    mw_value activation = mw_json_field(v, "activation");
    if (!mw_document_numbers(mw_json_field(v, "bias"), 0, &l->bias, &outputs) || !outputs ||
        outputs > WIDTH_MOST)
        return "a layer without a bias for each output";
    l->inputs = inputs, l->outputs = (uint32_t)outputs;
    l->weights = matrix(mw_json_field(v, "weights"), l->outputs, inputs);
    if (!l->weights) return "a layer whose weights are not one for each input and output";
    if (centers.kind == MW_ARRAY && !(l->centers = matrix(centers, l->outputs, inputs)))
        return "a layer whose centers are not one for each input and output";
    l->binary = above.kind == MW_NUMBER, l->above = above.number;
    for (unsigned i = 0; i < sizeof activations / sizeof *activations; i++)
        if (mw_document_is(activation, activations[i])) {
            l->activation = i;
            return NULL;
        }
    return "a layer whose activation is not known";
}

mw_status mw_layers_read(mw_layers **layers, mw_value list, uint32_t inputs, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0, count = list.kind == MW_ARRAY ? mw_json_length(list.text, list.len) : 0;
    if (!count || count > LAYERS_MOST)
        return mw_fail(error, MW_INVALID, "its layers are not from 1 to %d", LAYERS_MOST);
    mw_layers *l = *layers = calloc(1, sizeof *l);
    mw_assert(l != NULL);
    l->layers = calloc(count, sizeof *l->layers);
    mw_assert(l->layers != NULL);
    l->widest = inputs;
    while (mw_json_next(list.text, list.len, &cursor, &key, &v)) {
        layer *to = &l->layers[l->count++];
        const char *fault = read_layer(to, v, inputs);
        if (fault) return mw_fail(error, MW_INVALID, "it has %s", fault);
        inputs = to->outputs;
        if (inputs > l->widest) l->widest = inputs;
    }
    return MW_OK;
}

uint32_t mw_layers_outputs(const mw_layers *l)
{
    return l->layers[l->count - 1].outputs;
}

size_t mw_layers_bytes(const mw_layers *l)
{
    size_t all = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        const layer *of = &l->layers[i];
        all += ((size_t)of->inputs * (of->centers ? 2 : 1) + 1) * of->outputs * sizeof(double);
    }
    return all;
}

size_t mw_layers_scratch(const mw_layers *l)
{
    return 2ul * l->widest;
}

static double activate(enum activation a, double x)
{
    switch (a) {
    case RELU:
        return x > 0 || isnan(x) ? x : 0;
    case TANH:
        return tanh(x);
    case LOGISTIC:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

static double sum_of(const layer *l, const double *in, uint32_t output)
{
    const double *w = l->weights + (size_t)output * l->inputs;
    const double *c = l->centers ? l->centers + (size_t)output * l->inputs : NULL;
    double sum = 0;
    for (uint32_t i = 0; i < l->inputs; i++) {
        double x = l->binary ? in[i] > l->above : in[i];
        sum += c ? w[i] * (x - c[i]) * (x - c[i]) : w[i] * x;
    }
    return sum + l->bias[output];
}

void mw_layers_run(const mw_layers *l, const double *in, double *sums, double *scratch)
{
    double *to = scratch, *other = scratch + l->widest;
    for (uint32_t i = 0; i < l->count; i++) {
        const layer *of = &l->layers[i];
        for (uint32_t k = 0; k < of->outputs; k++)
            to[k] = activate(of->activation, sum_of(of, in, k));
        in = to;
        to = other, other = (double *)(uintptr_t)in;
    }
    for (uint32_t k = 0; k < mw_layers_outputs(l); k++) sums[k] += in[k];
}

int mw_layers_parts(const mw_layers *l, const double *in, uint32_t output, double *parts,
                    double *bias)
{
    const layer *of = &l->layers[0];
    if (l->count != 1 || of->centers || of->activation != IDENTITY) return 0;
    for (uint32_t i = 0; i < of->inputs; i++)
        parts[i] =
            of->weights[(size_t)output * of->inputs + i] * (of->binary ? in[i] > of->above : in[i]);
    *bias = of->bias[output];
    return 1;
}
