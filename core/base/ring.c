/* ring.c: see ring.h. */
#include "base/ring.h"
#include "base/status.h"

#include <stdlib.h>

void mw_ring_init(mw_ring *r, size_t room)
{
    mw_assert((room & (room - 1)) == 0);
    *r = (mw_ring){.mask = room - 1, .slots = calloc(room, sizeof *r->slots)};
    mw_assert(r->slots != NULL);
}

void mw_ring_close(mw_ring *r)
{
    free(r->slots);
    r->slots = NULL;
}

int mw_ring_push(mw_ring *r, mw_message m)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail - r->head_seen > r->mask) {
        r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
        if (tail - r->head_seen > r->mask) return 0;
    }
    r->slots[tail & r->mask] = m;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return 1;
}

int mw_ring_pop(mw_ring *r, mw_message *m)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head == r->tail_seen) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head == r->tail_seen) return 0;
    }
    *m = r->slots[head & r->mask];
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return 1;
}
