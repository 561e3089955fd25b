/* forest.h: decision trees, compiled for evaluation.
 *
 * A reader of some file format hands over each tree as it stands in the file (mw_forest_tree), then
 * compiles (mw_forest_compile); from then on the forest is constant and any number of threads may
 * read it.
 *
 * What is compiled: every test "value < threshold" is about order alone, so each row's values are
 * first replaced by their ranks among the thresholds of their feature (a binary search each), 16
 * bits wide. Whatever a trainer does besides comparing (rounding to float32, strict or not, where
 * missing values go, sets of categories) happens once a row, when ranks are made: a feature has one
 * slot of ranks for each way in which its tests treat it, and a missing value's rank there is the
 * least or the greatest. So every test of every trainer is `rank > node's rank: to the right`, in
 * integers, exact by construction.
 *
 * Single rows then walk eight trees in lock step without branches, leaves looping to themselves.
 * Batches take 32 rows at a time through the trees of up to 64 leaves by masks of the leaves that
 * are still possible (QuickScorer: Lucchese et al., SIGIR 2015; its vectorised form: SIGIR 2016).
 */
#ifndef MW_FOREST_H
#define MW_FOREST_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mw_forest mw_forest;

enum {
    MW_FOREST_BLOCK = 32,       /* rows of a batch that go together */
    MW_FOREST_TREES = 1 << 20,  /* most */
    MW_FOREST_NODES = 1 << 28,  /* most, in all */
    MW_FOREST_OUTPUTS = 1 << 12 /* most */
};

typedef enum mw_missing {
    MW_MISSING_NAN,  /* NaN goes where the node says */
    MW_MISSING_ZERO, /* NaN and values within 1e-35 (a float's) of zero go there */
    MW_MISSING_NONE, /* NaN is zero */
} mw_missing;

typedef enum mw_test {
    MW_TEST_LEAF,
    MW_TEST_BELOW,   /* value < threshold: left */
    MW_TEST_AT_MOST, /* value <= threshold: left */
    MW_TEST_IN,      /* category is in the set: left */
    MW_TEST_OUT,     /* category is in the set: right */
} mw_test;

/* A node as a file has it. */
typedef struct mw_node {
    double threshold;
    double cover;   /* how much of what was trained on came here, for explanations */
    uint32_t test;  /* mw_test */
    uint32_t left;  /* node; of a leaf: where its values begin in mw_tree.values */
    uint32_t right; /* node; of a leaf: the number that it is known by */
    uint32_t feature;
    uint8_t missing;       /* mw_missing */
    uint8_t missing_left;  /* where missing values go */
    uint32_t set, set_len; /* bits of the categories: words in mw_tree.sets */
} mw_node;

typedef struct mw_tree {
    const mw_node *nodes; /* the first is the root */
    uint32_t count;
    const double *values; /* of leaves, `width` each */
    size_t value_count;
    const uint32_t *sets; /* bit sets of categories */
    size_t set_count;
    uint32_t output; /* which one its values add to, where width is 1 */
    double weight;   /* its values are multiplied by it, as float in a sum of floats */
} mw_tree;

typedef struct mw_forest_options {
    uint32_t features, outputs;
    uint32_t width;       /* values of a leaf: 1, or `outputs` */
    int round_to_float;   /* features are compared as float32 */
    int sum_floats;       /* sums are float32 */
    int tiny_is_zero;     /* features within 1e-35 (a float's) of zero are zero */
    int category_is_left; /* a value that can be no category goes left (else right) */
} mw_forest_options;

mw_forest *mw_forest_new(const mw_forest_options *options);
void mw_forest_free(mw_forest *f);
/* Copies a tree. MW_INVALID: what is wrong with it, by node. */
mw_status mw_forest_tree(mw_forest *f, const mw_tree *tree, mw_error *error);
/* MW_LIMIT: it has more kinds of tests than there are slots. */
mw_status mw_forest_compile(mw_forest *f, mw_error *error);

uint32_t mw_forest_trees(const mw_forest *f);
size_t mw_forest_nodes(const mw_forest *f);
uint32_t mw_forest_depth(const mw_forest *f);
size_t mw_forest_bytes(const mw_forest *f);
/* 1: some tree tests that feature. */
int mw_forest_uses(const mw_forest *f, uint32_t feature);

/* Bytes that evaluation works in: one such piece a thread, aligned to 64. */
size_t mw_forest_scratch(const mw_forest *f);
/* Adds to sums[outputs] what the trees first … first + count - 1 say of a row of features, in the
 * order of the trees. */
void mw_forest_row(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                   double *sums, void *scratch);
/* The same for `rows` rows, `stride` doubles apart; sums are `outputs` a row. */
void mw_forest_rows(const mw_forest *f, const double *row, size_t stride, size_t rows,
                    uint32_t first, uint32_t count, double *sums, void *scratch);
/* The number of the leaf that a row comes to in each tree, as the file knows it. */
void mw_forest_leaves(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                      uint32_t *leaves, void *scratch);

/* Why: adds to contributions[outputs][features + 1] what each feature added to the margin, and,
 * last, what every row has (Lundberg et al., "Consistent individualized feature attribution for
 * tree ensembles", 2018, algorithm 2). `exact` 0: the path's attribution (Saabas, 2014), which
 * costs one walk. MW_LIMIT: trees are too deep for it; MW_CONFIG: no node has a cover. */
mw_status mw_forest_explain(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                            int exact, double *contributions, void *scratch, mw_error *error);

#endif
