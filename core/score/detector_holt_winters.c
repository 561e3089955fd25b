/* detector_holt_winters.c: how far a value is from what level, trend and seasons forecast (additive
 * Holt-Winters: Winters, "Forecasting sales by exponentially weighted moving averages", Management
 * Science 1960; several seasons: Taylor, "Short-term electricity demand forecasting using double
 * seasonal exponential smoothing", JORS 2003), in standard deviations of such errors. */
#include "score/detector_private.h"

enum { ALPHA, BETA, GAMMA, DECAY };

static const mw_option options[] = {
    {"alpha", MW_OPT_NUMBER, "0.1", "how fast the level follows", NULL, NULL},
    {"beta", MW_OPT_NUMBER, "0.001", "how fast the trend follows", NULL, NULL},
    {"gamma", MW_OPT_NUMBER, "0.2", "how fast the seasons follow", NULL, NULL},
    {"decay", MW_OPT_NUMBER, "0.01", "the newest error's part of their variance", NULL, NULL},
    {"seasons", MW_OPT_TEXTS, NULL, "lengths of the seasons, in points", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"alpha", 0.1, 0, 1},
                                           {"beta", 0.001, 0, 1},
                                           {"gamma", 0.2, 0, 1},
                                           {"decay", 0.01, 1e-6, 1},
                                           {0}};

typedef struct winters {
    double level, trend, variance;
    uint64_t points;
    float season[]; /* of each season, one a point of it */
} winters;

static size_t points_of(const mw_detector *d)
{
    size_t all = 0;
    for (int i = 0; i < MW_SEASONS_MAX; i++) all += d->season[i];
    return all;
}

static size_t bytes(const mw_detector *d)
{
    return (sizeof(winters) + points_of(d) * sizeof(float) + 7) / 8 * 8;
}

/* Two rounds of the longest season, and as long as the errors' variance remembers. */
static uint64_t warm(const mw_detector *d)
{
    uint32_t longest = 10;
    for (int i = 0; i < MW_SEASONS_MAX; i++)
        if (d->season[i] > longest) longest = d->season[i];
    return 2 * longest + 20;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    winters *s = state;
    double seasons = 0, anomaly = 0;
    (void)time_s;
    if (s->points == 0) s->level = value;
    float *at = s->season, *here[MW_SEASONS_MAX];
    for (int i = 0; i < MW_SEASONS_MAX && d->season[i]; at += d->season[i++]) {
        here[i] = &at[s->points % d->season[i]];
        seasons += (double)*here[i];
    }
    double error = value - (s->level + s->trend + seasons), deviation = sqrt(s->variance);
    if (s->points >= warm(d) && error != 0)
        anomaly = deviation > 0 ? mw_likely_within(error / deviation) : 1;
    double level = s->level;
    s->level += s->trend + d->number[ALPHA] * error;
    s->trend += d->number[BETA] * (s->level - level - s->trend);
    for (int i = 0; i < MW_SEASONS_MAX && d->season[i]; i++)
        *here[i] += (float)(d->number[GAMMA] * (1 - d->number[ALPHA]) * error);
    s->variance += d->number[DECAY] * (error * error - s->variance);
    s->points++;
    return anomaly;
}

const mw_detector_kind mw_detector_holt_winters = {"holt-winters", options, ranges, bytes, point};
