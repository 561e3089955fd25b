/* forest_explain.c: what each feature adds to what a forest says. See forest.h. */
#include "score/forest_private.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 256 };

/* One feature of those on the way to a node: the shares of the ways on which it is unknown and
 * known that lead here, and the weight of the sets of that size. */
typedef struct way {
    uint32_t feature;
    double zero, one, weight;
} way;

typedef struct walker {
    const mw_forest *forest;
    const mw_planted *tree;
    const uint16_t *ranks;
    double *out; /* [outputs][features + 1] */
} walker;

static const uint32_t NO_FEATURE = UINT32_MAX;

static void extend(way *path, uint32_t length, double zero, double one, uint32_t feature)
{
    path[length] = (way){feature, zero, one, length == 0};
    for (uint32_t i = length; i-- > 0;) {
        path[i + 1].weight += one * path[i].weight * (i + 1) / (length + 1);
        path[i].weight = zero * path[i].weight * (length - i) / (length + 1);
    }
}

/* Takes the `at`-th out again. */
static void unwind(way *path, uint32_t length, uint32_t at)
{
    double one = path[at].one, zero = path[at].zero, next = path[length].weight;
    for (uint32_t i = length; i-- > 0;) {
        if (one != 0) {
            double old = path[i].weight;
            path[i].weight = next * (length + 1) / ((i + 1) * one);
            next = old - path[i].weight * zero * (length - i) / (length + 1);
        } else {
            path[i].weight = path[i].weight * (length + 1) / (zero * (length - i));
        }
    }
    for (uint32_t i = at; i < length; i++)
        path[i] = (way){path[i + 1].feature, path[i + 1].zero, path[i + 1].one, path[i].weight};
}

/* The sum of the weights that there would be without the `at`-th. */
static double unwound(const way *path, uint32_t length, uint32_t at)
{
    double one = path[at].one, zero = path[at].zero, next = path[length].weight, sum = 0;
    for (uint32_t i = length; i-- > 0;) {
        if (one != 0) {
            double weight = next * (length + 1) / ((i + 1) * one);
            sum += weight;
            next = path[i].weight - weight * zero * (length - i) / (length + 1);
        } else if (zero != 0) {
            sum += path[i].weight / zero * (length + 1) / (length - i);
        }
    }
    return sum;
}

static void tell(const walker *w, uint32_t feature, double share, const double *values)
{
    uint32_t stride = w->forest->is.features + 1, width = w->forest->is.width;
    double *to = w->out + feature;
    if (width == 1) to += (size_t)w->tree->output * stride;
    for (uint32_t i = 0; i < width; i++) to[(size_t)i * stride] += share * values[i];
}

static void descend(const walker *w, uint32_t node, const way *before, uint32_t length, double zero,
                    double one, uint32_t feature)
{
    const mw_forest *f = w->forest;
    way path[DEPTH_MAX + 2];
    mw_step s = f->steps[node];
    if (length) memcpy(path, before, length * sizeof *path);
    extend(path, length, zero, one, feature);
    if (s.left == node) {
        const double *values = f->values + (size_t)f->leaf[node] * f->is.width;
        for (uint32_t i = 1; i <= length; i++)
            tell(w, path[i].feature, unwound(path, length, i) * (path[i].one - path[i].zero),
                 values);
        return;
    }
    uint32_t hot = s.left + (w->ranks[s.slot] > s.rank), cold = s.left + (hot == s.left), at = 1;
    double zero_so_far = 1, one_so_far = 1, cover = f->cover[node];
    feature = f->slots[s.slot].feature;
    while (at <= length && path[at].feature != feature) at++;
    if (at <= length) { /* tested before: its two tests become one */
        zero_so_far = path[at].zero, one_so_far = path[at].one;
        unwind(path, length, at);
        length--;
    }
    double hot_share = cover > 0 ? f->cover[hot] / cover : 0.5;
    double cold_share = cover > 0 ? f->cover[cold] / cover : 0.5;
    descend(w, hot, path, length + 1, hot_share * zero_so_far, one_so_far, feature);
    descend(w, cold, path, length + 1, cold_share * zero_so_far, 0, feature);
}

static void along_path(const walker *w)
{
    const mw_forest *f = w->forest;
    uint32_t width = f->is.width, node = w->tree->node;
    while (f->steps[node].left != node) {
        mw_step s = f->steps[node];
        uint32_t next = s.left + (w->ranks[s.slot] > s.rank), feature = f->slots[s.slot].feature;
        tell(w, feature, 1, f->means + (size_t)next * width);
        tell(w, feature, -1, f->means + (size_t)node * width);
        node = next;
    }
}

/* Children are behind their parents. */
void mw_forest_means(mw_forest *f)
{
    uint32_t width = f->is.width;
    f->means = calloc(f->node_count * width + 1, sizeof *f->means);
    mw_assert(f->means != NULL);
    for (size_t i = f->node_count; i-- > 0;) {
        double *mean = f->means + i * width;
        uint32_t left = f->steps[i].left;
        if (left == i) {
            memcpy(mean, f->values + (size_t)f->leaf[i] * width, width * sizeof *mean);
            continue;
        }
        double l = f->cover[left], r = f->cover[left + 1], both = f->cover[i];
        if (!(both > 0)) l = r = 0.5, both = 1;
        for (uint32_t w = 0; w < width; w++)
            mean[w] =
                (f->means[(size_t)left * width + w] * l + f->means[(left + 1ul) * width + w] * r) /
                both;
    }
}

mw_status mw_forest_explain(const mw_forest *f, const double *row, uint32_t first, uint32_t count,
                            int exact, double *contributions, void *scratch, mw_error *error)
{
    walker w = {f, NULL, scratch, contributions};
    if (f->uncovered)
        return mw_fail(error, MW_CONFIG,
                       "it cannot be explained: its file does not say how many rows came to each "
                       "node of its trees");
    if (exact && f->depth > DEPTH_MAX)
        return mw_fail(error, MW_LIMIT,
                       "its trees are %u deep, and exact contributions are for %d at most",
                       f->depth, DEPTH_MAX);
    mw_forest_ranks(f, row, scratch, 1);
    for (uint32_t t = first; t < first + count; t++) {
        w.tree = &f->trees[t];
        tell(&w, f->is.features, 1, f->means + (size_t)w.tree->node * f->is.width);
        if (exact) descend(&w, w.tree->node, NULL, 0, 1, 1, NO_FEATURE);
        else
            along_path(&w);
    }
    return MW_OK;
}
