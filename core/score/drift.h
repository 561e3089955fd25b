/* drift.h: how far what a model sees and says has moved from what it was trained on: the population
 * stability index of live values beside the training's histograms (Siddiqi, "Credit Risk
 * Scorecards", 2006: below 0.1 little, above 0.25 much). */
#ifndef MW_DRIFT_H
#define MW_DRIFT_H

#include "score/model.h"

/* Bins of one feature, or of the score: up to edges[0], to edges[1], …, above the last. */
typedef struct mw_histogram {
    char *name;           /* of the feature; "" of the score */
    int32_t feature;      /* -1: the score (of several outputs the first) */
    uint32_t bins, first; /* first: of its bins among those of all */
    double *edges, *shares;
} mw_histogram;

typedef struct mw_drift {
    mw_histogram *histograms;
    uint32_t count, bins; /* of all */
} mw_drift;

/* Reads {"score": {"edges": […], "shares": […]}, "features": {NAME: {…}}}; shares are one more than
 * edges. MW_INVALID. */
mw_status mw_drift_read(mw_drift **drift, const mw_model *m, const char *text, size_t len,
                        const char *name, mw_error *error);
void mw_drift_free(mw_drift *d);
/* Counts a row and its score, into counts[bins]. What is no number is not counted. */
void mw_drift_count(const mw_drift *d, const double *row, const double *scores, uint64_t *counts);
/* The index of one histogram. 0 while nothing was counted. */
double mw_drift_index(const mw_histogram *h, const uint64_t *counts);

#endif
