/* forest.c: forests evaluated: ranks, single rows, batches. See forest.h. */
#include "score/forest_private.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };

/* ---- ranks ---- */

/* How many of the thresholds are at or below a value. */
static inline uint32_t rank_of(const double *base, uint32_t count, double value)
{
    const double *first = base;
    while (count > 1) {
        uint32_t half = count / 2;
        base += base[half - 1] <= value ? half : 0;
        count -= half;
    }
    return (uint32_t)(base - first) + (count && *base <= value);
}

static int is_missing(const mw_slot *s, double value)
{
    if (s->missing == MW_MISSING_ZERO) return isnan(value) || mw_is_tiny(value);
    return s->missing == MW_MISSING_NAN && isnan(value);
}

static uint16_t set_rank(const mw_forest *f, const mw_slot *s, double value)
{
    if (isnan(value) || value <= -1 || value >= 2147483648.0) return !f->is.category_is_left;
    uint32_t category = (uint32_t)value;
    int in = category / 32 < s->set_len && f->sets[s->set + category / 32] >> category % 32 & 1;
    return (uint16_t)(in ^ s->in_is_left);
}

static uint16_t slot_rank(const mw_forest *f, const mw_slot *s, double value, uint32_t rank)
{
    if (is_missing(s, value)) return s->missing_left ? 0 : MW_RANK_LEAF;
    if (s->is_set) return set_rank(f, s, value);
    uint32_t below = s->segment * MW_RANK_SEGMENT;
    if (rank <= below) return 0;
    return (uint16_t)(rank - below < MW_RANK_MOST ? rank - below : MW_RANK_MOST);
}

void mw_forest_ranks(const mw_forest *f, const double *row, uint16_t *ranks, size_t stride)
{
    for (uint32_t j = 0; j < f->is.features; j++) {
        const mw_ladder *l = &f->ladders[j];
        if (!l->slots) continue;
        double value = f->is.round_to_float ? (double)(float)row[j] : row[j];
        if (f->is.tiny_is_zero && mw_is_tiny(value)) value = 0;
        uint32_t rank = rank_of(f->thresholds + l->first, l->count, isnan(value) ? 0 : value);
        for (uint32_t s = l->slot; s < l->slot + l->slots; s++)
            ranks[s * stride] = slot_rank(f, &f->slots[s], value, rank);
    }
}

/* ---- single rows ---- */

static inline uint32_t step(const mw_step *steps, uint32_t at, const uint16_t *ranks)
{
    mw_step s = steps[at];
    return s.left + (ranks[s.slot] > s.rank);
}

/* The node of its leaf for each of the trees, by their order. */
static void walk(const mw_forest *f, const uint16_t *ranks, uint32_t first, uint32_t count,
                 uint32_t *nodes)
{
    const mw_step *steps = f->steps;
    uint32_t tree[LANES], at[LANES], n = 0;
    for (uint32_t o = 0; o <= f->tree_count; o++) {
        if (o < f->tree_count) {
            uint32_t t = f->order[o];
            if (t - first >= count) continue;
            tree[n] = t, at[n++] = f->trees[t].node;
            if (n < LANES) continue;
        }
        if (!n) break;
        uint32_t depth = f->trees[tree[n - 1]].depth, some = n;
        for (; n < LANES; n++) at[n] = at[0];
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t i = 0; i < LANES; i++) at[i] = step(steps, at[i], ranks);
        for (uint32_t i = 0; i < some; i++) nodes[tree[i] - first] = at[i];
        n = 0;
    }
}

static inline void add_leaf(const mw_forest *f, const mw_planted *tree, uint32_t leaf, double *sums)
{
    uint32_t width = f->is.width;
    const double *v = f->values + (size_t)leaf * width;
    double *to = sums + (width == 1 ? tree->output : 0);
    if (f->is.sum_floats)
        for (uint32_t w = 0; w < width; w++) to[w] = (double)((float)to[w] + (float)v[w]);
    else
        for (uint32_t w = 0; w < width; w++) to[w] += v[w];
}

static uint32_t *nodes_in(const mw_forest *f, void *scratch)
{
    return (uint32_t *)((char *)scratch +
                        ((size_t)f->slot_count * MW_FOREST_BLOCK * sizeof(uint16_t) + 63) / 64 *
                            64);
}

size_t mw_forest_scratch(const mw_forest *f)
{
    return (size_t)((char *)nodes_in(f, NULL) - (char *)NULL) +
           ((size_t)f->tree_count + MW_FOREST_BLOCK) * sizeof(uint32_t) + 64;
}

