/* ring.h: a single-producer, single-consumer ring of fixed-size messages; the only way between
 * shards.
 *
 * One thread pushes, one thread pops; neither waits. Head and tail live on cache lines of their
 * own, and each side keeps a copy of the other's index, so that an uncontended push touches no
 * shared line (Lamport's queue with the cached indices of Rigtorp's SPSCQueue). */
#ifndef MW_RING_H
#define MW_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mw_message {
    uint32_t kind;   /* what it is: the consumer's business */
    uint32_t target; /* whom it is for */
    void *body;
} mw_message;

typedef struct mw_ring {
    _Alignas(64) _Atomic size_t head; /* next to pop */
    size_t tail_seen;                 /* consumer's copy of tail */
    _Alignas(64) _Atomic size_t tail; /* next to push */
    size_t head_seen;                 /* producer's copy of head */
    size_t mask;
    mw_message *slots;
} mw_ring;

/* `room` is a power of two. */
void mw_ring_init(mw_ring *r, size_t room);
void mw_ring_close(mw_ring *r);
/* 0 when full. Producer's thread. */
int mw_ring_push(mw_ring *r, mw_message m);
/* 0 when empty. Consumer's thread. */
int mw_ring_pop(mw_ring *r, mw_message *m);

#endif
