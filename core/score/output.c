/* output.c: see output.h. */
#include "score/output.h"

#include <math.h>

/* XGBoost's: large arguments are cut off, and a little is added to the divisor. */
static float sigmoid_float(float x)
{
    float less = -x < 88.7f ? -x : 88.7f;
    return 1.0f / (expf(less) + 1.0f + 1e-16f);
}

static double sigmoid(double x, double factor)
{
    return 1.0 / (1.0 + exp(-factor * x));
}

static uint32_t greatest(const double *x, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void softmax(const mw_output *o, const double *x, uint32_t count, double *to)
{
    double most = x[greatest(x, count)], sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        to[i] = o->floats ? (double)expf((float)x[i] - (float)most) : exp(x[i] - most);
        sum += to[i];
    }
    for (uint32_t i = 0; i < count; i++)
        to[i] = o->floats ? (double)((float)to[i] / (float)sum) : to[i] / sum;
}

static double one(const mw_output *o, double x)
{
    switch (o->kind) {
    case MW_OUTPUT_SIGMOID:
        return o->floats ? (double)sigmoid_float((float)x) : sigmoid(x, o->factor);
    case MW_OUTPUT_EXP:
        return o->floats ? (double)expf((float)x) : exp(x);
    case MW_OUTPUT_STEP:
        return x > 0;
    case MW_OUTPUT_SOFTPLUS:
        return log1p(exp(x));
    case MW_OUTPUT_SQUARE:
        return copysign(x * x, x);
    case MW_OUTPUT_SHARES:
        return sigmoid(x, o->factor);
    case MW_OUTPUT_HALVES:
        return -exp2(-x / o->factor);
    default:
        return x;
    }
}

uint32_t mw_output_scores(const mw_output *o, uint32_t margins)
{
    return o->kind == MW_OUTPUT_GREATEST ? 1 : margins;
}

void mw_output_run(const mw_output *o, const double *margins, uint32_t count, double *scores)
{
    if (o->kind == MW_OUTPUT_SOFTMAX) softmax(o, margins, count, scores);
    else if (o->kind == MW_OUTPUT_GREATEST)
        scores[0] = greatest(margins, count);
    else
        for (uint32_t i = 0; i < count; i++) scores[i] = one(o, margins[i]);
    if (o->kind == MW_OUTPUT_SHARES) {
        double sum = 0;
        for (uint32_t i = 0; i < count; i++) sum += scores[i];
        for (uint32_t i = 0; i < count; i++) scores[i] /= sum;
    }
}
