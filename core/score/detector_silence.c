/* detector_silence.c: how unlikely it is that one that sends, as it does, has sent nothing for so
 * long. Gaps between points are of a Weibull distribution, which regular beats and points that come
 * by chance both are, by the mean and deviation of their logarithms (Menon, "Estimation of the
 * shape and scale parameters of the Weibull distribution", Technometrics 1963), weighted
 * exponentially. A gap is as odd as its chance to be exceeded is small, 0.5 at the risk, and at
 * least a beat must have been missed. A longer gap than that teaches no more than one as long.
 * Values count for nothing; points of one time are one. */
#include "score/detector_private.h"

enum { RISK, ALPHA, WARM, MISSED };

static const mw_option options[] = {
    {"risk", MW_OPT_NUMBER, "0.0001", "the part of usual gaps that is called a silence", NULL,
     NULL},
    {"alpha", MW_OPT_NUMBER, "0.02", "the newest gap's part of the mean", NULL, NULL},
    {"warm", MW_OPT_NUMBER, "20", "gaps that are learned from before any is judged", NULL, NULL},
    {"missed", MW_OPT_NUMBER, "1", "usual gaps that must be missed at least", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"risk", 1e-4, 1e-12, 0.5},
                                           {"alpha", 0.02, 1e-6, 1},
                                           {"warm", 20, 2, 1e6},
                                           {"missed", 1, 0, 1e6},
                                           {0}};

/* Logarithms of gaps vary by so much at least: clocks do. */
static const double LEAST = 0.05, EULER = 0.57721566490153286;

typedef struct silence {
    double last_s, mean, variance, gaps; /* of logarithms of seconds */
    int begun;
} silence;

typedef struct weibull {
    double shape, log_scale;
} weibull;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return (sizeof(silence) + 7) / 8 * 8;
}

static weibull weibull_of(const silence *s)
{
    double shape = M_PI / sqrt(6) / fmax(sqrt(s->variance), LEAST);
    return (weibull){shape, s->mean + EULER / shape};
}

/* The logarithm of the gap that is odd by 0.5. */
static double limit_of(const mw_detector *d, const silence *s)
{
    weibull w = weibull_of(s);
    double by_risk = w.log_scale + log(-log(d->number[RISK])) / w.shape;
    return fmax(by_risk, s->mean + log1p(d->number[MISSED]));
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    silence *s = state;
    double anomaly = 0;
    (void)value;
    if (!isfinite(time_s) || (s->begun && !(time_s > s->last_s))) return 0;
    double gap = log(time_s - s->last_s);
    int begun = s->begun;
    s->begun = 1, s->last_s = time_s;
    if (!begun) return 0;
    if (s->gaps >= d->number[WARM]) {
        double limit = limit_of(d, s);
        weibull w = weibull_of(s);
        double chance = exp(-exp(w.shape * (gap - w.log_scale)));
        if (gap >= limit) anomaly = d->number[RISK] / (d->number[RISK] + chance), gap = limit;
    }
    double far = gap - s->mean, part = fmax(1 / (s->gaps + 1), d->number[ALPHA]);
    s->gaps++;
    s->mean += part * far;
    s->variance = (1 - part) * (s->variance + far * part * far);
    return anomaly;
}

static double patience(const mw_detector *d, const void *state)
{
    const silence *s = state;
    return s->gaps >= d->number[WARM] ? exp(limit_of(d, s)) : NAN;
}

const mw_detector_kind mw_detector_silence = {
    "silence", options, ranges, bytes, point, .patience = patience, .by_time = 1};
