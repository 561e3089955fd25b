/* shard.c: a shard: one thread, one libuv loop, one Lua state.
 *
 * A round of its loop: what sockets and other shards brought in is collected while the loop polls;
 * then, in the check phase, runs and batches are worked on, sinks are flushed, and what is done
 * goes back to its source. While there is more to do, an idle handle keeps the loop from sleeping.
 */
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "flow/watchdog.h"
#include "lua/park.h"

#include <stdlib.h>

enum { PUBLISH_MS = 100, BEAT_MS = 250 };

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

/* What is of a version that the shard does not work by yet waits for the swap, and what is behind
 * a cut for the cut. */
static int is_early(const mw_shard *s, const mw_batch *b)
{
    return mw_version_of(b)->number > s->version->number || b->cut > s->cut;
}

void mw_shard_enqueue(mw_shard *s, mw_batch *b)
{
    int early = is_early(s, b);
    mw_batch **first = early ? &s->held_first : &s->work_first,
             **last = early ? &s->held_last : &s->work_last;
    b->next = NULL;
    if (*last) (*last)->next = b;
    else
        *first = b;
    *last = b;
    if (!early) mw_shard_stay_awake(s);
}

void mw_shard_run(mw_shard *s, mw_run *r)
{
    int early = is_early(s, r->batch);
    mw_run **first = early ? &s->held_runs : &s->runs_first,
           **last = early ? &s->held_runs_last : &s->runs_last;
    r->order.next = NULL;
    if (*last) (*last)->order.next = &r->order;
    else
        *first = r;
    *last = r;
    if (!early) mw_shard_stay_awake(s);
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

static void publish_counts(mw_shard *s)
{
    mw_rules *r = &s->version->rules[s->index];
    mw_rules_publish(r);
    atomic_store_explicit(&s->lua_bytes, mw_lua_bytes(r->lua), memory_order_relaxed);
    s->published_ms = uv_now(&s->loop);
}

static void on_check(uv_check_t *handle)
{
    mw_shard *s = handle->data;
    if (s->answered) mw_park_work(s);
    if (s->work_first || s->runs_first) work(s);
    if (s->next) mw_swap_look(s);
    if (s->marked_cut != s->cut || s->cut_unsafe || s->late_cut) mw_cut_look(s);
    if (s->has_limits) mw_cut_look_at_limits(s);
    for (mw_sink_host *h = s->sinks; h; h = h->next)
        if (h->dirty) mw_sink_host_flush(h);
    if (s->done_first) {
        if (!s->work_first && !s->runs_first) publish_counts(s); /* before anybody is answered */
        finish(s);
        if (s->cut_unsafe) mw_cut_look(s);
    }
    mw_stores_flush(s);
    int more =
        s->work_first || s->runs_first || s->done_first || s->taking || s->lets_go || s->answered;
    if (s->version && uv_now(&s->loop) - s->published_ms >= PUBLISH_MS) publish_counts(s);
    if (!more && uv_is_active((uv_handle_t *)&s->idle)) uv_idle_stop(&s->idle);
}

/* ---- control's orders ---- */

static void set_full(mw_shard *s, int full)
{
    s->is_full = full;
    for (mw_source_host *h = s->sources; h; h = h->next)
        if (h->open) mw_source_host_check_full(h);
}

static void stop(mw_shard *s)
{
    s->stopping = 1;
    if (s->version) publish_counts(s);
    for (mw_source_host *h = s->sources; h; h = h->next)
        if (h->open) mw_source_host_close(h);
    for (mw_sink_host *h = s->sinks; h; h = h->next)
        if (h->open) mw_sink_host_close(h);
    uv_close((uv_handle_t *)&s->check, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_close((uv_handle_t *)&s->beat, NULL);
    mw_time_close(s);
    mw_stores_close(s);
    mw_watchdog_leave(s->flow->options.watchdog, s->index);
    mw_post_close(s->flow->post, s->index);
}

static void open_version(mw_shard *s, mw_version *v)
{
    mw_error *error = calloc(1, sizeof *error);
    mw_assert(error != NULL);
    mw_status status = mw_swap_open(s, v, error);
    if (status == MW_OK) free(error), error = NULL;
    mw_shard_report(s, MW_MSG_OPENED, status != MW_OK, error);
}

static void start_all(mw_shard *s)
{
    for (mw_source_host *h = s->sources; h; h = h->next)
        if (h->open) mw_source_host_start(h);
    mw_time_start(s);
}

static void on_order(mw_shard *s, mw_message m)
{
    switch (m.kind) {
    case MW_MSG_START:
        start_all(s);
        break;
    case MW_MSG_DRAIN:
        for (mw_source_host *h = s->sources; h; h = h->next)
            if (h->open && !h->source.kind->passive) mw_source_host_drain(h);
        break;
    case MW_MSG_CUT_MARK:
        mw_cut_mark(s, m.target >> 1, (int)(m.target & 1));
        break;
    case MW_MSG_CUT_NOW:
        mw_cut_now(s);
        break;
    case MW_MSG_COMMIT:
        mw_commit_do(m.body);
        break;
    case MW_MSG_CHECKPOINTED:
        mw_commit_tell(m.body, (int)m.target);
        break;
    case MW_MSG_WRITTEN:
        mw_cut_written(s, m.target);
        break;
    case MW_MSG_IMPORT:
        mw_contents_import(s, m.body);
        break;
    case MW_MSG_WATERMARK:
        if (s->watermark_ns != INT64_MAX) s->watermark_ns = (int64_t)(intptr_t)m.body;
        break;
    case MW_MSG_FLUSH:
        mw_time_flush(s, (int)m.target, (int64_t)(intptr_t)m.body);
        break;
    case MW_MSG_HURRY:
        for (mw_sink_host *h = s->sinks; h; h = h->next)
            if (h->open && h->sink.kind->drain) h->sink.kind->drain(&h->sink);
        break;
    case MW_MSG_FULL:
        set_full(s, (int)m.target);
        break;
    case MW_MSG_OPEN:
        open_version(s, m.body);
        break;
    case MW_MSG_ABANDON:
        mw_swap_abandon(s, m.body);
        mw_shard_report(s, MW_MSG_ABANDONED, 0, m.body);
        break;
    case MW_MSG_MARK:
        mw_swap_mark(s, m.body);
        break;
    case MW_MSG_SWAP:
        mw_swap_now(s, m.body);
        break;
    case MW_MSG_RETIRE:
        mw_swap_retire(s, m.body);
        mw_shard_report(s, MW_MSG_RETIRED, 0, m.body);
        break;
    case MW_MSG_CLOSE:
        mw_swap_close_source(s, m.body);
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
    case MW_MSG_LIST: {
        mw_list_item *item = m.body;
        mw_sink_host_take(item->to, item);
        break;
    }
    case MW_MSG_SEAL:
        mw_seal_came(s, m.target);
        break;
    case MW_MSG_CALL:
        mw_park_called(s, m.body);
        break;
    case MW_MSG_ANSWER:
        mw_park_answered(m.body);
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

/* A shard loads the rules of the first version itself, so that all do at the same time. */
static mw_status open_first(mw_shard *s)
{
    mw_flow *f = s->flow;
    mw_version *v = f->version;
    mw_status status =
        mw_rules_open(&v->rules[s->index], v, f->options.path, f->kinds_json.bytes, &s->error);
    s->version = v;
    if (status == MW_OK) status = mw_swap_open(s, v, &s->error);
    if (status == MW_OK) mw_keeping_swap(s, v);
    return status;
}

static void free_hosts(mw_shard *s)
{
    for (mw_source_host *h = s->sources, *next; h; h = next) next = h->next, mw_source_host_free(h);
    for (mw_sink_host *h = s->sinks, *next; h; h = next) next = h->next, mw_sink_host_free(h);
}

static void on_beat(uv_timer_t *timer)
{
    mw_shard *s = timer->data;
    mw_watchdog_beat(s->flow->options.watchdog, s->index);
}

static void open_beat(mw_shard *s)
{
    uv_timer_init(&s->loop, &s->beat);
    s->beat.data = s;
    if (!s->flow->options.watchdog) return;
    uv_timer_start(&s->beat, on_beat, 0, BEAT_MS);
}

static void shard_main(void *arg)
{
    mw_shard *s = arg;
    uv_loop_init(&s->loop);
    uv_check_init(&s->loop, &s->check);
    uv_idle_init(&s->loop, &s->idle);
    uv_timer_init(&s->loop, &s->tick);
    s->check.data = s->idle.data = s->tick.data = s;
    uv_check_start(&s->check, on_check);
    open_beat(s);
    mw_time_open(s);
    mw_status status = open_first(s);
    mw_post_open(s->flow->post, s->index, &s->loop, on_message, s);
    mw_shard_report(s, MW_MSG_READY, status != MW_OK, s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    /* the loop is closed by control when all shards have ended: a last message may still come */
}

void mw_shard_free(mw_shard *s)
{
    free_hosts(s);
    mw_keeping_free(s);
    mw_seal_free(s);
    for (mw_parked *p = s->answered, *next; p; p = next) next = p->next, mw_parked_free(p);
    free(s->progress);
    free(s->at_mark);
}

void mw_shard_open(mw_shard *s, mw_flow *flow, unsigned index)
{
    s->flow = flow, s->index = index;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 1 << 20};
    mw_assert(uv_thread_create_ex(&s->thread, &options, shard_main, s) == 0);
}
