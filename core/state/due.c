/* due.c: see due.h. */
#include "state/due.h"
#include "base/status.h"

#include <stdlib.h>

enum { ARITY = 4 };

void mw_due_close(mw_due *d)
{
    free(d->items);
    *d = (mw_due){0};
}

static int is_before(const mw_due_item *a, const mw_due_item *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->id < b->id);
}

void mw_due_push(mw_due *d, int64_t at_ns, uint32_t id)
{
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 64;
        d->items = realloc(d->items, d->room * sizeof *d->items);
        mw_assert(d->items != NULL);
    }
    mw_due_item item = {at_ns, id};
    size_t i = d->count++;
    for (; i > 0 && is_before(&item, &d->items[(i - 1) / ARITY]); i = (i - 1) / ARITY)
        d->items[i] = d->items[(i - 1) / ARITY];
    d->items[i] = item;
}

mw_due_item mw_due_pop(mw_due *d)
{
    mw_due_item first = d->items[0], last = d->items[--d->count];
    size_t i = 0;
    for (;;) {
        size_t child = i * ARITY + 1, least = child;
        if (child >= d->count) break;
        for (size_t k = 1; k < ARITY && child + k < d->count; k++)
            if (is_before(&d->items[child + k], &d->items[least])) least = child + k;
        if (!is_before(&d->items[least], &last)) break;
        d->items[i] = d->items[least];
        i = least;
    }
    d->items[i] = last;
    return first;
}
