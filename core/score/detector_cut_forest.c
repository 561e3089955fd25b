/* detector_cut_forest.c: how much the newest point displaces in trees that cut at random (random
 * cut forest: Guha, Mishra, Roy, Schrijvers, "Robust random cut forest based anomaly detection on
 * streams", ICML 2016): a tree's cuts fall on a side in proportion to its length, points come and
 * go as if the tree had been cut anew without them (the paper's InsertPoint and ForgetPoint), and a
 * point's collusive displacement is the most that lie beside, for one that would go with it.
 * A point is the last few values. All trees are of one sample of points, of which each has the same
 * chance to be replaced (biased reservoir sampling: Aggarwal, VLDB 2006), so that old ones fade
 * away. The mean displacement is judged as the default kind judges values: 1 - exp(-3 margin)
 * beyond the extremes of late (extremes.h), so 0.5 at a quarter of their range or so. */
#include "score/detector_private.h"
#include "score/extremes.h"

#include <string.h>

enum { TREES, SAMPLE, SHINGLE, WINDOW, LEAVES = 128, MOST_SHINGLE = 8, STEPS = 256 };

static const mw_option options[] = {
    {"trees", MW_OPT_NUMBER, "32", "trees", NULL, NULL},
    {"sample", MW_OPT_NUMBER, "100", "points that trees are of", NULL, NULL},
    {"shingle", MW_OPT_NUMBER, "4", "values that are a point", NULL, NULL},
    {"window", MW_OPT_NUMBER, "1000", "how old points of the sample are, in the mean", NULL, NULL},
    {0}};

static const mw_detector_range ranges[] = {{"trees", 32, 1, 100},
                                           {"sample", 100, 8, LEAVES - 1},
                                           {"shingle", 4, 1, MOST_SHINGLE},
                                           {"window", 1000, 8, 1e9},
                                           {0}};

static const double SHARPNESS = 3;

/* A node is a byte: below LEAVES a leaf, which is the point in that place of the sample, else a cut
 * of two nodes. One place of the sample is spare, for a point that comes before another goes. A
 * node's box is known by the points that lie on its sides: 2 bytes a dimension. */
typedef uint8_t node_id;

typedef struct cut {
    double at; /* what is not greater lies to the left */
    uint8_t side, mass;
    node_id left, right, parent;
} cut;

typedef struct tree {
    node_id root, spare; /* of cuts */
    node_id parent[LEAVES];
    cut cuts[LEAVES];
    uint8_t boxes[]; /* of each cut, lowest and highest point by dimension */
} tree;

typedef struct cut_forest {
    uint64_t values; /* that came */
    double last[MOST_SHINGLE];
    mw_extremes extremes; /* of displacements */
    uint32_t held, spare;
    double points[]; /* LEAVES of so many values, and then the trees */
} cut_forest;

typedef struct view {
    cut_forest *forest;
    tree *tree;
    uint32_t sides;
} view;

static size_t tree_bytes(uint32_t sides)
{
    return (sizeof(tree) + 2ul * LEAVES * sides + 7) / 8 * 8;
}

static size_t bytes(const mw_detector *d)
{
    uint32_t sides = (uint32_t)d->number[SHINGLE];
    return sizeof(cut_forest) + LEAVES * sizeof(double) * sides +
           (size_t)d->number[TREES] * tree_bytes(sides);
}

static cut *cut_of(const view *v, node_id id)
{
    return &v->tree->cuts[id % LEAVES];
}

static node_id *parent_of(const view *v, node_id id)
{
    return id < LEAVES ? &v->tree->parent[id] : &cut_of(v, id)->parent;
}

static uint32_t mass_of(const view *v, node_id id)
{
    return id < LEAVES || !cut_of(v, id)->mass ? 1 : cut_of(v, id)->mass;
}

static uint8_t *box_of(const view *v, node_id id)
{
    return v->tree->boxes + 2ul * v->sides * (id % LEAVES);
}

