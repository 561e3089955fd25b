/* forest_build.c: trees as files have them are checked, laid out and compiled. See forest.h. */
#include "score/forest_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *room_for(void *items, size_t size, size_t *room, size_t need)
{
    if (need <= *room && items) return items;
    size_t more = *room ? *room : 64;
    while (more < need) more *= 2;
    items = realloc(items, more * size);
    mw_assert(items != NULL);
    *room = more;
    return items;
}

static void *zeros(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    mw_assert(p != NULL);
    return p;
}

mw_forest *mw_forest_new(const mw_forest_options *options)
{
    mw_forest *f = zeros(1, sizeof *f);
    f->is = *options;
    return f;
}

void mw_forest_free(mw_forest *f)
{
    if (!f) return;
    free(f->trees), free(f->steps), free(f->leaf), free(f->number), free(f->cover), free(f->raw);
    free(f->values), free(f->sets), free(f->blocks), free(f->groves), free(f->heaps),
        free(f->slots), free(f->ladders);
    free(f->thresholds), free(f->order), free(f->means), free(f);
}

/* What is wrong with a node by itself; NULL: nothing. */
static const char *fault_of(const mw_forest *f, const mw_tree *t, const mw_node *n)
{
    if (n->test == MW_TEST_LEAF)
        return (size_t)n->left + f->is.width > t->value_count ? "a leaf without a value" : NULL;
    if (n->left >= t->count || n->right >= t->count) return "a child that there is not";
    if (n->feature >= f->is.features) return "a feature that there is not";
    if (n->test == MW_TEST_IN || n->test == MW_TEST_OUT)
        return (size_t)n->set + n->set_len > t->set_count ? "a set of categories that there is not"
                                                          : NULL;
    return isnan(n->threshold) ? "a threshold that is no number" : NULL;
}

static void copy_node(mw_forest *f, const mw_tree *t, uint32_t number, uint32_t to)
{
    const mw_node *n = &t->nodes[number];
    f->raw[to] = *n;
    f->number[to] = number;
    f->cover[to] = n->cover;
}

static void make_nodes(mw_forest *f, size_t more)
{
    size_t need = f->node_count + more, room = f->node_room;
    f->raw = room_for(f->raw, sizeof *f->raw, &(size_t){room}, need);
    f->steps = room_for(f->steps, sizeof *f->steps, &(size_t){room}, need);
    f->number = room_for(f->number, sizeof *f->number, &(size_t){room}, need);
    f->cover = room_for(f->cover, sizeof *f->cover, &(size_t){room}, need);
    f->leaf = room_for(f->leaf, sizeof *f->leaf, &f->node_room, need);
}

/* Lays the nodes out level by level, children side by side, and takes the leaves' values. A node
 * that is met twice makes more of them than the file has. */
static const char *lay_out(mw_forest *f, const mw_tree *t, mw_planted *p, uint32_t *at)
{
    uint32_t made = 1, level_end = 1;
    make_nodes(f, 1);
    copy_node(f, t, *at = 0, p->node);
    for (uint32_t i = 0; i < made; i++) {
        if (i == level_end) level_end = made, p->depth++;
        mw_node n = f->raw[p->node + i];
        const char *fault = fault_of(f, t, &n);
        *at = f->number[p->node + i];
        if (fault) return fault;
        if (n.test == MW_TEST_LEAF) continue;
        if (made + 2 > t->count) return "children that belong to another node";
        f->node_count = p->node + made;
        make_nodes(f, 2);
        copy_node(f, t, n.left, p->node + made);
        copy_node(f, t, n.right, p->node + made + 1);
        f->steps[p->node + i].left = p->node + made;
        made += 2;
    }
    p->nodes = made;
    f->node_count = p->node + made;
    return NULL;
}

