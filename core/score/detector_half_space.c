/* detector_half_space.c: how few of the points of late lie where the newest does, in random
 * halvings of the space of the last few values (half-space trees: Tan, Ting, Liu, "Fast anomaly
 * detection for streaming data", IJCAI 2011). The range of the first window is the unit cube. The
 * paper's score is a mass, the less the odder: its logarithm is judged by mean and deviation of
 * those of late. */
#include "score/detector_private.h"

#include <string.h>

enum {
    WINDOW,
    SHINGLE,
    TREES = 20,
    DEPTH = 7,
    NODES = (1 << (DEPTH + 1)) - 1,
    MOST_SHINGLE = 8,
    MOST_WINDOW = 2000
};

static const mw_option options[] = {
    {"window", MW_OPT_NUMBER, "250", "points that a mass is of", NULL, NULL},
    {"shingle", MW_OPT_NUMBER, "3", "values that are a point", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {
    {"window", 250, 20, MOST_WINDOW}, {"shingle", 3, 1, MOST_SHINGLE}, {0}};

static const double SIZE_LIMIT = 0.1;

typedef struct half_space {
    uint64_t values; /* that came */
    double last[MOST_SHINGLE], low, high;
    mw_usual usual; /* of logarithms of masses, negated */
    uint16_t mass[TREES][NODES], newer[TREES][NODES];
} half_space;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return (sizeof(half_space) + 7) / 8 * 8;
}

/* The nodes on a point's way through a tree, as numbers of a heap from 0. */
static void way_of(uint32_t tree, const double *point, uint32_t count, uint32_t *way)
{
    double least[MOST_SHINGLE], most[MOST_SHINGLE];
    for (uint32_t q = 0; q < count; q++) {
        double s = mw_random_unit(tree * 1000003ull + q), around = 2 * fmax(s, 1 - s);
        least[q] = s - around, most[q] = s + around;
    }
    way[0] = 0;
    for (uint32_t depth = 0, node = 0; depth < DEPTH; depth++) {
        uint32_t q = (uint32_t)(mw_random_of(tree * 1000003ull + 1000 + node) % count);
        double half = (least[q] + most[q]) / 2;
        int right = point[q] >= half;
        if (right) least[q] = half;
        else
            most[q] = half;
        way[depth + 1] = node = 2 * node + 1 + (uint32_t)right;
    }
}

static double score_and_learn(half_space *s, const double *point, uint32_t count, double window)
{
    double score = 0;
    uint32_t way[DEPTH + 1];
    for (uint32_t t = 0; t < TREES; t++) {
        uint32_t depth = 0;
        way_of(t, point, count, way);
        while (depth < DEPTH && s->mass[t][way[depth]] > SIZE_LIMIT * window) depth++;
        score += s->mass[t][way[depth]] * (double)(1 << depth);
        for (uint32_t i = 0; i <= DEPTH; i++)
            if (s->newer[t][way[i]] < UINT16_MAX) s->newer[t][way[i]]++;
    }
    return score;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    half_space *s = state;
    uint32_t count = (uint32_t)d->number[SHINGLE], window = (uint32_t)d->number[WINDOW];
    double at[MOST_SHINGLE], anomaly = 0;
    (void)time_s;
    memmove(s->last + 1, s->last, (count - 1) * sizeof *s->last);
    s->last[0] = value;
    uint64_t n = s->values++;
    if (n < window) { /* the range is learned first */
        s->low = n ? fmin(s->low, value) : value, s->high = n ? fmax(s->high, value) : value;
        return 0;
    }
    double range = s->high > s->low ? s->high - s->low : 1;
    for (uint32_t q = 0; q < count; q++) at[q] = (s->last[q] - s->low) / range;
    double score = score_and_learn(s, at, count, window);
    if (n >= 2ull * window) anomaly = mw_unusually_high(&s->usual, -log2(1 + score), 50);
    if ((n + 1) % window == 0) {
        memcpy(s->mass, s->newer, sizeof s->mass);
        memset(s->newer, 0, sizeof s->newer);
    }
    return anomaly;
}

const mw_detector_kind mw_detector_half_space = {"half-space-trees", options, ranges, bytes, point};
