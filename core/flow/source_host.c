/* source_host.c: the router's side of a source: batches out, push-back, partitions (the source half
 * of plugin.h). */
#include "base/clock.h"
#include "base/log.h"
#include "flow/buffer.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPARES_MAX = 64, BATCH_WEIGHT = 4096, DEALT_MAX = 3, WAITING_BATCH = 32 << 10 };

static mw_source_host *host_of(mw_source *s)
{
    return (mw_source_host *)s;
}

/* The instance that another one takes the place of, if there is one at this shard. */
static mw_source_host *forerunner(const mw_source_host *h)
{
    for (mw_source_host *was = h->shard->sources; was; was = was->next)
        if (was != h && was->open && !was->heir && strcmp(was->source.name, h->source.name) == 0)
            return was;
    return NULL;
}

/* A socket that listens at the same address goes from one to the other, so that nobody who connects
 * meanwhile is refused. */
static const char *address_of(mw_config *c)
{
    return mw_config_text(c, "listen", mw_config_text(c, "path", ""));
}

static void inherit(mw_source_host *h)
{
    mw_source_host *was = forerunner(h);
    if (!was || was->source.kind != h->source.kind || !was->source.kind->hand_over) return;
    if (strcmp(address_of(was->source.config), address_of(h->source.config)) != 0) return;
    h->source.inherited = was->source.kind->hand_over(&was->source);
    *mw_source_lock_shared(&h->source) = *was->shared;
    mw_source_unlock_shared(&h->source);
}

mw_status mw_source_host_open(mw_source_host *h, mw_error *error)
{
    mw_flow *f = h->shard->flow;
    mw_declared *d = &h->origin->graph.sources[h->index];
    h->source = (mw_source){.kind = d->source_kind,
                            .name = d->name,
                            .config = d->config,
                            .format = d->format,
                            .limit = (size_t)mw_config_int(d->config, "limit", 16 << 20),
                            .loop = &h->shard->loop,
                            .shard = h->shard->index,
                            .shards = f->shards,
                            .inherited = -1,
                            .exactly_once = h->origin->graph.exactly_once,
                            .batch_bytes = h->origin->graph.store_count ? WAITING_BATCH : 0,
                            .once = f->options.once};
    h->in_flight_max = (size_t)mw_config_int(d->config, "in_flight", 8 << 20);
    inherit(h);
    mw_status status = d->source_kind->open(&h->source, error);
    if (h->source.inherited >= 0) close(h->source.inherited);
    h->open = status == MW_OK;
    if (h->open) mw_buffer_link(h);
    return status;
}

void mw_source_host_change(mw_source_host *h, mw_version *v)
{
    mw_declared *d = &v->graph.sources[h->index];
    atomic_fetch_add(&v->users, 1);
    atomic_fetch_sub(&h->origin->users, 1); /* the version stays until nothing of it is in flight */
    h->origin = v;
    h->source.name = d->name;
    h->source.config = d->config;
    h->source.format = d->format;
    h->source.limit = (size_t)mw_config_int(d->config, "limit", 16 << 20);
    h->in_flight_max = (size_t)mw_config_int(d->config, "in_flight", 8 << 20);
    h->source.kind->change(&h->source);
}

static void report_empty(mw_source_host *h)
{
    if (!h->ended || h->in_flight || h->empty) return;
    h->empty = 1;
    mw_shard_report(h->shard, MW_MSG_EMPTY, 0, h);
}

void mw_source_host_start(mw_source_host *h)
{
    if (h->started) return;
    h->started = 1;
    h->source.kind->start(&h->source);
    if (h->draining) h->source.kind->drain(&h->source);
}

void mw_source_host_drain(mw_source_host *h)
{
    if (h->draining || h->ended) return;
    h->draining = 1;
    if (h->started) h->source.kind->drain(&h->source);
    else
        mw_source_finished(&h->source);
}

void mw_source_host_close(mw_source_host *h)
{
    mw_time_forget(h);
    mw_buffer_unlink(h);
    h->source.kind->close(&h->source);
    h->open = 0;
}

void mw_source_host_free(mw_source_host *h)
{
    for (mw_batch *b = h->spare, *next; b; b = next) next = b->next, mw_batch_free(b);
    h->spare = NULL;
    mw_stream_close(&h->reject_stream);
    atomic_fetch_sub(&h->origin->users, 1);
    free(h);
}

/* ---- push-back ---- */

int mw_source_is_full(const mw_source *s)
{
    const mw_source_host *h = (const mw_source_host *)s;
    if (h->buffer) return h->in_flight_bytes >= h->in_flight_max || mw_buffer_is_full(h, 0);
    return h->in_flight_bytes >= h->in_flight_max || h->shard->is_full || h->shard->waits_full;
}

