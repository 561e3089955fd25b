/* due.h: what comes next in time: a heap of times and numbers (4-ary, Williams 1964).
 *
 * The least time comes first; of equal times, the least number. Nothing is taken out but the first:
 * whoever put an item in looks whether it still holds. Thread: one. Memory: 16 bytes an item. */
#ifndef MW_DUE_H
#define MW_DUE_H

#include <stddef.h>
#include <stdint.h>

typedef struct mw_due_item {
    int64_t at_ns;
    uint32_t id;
} mw_due_item;

typedef struct mw_due {
    mw_due_item *items;
    size_t count, room;
} mw_due;

void mw_due_close(mw_due *d);
void mw_due_push(mw_due *d, int64_t at_ns, uint32_t id);
mw_due_item mw_due_pop(mw_due *d); /* not when it is empty */
/* INT64_MAX when it is empty. */
static inline int64_t mw_due_next(const mw_due *d)
{
    return d->count ? d->items[0].at_ns : INT64_MAX;
}

#endif
