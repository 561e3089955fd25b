/* delivery.c: when a batch is done, and what that does to its partition's position.
 *
 * Everything that a batch causes holds it. When the last hold goes, the batch returns to its
 * source's shard; the partition's position moves past it when all batches before it are done too.
 */
#include "flow/flow_private.h"

#include <string.h>

void mw_delivery_hold(mw_batch *b)
{
    atomic_fetch_add_explicit(&b->holds, 1, memory_order_relaxed);
}

void mw_delivery_release(mw_shard *s, mw_batch *b)
{
    if (atomic_fetch_sub_explicit(&b->holds, 1, memory_order_acq_rel) != 1) return;
    mw_source_host *home = b->owner;
    if (home->shard == s) mw_shard_finish(s, b);
    else
        mw_post_send(s->flow->post, s->index, home->shard->index,
                     (mw_message){.kind = MW_MSG_DONE, .body = b});
}

void mw_delivery_drop(mw_batch *b)
{
    if (atomic_fetch_sub_explicit(&b->holds, 1, memory_order_acq_rel) == 1) mw_batch_free(b);
}

const char *mw_delivery_partition(const mw_batch *b)
{
    const mw_partition *p = b->partition;
    const mw_source_host *home = b->owner;
    return p ? p->key + strlen("source/") + strlen(home->source.name) + 1 : NULL;
}

uint64_t mw_delivery_position(const mw_batch *b, uint32_t origin)
{
    const char *raw = origin < b->count ? b->events[origin].raw : NULL;
    size_t distance = raw >= b->block && raw <= b->block + b->len ? (size_t)(raw - b->block) : 0;
    return b->position_of ? b->position_of(b, distance) : b->position + distance;
}

static mw_tally *tally_of(mw_shard *s, const mw_batch *b)
{
    return &mw_version_of(b)->tallies[s->index];
}

void mw_delivery_begin(mw_shard *s, mw_batch *b)
{
    mw_count(&tally_of(s, b)->begun, 1);
    mw_count(&s->begun[b->cut & 1], 1);
    if (atomic_load(&b->deciding)) atomic_fetch_add(&b->deciding, 1);
}

void mw_delivery_decided(mw_shard *s, mw_batch *b)
{
    mw_counter *ended = &tally_of(s, b)->ended, *cut = &s->ended[b->cut & 1];
    atomic_store_explicit(ended, mw_counted(ended) + 1, memory_order_release);
    atomic_store_explicit(cut, mw_counted(cut) + 1, memory_order_release);
    if (!atomic_load(&b->deciding) || atomic_fetch_sub(&b->deciding, 1) != 1) return;
    mw_source_host *home = b->owner;
    if (home->shard == s) {
        home->source.kind->decided(&home->source, b);
        return;
    }
    mw_delivery_hold(b);
    mw_post_send(s->flow->post, s->index, home->shard->index,
                 (mw_message){.kind = MW_MSG_DECIDED, .body = b});
}

static void acknowledge(mw_source_host *h, mw_batch *b)
{
    mw_count(&h->events, b->count);
    if (h->source.kind->acknowledge) h->source.kind->acknowledge(&h->source, b);
    mw_source_host_returned(h, b);
}

void mw_delivery_done(mw_source_host *h, mw_batch *b)
{
    mw_partition *p = b->partition;
    b->done = 1;
    if (!p) {
        acknowledge(h, b);
        return;
    }
    while (p->oldest && p->oldest->done) {
        mw_batch *oldest = p->oldest;
        p->oldest = oldest->after;
        if (!p->oldest) p->newest = NULL;
        if (oldest->epoch == p->epoch) atomic_store(&p->safe, oldest->end_position);
        acknowledge(h, oldest);
    }
}
