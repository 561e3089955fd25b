/* swap.c: a shard's side of a reload.
 *
 * A mark passes through every shard: what its sources give from then on is for the new version, and
 * waits. When all shards are marked and the rules of the version before have run over everything
 * that was given before the mark (the tallies tell), each shard swaps: the same cut for all,
 * between two events, and every event is decided by one version. What is in flight to sinks goes on
 * meanwhile; the old version is freed when nothing of it is in flight. */
#include "base/clock.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"

#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 5, KEEP_CLOSED_MS = 60000 };
static const int64_t hand_over_ns = 5000000000;

/* ---- opening what is new ---- */

mw_status mw_swap_open(mw_shard *s, mw_version *v, mw_error *error)
{
    mw_status status = MW_OK;
    v->rules[s->index].shard = s;
    v->rules[s->index].view.shard = s->index;
    for (uint32_t i = 0; i < v->graph.sink_count && status == MW_OK; i++) {
        mw_sink_host *h = v->sinks[i];
        if (h->shard != s || h->open || h->origin != v) continue;
        status = mw_sink_host_open(h, error);
        h->next = s->sinks;
        s->sinks = h;
    }
    for (uint32_t i = 0; i < v->graph.source_count && status == MW_OK; i++) {
        mw_source_host *h = v->sources[i * v->shards + s->index];
        if (!h || h->open || h->origin != v) continue;
        status = mw_source_host_open(h, error);
        h->next = s->sources;
        s->sources = h;
    }
    if (status == MW_OK) status = mw_keeping_open(s, v, error);
    if (status == MW_OK) status = mw_stores_open(s, v, error);
    return status;
}

/* ---- hosts that are closed stay until their handles surely are gone ---- */

static void closed_source(mw_shard *s, mw_source_host *h)
{
    if (h->open) mw_source_host_close(h);
    h->closed_ms = uv_now(&s->loop) | 1;
}

static void closed_sink(mw_shard *s, mw_sink_host *h)
{
    if (h->open) mw_sink_host_close(h);
    h->phase = MW_SINK_CLOSED;
    h->closed_ms = uv_now(&s->loop) | 1;
}

static int sweep(mw_shard *s)
{
    uint64_t now = uv_now(&s->loop);
    int busy = 0;
    for (mw_sink_host **at = &s->sinks, *h; (h = *at);) {
        if (h->phase == MW_SINK_LEAVING && mw_sink_host_has_left(h)) closed_sink(s, h);
        busy |= h->phase == MW_SINK_LEAVING || (h->closed_ms && h->released);
        if (!h->closed_ms || now - h->closed_ms < KEEP_CLOSED_MS || !h->released) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        mw_sink_host_free(h);
    }
    for (mw_source_host **at = &s->sources, *h; (h = *at);) {
        busy |= h->closed_ms != 0;
        if (!h->closed_ms || now - h->closed_ms < KEEP_CLOSED_MS) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        mw_source_host_free(h);
    }
    return busy;
}

static void on_tick(uv_timer_t *timer)
{
    mw_shard *s = timer->data;
    if (!sweep(s)) uv_timer_stop(timer);
}

