/* arena.h: memory that is given back all at once.
 *
 * An arena hands out pieces of larger chunks and frees none of them singly. Pieces are aligned to 8
 * bytes and stay where they are until the arena is reset. Reset keeps the first chunk, so that a
 * recycled arena costs nothing. Thread: one at a time. */
#ifndef MW_ARENA_H
#define MW_ARENA_H

#include <stddef.h>

typedef struct mw_arena_chunk mw_arena_chunk;

typedef struct mw_arena {
    mw_arena_chunk *first, *last;
    size_t chunk_bytes;
    size_t total_bytes;
} mw_arena;

void mw_arena_init(mw_arena *a, size_t chunk_bytes);
void mw_arena_close(mw_arena *a);
void mw_arena_reset(mw_arena *a);
/* Never NULL: memory that cannot be had ends the process, and the supervisor restarts from the
 * checkpoint. */
void *mw_arena_get(mw_arena *a, size_t bytes);
void *mw_arena_copy(mw_arena *a, const void *from, size_t bytes);

#endif
