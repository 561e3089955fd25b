/* detector_ewma.c: how far a value is from an exponentially weighted mean, in standard deviations
 * weighted likewise (Roberts, "Control chart tests based on geometric moving averages",
 * Technometrics 1959; updates: Finch, "Incremental calculation of weighted mean and variance",
 * 2009). */
#include "score/detector_private.h"

enum { ALPHA, WARM };

static const mw_option options[] = {
    {"alpha", MW_OPT_NUMBER, "0.02", "the newest value's part of the mean", NULL, NULL},
    {"warm", MW_OPT_NUMBER, "50", "points that are learned from before any is judged", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"alpha", 0.02, 1e-6, 1}, {"warm", 50, 2, 1e6}, {0}};

typedef struct ewma {
    double mean, variance, points;
} ewma;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return sizeof(ewma);
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    ewma *s = state;
    double far = value - s->mean, deviation = sqrt(s->variance), anomaly = 0;
    (void)time_s;
    if (s->points >= d->number[WARM] && far != 0)
        anomaly = deviation > 0 ? mw_likely_within(far / deviation) : 1;
    if (s->points++ == 0) {
        s->mean = value;
        return 0;
    }
    double step = d->number[ALPHA] * far;
    s->mean += step;
    s->variance = (1 - d->number[ALPHA]) * (s->variance + far * step);
    return anomaly;
}

const mw_detector_kind mw_detector_ewma = {"ewma", options, ranges, bytes, point};
