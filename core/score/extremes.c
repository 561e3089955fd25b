/* extremes.c: see extremes.h. */
#include "score/extremes.h"

#include <math.h>

enum { RANK = 3 };

/* The n-th greatest of some numbers, or of their negatives. */
static double greatest(const float *x, uint32_t count, uint32_t n, double sign)
{
    double top[RANK] = {-INFINITY, -INFINITY, -INFINITY};
    for (uint32_t i = 0; i < count; i++) {
        double v = sign * (double)x[i];
        for (uint32_t k = 0; k < n; k++)
            if (v > top[k]) {
                double lower = top[k];
                top[k] = v, v = lower;
            }
    }
    return sign * top[n - 1];
}

static void end_block(mw_extremes *e)
{
    uint32_t at = e->blocks++ % MW_EXTREME_BLOCKS;
    e->highs[at] = (float)e->most, e->lows[at] = (float)e->least;
    e->count = 0;
    uint32_t full = e->blocks < MW_EXTREME_BLOCKS ? e->blocks : MW_EXTREME_BLOCKS;
    uint32_t n = full < 4 ? 1 : full < 8 ? 2 : RANK; /* few blocks have few that are extreme */
    e->high = greatest(e->highs, full, n, 1), e->low = greatest(e->lows, full, n, -1);
}

double mw_extremes_add(mw_extremes *e, double value)
{
    double margin = 0;
    if (e->blocks) {
        double range = e->high - e->low;
        if (!(range > 0)) range = e->high != 0 ? fabs(e->high) * 0.01 : 1e-9;
        if (value > e->high) margin = (value - e->high) / range;
        else if (value < e->low)
            margin = (e->low - value) / range;
    }
    if (!e->count || value > e->most) e->most = value;
    if (!e->count || value < e->least) e->least = value;
    if (++e->count >= MW_EXTREME_BLOCK) end_block(e);
    return margin;
}
