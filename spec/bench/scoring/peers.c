/* peers.c FOLDER LIGHTGBM.so XGBOOST.so: nanoseconds a row of the same models by this router's
 * core, LightGBM, XGBoost, and tl2cgen's C, one row at a time and a thousand at a time, on one
 * thread. A line each: what, single, batch. Candidates take turns; the least of the rounds counts,
 * which is what the machine's noise leaves alone. */
#include "score/model.h"

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 20000, FEATURES = 30, BATCH = 1000, ROUNDS = 7 };

static double rows[ROWS * FEATURES];
static float rows_float[ROWS * FEATURES];
static double sink;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *library(const char *path)
{
    void *l = dlopen(path, RTLD_NOW);
    if (!l) fprintf(stderr, "%s\n", dlerror()), exit(1);
    return l;
}

static void *symbol(void *l, const char *name)
{
    void *s = dlsym(l, name);
    if (!s) fprintf(stderr, "%s\n", dlerror()), exit(1);
    return s;
}

/* ---- candidates: a row, or BATCH of them ---- */

static mw_model *own;
static void *scratch;

static void own_open(const char *path)
{
    mw_error error;
    if (mw_model_load(&own, path, NULL, &error) != MW_OK)
        fprintf(stderr, "%s\n", error.message), exit(1);
    if (posix_memalign(&scratch, 64, mw_model_scratch(own))) exit(1);
}

static double own_row(size_t r)
{
    double score;
    mw_model_score(own, rows + r * FEATURES, &score, scratch);
    return score;
}

static double own_batch(size_t r)
{
    static double scores[BATCH];
    mw_model_score_rows(own, rows + r * FEATURES, FEATURES, BATCH, scores, scratch);
    return scores[0];
}

static void *lgb, *lgb_fast;
static int (*lgb_single)(void *, const void *, int64_t *, double *);
static int (*lgb_many)(void *, const void *, int, int32_t, int32_t, int, int, int, int,
                       const char *, int64_t *, double *);

static void lgb_open(const char *so, const char *path)
{
    void *l = library(so);
    int iterations;
    int (*create)(const char *, int *, void **) = symbol(l, "LGBM_BoosterCreateFromModelfile");
    int (*fast)(void *, int, int, int, int, int32_t, const char *, void **) =
        symbol(l, "LGBM_BoosterPredictForMatSingleRowFastInit");
    lgb_single = symbol(l, "LGBM_BoosterPredictForMatSingleRowFast");
    lgb_many = symbol(l, "LGBM_BoosterPredictForMat");
    if (create(path, &iterations, &lgb) ||
        fast(lgb, 0, 0, -1, 1, FEATURES, "num_threads=1", &lgb_fast))
        exit(1);
}

static double lgb_row(size_t r)
{
    int64_t len;
    double score;
    lgb_single(lgb_fast, rows + r * FEATURES, &len, &score);
    return score;
}

static double lgb_batch(size_t r)
{
    static double scores[BATCH];
    int64_t len;
    lgb_many(lgb, rows + r * FEATURES, 1, BATCH, FEATURES, 1, 0, 0, -1, "num_threads=1", &len,
             scores);
    return scores[0];
}

static void *xgb;
static int (*xgb_predict)(void *, const char *, const char *, void *, const uint64_t **, uint64_t *,
                          const float **);

static void xgb_open(const char *so, const char *path)
{
    void *l = library(so);
    int (*create)(void *, uint64_t, void **) = symbol(l, "XGBoosterCreate");
    int (*load)(void *, const char *) = symbol(l, "XGBoosterLoadModel");
    int (*set)(void *, const char *, const char *) = symbol(l, "XGBoosterSetParam");
    xgb_predict = symbol(l, "XGBoosterPredictFromDense");
    if (create(NULL, 0, &xgb) || load(xgb, path) || set(xgb, "nthread", "1")) exit(1);
}

static double xgb_some(size_t r, int count)
{
    char array[200];
    const uint64_t *shape;
    const float *scores;
    uint64_t dimensions;
    snprintf(array, sizeof array,
             "{\"data\":[%llu,true],\"shape\":[%d,%d],\"typestr\":\"<f4\",\"version\":3}",
             (unsigned long long)(uintptr_t)(rows_float + r * FEATURES), count, FEATURES);
    xgb_predict(xgb, array,
                "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_"
                "shape\":false,\"missing\":NaN,"
                "\"cache_id\":0}",
                NULL, &shape, &dimensions, &scores);
    return (double)scores[0];
}

