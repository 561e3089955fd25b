/* forest.c: forests evaluated: ranks, single rows, batches. See forest.h. */
#include "score/forest_private.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, ALONE = 4 /* fewer rows than this are not worth a block */ };

/* ---- ranks ---- */

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
        int nan = isnan(value);
        if (f->is.tiny_is_zero && mw_is_tiny(value)) value = 0;
        uint32_t rank = f->kernels->rank(f->thresholds, l->level, l->levels, nan ? 0 : value);
        for (uint32_t i = l->slot; i < l->slot + l->slots; i++) {
            const mw_slot *s = &f->slots[i];
            uint32_t of = s->simple && !nan ? rank : slot_rank(f, s, value, rank);
            ranks[i * stride] = (uint16_t)of;
        }
    }
}

/* ---- single rows ---- */

static inline uint32_t step(const mw_step *steps, uint32_t at, const uint16_t *ranks)
{
    mw_step s = steps[at];
    return s.left + (ranks[s.slot] > s.rank);
}

/* The node of its leaf for each of the trees: those of like depth together. */
static void walk(const mw_forest *f, const uint16_t *ranks, uint32_t first, uint32_t count,
                 uint32_t *nodes)
{
    const mw_step *steps = f->steps;
    uint32_t tree[LANES], at[LANES], n = 0;
    for (uint32_t o = 0, left = count; left || n; o++) {
        if (left) {
            uint32_t t = f->order[o];
            if (t - first >= count) continue;
            tree[n] = t, at[n++] = f->trees[t].node, left--;
            if (n < LANES && left) continue;
        }
        uint32_t depth = f->trees[tree[n - 1]].depth;
        for (uint32_t i = n; i < LANES; i++) at[i] = at[0];
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t i = 0; i < LANES; i++) at[i] = step(steps, at[i], ranks);
        for (uint32_t i = 0; i < n; i++) nodes[tree[i] - first] = at[i];
        n = 0;
    }
}

/* The leaf of each of the trees: by the kernels where there are blocks. */
static void find_leaves(const mw_forest *f, const uint16_t *ranks, uint32_t first, uint32_t count,
                        uint32_t *leaves)
{
    const mw_kernels *k = f->kernels;
    int by_kernel = k->row_32 && f->slot_count <= MW_KERNEL_SLOTS;
    if (!by_kernel) {
        walk(f, ranks, first, count, leaves);
        for (uint32_t t = 0; t < count; t++) leaves[t] = f->leaf[leaves[t]];
        return;
    }
    for (uint32_t g = 0; g < f->grove_count; g++) {
        const mw_grove *grove = &f->groves[g];
        uint32_t from = grove->first > first ? grove->first : first;
        uint32_t end = grove->first + grove->count;
        if (end > first + count) end = first + count;
        if (from >= end) continue;
        uint32_t *to = leaves + (from - first);
        const void *blocks = f->blocks + f->trees[from].block;
        switch (grove->shape) {
        case MW_BLOCKS_32:
            k->row_32(blocks, end - from, ranks, to);
            break;
        case MW_BLOCKS_64:
            k->row_64(blocks, end - from, ranks, to);
            break;
        case MW_HEAPS:
            k->row_heap(f->heaps + f->trees[from].heap, end - from, ranks, to);
            break;
        case MW_WALKED:
            walk(f, ranks, from, end - from, to);
            break;
        }
        for (uint32_t t = from; t < end; t++, to++)
            *to = grove->shape == MW_WALKED ? f->leaf[*to] : f->trees[t].leaf + *to;
    }
}

static inline void add_leaf(const mw_forest *f, uint32_t output, uint32_t leaf, double *sums)
{
    uint32_t width = f->is.width;
    const double *v = f->values + (size_t)leaf * width;
    double *to = sums + (width == 1 ? output : 0);
    if (f->is.sum_floats)
        for (uint32_t w = 0; w < width; w++) to[w] = (double)((float)to[w] + (float)v[w]);
    else
        for (uint32_t w = 0; w < width; w++) to[w] += v[w];
}