static double value_of(const view *v, uint8_t point, uint32_t side)
{
    return v->forest->points[(size_t)(point % LEAVES) * v->sides + side];
}

/* The point at the lower (0) or upper (1) end of a side of a node's box. */
static uint8_t end_of(const view *v, node_id id, uint32_t side, uint32_t upper)
{
    return id < LEAVES ? id : box_of(v, id)[2 * side + upper];
}

static int is_one_point(const view *v, node_id id)
{
    for (uint32_t q = 0; q < v->sides; q++)
        if (value_of(v, end_of(v, id, q, 0), q) != value_of(v, end_of(v, id, q, 1), q)) return 0;
    return 1;
}

static void put_in_place(const view *v, node_id old, node_id new)
{
    node_id above = *parent_of(v, old);
    if (old == v->tree->root) v->tree->root = new;
    else if (cut_of(v, above)->left == old)
        cut_of(v, above)->left = new;
    else
        cut_of(v, above)->right = new;
    *parent_of(v, new) = above;
}

/* A cut of the box of a node and a point, by a number from 0 to 1. -1: the point lies left of all
 * of the node; 1: right of it; 0: it does not divide them. */
static int choose(const view *v, node_id id, node_id leaf, double chance, cut *c)
{
    double low[MOST_SHINGLE], length[MOST_SHINGLE], all = 0;
    for (uint32_t q = 0; q < v->sides; q++) {
        double x = value_of(v, leaf, q);
        low[q] = fmin(x, value_of(v, end_of(v, id, q, 0), q));
        length[q] = fmax(x, value_of(v, end_of(v, id, q, 1), q)) - low[q];
        all += length[q];
    }
    uint32_t side = 0;
    double rest = chance * all;
    while (side + 1 < v->sides && !(rest < length[side])) rest -= length[side++];
    while (side && !(length[side] > 0)) side--; /* by rounding */
    double at = low[side] + rest;
    if (!(at < low[side] + length[side])) at = low[side];
    c->side = (uint8_t)side, c->at = at;
    if (at < value_of(v, end_of(v, id, side, 0), side)) return -1;
    return !(all > 0) || id < LEAVES || !(at < value_of(v, end_of(v, id, side, 1), side));
}

static void widen(const view *v, uint8_t *box, node_id leaf)
{
    for (uint32_t q = 0; q < v->sides; q++) {
        double x = value_of(v, leaf, q);
        if (x < value_of(v, box[2 * q], q)) box[2 * q] = leaf;
        if (x > value_of(v, box[2 * q + 1], q)) box[2 * q + 1] = leaf;
    }
}

static void insert(const view *v, node_id leaf, uint64_t seed)
{
    node_id at = v->tree->root, new = v->tree->spare | LEAVES;
    cut *made = cut_of(v, new), chosen = {0};
    int where = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        where = choose(v, at, leaf, mw_random_unit(seed + step), &chosen);
        if (where) break;
        cut *c = cut_of(v, at);
        c->mass++;
        widen(v, box_of(v, at), leaf);
        at = value_of(v, leaf, c->side % v->sides) <= c->at ? c->left : c->right;
    }
    put_in_place(v, at, new);
    *made = (cut){.at = chosen.at, .side = chosen.side, .parent = made->parent};
    made->mass = (uint8_t)(mass_of(v, at) + 1);
    made->left = where < 0 ? leaf : at, made->right = where < 0 ? at : leaf;
    for (uint32_t q = 0; q < v->sides; q++)
        for (uint32_t upper = 0; upper < 2; upper++)
            box_of(v, new)[2 * q + upper] = end_of(v, at, q, upper);
    widen(v, box_of(v, new), leaf);
    *parent_of(v, at) = *parent_of(v, leaf) = new;
}