static int is_still_full(const mw_source_host *h)
{
    if (h->in_flight_bytes > h->in_flight_max / 4 * 3) return 1;
    return h->buffer ? mw_buffer_is_full(h, 1) : h->shard->is_full || h->shard->waits_full;
}

/* Resumes only when a quarter is free, so that it does not flutter. */
void mw_source_host_check_full(mw_source_host *h)
{
    int full = h->full ? is_still_full(h) : mw_source_is_full(&h->source);
    if (full == h->full) return;
    h->full = full;
    if (h->ended) return;
    void (*tell)(mw_source *) = full ? h->source.kind->pause : h->source.kind->resume;
    if (tell) tell(&h->source);
}

/* ---- batches ---- */

mw_batch *mw_source_take(mw_source *s, size_t room)
{
    mw_source_host *h = host_of(s);
    mw_batch *b = h->spare;
    if (!b) return mw_batch_new(room);
    h->spare = b->next;
    h->spares--;
    b->next = NULL;
    mw_batch_reserve(b, room);
    return b;
}

void mw_source_untake(mw_source *s, mw_batch *b)
{
    mw_source_host *h = host_of(s);
    if (h->spares == SPARES_MAX || b->room > (1 << 20)) {
        mw_batch_free(b);
        return;
    }
    mw_batch_reset(b, b->room);
    b->next = h->spare;
    h->spare = b;
    h->spares++;
}

/* Large batches are kept in reach of the other shards, a few each; what they have enough of is
 * worked on at home, which also reads. */
static mw_shard *choose_shard(mw_source_host *h)
{
    mw_flow *f = h->shard->flow;
    mw_shard *best = h->shard;
    uint32_t least = DEALT_MAX;
    for (unsigned i = 0; i < f->shards; i++) {
        uint32_t load = atomic_load_explicit(&f->shard[i].load, memory_order_relaxed);
        if (&f->shard[i] != h->shard && load < least) best = &f->shard[i], least = load;
    }
    return best;
}

static void give_to_buffer(mw_source_host *h, mw_batch *b)
{
    mw_count(&h->version->tallies[h->shard->index].given, 1);
    b->weight = b->room + BATCH_WEIGHT;
    h->in_flight++, h->in_flight_bytes += b->weight;
    mw_buffer_take(h, b);
    mw_source_host_check_full(h);
}

void mw_source_give(mw_source *s, mw_batch *b, mw_partition *p)
{
    mw_source_host *h = host_of(s);
    mw_flow *f = h->shard->flow;
    b->owner = h;
    b->version = h->version, b->source = h->index;
    b->partition = p;
    b->sequence = h->sequence++;
    b->cut = h->shard->marked_cut;
    b->done = 0, b->after = NULL;
    if (!b->time_ns) b->time_ns = mw_clock_wall_ns();
    if (h->buffer) {
        give_to_buffer(h, b);
        return;
    }
    mw_time_note(h, b);
    memset(b->block + b->len, 0, MW_JSON_PADDING);
    atomic_store(&b->holds, 1);
    atomic_store(&b->deciding, s->wants_decision ? 1 : 0);
    mw_tally *tally = &h->version->tallies[h->shard->index];
    mw_count(&tally->given, 1);
    mw_count(&tally->begun, 1);
    mw_count(&h->shard->begun[b->cut & 1], 1);
    if (p) {
        b->epoch = p->epoch;
        if (p->newest) p->newest->after = b;
        else
            p->oldest = b;
        p->newest = b;
    }
    b->weight = b->room + BATCH_WEIGHT;
    h->in_flight++, h->in_flight_bytes += b->weight;
    mw_shard *where = h->shard;
    if (s->kind->spread && f->shards > 1) {
        where = choose_shard(h);
        atomic_fetch_add(&where->load, 1);
    }
    if (where == h->shard) mw_shard_enqueue(where, b);
    else
        mw_post_send(f->post, h->shard->index, where->index,
                     (mw_message){.kind = MW_MSG_BATCH, .body = b});
    mw_source_host_check_full(h);
}

void mw_source_host_returned(mw_source_host *h, mw_batch *b)
{
    mw_counter *returned = &mw_version_of(b)->tallies[h->shard->index].returned;
    h->in_flight--, h->in_flight_bytes -= b->weight;
    mw_source_untake(&h->source, b);
    atomic_store_explicit(returned, mw_counted(returned) + 1, memory_order_release);
    mw_source_host_check_full(h);
    report_empty(h);
}