static void watch_leaving(mw_shard *s)
{
    if (!s->stopping) uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

void mw_swap_abandon(mw_shard *s, mw_version *v)
{
    for (mw_sink_host *h = s->sinks; h; h = h->next)
        if (h->origin == v && !h->closed_ms) closed_sink(s, h), h->released = 1;
    for (mw_source_host *h = s->sources; h; h = h->next)
        if (h->origin == v && !h->closed_ms) closed_source(s, h);
    watch_leaving(s);
}

/* Whether one whose place it takes is still there; listeners stand aside at once. */
static int is_awaiting(const mw_shard *s, const mw_source_host *heir)
{
    for (const mw_source_host *was = s->sources; was; was = was->next)
        if (was->heir == heir && !was->closed_ms && !was->source.kind->endless) return 1;
    return 0;
}

void mw_swap_close_source(mw_shard *s, mw_source_host *h)
{
    closed_source(s, h);
    if (h->heir && !is_awaiting(s, h->heir)) mw_source_host_start(h->heir);
    watch_leaving(s);
    mw_shard_report(s, MW_MSG_CLOSED, 0, h);
}

/* ---- the mark ---- */

/* The instance at this shard that takes the place of another; the first of the new version where
 * the kinds differ in where they live. */
static mw_source_host *heir_of(const mw_version *v, uint32_t source, unsigned shard)
{
    return v->sources[source * v->shards + shard];
}

static void mark_old_source(mw_shard *s, mw_version *v, mw_source_host *h)
{
    uint32_t i;
    mw_source_host_drain(h); /* what it still gives at once is of the version before */
    if (!mw_version_find(v->graph.sources, v->graph.source_count, h->source.name, &i)) return;
    h->version = v, h->index = i;
    for (mw_source_host *was = s->sources; was; was = was->next) /* it may not have begun yet */
        if (was->heir == h) was->heir = heir_of(v, i, s->index);
    h->heir = heir_of(v, i, s->index);
}

void mw_swap_mark(mw_shard *s, mw_version *v)
{
    s->next = v;
    s->marked_ns = mw_clock_steady_ns();
    for (mw_source_host *h = s->sources; h; h = h->next) {
        int stays = 0;
        for (uint32_t i = 0; i < v->graph.source_count; i++) {
            if (v->sources[i * v->shards + s->index] != h) continue;
            stays = 1;
            h->version = v, h->index = i;
            if (v->fates[i] == MW_CHANGED) mw_source_host_change(h, v);
            v->first[i * v->shards + s->index] = h->sequence;
        }
        if (!stays && !h->closed_ms && !h->draining) mark_old_source(s, v, h);
    }
    atomic_fetch_add(&v->marked, 1);
    mw_shard_stay_awake(s);
}

void mw_swap_look(mw_shard *s)
{
    mw_version *v = s->next;
    if (!v || atomic_load(&v->marked) < v->shards || !mw_version_is_decided(v->before)) return;
    if (atomic_exchange(&v->over, 1)) return; /* another shard saw it first, and tells */
    for (unsigned i = 0; i < v->shards; i++)
        if (i != s->index)
            mw_post_send(s->flow->post, s->index, i, (mw_message){.kind = MW_MSG_SWAP, .body = v});
    mw_swap_now(s, v);
}

/* ---- the swap ---- */

/* Rules of the same name go on counting. */
static void carry_counts(mw_rules *from, mw_rules *to)
{
    const mw_graph *was = &from->version->graph, *is = &to->version->graph;
    for (uint32_t i = 0; i < is->rule_count; i++)
        for (uint32_t j = 0; j < was->rule_count; j++)
            if (strcmp(is->rule_names[i], was->rule_names[j]) == 0) {
                to->view.counts[i] = from->view.counts[j];
                break;
            }
    mw_rules_publish(to);
}

/* Whether the lists that a source's batches send to a sink are in their order: not those of rules
 * with a key, which come from every shard. */
static int is_ordered(const mw_version *v, uint32_t source, const mw_sink_host *h)
{
    const mw_declared *d = &v->graph.sources[source];
    const mw_chain *chain = &v->graph.chains[source];
    for (uint32_t i = 0; i < d->capture_count; i++)
        if (v->sinks[d->captures[i]] == h) return 1;
    for (uint32_t i = mw_graph_plain_sinks(&v->graph); i < v->graph.sink_count; i++)
        if (v->sinks[i] == h) return 0; /* a capture of other sources */
    return !chain->count || (!chain->stages[0].by_count && !chain->stages[0].by_function);
}

static int was_ordered(const mw_version *before, const mw_source_host *source,
                       const mw_sink_host *h)
{
    for (uint32_t i = 0; i < before->graph.source_count * before->shards; i++)
        if (before->sources[i] == source) return is_ordered(before, i / before->shards, h);
    return 0;
}

static void expect_sources(const mw_version *before, mw_version *v, mw_sink_host *h)
{
    for (uint32_t i = 0; i < v->graph.source_count * v->shards; i++) {
        const mw_source_host *source = v->sources[i];
        if (source && source->source.kind->spread)
            mw_sink_host_expect(h, source, v->first[i], was_ordered(before, source, h));
    }
}

static void swap_sinks(mw_shard *s, const mw_version *before, mw_version *v)
{
    for (mw_sink_host *h = s->sinks; h; h = h->next) {
        uint32_t i;
        if (h->phase != MW_SINK_OPEN) continue;
        int named = mw_version_find(v->graph.sinks, v->graph.sink_count, h->sink.name, &i);
        if (named && v->sinks[i] == h) {
            h->version = v, h->index = i;
            expect_sources(before, v, h);
            continue;
        }
        h->heir = named ? v->sinks[i] : NULL;
        mw_sink_host_leave(h, named ? hand_over_ns : s->flow->options.drain_timeout_ns);
    }
    watch_leaving(s);
}

static void begin_stages(mw_rules *r)
{
    const mw_version *v = r->version;
    uint32_t sources = v->graph.source_count, shards = v->shards;
    for (uint32_t i = 0; i < v->graph.chain_count; i++)
        for (uint32_t j = 0; j < v->graph.chains[i].count; j++) {
            mw_stage_order *orders = r->stage_orders[i][j];
            for (uint32_t n = 0; i < sources && n < shards; n++)
                orders[n].sequence.next = v->first[i * shards + n];
            for (uint32_t n = 0; i >= sources && n < sources * shards; n++)
                orders[n].sequence.next = v->first[n];
        }
}

/* Those that take nobody's place begin; the others when that one is closed. */
static void start_sources(mw_shard *s, mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.source_count; i++) {
        mw_source_host *h = v->sources[i * v->shards + s->index];
        if (h && !is_awaiting(s, h)) mw_source_host_start(h);
    }
}

