/* shard.c: a shard: one thread, one libuv loop, one Lua state.
 *
 * A round of its loop: what sockets and other shards brought in is collected while the loop polls;
 * then, in the check phase, runs and batches are worked on, sinks are flushed, and what is done
 * goes back to its source. While there is more to do, an idle handle keeps the loop from sleeping.
 */
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>

enum { PUBLISH_MS = 100 };

void mw_shard_report(mw_shard *s, uint32_t kind, uint32_t target, void *body)
{
    mw_post_send(s->flow->post, s->index, s->flow->shards,
                 (mw_message){.kind = kind, .target = target, .body = body});
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being there is what it is for */
}

void mw_shard_stay_awake(mw_shard *s)
{
    if (!uv_is_active((uv_handle_t *)&s->idle) && !s->stopping) uv_idle_start(&s->idle, on_idle);
}

void mw_shard_enqueue(mw_shard *s, mw_batch *b)
{
    b->next = NULL;
    if (s->work_last) s->work_last->next = b;
    else
        s->work_first = b;
    s->work_last = b;
    mw_shard_stay_awake(s);
}

void mw_shard_run(mw_shard *s, mw_run *r)
{
    r->order.next = NULL;
    if (s->runs_last) s->runs_last->order.next = &r->order;
    else
        s->runs_first = r;
    s->runs_last = r;
    mw_shard_stay_awake(s);
}

void mw_shard_finish(mw_shard *s, mw_batch *b)
{
    b->next = NULL;
    if (s->done_last) s->done_last->next = b;
    else
        s->done_first = b;
    s->done_last = b;
    mw_shard_stay_awake(s);
}

static void work(mw_shard *s)
{
    mw_run *runs = s->runs_first;
    s->runs_first = s->runs_last = NULL;
    while (runs) {
        mw_run *next = (mw_run *)runs->order.next;
        mw_run_received(s, runs);
        runs = next;
    }
    mw_batch *batches = s->work_first;
    s->work_first = s->work_last = NULL;
    while (batches) {
        mw_batch *next = batches->next;
        mw_prepare(s, batches);
        batches = next;
    }
}

static void finish(mw_shard *s)
{
    mw_batch *b = s->done_first;
    s->done_first = s->done_last = NULL;
    while (b) {
        mw_batch *next = b->next;
        mw_delivery_done(b->owner, b);
        b = next;
    }
}

/* The counts in the view are Lua's, which knows no atomics: other threads see copies. */
static void publish_counts(mw_shard *s)
{
    for (uint32_t i = 0; i < s->flow->graph.rule_count; i++) {
        const mw_rule_count *from = &s->view.counts[i];
        struct mw_rule_counters *to = &s->rule_counters[i];
        atomic_store_explicit(&to->events, (uint64_t)from->events, memory_order_relaxed);
        atomic_store_explicit(&to->filtered, (uint64_t)from->filtered, memory_order_relaxed);
        atomic_store_explicit(&to->failed, (uint64_t)from->failed, memory_order_relaxed);
    }
    s->published_ms = uv_now(&s->loop);
}

static void on_check(uv_check_t *handle)
{
    mw_shard *s = handle->data;
    if (s->work_first || s->runs_first) work(s);
    for (uint32_t i = 0; i < s->flow->graph.sink_count; i++)
        if (s->sinks[i].dirty) mw_sink_host_flush(&s->sinks[i]);
    if (s->done_first) {
        if (!s->work_first && !s->runs_first) publish_counts(s); /* before anybody is answered */
        finish(s);
    }
    int more = s->work_first || s->runs_first || s->done_first;
    if (uv_now(&s->loop) - s->published_ms >= PUBLISH_MS) publish_counts(s);
    if (more) return;
    if (uv_is_active((uv_handle_t *)&s->idle)) {
        uv_idle_stop(&s->idle);
        atomic_store_explicit(&s->lua_bytes, mw_lua_bytes(s->lua), memory_order_relaxed);
    }
}

/* ---- control's orders ---- */

static void set_full(mw_shard *s, int full)
{
    s->is_full = full;
    for (uint32_t i = 0; i < s->flow->graph.source_count; i++)
        if (s->sources[i].open) mw_source_host_check_full(&s->sources[i]);
}