static double xgb_row(size_t r)
{
    return xgb_some(r, 1);
}

static double xgb_batch(size_t r)
{
    return xgb_some(r, BATCH);
}

/* tl2cgen's rows are unions with a number for what is missing, of floats (XGBoost) or doubles. */
static union entry_float {
    int missing;
    float value;
} entries_float[ROWS * FEATURES];
static union entry_double {
    int missing;
    double value;
} entries_double[ROWS * FEATURES];
static void (*compiled_float)(union entry_float *, int, float *);
static void (*compiled_double)(union entry_double *, int, double *);

static double compiled_float_row(size_t r)
{
    float score[2];
    compiled_float(entries_float + r * FEATURES, 0, score);
    return (double)score[0];
}

static double compiled_double_row(size_t r)
{
    double score[2];
    compiled_double(entries_double + r * FEATURES, 0, score);
    return score[0];
}

static double compiled_float_batch(size_t r)
{
    for (size_t i = 1; i < BATCH; i++) sink += compiled_float_row(r + i);
    return compiled_float_row(r);
}

static double compiled_double_batch(size_t r)
{
    for (size_t i = 1; i < BATCH; i++) sink += compiled_double_row(r + i);
    return compiled_double_row(r);
}

/* ---- measuring ---- */

typedef struct candidate {
    const char *name;
    double (*row)(size_t), (*batch)(size_t);
    double row_s, batch_s;
} candidate;

static double time_of(double (*run)(size_t), size_t step)
{
    double start = now();
    for (size_t r = 0; r < ROWS; r += step) sink += run(r);
    return now() - start;
}

static void measure(candidate *c, int count, const char *model)
{
    for (int i = 0; i < count; i++) c[i].row_s = c[i].batch_s = INFINITY;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < count; i++) {
            c[i].row_s = fmin(c[i].row_s, time_of(c[i].row, 1));
            c[i].batch_s = fmin(c[i].batch_s, time_of(c[i].batch, BATCH));
        }
    for (int i = 0; i < count; i++)
        printf("%s %s %.1f %.1f\n", model, c[i].name, c[i].row_s / ROWS * 1e9,
               c[i].batch_s / ROWS * 1e9);
}

static void check(double (*a)(size_t), double (*b)(size_t), const char *what, double within)
{
    for (size_t r = 0; r < ROWS; r++)
        if (!(fabs(a(r) - b(r)) <= within))
            fprintf(stderr, "row %zu: %s says %.17g, and we %.17g\n", r, what, b(r), a(r)), exit(1);
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 4) return 2;
    snprintf(path, sizeof path, "%s/rows.f64", argv[1]);
    FILE *f = fopen(path, "rb");
    if (!f || fread(rows, sizeof *rows, ROWS * FEATURES, f) != ROWS * FEATURES) return 1;
    for (size_t i = 0; i < ROWS * FEATURES; i++) {
        rows_float[i] = (float)rows[i];
        entries_float[i].value = rows_float[i], entries_double[i].value = rows[i];
    }
    snprintf(path, sizeof path, "%s/xgb-c.so", argv[1]);
    compiled_float = symbol(library(path), "predict");
    snprintf(path, sizeof path, "%s/xgb.json", argv[1]);
    own_open(path);
    xgb_open(argv[3], path);
    check(own_row, xgb_row, "XGBoost", 0);
    check(own_row, compiled_float_row, "tl2cgen", 1e-5);
    candidate of_xgb[] = {{"moonweir", own_row, own_batch, 0, 0},
                          {"xgboost", xgb_row, xgb_batch, 0, 0},
                          {"tl2cgen", compiled_float_row, compiled_float_batch, 0, 0}};
    measure(of_xgb, 3, "xgb");
    snprintf(path, sizeof path, "%s/lgb-c.so", argv[1]);
    compiled_double = symbol(library(path), "predict");
    snprintf(path, sizeof path, "%s/lgb.txt", argv[1]);
    own_open(path);
    lgb_open(argv[2], path);
    check(own_row, lgb_row, "LightGBM", 1e-15);
    check(own_row, compiled_double_row, "tl2cgen", 1e-9);
    candidate of_lgb[] = {{"moonweir", own_row, own_batch, 0, 0},
                          {"lightgbm", lgb_row, lgb_batch, 0, 0},
                          {"tl2cgen", compiled_double_row, compiled_double_batch, 0, 0}};
    measure(of_lgb, 3, "lgb");
    return !isfinite(sink);
}
