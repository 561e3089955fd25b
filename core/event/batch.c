/* batch.c: see batch.h. */
#include "event/batch.h"
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

mw_batch *mw_batch_new(size_t room)
{
    mw_batch *b = calloc(1, sizeof *b);
    mw_assert(b != NULL);
    mw_arena_init(&b->arena, 4096);
    mw_batch_reserve(b, room);
    return b;
}

static void release_garbage(mw_batch *b)
{
    mw_garbage *g = atomic_exchange(&b->garbage, NULL);
    while (g) {
        mw_garbage *next = g->next;
        g->release(g);
        g = next;
    }
}

void mw_batch_free(mw_batch *b)
{
    if (!b) return;
    release_garbage(b);
    mw_arena_close(&b->arena);
    free(b->block);
    free(b->events);
    free(b);
}

void mw_batch_reset(mw_batch *b, size_t keep_room)
{
    release_garbage(b);
    mw_arena_reset(&b->arena);
    mw_batch kept = {.block = b->block,
                     .room = b->room,
                     .events = b->events,
                     .events_room = b->events_room,
                     .arena = b->arena};
    if (b->room > keep_room * 2) {
        free(b->block);
        kept.block = NULL, kept.room = 0;
    }
    *b = kept;
    mw_batch_reserve(b, keep_room);
}

void mw_batch_reserve(mw_batch *b, size_t room)
{
    if (b->block && b->room >= room) return;
    b->block = realloc(b->block, room + MW_JSON_PADDING);
    mw_assert(b->block != NULL);
    memset(b->block + room, 0, MW_JSON_PADDING);
    b->room = room;
}

void mw_batch_add(mw_batch *b, const char *raw, size_t raw_len, const char *text, size_t len)
{
    if (b->count == b->events_room) {
        b->events_room = b->events_room ? b->events_room * 2 : 16;
        b->events = realloc(b->events, b->events_room * sizeof *b->events);
        mw_assert(b->events != NULL);
    }
    b->events[b->count] = (mw_event){.text = text,
                                     .raw = raw,
                                     .len = (uint32_t)len,
                                     .raw_len = (uint32_t)raw_len,
                                     .origin = b->count};
    b->count++;
}

void mw_batch_expect_replies(mw_batch *b)
{
    if (!b->wants_replies || b->count == 0) return;
    b->replies = mw_arena_get(&b->arena, b->count * sizeof *b->replies);
    memset(b->replies, 0, b->count * sizeof *b->replies);
}

int mw_batch_reply(mw_batch *b, uint32_t event, unsigned http_status, const char *text, size_t len)
{
    if (!b->replies || event >= b->count) return 0;
    mw_reply *r = &b->replies[event];
    uint16_t none = MW_REPLY_NONE;
    if (!atomic_compare_exchange_strong(&r->state, &none, MW_REPLY_WRITING)) return 0;
    r->text = text, r->len = (uint32_t)len, r->http_status = (uint16_t)http_status;
    atomic_store(&r->state, MW_REPLY_SET);
    return 1;
}

void mw_batch_attach(mw_batch *b, mw_garbage *g)
{
    void *head = atomic_load(&b->garbage);
    do g->next = head;
    while (!atomic_compare_exchange_weak(&b->garbage, &head, g));
}