/* The sides of a cut's box on which a point lay that goes, by those of what it divides. */
static void measure(const view *v, node_id id, node_id leaf)
{
    const cut *c = cut_of(v, id);
    uint8_t *box = box_of(v, id);
    for (uint32_t i = 0; i < 2 * v->sides; i++) {
        if (box[i] != leaf) continue;
        uint32_t side = i / 2, upper = i % 2;
        uint8_t left = end_of(v, c->left, side, upper), right = end_of(v, c->right, side, upper);
        double beyond = value_of(v, right, side) - value_of(v, left, side);
        box[i] = (upper ? beyond > 0 : beyond < 0) ? right : left;
    }
}

static void forget(const view *v, node_id leaf)
{
    node_id gone = *parent_of(v, leaf);
    const cut *c = cut_of(v, gone);
    int last = gone == v->tree->root;
    put_in_place(v, gone, c->left == leaf ? c->right : c->left);
    v->tree->spare = gone;
    node_id at = c->parent;
    for (uint32_t step = 0; !last && step < STEPS; step++) {
        cut_of(v, at)->mass--;
        measure(v, at, leaf);
        last = at == v->tree->root;
        at = cut_of(v, at)->parent;
    }
}

/* Points that are the same go together. */
static double displacement(const view *v, node_id leaf)
{
    double most = 0;
    node_id at = leaf;
    for (uint32_t step = 0; at != v->tree->root && step < STEPS; step++) {
        node_id above = *parent_of(v, at);
        if (!is_one_point(v, above)) break;
        at = above;
    }
    for (uint32_t step = 0; at != v->tree->root && step < STEPS; step++) {
        node_id above = *parent_of(v, at);
        const cut *c = cut_of(v, above);
        node_id beside = c->left == at ? c->right : c->left;
        most = fmax(most, (double)mass_of(v, beside) / mass_of(v, at));
        at = above;
    }
    return most;
}

/* Which leaf goes, now that `new` has come: it, or, by chance, one of before. */
static node_id who_goes(const mw_detector *d, const cut_forest *f, node_id new, uint64_t seed)
{
    double sample = d->number[SAMPLE];
    if (!(mw_random_unit(seed) < sample / d->number[WINDOW])) return new;
    uint32_t n = (uint32_t)(mw_random_unit(seed + 1) * sample);
    return (node_id)(n < f->spare ? n : n + 1);
}

static double point(const mw_detector *d, void *state, double value, double time_s)
{
    cut_forest *f = state;
    uint32_t sides = (uint32_t)d->number[SHINGLE], sample = (uint32_t)d->number[SAMPLE];
    uint32_t trees = (uint32_t)d->number[TREES];
    (void)time_s;
    memmove(f->last + 1, f->last, (sides - 1) * sizeof *f->last);
    f->last[0] = value;
    uint64_t n = f->values++, seed = n << 20;
    if (n + 1 < sides) return 0;
    int full = f->held >= sample;
    node_id leaf = (node_id)((full ? f->spare : f->held) % LEAVES);
    memcpy(f->points + (size_t)leaf * sides, f->last, sides * sizeof *f->last);
    node_id goes = full ? who_goes(d, f, leaf, seed + 1000) : leaf;
    char *first = (char *)(f->points + (size_t)LEAVES * sides);
    double sum = 0;
    for (uint32_t t = 0; t < trees; t++) {
        view v = {f, (tree *)(void *)(first + t * tree_bytes(sides)), sides};
        if (leaf || full) insert(&v, leaf, seed + (t + 1) * 1024ul);
        if (!full) { /* of n leaves there are n - 1 cuts */
            v.tree->spare = leaf | LEAVES;
            continue;
        }
        sum += displacement(&v, leaf);
        forget(&v, goes % LEAVES);
    }
    if (!full) f->held++, f->spare = f->held;
    else
        f->spare = goes % LEAVES;
    return full ? 1 - exp(-SHARPNESS * mw_extremes_add(&f->extremes, sum / trees)) : 0;
}

const mw_detector_kind mw_detector_cut_forest = {"random-cut-forest", options, ranges, bytes,
                                                 point};
