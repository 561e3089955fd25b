/* top.h: the values that come most often: space-saving (Metwally, Agrawal, El Abbadi, ICDT 2005).
 *
 * `room` counters for the k that are asked for (8 k, at least 64). While no more different values
 * than that have come the counts are exact; then a new value takes the place of the least, with its
 * count as the error. A count is never too small, and too large by at most the stated error, which
 * is at most n / room. Memory: 40 bytes a counter that is used, and the texts of the values. */
#ifndef MW_TOP_H
#define MW_TOP_H

#include "state/kept.h"

#include <stdint.h>

typedef struct mw_top mw_top;

void mw_top_add(mw_top **t, uint32_t k, const mw_value *value, uint64_t hash);
void mw_top_merge(mw_top **into, const mw_top *from);
/* The k largest as a JSON list of {"value":, "count":, "error":}, the largest first. */
void mw_top_json(const mw_top *t, mw_buffer *out);
void mw_top_free(mw_top *t);
size_t mw_top_bytes(const mw_top *t);
void mw_top_save(const mw_top *t, mw_buffer *out);
int mw_top_load(mw_top **t, const char **at, const char *end);

#endif
