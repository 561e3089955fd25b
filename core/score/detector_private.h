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
    int by_time; /* values count for nothing, and may be missing */
} mw_detector_kind;

extern const mw_detector_kind mw_detector_auto, mw_detector_ewma, mw_detector_robust_z,
    mw_detector_holt_winters, mw_detector_page_hinkley, mw_detector_spot, mw_detector_discord,
    mw_detector_spectral, mw_detector_half_space, mw_detector_rate;

/* How likely a smaller deviation is, of one that is so many standard deviations and Gaussian. */
static inline double mw_likely_within(double z)
{
    return erf(fabs(z) * M_SQRT1_2);
}

#endif