/* In the order of the trees. */
static void add_leaves(const mw_forest *f, uint32_t first, uint32_t count, const uint32_t *leaves,
                       double *sums)
{
    if (f->is.outputs > 1) {
        for (uint32_t t = 0; t < count; t++)
            add_leaf(f, f->trees[first + t].output, leaves[t], sums);
    } else if (f->is.sum_floats) {
        float sum = (float)*sums;
        for (uint32_t t = 0; t < count; t++) sum += (float)f->values[leaves[t]];
        *sums = (double)sum;
    } else {
        double sum = *sums;
        for (uint32_t t = 0; t < count; t++) sum += f->values[leaves[t]];
        *sums = sum;
    }
}

/* Scratch: ranks of a block of rows (or of one, in as many slots as the kernel looks at), then
 * leaves. */
static size_t ranks_bytes(const mw_forest *f)
{
    size_t slots = f->slot_count < MW_KERNEL_SLOTS ? MW_KERNEL_SLOTS : f->slot_count;
    return (slots * MW_FOREST_BLOCK * sizeof(uint16_t) + 63) / 64 * 64;
}

size_t mw_forest_scratch(const mw_forest *f)
{
    return ranks_bytes(f) + ((size_t)f->tree_count + MW_FOREST_BLOCK) * sizeof(uint32_t);
}

void mw_forest_row(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                   double *sums, void *scratch)
{
    uint32_t *leaves = (uint32_t *)((char *)scratch + ranks_bytes(f));
    mw_forest_ranks(f, row, scratch, 1);
    find_leaves(f, scratch, first, count, leaves);
    add_leaves(f, first, count, leaves, sums);
}

void mw_forest_leaves(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                      uint32_t *leaves, void *scratch)
{
    mw_forest_ranks(f, row, scratch, 1);
    walk(f, scratch, first, count, leaves);
    for (uint32_t t = 0; t < count; t++) leaves[t] = f->number[leaves[t]];
}

/* ---- batches ---- */

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

/* One tree's leaves to the sums of all rows. */
static void add_block(const mw_forest *f, const mw_planted *tree, const uint32_t *leaves,
                      size_t rows, double *sums)
{
    size_t outputs = f->is.outputs;
    const double *v = f->values + tree->leaf;
    double *to = sums + tree->output;
    if (f->is.width > 1)
        for (size_t r = 0; r < rows; r++)
            add_leaf(f, 0, tree->leaf + leaves[r], sums + r * outputs);
    else if (f->is.sum_floats)
        for (size_t r = 0; r < rows; r++, to += outputs)
            *to = (double)((float)*to + (float)v[leaves[r]]);
    else
        for (size_t r = 0; r < rows; r++, to += outputs) *to += v[leaves[r]];
}

static void score_block(const mw_forest *f, size_t rows, uint32_t first, uint32_t count,
                        double *sums, const uint16_t *ranks)
{
    uint32_t leaves[MW_FOREST_BLOCK];
    for (uint32_t t = first; t < first + count; t++) {
        const mw_planted *tree = &f->trees[t];
        const void *block = f->blocks + tree->block;
        if (tree->leaves <= 32) f->kernels->rows_32(block, tree->leaves - 1, ranks, leaves);
        else if (tree->leaves <= 64)
            f->kernels->rows_64(block, tree->leaves - 1, ranks, leaves);
        else
            walk_rows(f, tree, ranks, leaves);
        add_block(f, tree, leaves, rows, sums);
    }
}

void mw_forest_rows(const mw_forest *f, const double *row, size_t stride, size_t rows,
                    uint32_t first, uint32_t count, double *sums, void *scratch)
{
    for (size_t done = 0; done < rows; done += MW_FOREST_BLOCK) {
        size_t some = rows - done < MW_FOREST_BLOCK ? rows - done : MW_FOREST_BLOCK;
        double *to = sums + done * f->is.outputs;
        const double *from = row + done * stride;
        if (some < ALONE) {
            for (size_t r = 0; r < some; r++)
                mw_forest_row(f, from + r * stride, first, count, to + r * f->is.outputs, scratch);
            return;
        }
        if (some < MW_FOREST_BLOCK) memset(scratch, 0, ranks_bytes(f));
        for (size_t r = 0; r < some; r++)
            mw_forest_ranks(f, from + r * stride, (uint16_t *)scratch + r, MW_FOREST_BLOCK);
        score_block(f, some, first, count, to, scratch);
    }
}
