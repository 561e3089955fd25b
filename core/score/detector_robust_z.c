/* detector_robust_z.c: how far a value is from the median of those before, in medians of absolute
 * deviations (the modified z-score: Iglewicz and Hoaglin, "How to detect and handle outliers",
 * 1993). */
#include "score/detector_private.h"

#include <string.h>

enum { WINDOW, MOST = 1000 };

static const mw_option options[] = {
    {"window", MW_OPT_NUMBER, "100", "how many of the last values it looks at", NULL, NULL}, {0}};

static const mw_detector_range ranges[] = {{"window", 100, 5, MOST}, {0}};

/* `last` is a ring of the values as they came, `sorted` the same in order. */
typedef struct robust {
    uint32_t count, next;
    double values[]; /* last[window], sorted[window] */
} robust;

static size_t bytes(const mw_detector *d)
{
    return sizeof(robust) + 2 * (size_t)d->number[WINDOW] * sizeof(double);
}

/* Where a value is in the order, or would be. */
static uint32_t place_of(const double *sorted, uint32_t count, double value)
{
    uint32_t from = 0, to = count;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (sorted[middle] < value) from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static double middle_of(const double *sorted, uint32_t count)
{
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* The median of the deviations from a median: those to its left and right are in order already, and
 * are merged as far as the middle. */
static double deviation_of(const double *sorted, uint32_t count, double median)
{
    uint32_t right = place_of(sorted, count, median), left = right, taken = 0;
    double last = 0, before = 0;
    while (taken <= count / 2) {
        double below = left > 0 ? median - sorted[left - 1] : INFINITY;
        double above = right < count ? sorted[right] - median : INFINITY;
        before = last;
        if (below < above) last = below, left--;
        else
            last = above, right++;
        taken++;
    }
    return count % 2 ? last : (last + before) / 2;
}

static void learn(robust *s, uint32_t window, double value)
{
    double *last = s->values, *sorted = s->values + window;
    uint32_t at;
    if (s->count == window) {
        at = place_of(sorted, s->count, last[s->next]);
        if (at == s->count) at--; /* it is none of ours */
        memmove(sorted + at, sorted + at + 1, (--s->count - at) * sizeof *sorted);
    }
    at = place_of(sorted, s->count, value);
    memmove(sorted + at + 1, sorted + at, (s->count++ - at) * sizeof *sorted);
    sorted[at] = value;
    last[s->next] = value;
    s->next = (s->next + 1) % window;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    robust *s = state;
    uint32_t window = (uint32_t)d->number[WINDOW];
    double anomaly = 0;
    (void)time_s;
    if (s->count > window || s->next >= window) s->count = s->next = 0; /* it is none of ours */
    if (s->count == window) {
        const double *sorted = s->values + window;
        double median = middle_of(sorted, window), far = value - median;
        double deviation = deviation_of(sorted, window, median);
        if (far != 0) anomaly = deviation > 0 ? mw_likely_within(0.6745 * far / deviation) : 1;
    }
    learn(s, window, value);
    return anomaly;
}

const mw_detector_kind mw_detector_robust_z = {"robust-z", options, ranges, bytes, point};
