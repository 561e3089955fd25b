/* lines.h: leaves of trees that are linear functions of features (LightGBM's linear_tree; Shi et
 * al., "Gradient boosting with piece-wise linear regression trees", IJCAI 2019). */
#ifndef MW_LINES_H
#define MW_LINES_H

#include <stddef.h>
#include <stdint.h>

typedef struct mw_line {
    double constant;
    double instead; /* where a feature that it has is missing */
    size_t first;   /* of its terms */
    uint32_t count;
} mw_line;

typedef struct mw_lines {
    mw_line *lines;
    size_t count, room;
    size_t *trees; /* where each tree's lines begin */
    size_t tree_count, tree_room;
    uint32_t *features;
    double *factors;
    size_t term_count, term_room;
} mw_lines;

void mw_lines_free(mw_lines *l);
/* Begins a tree, whose leaves are then added in the order of their numbers. */
void mw_lines_tree(mw_lines *l);
void mw_lines_add(mw_lines *l, double constant, double instead, const double *features,
                  const double *factors, size_t count);
/* What a leaf says of a row. */
double mw_lines_value(const mw_lines *l, uint32_t tree, uint32_t leaf, const double *row);

#endif
