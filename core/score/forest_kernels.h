/* forest_kernels.h: the inner loops of a forest, by what the processor can do.
 *
 * A tree of up to 64 leaves is a block of its tests, side by side: ranks, slots, and for each the
 * leaves that stay possible when it sends a row right (32 bits where there are at most 32 leaves).
 * Tests that are not there have a rank that nothing is greater than. Any thread. */
#ifndef MW_FOREST_KERNELS_H
#define MW_FOREST_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_STEM = 16,          /* thresholds that are compared at once */
    MW_LADDER_LEVELS = 8,  /* 16 to the power of that are more than there can be */
    MW_BLOCK_ROWS = 32,    /* of a batch */
    MW_KERNEL_SLOTS = 64,  /* most that the kernel for single rows knows */
    MW_BLOCK_ALIGNED = 64, /* bytes */
};

typedef struct mw_block_32 {
    uint16_t rank[32], slot[32];
    uint32_t stay[32];
} mw_block_32;

typedef struct mw_block_64 {
    uint16_t rank[64], slot[64];
    uint64_t stay[64];
} mw_block_64;

/* A tree of depth 6 at most, as a heap: the root is at 1, the children of i are at 2 i and 2 i + 1,
 * and what would be at 64 and above is the leaf there. Less to read than a block of 64. */
typedef struct mw_heap {
    uint16_t rank[64], slot[64];
    uint8_t leaf[64];
} mw_heap;

typedef struct mw_kernels {
    /* How many of a ladder's thresholds are at or below a value: levels[0] is the lowest, each
     * level above has the last of each 16 of the one below; NaN behind their ends. */
    uint32_t (*rank)(const double *thresholds, const uint32_t *levels, uint32_t count,
                     double value);
    /* The leaf of each of 32 rows, whose ranks are [slot][row]; `tests` of them. */
    void (*rows_32)(const mw_block_32 *b, uint32_t tests, const uint16_t *ranks, uint32_t *leaves);
    void (*rows_64)(const mw_block_64 *b, uint32_t tests, const uint16_t *ranks, uint32_t *leaves);
    /* The leaf of one row, of each of some trees; NULL: walking is better. The row has 64 ranks. */
    void (*row_32)(const mw_block_32 *b, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
    void (*row_heap)(const mw_heap *h, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
    void (*row_64)(const mw_block_64 *b, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
} mw_kernels;

const mw_kernels *mw_kernels_best(void);
/* Those of a number, so that all can be compared: 0 plain, 1 AVX2, 2 AVX-512. NULL: this processor
 * has none such. */
const mw_kernels *mw_kernels_of(unsigned number);

#endif
