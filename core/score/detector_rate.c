/* detector_rate.c: how unusual the time since the point before is, be it long (a heart that missed
 * beats) or short (a burst): its logarithm beside an exponentially weighted mean, in standard
 * deviations weighted likewise (see detector_ewma.c). Values count for nothing. */
#include "score/detector_private.h"

enum { ALPHA, WARM };

static const mw_option options[] = {
    {"alpha", MW_OPT_NUMBER, "0.02", "the newest gap's part of the mean", NULL, NULL},
    {"warm", MW_OPT_NUMBER, "50", "gaps that are learned from before any is judged", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"alpha", 0.02, 1e-6, 1}, {"warm", 50, 2, 1e6}, {0}};

/* Gaps vary by a twentieth at least, as far as this is concerned: clocks do. */
static const double LEAST = 0.05;

typedef struct rate {
    double last_s, mean, variance, gaps;
    int begun;
} rate;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return (sizeof(rate) + 7) / 8 * 8;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    rate *s = state;
    double anomaly = 0;
    (void)value;
    if (!isfinite(time_s)) return 0;
    double gap = log(fmax(time_s - s->last_s, 1e-3)), far = gap - s->mean;
    int begun = s->begun;
    s->begun = 1, s->last_s = fmax(time_s, begun ? s->last_s : time_s);
    if (!begun) return 0;
    if (s->gaps >= d->number[WARM])
        anomaly = mw_likely_within(far / fmax(sqrt(s->variance), LEAST));
    if (s->gaps++ == 0) {
        s->mean = gap;
        return 0;
    }
    double step = d->number[ALPHA] * far;
    s->mean += step;
    s->variance = (1 - d->number[ALPHA]) * (s->variance + far * step);
    return anomaly;
}

const mw_detector_kind mw_detector_rate = {"rate", options, ranges, bytes, point, .by_time = 1};
