/* fuzz_model.c: a model file of any bytes is read or refused, and what was read scores any row,
 * explains it, and says the same of it alone and among others. */
#include "score/model.h"
#include "score/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 33 };

static void fill(double *rows, uint32_t features)
{
    static const double odd[] = {0, -0.0, 1, -1, NAN, INFINITY, -INFINITY, 1e-36, 3.5, 1e300, 2, 7};
    for (size_t i = 0; i < (size_t)ROWS * features; i++)
        rows[i] = odd[(i * 7 + i / 13) % (sizeof odd / sizeof *odd)];
}

static int same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void score(const mw_model *m)
{
    uint32_t features = mw_model_features(m), scores = mw_model_scores(m);
    double *rows = calloc((size_t)ROWS * features + 1, sizeof *rows);
    double *all = calloc((size_t)ROWS * scores + 1, sizeof *all);
    double *one = calloc((features + 1ul) * mw_model_margins(m) + scores, sizeof *one);
    uint32_t *leaves = calloc(mw_model_trees(m) + 1ul, sizeof *leaves);
    void *scratch;
    mw_error error;
    if (posix_memalign(&scratch, 64, mw_model_scratch(m))) abort();
    fill(rows, features);
    mw_model_score_rows(m, rows, features, ROWS, all, scratch);
    for (size_t r = 0; r < ROWS; r++) {
        mw_model_score(m, rows + r * features, one, scratch);
        for (uint32_t k = 0; k < scores; k++)
            if (!same(one[k], all[r * scores + k])) abort();
    }
    mw_model_leaves(m, rows, leaves, scratch, &error);
    mw_model_explain(m, rows, mw_model_nodes(m) < 2000, one, scratch, &error);
    free(rows), free(all), free(one), free(leaves), free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mw_model *m;
    mw_error error;
    char *bytes = calloc(size + MW_MODEL_PADDING, 1);
    memcpy(bytes, data, size);
    if (mw_model_read(&m, bytes, size, "model", NULL, &error) == MW_OK) {
        if ((size_t)mw_model_features(m) * mw_model_margins(m) < 1 << 16) score(m);
        mw_model_free(m);
    } else if (!strstr(error.message, "model")) {
        abort();
    }
    free(bytes);
    return 0;
}
