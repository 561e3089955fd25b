/* detector.c: see detector.h. */
#include "score/detector_private.h"

#include <stdlib.h>
#include <string.h>

static const mw_detector_kind *const kinds[] = {
    &mw_detector_auto,         &mw_detector_ewma,         &mw_detector_robust_z,
    &mw_detector_holt_winters, &mw_detector_page_hinkley, &mw_detector_spot,
    &mw_detector_discord,      &mw_detector_spectral,     &mw_detector_half_space,
    &mw_detector_cut_forest,   &mw_detector_rate,         &mw_detector_silence,
};

enum { KINDS = sizeof kinds / sizeof *kinds };

const char *mw_detector_kinds(void)
{
    return "auto|ewma|robust-z|holt-winters|page-hinkley|spot|discord|spectral-residual|half-space-"
           "trees|random-cut-forest|rate|silence";
}

static const mw_detector_kind *kind_of(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

const mw_option *mw_detector_options(const char *kind)
{
    const mw_detector_kind *k = kind_of(kind);
    return k ? k->options : NULL;
}

int mw_detector_has(const char *kind, const char *name)
{
    const mw_option *o = mw_detector_options(kind);
    while (o && o->name && strcmp(o->name, name) != 0) o++;
    return o && o->name;
}

static mw_status read_numbers(mw_detector *d, mw_config *config, mw_error *error)
{
    const mw_detector_range *r = d->kind->ranges;
    for (int i = 0; r[i].name; i++) {
        double n = d->number[i] = mw_config_number(config, r[i].name, r[i].fallback);
        if (!(n >= r[i].least && n <= r[i].most))
            return mw_fail(error, MW_CONFIG, "'%s' is from %g to %g, not %g", r[i].name, r[i].least,
                           r[i].most, n);
    }
    return MW_OK;
}

static mw_status read_seasons(mw_detector *d, mw_config *config, mw_error *error)
{
    const char *text;
    double all = 0;
    for (int i = 0; (text = mw_config_item(config, "seasons", (size_t)i)); i++) {
        char *end;
        double points = strtod(text, &end);
        if (i == MW_SEASONS_MAX)
            return mw_fail(error, MW_CONFIG, "there are at most %d 'seasons'", MW_SEASONS_MAX);
        if (*end || !(points >= 2 && points + all <= MW_SEASON_POINTS) || points != floor(points))
            return mw_fail(
                error, MW_CONFIG,
                "'seasons' are whole numbers of points, at least 2 and together %d at most; not %s",
                MW_SEASON_POINTS, text);
        d->season[i] = (uint32_t)points;
        all += points;
    }
    return MW_OK;
}

mw_status mw_detector_new(mw_detector **detector, const char *kind, mw_config *config,
                          mw_error *error)
{
    const mw_detector_kind *k = kind_of(kind);
    *detector = NULL;
    if (!k)
        return mw_fail(error, MW_CONFIG, "there is no kind of detector '%s' (there are %s)", kind,
                       mw_detector_kinds());
    mw_detector *d = calloc(1, sizeof *d);
    mw_assert(d != NULL);
    d->kind = k;
    mw_status status = read_numbers(d, config, error);
    if (status == MW_OK) status = read_seasons(d, config, error);
    if (status == MW_OK) *detector = d;
    else
        free(d);
    return status;
}

void mw_detector_free(mw_detector *d)
{
    free(d);
}

int mw_detector_wants_value(const mw_detector *d)
{
    return !d->kind->by_time;
}

size_t mw_detector_bytes(const mw_detector *d)
{
    return d->kind->bytes(d);
}

double mw_detector_point(const mw_detector *d, void *state, double value, double time_s)
{
    if (!isfinite(value)) return 0;
    double anomaly = d->kind->point(d, state, value, time_s);
    return anomaly >= 0 ? anomaly > 1 ? 1 : anomaly : 0;
}

double mw_detector_patience(const mw_detector *d, const void *state)
{
    return d->kind->patience ? d->kind->patience(d, state) : NAN;
}