static void stop(mw_shard *s)
{
    s->stopping = 1;
    publish_counts(s);
    for (uint32_t i = 0; i < s->flow->graph.source_count; i++)
        if (s->sources[i].open) mw_source_host_close(&s->sources[i]);
    for (uint32_t i = 0; i < s->flow->graph.sink_count; i++)
        if (s->sinks[i].open) mw_sink_host_close(&s->sinks[i]);
    uv_close((uv_handle_t *)&s->check, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
    mw_post_close(s->flow->post, s->index);
}

static void on_order(mw_shard *s, mw_message m)
{
    mw_flow *f = s->flow;
    switch (m.kind) {
    case MW_MSG_START:
        for (uint32_t i = 0; i < f->graph.source_count; i++)
            if (s->sources[i].open) mw_source_host_start(&s->sources[i]);
        break;
    case MW_MSG_DRAIN:
        for (uint32_t i = 0; i < f->graph.source_count; i++)
            if (s->sources[i].open) mw_source_host_drain(&s->sources[i]);
        break;
    case MW_MSG_HURRY:
        for (uint32_t i = 0; i < f->graph.sink_count; i++)
            if (s->sinks[i].open && s->sinks[i].sink.kind->drain)
                s->sinks[i].sink.kind->drain(&s->sinks[i].sink);
        break;
    case MW_MSG_FULL:
        set_full(s, (int)m.target);
        break;
    default:
        mw_assert(m.kind == MW_MSG_STOP);
        stop(s);
    }
}

static void on_message(void *self, mw_message m)
{
    mw_shard *s = self;
    mw_batch *b = m.body;
    switch (m.kind) {
    case MW_MSG_BATCH:
        mw_shard_enqueue(s, b);
        break;
    case MW_MSG_RUN:
        mw_shard_run(s, m.body);
        break;
    case MW_MSG_LIST:
        mw_sink_host_take(&s->sinks[m.target], m.body);
        break;
    case MW_MSG_DONE:
        mw_shard_finish(s, b);
        break;
    case MW_MSG_DECIDED: {
        mw_source_host *h = b->owner;
        h->source.kind->decided(&h->source, b);
        mw_delivery_release(s, b);
        break;
    }
    default:
        on_order(s, m);
    }
}

/* ---- life ---- */

static mw_status open_rules(mw_shard *s)
{
    mw_flow *f = s->flow;
    const char *graph;
    size_t len;
    mw_paths_init(&s->paths);
    mw_view_init(&s->view, &s->paths);
    s->view.shards = f->shards;
    s->view.host = s;
    s->view.route = mw_run_route;
    s->view.dead_letter = mw_dead_letter_of_row;
    s->view.meta = mw_meta_write;
    s->view.counts = calloc(f->graph.rule_count + 1, sizeof *s->view.counts);
    s->projectors = calloc(f->graph.source_count, sizeof *s->projectors);
    s->rule_counters = calloc(f->graph.rule_count + 1, sizeof *s->rule_counters);
    mw_assert(s->view.counts && s->projectors && s->rule_counters);
    for (uint32_t i = 0; i < f->graph.source_count; i++)
        s->projectors[i] = mw_projector_new(&s->paths);
    s->lua = mw_lua_new(&s->view);
    mw_status status =
        mw_lua_load(s->lua, f->options.path, f->kinds_json.bytes, &graph, &len, &s->error);
    return status == MW_OK ? mw_lua_build(s->lua, &s->error) : status;
}

static int32_t learn_path(mw_paths *paths, const char *name)
{
    int32_t path = MW_PATH_ROOT;
    for (; *name; name += *name == '.') {
        size_t len = strcspn(name, ".");
        path = mw_paths_key(paths, path, name, len);
        mw_assert(path >= 0);
        name += len;
    }
    return path;
}

static void open_keys(mw_shard *s)
{
    mw_graph *g = &s->flow->graph;
    s->stage_orders = calloc(g->chain_count, sizeof *s->stage_orders);
    s->key_paths = calloc(g->chain_count, sizeof *s->key_paths);
    mw_assert(s->stage_orders && s->key_paths);
    for (uint32_t i = 0; i < g->chain_count; i++) {
        s->key_paths[i] = calloc(g->chains[i].count + 1, sizeof **s->key_paths);
        s->stage_orders[i] = calloc(g->chains[i].count + 1, sizeof **s->stage_orders);
        mw_assert(s->key_paths[i] && s->stage_orders[i]);
        for (uint32_t j = 0; j < g->chains[i].count; j++) {
            const mw_stage *stage = &g->chains[i].stages[j];
            int32_t *paths = s->key_paths[i][j] = calloc(stage->by_count + 1, sizeof *paths);
            s->stage_orders[i][j] = calloc(s->flow->shards, sizeof(mw_stage_order));
            mw_assert(paths && s->stage_orders[i][j]);
            for (uint32_t k = 0; k < stage->by_count; k++)
                paths[k] = learn_path(&s->paths, stage->by[k]);
        }
    }
}

static mw_status open_hosts(mw_shard *s)
{
    mw_graph *g = &s->flow->graph;
    s->sources = calloc(g->source_count + 1, sizeof *s->sources);
    s->sinks = calloc(g->sink_count, sizeof *s->sinks);
    s->list_counts = calloc(g->sink_count, sizeof *s->list_counts);
    s->lists = calloc(g->sink_count, sizeof *s->lists);
    s->list_bytes = calloc(g->sink_count, sizeof *s->list_bytes);
    mw_assert(s->sources && s->sinks && s->list_counts && s->lists && s->list_bytes);
    for (uint32_t i = 0; i < g->sink_count; i++) {
        s->sinks[i].shard = s, s->sinks[i].index = i;
        if (s->flow->sink_homes[i] != s->index) continue;
        mw_status status = mw_sink_host_open(&s->sinks[i], &s->error);
        if (status != MW_OK) return status;
    }
    for (uint32_t i = 0; i < g->source_count; i++) {
        s->sources[i].shard = s, s->sources[i].index = i;
        if (!g->sources[i].source_kind->every_shard && i % s->flow->shards != s->index) continue;
        mw_status status = mw_source_host_open(&s->sources[i], &s->error);
        if (status != MW_OK) return status;
    }
    return MW_OK;
}

static void close_all(mw_shard *s)
{
    mw_graph *g = &s->flow->graph;
    for (uint32_t i = 0; s->sources && i < g->source_count; i++)
        mw_source_host_free(&s->sources[i]);
    for (uint32_t i = 0; s->sinks && i < g->sink_count; i++) mw_sink_host_free(&s->sinks[i]);
    for (uint32_t i = 0; i < g->source_count; i++) mw_projector_free(s->projectors[i]);
    for (uint32_t i = 0; s->key_paths && i < g->chain_count; i++) {
        for (uint32_t j = 0; j < g->chains[i].count; j++) {
            free(s->key_paths[i][j]);
            free(s->stage_orders[i][j]);
        }
        free(s->key_paths[i]);
        free(s->stage_orders[i]);
    }
    free(s->key_paths);
    free(s->stage_orders);
    free(s->projectors);
    mw_lua_free(s->lua);
    mw_view_close(&s->view);
    free(s->view.counts);
    mw_paths_close(&s->paths);
}

static void shard_main(void *arg)
{
    mw_shard *s = arg;
    uv_loop_init(&s->loop);
    uv_check_init(&s->loop, &s->check);
    uv_idle_init(&s->loop, &s->idle);
    s->check.data = s->idle.data = s;
    uv_check_start(&s->check, on_check);
    mw_post_open(s->flow->post, s->index, &s->loop, on_message, s);
    mw_status status = open_rules(s);
    if (status == MW_OK) open_keys(s);
    if (status == MW_OK) status = open_hosts(s);
    mw_shard_report(s, MW_MSG_READY, status != MW_OK, s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    close_all(s);
    /* the loop is closed by control when all shards have ended: a last message may still come */
}

void mw_shard_open(mw_shard *s, mw_flow *flow, unsigned index)
{
    s->flow = flow, s->index = index;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 1 << 20};
    mw_assert(uv_thread_create_ex(&s->thread, &options, shard_main, s) == 0);
}
