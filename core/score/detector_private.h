/* detector_private.h: what a kind of detector is. See detector.h. */
#ifndef MW_DETECTOR_PRIVATE_H
#define MW_DETECTOR_PRIVATE_H

#include "score/detector.h"

#include <math.h>
#include <stdint.h>

enum { MW_DETECTOR_NUMBERS = 8, MW_SEASONS_MAX = 3, MW_SEASON_POINTS = 12000 };

/* An option's range. */
typedef struct mw_detector_range {
    const char *name;
    double fallback, least, most;
} mw_detector_range;

struct mw_detector {
    const struct mw_detector_kind *kind;
    double number[MW_DETECTOR_NUMBERS]; /* of the options, in the order of the kind's ranges */
    uint32_t season[MW_SEASONS_MAX];    /* points; 0: no more */
};

typedef struct mw_detector_kind {
    const char *name;
    const mw_option *options;
    const mw_detector_range *ranges; /* ends with a NULL name */
    size_t (*bytes)(const mw_detector *d);
    double (*point)(const mw_detector *d, void *state, double value, double time_s);
    double (*patience)(const mw_detector *d, const void *state); /* NULL: it never ends */
    int by_time; /* values count for nothing, and may be missing */
} mw_detector_kind;

extern const mw_detector_kind mw_detector_auto, mw_detector_ewma, mw_detector_robust_z,
    mw_detector_holt_winters, mw_detector_page_hinkley, mw_detector_spot, mw_detector_discord,
    mw_detector_spectral, mw_detector_half_space, mw_detector_cut_forest, mw_detector_rate,
    mw_detector_silence;

/* How likely a smaller deviation is, of one that is so many standard deviations and Gaussian. */
static inline double mw_likely_within(double z)
{
    return erf(fabs(z) * M_SQRT1_2);
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), as a hash: what is random is the same everywhere.
 */
static inline uint64_t mw_random_of(uint64_t n)
{
    n = (n + 1) * 0x9e3779b97f4a7c15u;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

/* From 0 to less than 1. */
static inline double mw_random_unit(uint64_t n)
{
    return (double)(mw_random_of(n) >> 11) * 0x1p-53;
}

/* What a measure is as a rule: exponentially weighted mean and variance; zeros at first. */
typedef struct mw_usual {
    double mean, variance, judged;
} mw_usual;

/* How unusual a measure is, where the higher is the odder; nothing is of the first `warm`. It is
 * learned from then, the newest by a hundredth at least. */
static inline double mw_unusually_high(mw_usual *u, double measure, double warm)
{
    double above = measure - u->mean, anomaly = 0;
    if (u->judged > warm && above > 0)
        anomaly = u->variance > 0 ? mw_likely_within(above / sqrt(u->variance)) : 1;
    double part = fmax(1 / (u->judged + 1), 0.01), step = part * above;
    u->judged++;
    u->mean += step;
    u->variance = (1 - part) * (u->variance + above * step);
    return anomaly;
}

#endif
