/* detector_spot.c: how rare a value is in the tails of what came before: excesses over a high (and
 * under a low) quantile follow a generalised Pareto distribution, which is fitted to the largest of
 * them as they come (SPOT, and with `depth` DSPOT, which first takes the mean of the last points
 * away: Siffer, Fouque, Termier, Largouet, "Anomaly detection in streams with extreme value
 * theory", KDD 2017; the fit: Grimshaw, "Computing maximum likelihood estimates for the generalized
 * Pareto distribution", Technometrics 1993). The anomaly is 0.5 where a value is as rare as `risk`.
 * Such values are not learned from. */
#include "score/detector_private.h"

#include <string.h>

enum { RISK, LEARN, LEVEL, DEPTH, MOST_LEARN = 1000, PEAKS = 200, MOST_DEPTH = 1000 };

/* Below, the greatest likelihood is none to go by (Smith, "Maximum likelihood estimation in a class
 * of nonregular cases", Biometrika 1985). */
static const double REGULAR = -0.5;

static const mw_option options[] = {
    {"risk", MW_OPT_NUMBER, "0.0001", "how rare an alarm is", NULL, NULL},
    {"learn", MW_OPT_NUMBER, "300", "points from which the quantiles are taken", NULL, NULL},
    {"level", MW_OPT_NUMBER, "0.98", "the quantile beyond which values are excesses", NULL, NULL},
    {"depth", MW_OPT_NUMBER, "0", "points whose mean is taken away first; 0: none", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"risk", 1e-4, 1e-12, 0.1},
                                           {"learn", 300, 20, MOST_LEARN},
                                           {"level", 0.98, 0.5, 0.999},
                                           {"depth", 0, 0, MOST_DEPTH},
                                           {0}};

/* One tail; the lower one is of the values' negatives. */
typedef struct tail {
    double threshold, gamma, sigma;
    uint32_t peaks; /* kept, of `excesses` in all */
    uint32_t next;
    double excesses;
    double peak[PEAKS];
} tail;

typedef struct spot {
    double points; /* that were learned from, behind those that the mean needs */
    tail tails[2];
    double sum;
    uint32_t at, held;
    double values[]; /* learn: those of the beginning; depth: the last */
} spot;

static size_t bytes(const mw_detector *d)
{
    return sizeof(spot) + ((size_t)d->number[LEARN] + (size_t)d->number[DEPTH]) * sizeof(double);
}

/* ---- the fit ---- */

static double log_likelihood(const tail *t, double gamma, double sigma)
{
    double sum = 0, n = t->peaks;
    if (!(sigma > 0)) return -INFINITY;
    for (uint32_t i = 0; i < t->peaks; i++) {
        double y = t->peak[i] / sigma;
        if (gamma == 0) sum += y;
        else if (1 + gamma * y <= 0)
            return -INFINITY;
        else
            sum += (1 + 1 / gamma) * log1p(gamma * y);
    }
    return -n * log(sigma) - sum;
}

/* Grimshaw's function of x = gamma / sigma, whose roots are where the likelihood may be greatest.
 */
static double grimshaw(const tail *t, double x, double *gamma)
{
    double u = 0, v = 0, n = t->peaks;
    for (uint32_t i = 0; i < t->peaks; i++) {
        double s = 1 + x * t->peak[i];
        u += 1 / s, v += log(s);
    }
    *gamma = v / n;
    return (u / n) * (1 + v / n) - 1;
}

static void try_root(tail *t, double x, double *best)
{
    double gamma;
    grimshaw(t, x, &gamma);
    if (gamma <= REGULAR) return;
    double sigma = gamma / x, likelihood = log_likelihood(t, gamma, sigma);
    if (likelihood > *best) *best = likelihood, t->gamma = gamma, t->sigma = sigma;
}

/* The root between two x at which the function's signs differ, by halves. */
static void try_between(tail *t, double a, double b, double at_a, double *best)
{
    double gamma;
    for (int i = 0; i < 30; i++) {
        double middle = (a + b) / 2;
        if ((grimshaw(t, middle, &gamma) < 0) == (at_a < 0)) a = middle;
        else
            b = middle;
    }
    try_root(t, (a + b) / 2, best);
}

/* Looks for roots on a grid from `x` to `to`: each step adds `by` and multiplies by `times`. */
static void look_for_roots(tail *t, double x, double to, double by, double times, double *best)
{
    double gamma, w = grimshaw(t, x, &gamma);
    while (x < to) {
        double next = fmin(x * times + by, to);
        if (!(next > x)) return;
        double after = grimshaw(t, next, &gamma);
        if ((w < 0) != (after < 0) && isfinite(w) && isfinite(after))
            try_between(t, x, next, w, best);
        x = next, w = after;
    }
}

