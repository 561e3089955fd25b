/* detector_page_hinkley.c: a change of the mean, up or down (Page, "Continuous inspection schemes",
 * Biometrika 1954; Hinkley, "Inference about the change-point from cumulative sum tests",
 * Biometrika 1971). Sums are in standard deviations of the values since the last change. The
 * anomaly is 0.5 where the sum reaches the threshold; then it begins anew. */
#include "score/detector_private.h"

enum { THRESHOLD, DELTA, WARM };

static const mw_option options[] = {
    {"threshold", MW_OPT_NUMBER, "20", "the sum, in standard deviations, that is a change", NULL,
     NULL},
    {"delta", MW_OPT_NUMBER, "0.25", "changes that are borne, in standard deviations", NULL, NULL},
    {"warm", MW_OPT_NUMBER, "30", "points that are learned from before any is judged", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {
    {"threshold", 20, 1e-3, 1e9}, {"delta", 0.25, 0, 1e6}, {"warm", 30, 2, 1e6}, {0}};

typedef struct hinkley {
    double mean, squares, points; /* since the last change (Welford, 1962) */
    double up, down;
} hinkley;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return sizeof(hinkley);
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    hinkley *s = state;
    double far = value - s->mean, deviation = sqrt(s->squares / fmax(s->points - 1, 1));
    (void)time_s;
    if (s->points >= d->number[WARM] && far != 0) {
        double z = deviation > 0 ? far / deviation : copysign(d->number[THRESHOLD], far) * 2;
        s->up = fmax(0, s->up + z - d->number[DELTA]);
        s->down = fmax(0, s->down - z - d->number[DELTA]);
    }
    s->points++;
    s->mean += far / s->points;
    s->squares += far * (value - s->mean);
    double sum = fmax(s->up, s->down), anomaly = sum / (sum + d->number[THRESHOLD]);
    if (sum >= d->number[THRESHOLD]) *s = (hinkley){0};
    return anomaly;
}

const mw_detector_kind mw_detector_page_hinkley = {"page-hinkley", options, ranges, bytes, point};