/* Numbers the leaves from left to right. */
static void number_leaves(mw_forest *f, const mw_tree *t, mw_planted *p)
{
    uint32_t width = f->is.width, top = 0;
    uint32_t *stack = zeros(p->depth + 2, sizeof *stack);
    stack[top++] = p->node;
    while (top) {
        uint32_t i = stack[--top];
        f->leaf[i] = p->leaf + p->leaves;
        if (f->raw[i].test != MW_TEST_LEAF) {
            stack[top++] = f->steps[i].left + 1;
            stack[top++] = f->steps[i].left;
            continue;
        }
        f->values = room_for(f->values, sizeof *f->values, &f->value_room, f->value_count + width);
        for (uint32_t w = 0; w < width; w++) {
            double v = t->values[f->raw[i].left + w];
            f->values[f->value_count++] =
                f->is.sum_floats ? (double)((float)v * (float)t->weight) : v * t->weight;
        }
        f->steps[i] = (mw_step){i, MW_RANK_LEAF, 0};
        f->number[i] = f->raw[i].right;
        p->leaves++;
    }
    free(stack);
}

mw_status mw_forest_tree(mw_forest *f, const mw_tree *t, mw_error *error)
{
    if (f->tree_count >= MW_FOREST_TREES)
        return mw_fail(error, MW_LIMIT, "more than %d trees", MW_FOREST_TREES);
    if (f->node_count + t->count > MW_FOREST_NODES)
        return mw_fail(error, MW_LIMIT, "more than %d nodes", MW_FOREST_NODES);
    if (!t->count || t->output >= f->is.outputs)
        return mw_fail(error, MW_INVALID, "tree %u %s", f->tree_count,
                       t->count ? "adds to an output that there is not" : "has no node");
    uint32_t width = f->is.width, at, set = (uint32_t)f->set_count;
    mw_planted p = {.node = (uint32_t)f->node_count,
                    .leaf = (uint32_t)(f->value_count / width),
                    .output = t->output};
    const char *fault = lay_out(f, t, &p, &at);
    if (fault) return mw_fail(error, MW_INVALID, "tree %u, node %u: %s", f->tree_count, at, fault);
    number_leaves(f, t, &p);
    if (t->set_count) {
        f->sets = room_for(f->sets, sizeof *f->sets, &f->set_room, f->set_count + t->set_count);
        memcpy(f->sets + set, t->sets, t->set_count * sizeof *f->sets);
        f->set_count += t->set_count;
        for (uint32_t i = p.node; i < f->node_count; i++) f->raw[i].set += set;
    }
    size_t room = f->tree_room;
    f->trees = room_for(f->trees, sizeof *f->trees, &room, f->tree_count + 1);
    f->tree_room = (uint32_t)room;
    f->trees[f->tree_count++] = p;
    if (p.depth > f->depth) f->depth = p.depth;
    return MW_OK;
}

/* ---- compiling ---- */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Any value goes left there, and is no threshold. */
static int is_endless(const mw_node *n)
{
    return n->test == MW_TEST_AT_MOST && n->threshold == INFINITY;
}

static int is_number_test(const mw_node *n)
{
    return n->test == MW_TEST_BELOW || (n->test == MW_TEST_AT_MOST && !is_endless(n));
}

/* The least value that goes right; zero has no sign. */
static double least_right(const mw_node *n)
{
    double t = n->test == MW_TEST_BELOW ? n->threshold : nextafter(n->threshold, INFINITY);
    return t == 0 ? 0 : t;
}

