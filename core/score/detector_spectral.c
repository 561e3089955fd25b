/* detector_spectral.c: what stands out of a window of the last points when what its spectrum has
 * more than its neighbourhood's mean is made a signal again (spectral residual: Ren et al.,
 * "Time-series anomaly detection service at Microsoft", KDD 2019, section 4). The newest point is
 * judged with a few estimated ones behind it, as the paper does. The anomaly is how far its
 * saliency lies beyond the window's mean saliency, as a share: 0.5 at `threshold` times the mean
 * beyond. */
#include "score/detector_private.h"

#include <complex.h>

enum { THRESHOLD, WINDOW = 64, SMOOTH = 3, AHEAD = 5, LOOK = 21 };

static const mw_option options[] = {{"threshold", MW_OPT_NUMBER, "3",
                                     "saliency beyond the mean, in means, that is an alarm", NULL,
                                     NULL},
                                    {0}};

static const mw_detector_range ranges[] = {{"threshold", 3, 0.01, 1000}, {0}};

typedef struct spectral {
    uint64_t points;
    double last[WINDOW - AHEAD]; /* a ring */
} spectral;

static size_t bytes(const mw_detector *d)
{
    (void)d;
    return sizeof(spectral);
}

/* Radix 2, in place (Cooley and Tukey, 1965). `sign` -1: forwards; 1: back, times WINDOW. */
static void transform(double complex *x, int sign)
{
    for (unsigned i = 1, j = 0; i < WINDOW; i++) {
        unsigned bit = WINDOW / 2;
        for (; j & bit; bit /= 2) j ^= bit;
        j ^= bit;
        if (i < j) {
            double complex other = x[i];
            x[i] = x[j], x[j] = other;
        }
    }
    for (unsigned len = 2; len <= WINDOW; len *= 2) {
        double complex turn = cexp(sign * 2 * M_PI * I / len);
        for (unsigned from = 0; from < WINDOW; from += len) {
            double complex w = 1;
            for (unsigned k = 0; k < len / 2; k++, w *= turn) {
                double complex a = x[from + k], b = x[from + k + len / 2] * w;
                x[from + k] = a + b, x[from + k + len / 2] = a - b;
            }
        }
    }
}

/* The saliency of each point of a window. */
static void saliency_of(const double *window, double *saliency)
{
    double complex x[WINDOW];
    double logs[WINDOW];
    for (int i = 0; i < WINDOW; i++) x[i] = window[i];
    transform(x, -1);
    for (int i = 0; i < WINDOW; i++) logs[i] = log(cabs(x[i]) + 1e-8);
    for (int i = 0; i < WINDOW; i++) {
        double sum = 0;
        int count = 0;
        for (int k = i - SMOOTH + 1; k <= i; k++)
            if (k >= 0) sum += logs[k], count++;
        double amplitude = cabs(x[i]);
        x[i] = amplitude > 1e-8 ? x[i] / amplitude * exp(logs[i] - sum / count) : 0;
    }
    transform(x, 1);
    for (int i = 0; i < WINDOW; i++) saliency[i] = cabs(x[i]) / WINDOW;
}

/* The points behind the last one: it, and the mean slope from those before it to it. */
static void estimate(double *window)
{
    double slope = 0, last = window[WINDOW - AHEAD - 1];
    int steps = 5;
    for (int i = 1; i <= steps; i++) slope += (last - window[WINDOW - AHEAD - 1 - i]) / i;
    double next = window[WINDOW - AHEAD - steps] + slope;
    for (int i = WINDOW - AHEAD; i < WINDOW; i++) window[i] = next;
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    enum { HELD = WINDOW - AHEAD };
    spectral *s = state;
    double window[WINDOW], saliency[WINDOW], mean = 0;
    (void)time_s;
    s->last[s->points++ % HELD] = value;
    if (s->points < HELD) return 0;
    for (int i = 0; i < HELD; i++) window[i] = s->last[(s->points + (unsigned)i) % HELD];
    estimate(window);
    saliency_of(window, saliency);
    double newest = saliency[HELD - 1];
    for (int i = HELD - LOOK; i < HELD; i++) mean += saliency[i] / LOOK;
    double beyond = mean > 0 ? (newest - mean) / mean : 0;
    return beyond > 0 ? beyond / (beyond + d->number[THRESHOLD]) : 0;
}

const mw_detector_kind mw_detector_spectral = {"spectral-residual", options, ranges, bytes, point};
