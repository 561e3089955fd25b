/* chunks.c: see chunks.h. */
#include "state/chunks.h"
#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SMALL_PAGE = 4096 };

struct mw_chunks {
    char **taken;
    size_t count;
    int working;
    pthread_t thread;
    _Atomic(char *) ready; /* made by the thread, which then ends */
};

/* Twice as much is mapped, and what is before and behind an aligned piece given back. */
static char *new_chunk(void)
{
    char *all =
        mmap(NULL, 2 * MW_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mw_assert(all != MAP_FAILED);
    size_t before = (MW_CHUNK_BYTES - (uintptr_t)all % MW_CHUNK_BYTES) % MW_CHUNK_BYTES;
    if (before) munmap(all, before);
    munmap(all + before + MW_CHUNK_BYTES, MW_CHUNK_BYTES - before);
    return all + before;
}

static void *make_ready(void *self)
{
    mw_chunks *c = self;
    char *chunk = new_chunk();
    madvise(chunk, MW_CHUNK_BYTES, MADV_HUGEPAGE);
    for (size_t at = 0; at < MW_CHUNK_BYTES; at += SMALL_PAGE)
        *(volatile char *)(chunk + at) = 0; /* where there are no large pages, all small ones */
    atomic_store(&c->ready, chunk);
    return NULL;
}

mw_chunks *mw_chunks_new(void)
{
    mw_chunks *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    return c;
}

char *mw_chunks_take(mw_chunks *c)
{
    /* the last is full: if it is of small pages, the system may make it a large one when it has
     * time */
    if (c->count) madvise(c->taken[c->count - 1], MW_CHUNK_BYTES, MADV_HUGEPAGE);
    char *chunk = atomic_exchange(&c->ready, NULL);
    if (chunk) {
        pthread_join(c->thread, NULL);
        c->working = 0;
    } else {
        chunk = new_chunk();
    }
    if (!c->working) c->working = pthread_create(&c->thread, NULL, make_ready, c) == 0;
    c->taken = realloc(c->taken, (c->count + 1) * sizeof *c->taken);
    mw_assert(c->taken != NULL);
    c->taken[c->count++] = chunk;
    return chunk;
}

void mw_chunks_free(mw_chunks *c)
{
    if (!c) return;
    if (c->working) pthread_join(c->thread, NULL);
    char *ready = atomic_load(&c->ready);
    if (ready) munmap(ready, MW_CHUNK_BYTES);
    for (size_t i = 0; i < c->count; i++) munmap(c->taken[i], MW_CHUNK_BYTES);
    free(c->taken);
    free(c);
}