void mw_source_reject(mw_source *s, mw_partition *p, mw_stream *stream, uint64_t position,
                      uint64_t end_position, const char *bytes, size_t len, const char *why)
{
    mw_source_host *h = host_of(s);
    mw_batch *b = mw_source_take(s, len);
    if (len) memcpy(b->block, bytes, len);
    b->len = len, b->position = position, b->end_position = end_position;
    if (!stream) {
        mw_stream_init(&h->reject_stream, s->format, s->config, s->limit);
        stream = &h->reject_stream;
    }
    b->stream = stream;
    b->reject = mw_arena_copy(&b->arena, why, strlen(why) + 1);
    mw_count(&h->rejected, 1);
    mw_log(MW_WARN, s->name, "%s (at byte %llu; kept in the dead letters)", why,
           (unsigned long long)position);
    mw_source_give(s, b, p);
}

void mw_source_finished(mw_source *s)
{
    mw_source_host *h = host_of(s);
    if (h->ended) return;
    h->ended = 1;
    mw_shard_report(h->shard, MW_MSG_ENDED, 0, h);
    report_empty(h);
}

void mw_source_failed(mw_source *s, const char *why)
{
    mw_source_host *h = host_of(s);
    mw_log(MW_ERROR, s->name, "%s", why);
    mw_shard_report(h->shard, MW_MSG_FAILED, 0, NULL);
    mw_source_finished(s);
}

void mw_source_restart(mw_source *s, const char *why)
{
    mw_log(MW_ERROR, s->name, "%s; the run begins again from its last checkpoint", why);
    mw_shard_report(host_of(s)->shard, MW_MSG_FAILED, 2, NULL);
}

void mw_source_wants_checkpoint(mw_source *s)
{
    atomic_store(&host_of(s)->shard->flow->cut.wanted, 1);
}

void mw_source_dropped(mw_source *s, uint64_t events)
{
    mw_count(&host_of(s)->dropped, events);
}

int *mw_source_lock_shared(mw_source *s)
{
    mw_source_host *h = host_of(s);
    pthread_mutex_lock(&h->shard->flow->shared_lock);
    return h->shared;
}

void mw_source_unlock_shared(mw_source *s)
{
    pthread_mutex_unlock(&host_of(s)->shard->flow->shared_lock);
}

void mw_source_lag(mw_source *s, uint64_t bytes)
{
    atomic_store_explicit(&host_of(s)->lag, bytes, memory_order_relaxed);
}

void mw_source_stat(mw_source *s, const char *name, double value)
{
    mw_stats_set(&host_of(s)->stats, name, value);
}

void mw_source_read(mw_source *s, uint64_t bytes)
{
    mw_count(&host_of(s)->bytes, bytes);
}

/* ---- partitions: the stored record is the position in decimal, a space, and the note ---- */

static void recall(mw_flow *f, mw_partition *p)
{
    mw_buffer value = {0};
    if (f->store && mw_store_get(f->store, p->key, &value) && value.len >= 8) {
        uint64_t position;
        memcpy(&position, value.bytes, 8);
        p->known = 1, p->start = p->saved = position;
        atomic_store(&p->durable, position);
        p->note_len = value.len - 8 < MW_NOTE_BYTES ? value.len - 8 : MW_NOTE_BYTES;
        memcpy(p->note, value.bytes + 8, p->note_len);
        atomic_store(&p->safe, position);
    }
    mw_buffer_close(&value);
}

mw_partition *mw_source_partition(mw_source *s, const char *key)
{
    mw_flow *f = host_of(s)->shard->flow;
    mw_buffer full = {0};
    mw_buffer_format(&full, "source/%s/%s", s->name, key);
    pthread_mutex_lock(&f->partitions_lock);
    mw_partition *p = f->partitions;
    while (p && strcmp(p->key, full.bytes) != 0) p = p->next;
    if (p) {
        free(full.bytes);
        p->known = 1, p->start = atomic_load(&p->safe);
    } else {
        p = calloc(1, sizeof *p);
        mw_assert(p != NULL);
        p->key = full.bytes;
        pthread_mutex_init(&p->lock, NULL);
        recall(f, p);
        p->next = f->partitions;
        f->partitions = p;
    }
    pthread_mutex_unlock(&f->partitions_lock);
    return p;
}

int mw_partition_known(const mw_partition *p, uint64_t *position, const char **note,
                       size_t *note_len)
{
    *position = p->start;
    if (note) *note = p->note, *note_len = p->note_len;
    return p->known;
}

void mw_partition_note(mw_partition *p, const void *note, size_t len)
{
    pthread_mutex_lock(&p->lock);
    p->note_len = len < MW_NOTE_BYTES ? len : MW_NOTE_BYTES;
    memcpy(p->note, note, p->note_len);
    p->dirty = 1;
    pthread_mutex_unlock(&p->lock);
}

void mw_partition_restart(mw_partition *p, uint64_t position)
{
    pthread_mutex_lock(&p->lock);
    p->epoch++;
    p->start = position;
    atomic_store(&p->safe, position);
    p->dirty = 1;
    pthread_mutex_unlock(&p->lock);
}