void mw_swap_release_held(mw_shard *s)
{
    mw_batch *b = s->held_first;
    mw_run *r = s->held_runs;
    s->held_first = s->held_last = NULL;
    s->held_runs = s->held_runs_last = NULL;
    for (mw_run *next; r; r = next) next = (mw_run *)r->order.next, mw_shard_run(s, r);
    for (mw_batch *next; b; b = next) next = b->next, mw_shard_enqueue(s, b);
}

void mw_swap_now(mw_shard *s, mw_version *v)
{
    int64_t began_ns = mw_clock_steady_ns();
    mw_rules *before = &s->version->rules[s->index], *rules = &v->rules[s->index];
    carry_counts(before, rules);
    begin_stages(rules);
    s->version = v, s->next = NULL;
    mw_keeping_swap(s, v);
    swap_sinks(s, before->version, v);
    start_sources(s, v);
    mw_time_start(s);
    mw_swap_release_held(s);
    int64_t ended_ns = mw_clock_steady_ns();
    atomic_store(&s->swap_ns, (uint64_t)(ended_ns - began_ns));
    atomic_store(&s->hold_ns, (uint64_t)(ended_ns - s->marked_ns));
    mw_shard_report(s, MW_MSG_SWAPPED, 0, v);
}

void mw_swap_retire(mw_shard *s, mw_version *v)
{
    mw_rules_close(&v->rules[s->index]);
    mw_keeping_sweep(s);
    for (mw_sink_host *h = s->sinks; h; h = h->next) {
        mw_sink_host_forget(h, s->version, s->next);
        h->released |= h->phase != MW_SINK_OPEN && h->version == v;
    }
    watch_leaving(s);
}