/* Every feature's thresholds, each once: sorted[j .. j + 1) of `starts`. */
static double *sort_thresholds(mw_forest *f, size_t *starts)
{
    size_t count = 0;
    for (size_t i = 0; i < f->node_count; i++)
        if (is_number_test(&f->raw[i])) starts[f->raw[i].feature + 1]++, count++;
    double *sorted = zeros(count, sizeof *sorted);
    for (uint32_t j = 0; j < f->is.features; j++) starts[j + 1] += starts[j];
    for (size_t i = 0; i < f->node_count; i++)
        if (is_number_test(&f->raw[i])) {
            uint32_t j = f->raw[i].feature;
            sorted[starts[j] + f->ladders[j].count++] = least_right(&f->raw[i]);
        }
    for (uint32_t j = 0; j < f->is.features; j++) {
        double *t = sorted + starts[j];
        uint32_t n = 0, all = f->ladders[j].count;
        qsort(t, all, sizeof *t, by_number);
        for (uint32_t i = 0; i < all; i++)
            if (!n || t[i] != t[n - 1]) t[n++] = t[i];
        f->ladders[j].count = n;
    }
    return sorted;
}

/* Levels' lengths: whole sixteens, and at least one NaN at the end. */
static size_t ladder_room(const mw_ladder *l)
{
    size_t room = 0;
    for (uint32_t n = l->count; n; n /= MW_STEM) room += n / MW_STEM * MW_STEM + MW_STEM;
    return room;
}

static void make_ladder(mw_forest *f, mw_ladder *l, const double *sorted, size_t at)
{
    for (uint32_t n = l->count, every = 1; n; n /= MW_STEM, every *= MW_STEM) {
        uint32_t room = n / MW_STEM * MW_STEM + MW_STEM;
        l->level[l->levels++] = (uint32_t)at;
        for (uint32_t i = 0; i < room; i++)
            f->thresholds[at + i] = i < n ? sorted[(i + 1ul) * every - 1] : NAN;
        at += room;
    }
}

static mw_status make_ladders(mw_forest *f, mw_error *error)
{
    size_t room = 0, at = 0;
    size_t *starts = zeros(f->is.features + 1ul, sizeof *starts);
    f->ladders = zeros(f->is.features, sizeof *f->ladders);
    double *sorted = sort_thresholds(f, starts);
    for (uint32_t j = 0; j < f->is.features; j++) room += ladder_room(&f->ladders[j]);
    if (room < UINT32_MAX) {
        f->thresholds = zeros(room, sizeof *f->thresholds);
        for (uint32_t j = 0; j < f->is.features; at += ladder_room(&f->ladders[j]), j++)
            make_ladder(f, &f->ladders[j], sorted + starts[j], at);
    }
    free(sorted), free(starts);
    return room < UINT32_MAX ? MW_OK : mw_fail(error, MW_LIMIT, "too many thresholds");
}

/* What a node asks of a slot. */
static mw_slot slot_of(const mw_forest *f, const mw_node *n, uint16_t *rank)
{
    mw_slot s = {.feature = n->feature, .missing = n->missing, .missing_left = n->missing_left};
    if (s.missing == MW_MISSING_NONE) s.missing_left = 0;
    if (is_number_test(n)) {
        const mw_ladder *l = &f->ladders[n->feature];
        uint32_t k = f->kernels->rank(f->thresholds, l->level, l->levels, least_right(n)) - 1;
        s.segment = k / MW_RANK_SEGMENT;
        *rank = (uint16_t)(k % MW_RANK_SEGMENT);
        return s;
    }
    *rank = MW_RANK_MOST;
    if (is_endless(n)) return s;
    s.is_set = 1, s.in_is_left = n->test == MW_TEST_IN;
    s.set = n->set, s.set_len = n->set_len;
    *rank = 0;
    return s;
}

typedef struct asked {
    mw_slot slot;
    const uint32_t *set;
    uint32_t node;
} asked;

#define DIFFER(field)                                                                              \
    if (x->slot.field != y->slot.field) return x->slot.field < y->slot.field ? -1 : 1

static int by_slot(const void *a, const void *b)
{
    const asked *x = a, *y = b;
    DIFFER(feature);
    DIFFER(is_set);
    DIFFER(segment);
    DIFFER(missing);
    DIFFER(missing_left);
    DIFFER(in_is_left);
    DIFFER(set_len);
    return x->slot.is_set ? memcmp(x->set, y->set, x->slot.set_len * sizeof *x->set) : 0;
}

