/* post.c: see post.h. */
#include "flow/post.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

enum { RING_ROOM = 256 };

typedef struct lane {
    mw_ring ring;
    mw_message *spill; /* what did not fit, oldest first; the sender's */
    size_t spilled, room;
    _Atomic int waiting; /* the sender has spilled, and wants to be woken when there is room */
} lane;

typedef struct box {
    mw_post *post;
    unsigned index;
    _Atomic int open;
    uv_async_t wake;
    mw_post_handler handler;
    void *self;
} box;

struct mw_post {
    unsigned count;
    lane *lanes; /* [from * count + to] */
    box *boxes;
};

mw_post *mw_post_new(unsigned boxes)
{
    mw_post *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    p->count = boxes;
    p->lanes = aligned_alloc(64, (size_t)boxes * boxes * sizeof *p->lanes);
    p->boxes = calloc(boxes, sizeof *p->boxes);
    mw_assert(p->lanes != NULL && p->boxes != NULL);
    memset(p->lanes, 0, (size_t)boxes * boxes * sizeof *p->lanes);
    for (unsigned i = 0; i < boxes * boxes; i++) mw_ring_init(&p->lanes[i].ring, RING_ROOM);
    for (unsigned i = 0; i < boxes; i++) p->boxes[i].post = p, p->boxes[i].index = i;
    return p;
}

void mw_post_free(mw_post *p)
{
    if (!p) return;
    for (unsigned i = 0; i < p->count * p->count; i++) {
        mw_ring_close(&p->lanes[i].ring);
        free(p->lanes[i].spill);
    }
    free(p->lanes);
    free(p->boxes);
    free(p);
}

/* The fence is between the push and libuv's look at whether a wake-up is pending already: without
 * it the processor may look first, see one that the receiver is just done with, and the message
 * would wait for the next. */
static void wake(box *b)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&b->open)) uv_async_send(&b->wake);
}

/* Moves what was spilled into the ring; true when nothing is left. */
static int refill(lane *l)
{
    size_t moved = 0;
    while (moved < l->spilled && mw_ring_push(&l->ring, l->spill[moved])) moved++;
    if (!moved) return l->spilled == 0;
    l->spilled -= moved;
    memmove(l->spill, l->spill + moved, l->spilled * sizeof *l->spill);
    return l->spilled == 0;
}

static void on_wake(uv_async_t *handle)
{
    box *b = handle->data;
    mw_post *p = b->post;
    mw_message m;
    for (unsigned from = 0; from < p->count; from++) {
        lane *in = &p->lanes[from * p->count + b->index],
             *out = &p->lanes[b->index * p->count + from];
        size_t popped = 0;
        while (popped < RING_ROOM && mw_ring_pop(&in->ring, &m)) b->handler(b->self, m), popped++;
        if (popped == RING_ROOM) uv_async_send(&b->wake);     /* the others get their turn first */
        if (atomic_load(&in->waiting)) wake(&p->boxes[from]); /* there is room, whoever made it */
        if (out->spilled) {
            atomic_store(&out->waiting, !refill(out));
            wake(&p->boxes[from]);
        }
    }
}

void mw_post_open(mw_post *p, unsigned index, uv_loop_t *loop, mw_post_handler handler, void *self)
{
    box *b = &p->boxes[index];
    b->handler = handler, b->self = self;
    b->wake.data = b;
    mw_assert(uv_async_init(loop, &b->wake, on_wake) == 0);
    atomic_store(&b->open, 1);
    uv_async_send(&b->wake);
}

void mw_post_close(mw_post *p, unsigned index)
{
    atomic_store(&p->boxes[index].open, 0);
    uv_close((uv_handle_t *)&p->boxes[index].wake, NULL);
}

void mw_post_send(mw_post *p, unsigned from, unsigned to, mw_message m)
{
    lane *l = &p->lanes[from * p->count + to];
    if ((l->spilled == 0 || refill(l)) && mw_ring_push(&l->ring, m)) {
        wake(&p->boxes[to]);
        return;
    }
    if (l->spilled == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->spill = realloc(l->spill, l->room * sizeof *l->spill);
        mw_assert(l->spill != NULL);
    }
    l->spill[l->spilled++] = m;
    atomic_store(&l->waiting, 1);
    wake(&p->boxes[to]);
}
