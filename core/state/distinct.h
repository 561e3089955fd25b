/* distinct.h: how many different values: exact while they are few, then estimated.
 *
 * Up to MW_DISTINCT_EXACT hashes are kept as they are; beyond, a HyperLogLog of 4,096 registers
 * (Flajolet et al., AofA 2007) takes over, read by the improved estimator of Ertl (arXiv
 * 1702.01284, algorithm 6). Standard error 1.04 / sqrt(4096) = 1.6 %. Memory: 16 bytes and 8 to 16
 * a value, at most 4 KiB; 4.2 KiB once it is estimated. */
#ifndef MW_DISTINCT_H
#define MW_DISTINCT_H

#include "base/buffer.h"

#include <stdint.h>

enum { MW_DISTINCT_EXACT = 256 };

typedef struct mw_distinct mw_distinct;

/* The pointer is made at the first value; NULL is an empty set. */
void mw_distinct_add(mw_distinct **d, uint64_t hash);
void mw_distinct_merge(mw_distinct **into, const mw_distinct *from);
double mw_distinct_count(const mw_distinct *d);
void mw_distinct_free(mw_distinct *d);
size_t mw_distinct_bytes(const mw_distinct *d);
void mw_distinct_save(const mw_distinct *d, mw_buffer *out);
int mw_distinct_load(mw_distinct **d, const char **at, const char *end);

#endif
