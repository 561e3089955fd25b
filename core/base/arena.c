/* arena.c: see arena.h. */
#include "base/arena.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

struct mw_arena_chunk {
    mw_arena_chunk *next;
    size_t used, size;
    char bytes[];
};

static mw_arena_chunk *chunk_new(mw_arena *a, size_t at_least)
{
    size_t size = at_least > a->chunk_bytes ? at_least : a->chunk_bytes;
    mw_arena_chunk *c = malloc(sizeof *c + size);
    mw_assert(c != NULL);
    c->next = NULL, c->used = 0, c->size = size;
    a->total_bytes += size;
    return c;
}

void mw_arena_init(mw_arena *a, size_t chunk_bytes)
{
    *a = (mw_arena){.chunk_bytes = chunk_bytes};
}

void mw_arena_close(mw_arena *a)
{
    for (mw_arena_chunk *c = a->first, *next; c; c = next) next = c->next, free(c);
    mw_arena_init(a, a->chunk_bytes);
}

void mw_arena_reset(mw_arena *a)
{
    mw_arena_chunk *keep = a->first;
    if (!keep) return;
    if (keep->size > a->chunk_bytes) { /* an unusually large first chunk is not kept for ever */
        mw_arena_close(a);
        return;
    }
    for (mw_arena_chunk *c = keep->next, *next; c; c = next) next = c->next, free(c);
    keep->next = NULL, keep->used = 0;
    a->last = keep, a->total_bytes = keep->size;
}

void *mw_arena_get(mw_arena *a, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    mw_arena_chunk *c = a->last;
    if (!c || c->size - c->used < bytes) {
        c = chunk_new(a, bytes);
        if (a->last) a->last->next = c;
        else
            a->first = c;
        a->last = c;
    }
    void *piece = c->bytes + c->used;
    c->used += bytes;
    return piece;
}

void *mw_arena_copy(mw_arena *a, const void *from, size_t bytes)
{
    return memcpy(mw_arena_get(a, bytes ? bytes : 1), from, bytes);
}
