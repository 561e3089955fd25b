/* output.h: from a model's margins to its scores, as its trainer does it. */
#ifndef MW_OUTPUT_H
#define MW_OUTPUT_H

#include <stdint.h>

typedef enum mw_output_kind {
    MW_OUTPUT_SAME,
    MW_OUTPUT_SIGMOID, /* 1 / (1 + exp(-factor x)), of each */
    MW_OUTPUT_SOFTMAX,
    MW_OUTPUT_GREATEST, /* the number of the greatest, from 0: one number */
    MW_OUTPUT_EXP,
    MW_OUTPUT_STEP,     /* 1 above 0, else 0 */
    MW_OUTPUT_SOFTPLUS, /* log(1 + exp(x)) */
    MW_OUTPUT_SQUARE,   /* x |x| */
    MW_OUTPUT_SHARES,   /* sigmoids of each, as shares of their sum */
    MW_OUTPUT_HALVES,   /* -2 to the power of -x / factor */
} mw_output_kind;

typedef struct mw_output {
    mw_output_kind kind;
    double factor;
    int floats; /* in float32, as XGBoost does */
} mw_output;

/* How many scores come of so many margins. */
uint32_t mw_output_scores(const mw_output *o, uint32_t margins);
void mw_output_run(const mw_output *o, const double *margins, uint32_t count, double *scores);

#endif
