/* forest_private.h: what a compiled forest is made of. See forest.h. */
#ifndef MW_FOREST_PRIVATE_H
#define MW_FOREST_PRIVATE_H

#include "score/forest.h"
#include "score/forest_kernels.h"

enum {
    MW_RANK_LEAF =
        65535, /* a leaf's rank: nothing is greater; and a missing value's to the right */
    MW_RANK_MOST = 65534,    /* the greatest rank of a value */
    MW_RANK_SEGMENT = 65534, /* thresholds of a slot; a feature with more has several slots */
    MW_SLOTS_MAX = 65536,
};

/* A node as it is walked: its children are neighbours, and a leaf's left child is itself. */
typedef struct mw_step {
    uint32_t left; /* in all of the forest */
    uint16_t rank;
    uint16_t slot;
} mw_step;

/* How a slot's ranks are made of a feature. */
typedef struct mw_slot {
    uint32_t feature;
    uint32_t segment; /* of the feature's thresholds */
    uint32_t set, set_len;
    uint8_t missing, missing_left, is_set, in_is_left;
    uint8_t simple; /* no set, one segment, and no value but NaN is missing */
} mw_slot;

/* The thresholds of a feature, each the least value that goes right: least first, in levels of
 * which each has the last of every 16 of the one below. */
typedef struct mw_ladder {
    uint32_t count;
    uint32_t levels, level[MW_LADDER_LEVELS]; /* in thresholds; the lowest first */
    uint32_t slot, slots;                     /* a feature's slots are neighbours */
} mw_ladder;

/* Trees in a row whose blocks are alike. */
typedef struct mw_grove {
    uint32_t first, count;
    enum mw_shape { MW_WALKED, MW_BLOCKS_32, MW_BLOCKS_64, MW_HEAPS } shape;
} mw_grove;

typedef struct mw_planted {
    uint32_t node, nodes;  /* in steps */
    uint32_t leaf, leaves; /* in values, `width` each */
    uint64_t block;        /* of its tests: in blocks, in bytes */
    uint32_t heap;         /* in heaps, where it is of that shape */
    uint32_t depth;        /* steps from the root to the farthest leaf */
    uint32_t output;
} mw_planted;

struct mw_forest {
    mw_forest_options is;
    mw_planted *trees;
    uint32_t tree_count, tree_room, depth;
    mw_step *steps;
    uint32_t *leaf;   /* by node: its leaf's number in all of the forest */
    uint32_t *number; /* by node: its number in the file */
    double *cover;    /* by node */
    int uncovered;    /* the file does not say what came to its nodes */
    double *means;    /* by node, `width` each: what its leaves say, by cover */
    mw_node *raw;     /* by node, until it is compiled */
    size_t node_count, node_room;
    double *values;
    size_t value_count, value_room;
    uint32_t *sets;
    size_t set_count, set_room;
    char *blocks;
    size_t block_bytes;
    mw_heap *heaps;
    uint32_t heap_count;
    mw_grove *groves;
    uint32_t grove_count;
    const mw_kernels *kernels;
    mw_slot *slots;
    uint32_t slot_count;
    mw_ladder *ladders; /* by feature */
    double *thresholds;
    uint32_t *order; /* trees by depth, so that those that are walked together end together */
};

static inline int mw_is_tiny(double value)
{
    return value >= -(double)1e-35f && value <= (double)1e-35f;
}

/* Ranks of a row, one every `stride`, into every slot. */
void mw_forest_ranks(const mw_forest *f, const double *row, uint16_t *ranks, size_t stride);

/* The means of all nodes. */
void mw_forest_means(mw_forest *f);

#endif