static mw_status make_slots(mw_forest *f, mw_error *error)
{
    size_t count = 0;
    asked *all = zeros(f->node_count, sizeof *all);
    for (size_t i = 0; i < f->node_count; i++) {
        if (f->raw[i].test == MW_TEST_LEAF) continue;
        asked *a = &all[count++];
        a->slot = slot_of(f, &f->raw[i], &f->steps[i].rank);
        a->set = f->sets ? f->sets + a->slot.set : NULL;
        a->node = (uint32_t)i;
    }
    qsort(all, count, sizeof *all, by_slot);
    f->slots = zeros(MW_SLOTS_MAX, sizeof *f->slots);
    for (size_t i = 0; i < count; i++) {
        if (!i || by_slot(&all[i - 1], &all[i]) != 0) {
            if (f->slot_count == MW_SLOTS_MAX) {
                free(all);
                return mw_fail(
                    error, MW_LIMIT,
                    "more than %d different sets of categories or ways to treat missing values",
                    MW_SLOTS_MAX);
            }
            mw_ladder *l = &f->ladders[all[i].slot.feature];
            if (!l->slots++) l->slot = f->slot_count;
            f->slots[f->slot_count++] = all[i].slot;
        }
        f->steps[all[i].node].slot = (uint16_t)(f->slot_count - 1);
    }
    free(all);
    for (uint32_t i = 0; i < f->slot_count; i++) {
        mw_slot *s = &f->slots[i];
        s->simple = !s->is_set && s->missing != MW_MISSING_ZERO &&
                    f->ladders[s->feature].count <= MW_RANK_SEGMENT;
    }
    return MW_OK;
}

static uint32_t block_leaves(const mw_planted *p)
{
    return p->leaves <= 32 ? 32 : p->leaves <= 64 ? 64 : 0;
}

static size_t block_size(uint32_t leaves)
{
    return leaves == 32 ? sizeof(mw_block_32) : leaves == 64 ? sizeof(mw_block_64) : 0;
}

static void fill_block(mw_forest *f, const mw_planted *p)
{
    mw_block_32 *small = (mw_block_32 *)(f->blocks + p->block);
    mw_block_64 *large = (mw_block_64 *)(f->blocks + p->block);
    uint32_t leaves = block_leaves(p), n = 0;
    for (uint32_t i = p->node; i < p->node + p->nodes; i++) {
        mw_step s = f->steps[i];
        if (s.left == i) continue;
        uint32_t from = f->leaf[s.left] - p->leaf, to = f->leaf[s.left + 1] - p->leaf;
        uint64_t stay = ~(((1ull << (to - from)) - 1) << from); /* to - from is 63 at most */
        if (leaves == 32)
            small->rank[n] = s.rank, small->slot[n] = s.slot, small->stay[n++] = (uint32_t)stay;
        else
            large->rank[n] = s.rank, large->slot[n] = s.slot, large->stay[n++] = stay;
    }
    for (; n < leaves; n++) {
        if (leaves == 32) small->rank[n] = MW_RANK_LEAF, small->stay[n] = UINT32_MAX;
        else
            large->rank[n] = MW_RANK_LEAF, large->stay[n] = UINT64_MAX;
    }
}

static void fill_heap(const mw_forest *f, const mw_planted *p, mw_heap *h, uint32_t node,
                      uint32_t at)
{
    mw_step s = f->steps[node];
    if (at >= 64) {
        h->leaf[at - 64] = (uint8_t)(f->leaf[node] - p->leaf);
        return;
    }
    h->rank[at] = s.rank, h->slot[at] = s.slot;
    fill_heap(f, p, h, s.left, 2 * at); /* of a leaf, itself */
    if (s.left != node) fill_heap(f, p, h, s.left + 1, 2 * at + 1);
}

