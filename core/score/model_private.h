/* model_private.h: what the readers of formats fill in. See model.h. */
#ifndef MW_MODEL_PRIVATE_H
#define MW_MODEL_PRIVATE_H

#include "score/columns.h"
#include "score/forest.h"
#include "score/layers.h"
#include "score/lines.h"
#include "score/model.h"
#include "score/output.h"
#include "score/text_index.h"

/* The texts that a feature may have; their numbers are their codes. */
typedef struct mw_categories {
    char **texts;
    mw_text_index index;
    uint32_t count;
    double unknown; /* what a text that is none of them is */
} mw_categories;

struct mw_model {
    const char *kind;
    char *objective;
    uint64_t version;
    char **names;
    uint32_t features;
    mw_text_index index;       /* of names */
    int dotted;                /* some names have dots */
    mw_categories *categories; /* by feature; NULL: none have any */
    mw_columns *columns;       /* what the estimator sees; NULL: the features */
    mw_layers *layers;         /* NULL: none */
    mw_forest *forest;         /* NULL: none */
    mw_lines *lines;           /* of leaves that are linear, of all trees; NULL: none are */
    double *weights;           /* linear: [margins][features], then [margins] of bias; NULL: none */
    uint32_t margins, scores;
    uint32_t trees, first; /* in the forest */
    uint32_t trees_an_iteration;
    uint32_t *iterations; /* where each begins, and the end; NULL: trees_an_iteration each */
    uint32_t iteration_count;
    double *base;   /* by margin: what a sum begins with; NULL: 0 */
    double divisor; /* sums are divided by it; 0: not */
    int average;    /* the divisor is the number of iterations */
    mw_output output;
};

/* What a file is read from. `bytes` are followed by MW_MODEL_PADDING more. */
typedef struct mw_model_file {
    const char *bytes;
    size_t len;
    const char *name;
} mw_model_file;

mw_status mw_model_read_xgboost(mw_model *m, const mw_model_file *file, mw_error *error);
mw_status mw_model_read_sklearn(mw_model *m, const mw_model_file *file, mw_error *error);
mw_status mw_model_read_onnx(mw_model *m, const mw_model_file *file, mw_error *error);
mw_status mw_model_read_pmml(mw_model *m, const mw_model_file *file, mw_error *error);
mw_status mw_model_read_lightgbm(mw_model *m, const mw_model_file *file, mw_error *error);

void *mw_model_zeros(size_t count, size_t size);
/* A copy of a text, its own. */
char *mw_model_text(const char *text, size_t len);
/* Makes room for names; those that are NULL at the end become PREFIX and their number. */
mw_status mw_model_name_features(mw_model *m, const char *prefix, mw_error *error);

#endif