/* Gamma 0 (the exponential) is always a candidate. The others' roots are between -1 / the greatest
 * and a bound that is far above where they are when the least is near 0, so that steps grow. */
static void fit(tail *t)
{
    double mean = 0, most = 0, least = INFINITY;
    for (uint32_t i = 0; i < t->peaks; i++) {
        mean += t->peak[i] / t->peaks;
        most = fmax(most, t->peak[i]), least = fmin(least, t->peak[i]);
    }
    t->gamma = 0, t->sigma = mean;
    if (t->peaks < 5 || !(least > 0) || !(most > least) || !isfinite(mean)) return;
    double best = log_likelihood(t, 0, mean), small = 1e-4 / mean, lowest = -1 / most;
    if (lowest * 0.999 < -small) look_for_roots(t, lowest * 0.999, -small, -lowest / 16, 1, &best);
    double highest = fmin(2 * (mean - least) / (least * least), 1e3 / mean);
    if (highest > small) look_for_roots(t, small, highest, 0, 2, &best);
}

static void add_peak(tail *t, double excess)
{
    if (t->peaks > PEAKS || t->next >= PEAKS) t->peaks = t->next = 0; /* it is none of ours */
    t->peak[t->next] = excess;
    t->next = (t->next + 1) % PEAKS;
    if (t->peaks < PEAKS) t->peaks++;
    t->excesses++;
    fit(t);
}

/* How likely a value that is at least so extreme is, in this tail. */
static double rarity(const tail *t, double value, double points)
{
    double excess = value - t->threshold, share = t->excesses / points;
    if (!(excess > 0)) return 1;
    if (!(t->sigma > 0)) return share;
    double y = excess / t->sigma;
    if (t->gamma == 0) return share * exp(-y);
    return 1 + t->gamma * y > 0 ? share * pow(1 + t->gamma * y, -1 / t->gamma) : 0;
}

/* ---- points ---- */

static double quantile_of(double *values, uint32_t count, double level)
{
    uint32_t k = (uint32_t)(level * (count - 1));
    for (uint32_t i = 0; i <= k; i++) /* once a series, of a few hundred */
        for (uint32_t j = i + 1; j < count; j++)
            if (values[j] < values[i]) {
                double other = values[i];
                values[i] = values[j], values[j] = other;
            }
    return values[k];
}

static void begin_tail(tail *t, double *values, uint32_t count, double level)
{
    *t = (tail){0};
    t->threshold = quantile_of(values, count, level);
    for (uint32_t i = 0; i < count; i++)
        if (values[i] > t->threshold) add_peak(t, values[i] - t->threshold);
}

static void begin_tails(const mw_detector *d, spot *s)
{
    uint32_t count = (uint32_t)d->number[LEARN];
    begin_tail(&s->tails[0], s->values, count, d->number[LEVEL]);
    for (uint32_t i = 0; i < count; i++) s->values[i] = -s->values[i];
    begin_tail(&s->tails[1], s->values, count, d->number[LEVEL]);
}

static void remember(const mw_detector *d, spot *s, double value)
{
    uint32_t depth = (uint32_t)d->number[DEPTH];
    double *last = s->values + (size_t)d->number[LEARN];
    if (s->at >= depth || s->held > depth) s->at = s->held = 0, s->sum = 0;
    if (s->held == depth) s->sum -= last[s->at];
    else
        s->held++;
    s->sum += value, last[s->at] = value;
    s->at = (s->at + 1) % depth;
}

static double judge(const mw_detector *d, spot *s, double value)
{
    uint32_t learn = (uint32_t)d->number[LEARN];
    if (!(s->points >= 0)) s->points = 0;
    if (s->points < learn) {
        s->values[(uint32_t)s->points] = value;
        if (++s->points >= learn) begin_tails(d, s);
        return 0;
    }
    double high = rarity(&s->tails[0], value, s->points);
    double low = rarity(&s->tails[1], -value, s->points), rare = fmin(high, low);
    double anomaly = d->number[RISK] / (d->number[RISK] + rare);
    if (anomaly >= 0.5) return anomaly;
    s->points++;
    for (int i = 0; i < 2; i++) {
        double excess = (i ? -value : value) - s->tails[i].threshold;
        if (excess > 0) add_peak(&s->tails[i], excess);
    }
    return anomaly;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    spot *s = state;
    uint32_t depth = (uint32_t)d->number[DEPTH];
    (void)time_s;
    if (!depth) return judge(d, s, value);
    double anomaly = s->held == depth ? judge(d, s, value - s->sum / depth) : 0;
    if (anomaly < 0.5) remember(d, s, value);
    return anomaly;
}

const mw_detector_kind mw_detector_spot = {"spot", options, ranges, bytes, point};
