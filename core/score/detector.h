/* detector.h: streaming anomaly detectors: each learns from every point, in bounded memory.
 *
 * A detector is constant: what it learned of a series is a state of a fixed number of plain bytes
 * (no pointers), which whoever keeps it may copy, save and load. Any thread, a state one at a time.
 * A point's anomaly is from 0 to 1: how unlikely it is after those before. It is said of a point
 * before the point is learned from; the first points, of which there is nothing to say, are 0, and
 * so are values that are no finite numbers, which teach nothing. */
#ifndef MW_DETECTOR_H
#define MW_DETECTOR_H

#include "base/status.h"
#include "event/config.h"

#include <stddef.h>

typedef struct mw_detector mw_detector;

/* "auto|ewma|…" */
const char *mw_detector_kinds(void);
/* The options of a kind, as declarations write them (config.h); NULL: there is no such kind. */
const mw_option *mw_detector_options(const char *kind);
/* Whether a kind has an option of that name. */
int mw_detector_has(const char *kind, const char *name);
/* MW_CONFIG: there is no such kind, or an option is out of its range. `config` is not kept. */
mw_status mw_detector_new(mw_detector **d, const char *kind, mw_config *config, mw_error *error);
void mw_detector_free(mw_detector *d);
/* Of a state, which is aligned to 8; zeros are one that has learned nothing. Any other bytes are
 * one, too, whatever it then says. */
size_t mw_detector_bytes(const mw_detector *d);
/* 0: its points are times alone. */
int mw_detector_wants_value(const mw_detector *d);
/* `time_s`: seconds since 1970; NaN: unknown. */
double mw_detector_point(const mw_detector *d, void *state, double value, double time_s);
/* How many seconds after its last point a state is silent for longer than it should be; NaN: not
 * known (yet), and with kinds other than "silence". */
double mw_detector_patience(const mw_detector *d, const void *state);

#endif