static void make_heaps(mw_forest *f)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < f->tree_count; t++) count += f->trees[t].depth <= 6;
    mw_assert(
        posix_memalign((void **)&f->heaps, MW_BLOCK_ALIGNED, (count + 1) * sizeof *f->heaps) == 0);
    memset(f->heaps, 0, count * sizeof *f->heaps);
    for (uint32_t t = 0; t < f->tree_count; t++) {
        mw_planted *p = &f->trees[t];
        p->heap = f->heap_count;
        if (p->depth <= 6) fill_heap(f, p, &f->heaps[f->heap_count++], p->node, 1);
    }
}

static enum mw_shape shape_of(const mw_planted *p)
{
    if (p->leaves <= 32) return MW_BLOCKS_32;
    return p->depth <= 6 ? MW_HEAPS : p->leaves <= 64 ? MW_BLOCKS_64 : MW_WALKED;
}

static void make_blocks(mw_forest *f)
{
    f->groves = zeros(f->tree_count, sizeof *f->groves);
    for (uint32_t t = 0; t < f->tree_count; t++) {
        enum mw_shape shape = shape_of(&f->trees[t]);
        mw_grove *last = f->grove_count ? &f->groves[f->grove_count - 1] : NULL;
        if (last && last->shape == shape) last->count++;
        else
            f->groves[f->grove_count++] = (mw_grove){t, 1, shape};
        f->trees[t].block = f->block_bytes;
        f->block_bytes += block_size(block_leaves(&f->trees[t]));
    }
    mw_assert(posix_memalign((void **)&f->blocks, MW_BLOCK_ALIGNED, f->block_bytes + 64) == 0);
    memset(f->blocks, 0, f->block_bytes);
    for (uint32_t t = 0; t < f->tree_count; t++)
        if (block_leaves(&f->trees[t])) fill_block(f, &f->trees[t]);
}

static int by_depth(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void order_trees(mw_forest *f)
{
    uint64_t *all = zeros(f->tree_count, sizeof *all);
    for (uint32_t t = 0; t < f->tree_count; t++) all[t] = (uint64_t)f->trees[t].depth << 32 | t;
    qsort(all, f->tree_count, sizeof *all, by_depth);
    f->order = zeros(f->tree_count, sizeof *f->order);
    for (uint32_t t = 0; t < f->tree_count; t++) f->order[t] = (uint32_t)all[t];
    free(all);
}

static int knows_cover(const mw_forest *f)
{
    int inner = 0;
    for (size_t i = 0; i < f->node_count; i++) {
        if (f->steps[i].left == i) continue;
        inner = 1;
        if (f->cover[i] > 0) return 1;
    }
    return !inner;
}

mw_status mw_forest_compile(mw_forest *f, mw_error *error)
{
    f->kernels = mw_kernels_best();
    mw_status status = make_ladders(f, error);
    if (status == MW_OK) status = make_slots(f, error);
    if (status != MW_OK) return status;
    make_blocks(f);
    if (f->kernels->row_heap) make_heaps(f);
    order_trees(f);
    f->uncovered = !knows_cover(f);
    mw_forest_means(f);
    free(f->raw), f->raw = NULL;
    return MW_OK;
}

uint32_t mw_forest_trees(const mw_forest *f)
{
    return f->tree_count;
}

size_t mw_forest_nodes(const mw_forest *f)
{
    return f->node_count;
}

uint32_t mw_forest_depth(const mw_forest *f)
{
    return f->depth;
}

size_t mw_forest_bytes(const mw_forest *f)
{
    return f->node_count * (sizeof *f->steps + 2 * sizeof(uint32_t) + sizeof(double)) +
           f->block_bytes + f->heap_count * sizeof *f->heaps + f->value_count * sizeof(double) +
           f->set_count * sizeof(uint32_t);
}

int mw_forest_uses(const mw_forest *f, uint32_t feature)
{
    return f->ladders[feature].slots > 0;
}