void mw_forest_row(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                   double *sums, void *scratch)
{
    uint32_t *nodes = nodes_in(f, scratch);
    mw_forest_ranks(f, row, scratch, 1);
    walk(f, scratch, first, count, nodes);
    for (uint32_t t = 0; t < count; t++) add_leaf(f, &f->trees[first + t], f->leaf[nodes[t]], sums);
}

void mw_forest_leaves(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                      uint32_t *leaves, void *scratch)
{
    uint32_t *nodes = nodes_in(f, scratch);
    mw_forest_ranks(f, row, scratch, 1);
    walk(f, scratch, first, count, nodes);
    for (uint32_t t = 0; t < count; t++) leaves[t] = f->number[nodes[t]];
}

/* ---- batches ---- */

/* The leaf of each of the rows in a tree of up to 32 or 64 leaves. */
#define MASKED(NAME, WORD, FIRST)                                                                  \
    static void NAME(const mw_mask *m, uint32_t count, const uint16_t *ranks, uint32_t *leaves)    \
    {                                                                                              \
        WORD left[MW_FOREST_BLOCK];                                                                \
        for (int r = 0; r < MW_FOREST_BLOCK; r++) left[r] = (WORD)-1;                              \
        for (uint32_t i = 0; i < count; i++) {                                                     \
            const uint16_t *of = ranks + (size_t)m[i].slot * MW_FOREST_BLOCK, rank = m[i].rank;    \
            WORD stay = (WORD)m[i].stay;                                                           \
            for (int r = 0; r < MW_FOREST_BLOCK; r++) left[r] &= of[r] > rank ? stay : (WORD)-1;   \
        }                                                                                          \
        for (int r = 0; r < MW_FOREST_BLOCK; r++) leaves[r] = (uint32_t)FIRST(left[r]);            \
    }

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define BY_MACHINE                                                                                 \
    __attribute__((optimize("O3"), target_clones("default", "arch=haswell", "arch=skylake-avx512")))
#else
#define BY_MACHINE
#endif
BY_MACHINE MASKED(masked_32, uint32_t, __builtin_ctz)
BY_MACHINE MASKED(masked_64, uint64_t, __builtin_ctzll)

    /* The leaf of each of the rows in any tree. */
    static void walk_rows(const mw_forest *f, const mw_planted *tree, const uint16_t *ranks,
                          uint32_t *leaves)
{
    uint32_t at[MW_FOREST_BLOCK];
    for (uint32_t r = 0; r < MW_FOREST_BLOCK; r++) at[r] = tree->node;
    for (uint32_t from = 0; from < MW_FOREST_BLOCK; from += LANES)
        for (uint32_t d = 0; d < tree->depth; d++)
            for (uint32_t r = from; r < from + LANES; r++) {
                mw_step s = f->steps[at[r]];
                at[r] = s.left + (ranks[(size_t)s.slot * MW_FOREST_BLOCK + r] > s.rank);
            }
    for (uint32_t r = 0; r < MW_FOREST_BLOCK; r++) leaves[r] = f->leaf[at[r]] - tree->leaf;
}

static void block(const mw_forest *f, size_t rows, uint32_t first, uint32_t count, double *sums,
                  const uint16_t *ranks)
{
    uint32_t leaves[MW_FOREST_BLOCK];
    for (uint32_t t = first; t < first + count; t++) {
        const mw_planted *tree = &f->trees[t];
        const mw_mask *masks = f->masks + tree->mask;
        if (tree->leaves <= 32) masked_32(masks, tree->leaves - 1, ranks, leaves);
        else if (tree->leaves <= MW_MASK_LEAVES)
            masked_64(masks, tree->leaves - 1, ranks, leaves);
        else
            walk_rows(f, tree, ranks, leaves);
        for (size_t r = 0; r < rows; r++)
            add_leaf(f, tree, tree->leaf + leaves[r], sums + r * f->is.outputs);
    }
}

void mw_forest_rows(const mw_forest *f, const double *row, size_t stride, size_t rows,
                    uint32_t first, uint32_t count, double *sums, void *scratch)
{
    for (size_t done = 0; done < rows; done += MW_FOREST_BLOCK) {
        size_t some = rows - done < MW_FOREST_BLOCK ? rows - done : MW_FOREST_BLOCK;
        if (some < 4) {
            for (size_t r = done; r < rows; r++)
                mw_forest_row(f, row + r * stride, first, count, sums + r * f->is.outputs, scratch);
            return;
        }
        if (some < MW_FOREST_BLOCK) memset(scratch, 0, f->slot_count * MW_FOREST_BLOCK * 2ul);
        for (size_t r = 0; r < some; r++)
            mw_forest_ranks(f, row + (done + r) * stride, (uint16_t *)scratch + r, MW_FOREST_BLOCK);
        block(f, some, first, count, sums + done * f->is.outputs, scratch);
    }
}
