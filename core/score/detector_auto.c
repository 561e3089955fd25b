/* detector_auto.c: the default: what is unlike the last thousands of points in any of four ways:
 * the value itself; its mean over a few points beside a slow mean (a shift); its step from the
 * point before; and, where times are known, its difference from what the time of day is like (a
 * profile of the day, exponentially forgetting). Each is measured by how far it lies beyond its own
 * extremes of late (extremes.h), and together they are one likelihood: 1 - exp(-3 |margins|). 0.5
 * is an alarm, at margins of a quarter of the range or so; repeats of an alarm are lowered below
 * that for a while, because what has been said need not be said again. Memory: a state is 3.9
 * KB. */
#include "score/detector_private.h"
#include "score/extremes.h"

#include <string.h>

enum { QUIET, SLOTS = 288, RECENT = 12, DAY = 86400, LEARNED_DAYS = 3, EARLY = 50 };

static const double ALARM = 0.5, LOWERED = 0.5, SHARPNESS = 3;
static const double SHIFT = 0.8, STEP = 0.8, SEASON = 0.35; /* beside the value's own margin, 1 */
static const double SLOW = 0.02, FORGET = 0.18;

static const mw_option options[] = {{"quiet", MW_OPT_NUMBER, "150",
                                     "points after an alarm in which it is not repeated", NULL,
                                     NULL},
                                    {0}};

static const mw_detector_range ranges[] = {{"quiet", 150, 0, 1e9}, {0}};

/* The mean of the last few values. */
typedef struct recent {
    double sum;
    uint32_t count, at;
    double values[RECENT];
} recent;

typedef struct automatic {
    mw_extremes value, shift, step, season;
    recent values, residuals;
    double slow, last, first_s;
    uint64_t points;
    double quiet; /* points to go */
    float profile[SLOTS];
    uint8_t days[SLOTS]; /* on which a slot was learned, up to a few */
} automatic;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return sizeof(automatic);
}

static double mean_with(recent *r, double value)
{
    r->at %= RECENT;
    if (r->count >= RECENT) r->count = RECENT, r->sum -= r->values[r->at];
    else
        r->count++;
    r->sum += value;
    r->values[r->at] = value;
    r->at = (r->at + 1) % RECENT;
    if (r->at == 0) { /* what rounding has left behind goes */
        r->sum = 0;
        for (uint32_t i = 0; i < r->count; i++) r->sum += r->values[i];
    }
    return r->sum / r->count;
}

/* The difference from the profile at this time of day, or a little before or after, where that is
 * nearer. 0: it is not known. */
static int residual(const automatic *s, uint32_t slot, double value, double *least)
{
    int known = 0;
    for (int by = -1; by <= 1; by++) {
        uint32_t at = (slot + SLOTS + (uint32_t)by) % SLOTS;
        double far = value - (double)s->profile[at];
        if (!s->days[at] || (known && fabs(far) >= fabs(*least))) continue;
        *least = far, known = 1;
    }
    return known;
}

static void learn_slot(automatic *s, uint32_t slot, double value)
{
    double part = s->days[slot] < 5 ? 1.0 / (s->days[slot] + 1) : FORGET;
    s->profile[slot] += (float)(part * (value - (double)s->profile[slot]));
    if (s->days[slot] < 5) s->days[slot]++;
}

static double season_margin(automatic *s, double value, double time_s)
{
    double of_day = fmod(time_s, DAY), far = 0, margin = 0;
    if (!isfinite(of_day)) return 0;
    uint32_t slot = (uint32_t)((of_day < 0 ? of_day + DAY : of_day) / DAY * SLOTS) % SLOTS;
    if (time_s - s->first_s > LEARNED_DAYS * DAY && residual(s, slot, value, &far)) {
        double mean = mean_with(&s->residuals, far);
        if (s->residuals.count == RECENT) margin = mw_extremes_add(&s->season, mean);
    }
    learn_slot(s, slot, value);
    return margin;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    automatic *s = state;
    if (!s->points) s->slow = s->last = value, s->first_s = time_s;
    double mean = mean_with(&s->values, value);
    s->slow += (value - s->slow) * SLOW;
    double of_value = mw_extremes_add(&s->value, value);
    double of_shift = s->points > EARLY ? SHIFT * mw_extremes_add(&s->shift, mean - s->slow) : 0;
    double of_step = s->points ? STEP * mw_extremes_add(&s->step, value - s->last) : 0;
    double of_season = SEASON * season_margin(s, value, time_s);
    s->last = value, s->points++;
    double all =
        sqrt(of_value * of_value + of_shift * of_shift + of_step * of_step + of_season * of_season);
    double anomaly = 1 - exp(-SHARPNESS * all);
    if (s->quiet > 0) {
        s->quiet--;
        return LOWERED * anomaly;
    }
    if (anomaly >= ALARM) s->quiet = d->number[QUIET];
    return anomaly;
}

const mw_detector_kind mw_detector_auto = {"auto", options, ranges, bytes, point};
