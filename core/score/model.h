/* model.h: a trained model, read from the file that its trainer wrote.
 *
 * A model is constant once it is loaded: any number of threads may score with it, each with scratch
 * memory of its own. Rows are doubles, one a feature in the model's order; NaN is a missing value.
 * Scores are the trainer's own: sums in its precision and order, its transform, its missing values
 * and categories. */
#ifndef MW_MODEL_H
#define MW_MODEL_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mw_model mw_model;

enum { MW_MODEL_FEATURES = 1 << 16 /* most */, MW_MODEL_PADDING = 64 };

typedef struct mw_model_options {
    const char *kind;      /* see mw_model_kinds; NULL: as the file looks */
    uint32_t first, count; /* which iterations (rounds of boosting); count 0: all from first on */
} mw_model_options;

/* Reads a model. MW_IO: the file cannot be read; MW_INVALID: it is damaged, or has what is not
 * supported, which is named with the place in the file; MW_LIMIT; MW_CONFIG: the options. */
mw_status mw_model_load(mw_model **model, const char *path, const mw_model_options *options,
                        mw_error *error);
/* The same of bytes, which are followed by MW_MODEL_PADDING readable ones. `name`: for errors. */
mw_status mw_model_read(mw_model **model, const char *bytes, size_t len, const char *name,
                        const mw_model_options *options, mw_error *error);
void mw_model_free(mw_model *m);
/* "xgboost|lightgbm|…" */
const char *mw_model_kinds(void);

/* ---- what it is ---- */

const char *mw_model_kind(const mw_model *m);
const char *mw_model_objective(const mw_model *m); /* the trainer's word for it */
uint64_t mw_model_version(const mw_model *m);      /* a hash of the file and the options */
uint32_t mw_model_features(const mw_model *m);
const char *mw_model_feature(const mw_model *m, uint32_t n);
int mw_model_uses(const mw_model *m, uint32_t n); /* 0: no score depends on that feature */
uint32_t mw_model_margins(const mw_model *m);     /* numbers of a margin */
uint32_t mw_model_scores(const mw_model *m);      /* numbers of a score */
uint32_t mw_model_trees(const mw_model *m);       /* of the iterations that are used */
size_t mw_model_nodes(const mw_model *m);
uint32_t mw_model_depth(const mw_model *m);
size_t mw_model_bytes(const mw_model *m); /* of memory, nearly */

/* The feature of that name; -1: there is none. */
int mw_model_find(const mw_model *m, const char *name, size_t len);
/* How many features' names begin with these bytes and a dot. */
int mw_model_holds(const mw_model *m, const char *prefix, size_t len);
/* The number that stands for a text as a feature's value: its category's code; NaN: there is no
 * such category. 0: that feature has no texts. */
int mw_model_category(const mw_model *m, uint32_t feature, const char *text, size_t len,
                      double *code);

/* ---- scoring ---- */

/* Bytes of scratch memory that a thread needs, aligned to 64. */
size_t mw_model_scratch(const mw_model *m);
/* `scores`: mw_model_scores numbers. */
void mw_model_score(const mw_model *m, const double *row, double *scores, void *scratch);
/* Before the transform: mw_model_margins numbers. */
void mw_model_margin(const mw_model *m, const double *row, double *margins, void *scratch);
/* Many rows, `stride` doubles apart, to the same scores; mw_model_scores a row. */
void mw_model_score_rows(const mw_model *m, const double *rows, size_t stride, size_t count,
                         double *scores, void *scratch);
/* Of each tree the number of the leaf, as the file counts nodes (LightGBM: leaves). MW_CONFIG: the
 * model has no trees. */
mw_status mw_model_leaves(const mw_model *m, const double *row, uint32_t *leaves, void *scratch,
                          mw_error *error);
/* What each feature adds to the margin, and last what every row has: features + 1 numbers for each
 * number of the margin. `exact`: by TreeSHAP, else along the path. */
mw_status mw_model_explain(const mw_model *m, const double *row, int exact, double *contributions,
                           void *scratch, mw_error *error);

#endif
