/* detector_discord.c: how unlike all that came before the shape of the last few points is: the
 * z-normalised distance from the nearest earlier stretch of that length, kept up to date as points
 * come (the left matrix profile; Yeh et al., "Matrix profile I", ICDM 2016; Lu et al., "Matrix
 * profile XXIV (DAMP)", KDD 2022, for why only what is before), beside the distances of late. Each
 * point costs a pass over the history. */
#include "score/detector_private.h"

enum { LENGTH, HISTORY, MOST_HISTORY = 4000, WARM = 3 };

static const mw_option options[] = {
    {"length", MW_OPT_NUMBER, "24", "points of a shape", NULL, NULL},
    {"history", MW_OPT_NUMBER, "1000", "points that shapes are looked for in", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {
    {"length", 24, 4, 500}, {"history", 1000, 100, MOST_HISTORY}, {0}};

/* Rings of the last `history` points; a stretch is known by where it ends. */
typedef struct discord {
    uint64_t points;
    mw_usual usual; /* of nearest distances */
    double rings[]; /* values, products, sums, sums of squares: history each */
} discord;

static uint32_t history_of(const mw_detector *d)
{
    double least = 2 * d->number[LENGTH] + 2;
    return (uint32_t)fmax(d->number[HISTORY], least);
}

static size_t bytes(const mw_detector *d)
{
    return sizeof(discord) + 4ul * history_of(d) * sizeof(double);
}

/* Sums of the last `length` values by when they end, and products of the newest stretch with each
 * earlier one: each is the one before it, less what has left and more what has come. */
static void advance(discord *s, uint32_t history, uint32_t length, double value)
{
    double *values = s->rings, *products = values + history, *sums = products + history;
    double *squares = sums + history;
    uint64_t n = s->points;
    uint32_t at = (uint32_t)(n % history), before = (uint32_t)((n + history - 1) % history);
    double leaves = n >= length ? values[(n - length) % history] : 0;
    uint64_t first = n > history - length - 1 ? n - (history - length - 1) : 0;
    for (uint64_t i = n; i-- > first;) { /* from the newest, as each needs the older one's */
        uint32_t here = (uint32_t)(i % history);
        double was = i ? products[(i - 1) % history] : 0;
        double left = i >= length ? values[(i - length) % history] * leaves : 0;
        products[here] = was - left + values[here] * value;
    }
    values[at] = value;
    sums[at] = (n ? sums[before] : 0) + value - leaves;
    squares[at] = (n ? squares[before] : 0) + value * value - leaves * leaves;
    s->points++;
}

static double deviation_of(double sum, double squares, double length)
{
    double variance = squares / length - sum / length * (sum / length);
    return variance > 1e-12 * (squares / length + 1e-300) ? sqrt(variance) : 0;
}

/* The distance of the newest stretch from the nearest that does not overlap it: 0 … 2 √length. */
static double nearest(const discord *s, uint32_t history, uint32_t length)
{
    const double *products = s->rings + history, *sums = products + history;
    const double *squares = sums + history;
    uint64_t n = s->points - 1, first = n > history - length - 1 ? n - (history - length - 1) : 0;
    double own = sums[n % history], own_deviation = deviation_of(own, squares[n % history], length);
    double best = INFINITY;
    if (first < length - 1ul) first = length - 1ul;
    for (uint64_t i = first; i + length <= n; i++) {
        uint32_t at = (uint32_t)(i % history);
        double deviation = deviation_of(sums[at], squares[at], length), distance;
        if (deviation == 0 || own_deviation == 0)
            distance = deviation == own_deviation ? 0 : sqrt(length);
        else {
            double correlation =
                (products[at] - own * sums[at] / length) / (length * own_deviation * deviation);
            distance = sqrt(fmax(0, 2 * length * (1 - correlation)));
        }
        best = fmin(best, distance);
    }
    return best;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    discord *s = state;
    uint32_t history = history_of(d), length = (uint32_t)d->number[LENGTH];
    (void)time_s;
    advance(s, history, length, value);
    if (s->points < 2ul * length + 1) return 0;
    double distance = nearest(s, history, length);
    return isfinite(distance) ? mw_unusually_high(&s->usual, distance, WARM * length) : 0;
}

const mw_detector_kind mw_detector_discord = {"discord", options, ranges, bytes, point};
