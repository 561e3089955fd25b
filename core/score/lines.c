/* lines.c: see lines.h. */
#include "score/lines.h"

#include "base/status.h"

#include <math.h>
#include <stdlib.h>

static void *room_for(void *items, size_t size, size_t *room, size_t need)
{
    if (need <= *room) return items;
    while (*room < need) *room = *room ? *room * 2 : 64;
    items = realloc(items, *room * size);
    mw_assert(items != NULL);
    return items;
}

void mw_lines_free(mw_lines *l)
{
    if (!l) return;
    free(l->lines), free(l->trees), free(l->features), free(l->factors), free(l);
}

void mw_lines_tree(mw_lines *l)
{
    l->trees = room_for(l->trees, sizeof *l->trees, &l->tree_room, l->tree_count + 1);
    l->trees[l->tree_count++] = l->count;
}

void mw_lines_add(mw_lines *l, double constant, double instead, const double *features,
                  const double *factors, size_t count)
{
    size_t room = l->term_room;
    l->lines = room_for(l->lines, sizeof *l->lines, &l->room, l->count + 1);
    l->lines[l->count++] = (mw_line){constant, instead, l->term_count, (uint32_t)count};
    l->features = room_for(l->features, sizeof *l->features, &room, l->term_count + count);
    l->factors = room_for(l->factors, sizeof *l->factors, &l->term_room, l->term_count + count);
    for (size_t i = 0; i < count; i++) {
        l->features[l->term_count] = (uint32_t)features[i];
        l->factors[l->term_count++] = factors[i];
    }
}

double mw_lines_value(const mw_lines *l, uint32_t tree, uint32_t leaf, const double *row)
{
    const mw_line *line = &l->lines[l->trees[tree] + leaf];
    double sum = line->constant;
    for (size_t i = line->first; i < line->first + line->count; i++) {
        double value = row[l->features[i]];
        if (isnan(value)) return line->instead;
        if (fabs(value) > (double)1e-35f) sum += l->factors[i] * value; /* tiny values are zero */
    }
    return sum;
}
