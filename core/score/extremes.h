/* extremes.h: how far a value lies beyond those of late: a record, with its margin.
 *
 * The last values are kept as the greatest and least of each block of them. A value is measured by
 * the third greatest of the blocks' greatest (and the third least of their least), so that one
 * early spike does not hide all later ones, and its margin is a share of the range between the two:
 * the tail of block extremes, without a fit (Gumbel, "Statistics of Extremes", 1958, for why
 * blocks). */
#ifndef MW_EXTREMES_H
#define MW_EXTREMES_H

#include <stdint.h>

enum { MW_EXTREME_BLOCK = 100, MW_EXTREME_BLOCKS = 64 };

typedef struct mw_extremes {
    double high, low;   /* what values are measured by */
    double most, least; /* of the block that is not full */
    uint32_t blocks;    /* that were filled */
    uint32_t count;     /* of values in the block that is not full */
    float highs[MW_EXTREME_BLOCKS], lows[MW_EXTREME_BLOCKS];
} mw_extremes;

/* Zeros are an empty one. The margin of a value, from 0; then the value is one of them. 0 while no
 * block is full. */
double mw_extremes_add(mw_extremes *e, double value);

#endif
