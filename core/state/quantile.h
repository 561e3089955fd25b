/* quantile.h: quantiles of numbers with a stated error: DDSketch (Masson, Rim, Lee, VLDB 2019).
 *
 * Numbers are counted in buckets whose bounds grow by the factor (1 + a) / (1 - a); a quantile is
 * the middle of its bucket, at most the share `a` (1 % here) away from the true one. Numbers nearer
 * to zero than 1e-12 count as zero. Beyond 2,048 buckets of a sign the smallest are put together,
 * which is more than 17 powers of ten. Memory: 4 bytes a bucket between the smallest and the
 * largest number, 115 for each power of ten. */
#ifndef MW_QUANTILE_H
#define MW_QUANTILE_H

#include "base/buffer.h"

#include <stdint.h>

typedef struct mw_quantile mw_quantile;

void mw_quantile_add(mw_quantile **s, double value);
void mw_quantile_merge(mw_quantile **into, const mw_quantile *from);
/* The value below which the share `q` (0 to 1) lies; NaN where there is none. */
double mw_quantile_at(const mw_quantile *s, double q);
void mw_quantile_free(mw_quantile *s);
size_t mw_quantile_bytes(const mw_quantile *s);
void mw_quantile_save(const mw_quantile *s, mw_buffer *out);
int mw_quantile_load(mw_quantile **s, const char **at, const char *end);

#endif
