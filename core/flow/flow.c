/* flow.c: loading a flow, and the control loop that takes it from start to end. See flow.h. */
#include "flow/flow.h"
#include "base/clock.h"
#include "base/log.h"
#include "flow/buffer.h"
#include "flow/keeping.h"
#include "flow/reload.h"
#include "flow/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHECKPOINT_MS = 100, CHECKPOINT_MS_LEAST = 10, PROGRESS_MS = 500 };
enum { COPY_FIRST_S = 5, COPY_REST_S = 600, COPY_SHARE = 100 };

/* ---- loading ---- */

static void choose_state_folder(mw_flow *f)
{
    if (f->options.state_folder) return;
    const char *slash = strrchr(f->options.path, '/'), *base = slash ? slash + 1 : f->options.path;
    mw_buffer_format(&f->default_state, ".moonweir/%.*s", (int)strcspn(base, "."), base);
    f->options.state_folder = f->default_state.bytes;
}

mw_status mw_flow_load(mw_flow **flow, const mw_flow_options *options, const mw_kinds *kinds,
                       mw_error *error)
{
    mw_flow *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    f->options = *options;
    f->kinds = kinds;
    f->shards = options->shards;
    pthread_mutex_init(&f->partitions_lock, NULL);
    pthread_mutex_init(&f->shared_lock, NULL);
    choose_state_folder(f);
    mw_kinds_json(kinds, &f->kinds_json);
    mw_buffer_append(&f->kinds_json, "", 1);
    f->reload = calloc(1, sizeof *f->reload);
    mw_assert(f->reload != NULL);
    f->reload->flow = f;
    mw_files *files = mw_files_new();
    mw_status status = mw_version_load(&f->version, f, files, error);
    if (status != MW_OK) {
        mw_files_free(files);
        mw_flow_free(f);
        return status;
    }
    f->version->number = 1;
    *flow = f;
    return MW_OK;
}

const mw_graph *mw_flow_graph(const mw_flow *f)
{
    return &f->version->graph;
}

void mw_flow_free(mw_flow *f)
{
    if (!f) return;
    for (mw_partition *p = f->partitions, *next; p; p = next) {
        next = p->next;
        for (mw_batch *b = p->oldest, *after; b; b = after) { /* done, but not all before it */
            after = b->after;
            if (b->done) mw_batch_free(b);
        }
        pthread_mutex_destroy(&p->lock);
        free(p->key);
        free(p);
    }
    for (unsigned i = 0; f->shard && i < f->shards; i++) mw_shard_free(&f->shard[i]);
    mw_contents_free(f);
    mw_commit_free(f);
    mw_reload_free(f);
    for (mw_version *v = f->version, *next; v; v = next) next = v->next, mw_version_free(v);
    free(f->shard);
    mw_post_free(f->post);
    mw_store_close(f->store);
    mw_buffer_close(&f->kinds_json);
    mw_buffer_close(&f->default_state);
    pthread_mutex_destroy(&f->partitions_lock);
    pthread_mutex_destroy(&f->shared_lock);
    free(f);
}

/* ---- control ---- */

void mw_flow_broadcast(mw_flow *f, uint32_t kind, uint32_t target, void *body)
{
    for (unsigned i = 0; i < f->shards; i++)
        mw_post_send(f->post, f->shards, i,
                     (mw_message){.kind = kind, .target = target, .body = body});
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void mw_flow_stop(mw_flow *f)
{
    if (f->phase == MW_STOPPING) return;
    f->phase = MW_STOPPING;
    atomic_store(&f->ready, 0);
    mw_flow_broadcast(f, MW_MSG_STOP, 0, NULL);
    close_handle((uv_handle_t *)&f->checkpoint_timer);
    close_handle((uv_handle_t *)&f->progress_timer);
    close_handle((uv_handle_t *)&f->drain_timer);
    close_handle((uv_handle_t *)&f->terminate);
    close_handle((uv_handle_t *)&f->interrupt);
    close_handle((uv_handle_t *)&f->hangup);
    mw_reload_close(f);
    mw_contents_stop(f);
    if (f->extension) f->options.extension->close(f->extension);
    f->extension = NULL;
    mw_post_close(f->post, f->shards);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    mw_flow *f = timer->data;
    mw_log(MW_ERROR, "flow",
           "what is in flight could not be delivered in time; it is read again at the next start "
           "where its source can do that");
    f->failed = 1;
    mw_flow_stop(f);
}

void mw_flow_drain(mw_flow *f)
{
    f->drain_wanted = 1;
    if (f->phase != MW_RUNNING || mw_reload_is_busy(f)) return; /* it is done right after */
    f->phase = MW_DRAINING;
    atomic_store(&f->ready, 0);
    mw_flow_broadcast(f, MW_MSG_DRAIN, 0, NULL);
    mw_flow_broadcast(f, MW_MSG_HURRY, 0, NULL);
    uv_timer_start(&f->drain_timer, on_drain_timeout,
                   (uint64_t)(f->options.drain_timeout_ns / 1000000), 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    mw_flow *f = handle->data;
    if (f->phase == MW_DRAINING && number == SIGINT) { /* somebody is impatient */
        mw_log(MW_WARN, "flow", "interrupted while draining: what is in flight is left");
        f->failed = 1;
        mw_flow_stop(f);
        return;
    }
    mw_log(MW_INFO, "flow", "signal %d: draining", number);
    mw_flow_drain(f);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    mw_flow_reload(handle->data, "SIGHUP", NULL, NULL);
}

/* As often as the flow wants checkpoints, but at least now and then, for there is more to do. */
static uint64_t look_every_ms(const mw_flow *f)
{
    int64_t ms = f->version->graph.checkpoint_ns / 1000000;
    return ms < CHECKPOINT_MS_LEAST ? CHECKPOINT_MS_LEAST
           : ms > CHECKPOINT_MS     ? CHECKPOINT_MS
                                    : (uint64_t)ms;
}

/* ---- a copy of the state, now and then ---- */

static void copy_state(uv_work_t *work)
{
    mw_flow *f = work->data;
    mw_error error;
    int64_t began_ns = mw_clock_steady_ns();
    if (mw_store_copy(f->store, &error) != MW_OK)
        mw_log(MW_WARN, "checkpoint", "%s; it is tried again later", error.message);
    f->copy.took_ns = mw_clock_steady_ns() - began_ns;
}

static void on_copied(uv_work_t *work, int status)
{
    mw_flow *f = work->data;
    (void)status;
    f->copy.running = 0;
}

/* Where checkpoints have been made since the last; of a large state less often. */
static void look_at_copy(mw_flow *f)
{
    uint64_t made = mw_counted(&f->checkpoints);
    if (!f->store || f->copy.running || made == f->copy.checkpoints) return;
    int64_t now_ns = mw_clock_steady_ns(), since = f->copy.at_ns ? f->copy.at_ns : f->started_ns,
            rest_ns = (f->copy.at_ns ? COPY_REST_S : COPY_FIRST_S) * 1000000000ll;
    if (rest_ns < f->copy.took_ns * COPY_SHARE) rest_ns = f->copy.took_ns * COPY_SHARE;
    if (now_ns - since < rest_ns) return;
    f->copy.at_ns = now_ns, f->copy.checkpoints = made;
    f->copy.running = 1;
    f->copy.work.data = f;
    uv_queue_work(f->loop, &f->copy.work, copy_state, on_copied);
}

static void on_checkpoint(uv_timer_t *timer)
{
    mw_flow *f = timer->data;
    mw_error error;
    look_at_copy(f);
    uv_timer_set_repeat(timer, look_every_ms(f));
    if (mw_cut_is_used(f)) {
        mw_cut_retry(f);
        if (f->cut.ends) mw_cut_is_last(f);
        else
            mw_cut_begin(f);
    } else if (mw_checkpoint_save(f, &error) != MW_OK)
        mw_log(MW_ERROR, "checkpoint", "%s; trying again", error.message);
    mw_reload_forget_empty(f);
}

static void on_progress(uv_timer_t *timer)
{
    mw_flow *f = timer->data;
    mw_totals t = mw_flow_totals(f);
    double seconds = (double)(mw_clock_steady_ns() - f->started_ns) / 1e9;
    fprintf(stderr,
            "\r\033[K%.1f s  in %llu (%.0f/s)  out %llu  filtered %llu  dead %llu  lag %llu KiB",
            seconds, (unsigned long long)t.in, seconds > 0 ? (double)t.in / seconds : 0,
            (unsigned long long)t.out, (unsigned long long)t.filtered, (unsigned long long)t.dead,
            (unsigned long long)t.lag_bytes / 1024);
}

static void on_ready(mw_flow *f, mw_shard *s, int bad)
{
    if (bad) {
        f->failed = 2;
        mw_log(MW_ERROR, "flow", "%s", s->error.message);
    }
    if (--f->waiting > 0) return;
    if (f->failed) {
        mw_flow_stop(f);
        return;
    }
    f->phase = MW_RUNNING;
    uv_timer_start(&f->checkpoint_timer, on_checkpoint, look_every_ms(f), look_every_ms(f));
    if (f->options.progress)
        uv_timer_start(&f->progress_timer, on_progress, PROGRESS_MS, PROGRESS_MS);
    mw_flow_broadcast(f, MW_MSG_START, 0, NULL);
    atomic_store(&f->ready, 1);
    mw_reload_begin(f);
    if (f->drain_wanted) mw_flow_drain(f); /* the signal came while it opened */
    mw_log(MW_INFO, "flow", "'%s' version %s is ready (%u shards, %.1f ms)", f->version->graph.name,
           f->version->graph.version, f->shards,
           (double)(mw_clock_steady_ns() - f->started_ns) / 1e6);
}

/* Told to run once, listeners end when all that can be read to an end was. */
void mw_flow_look_around(mw_flow *f)
{
    const mw_version *v = f->version;
    int ended = 1, readers_ended = 1, empty = 1, others_empty = 1, timed = 0;
    if (f->phase == MW_OPENING || f->phase == MW_STOPPING || mw_reload_is_busy(f)) return;
    for (uint32_t i = 0; i < v->graph.source_count * v->shards; i++) {
        const mw_source_host *h = v->sources[i];
        if (!h) continue;
        empty &= h->control.empty;
        timed |= h->source.kind->passive;
        if (h->source.kind->passive) continue;
        ended &= h->control.ended, others_empty &= h->control.empty;
        if (!v->graph.sources[i / v->shards].source_kind->endless)
            readers_ended &= h->control.ended;
    }
    if (ended && !f->hurried) {
        f->hurried = 1;
        mw_flow_broadcast(f, MW_MSG_HURRY, 0, NULL);
    }
    if (f->options.once && readers_ended) mw_flow_drain(f);
    if (timed && others_empty && !f->flushed) {
        f->flushed = 1;
        mw_flow_broadcast(f, MW_MSG_FLUSH, f->phase == MW_RUNNING || f->options.once,
                          (void *)(intptr_t)mw_time_at_end(f));
    }
    for (v = v->next; v && empty; v = v->next) empty = mw_version_is_empty(v);
    if (empty && mw_cut_is_last(f)) mw_flow_stop(f);
}

static void on_ended(mw_flow *f, mw_source_host *h, int empty)
{
    h->control.ended = 1;
    h->control.empty |= empty;
    mw_flow_look_around(f);
}

static void on_fullness(mw_flow *f, int full)
{
    unsigned before = f->full_sinks;
    f->full_sinks += full ? 1u : -1u;
    if ((before == 0) != (f->full_sinks == 0))
        mw_flow_broadcast(f, MW_MSG_FULL, f->full_sinks > 0, NULL);
}

static void on_message(void *self, mw_message m)
{
    mw_flow *f = self;
    if (f->phase == MW_STOPPING) return;
    if (mw_reload_message(f, m) || mw_cut_message(f, m) || mw_contents_message(f, m)) return;
    switch (m.kind) {
    case MW_MSG_READY:
        on_ready(f, m.body, (int)m.target);
        break;
    case MW_MSG_ENDED:
    case MW_MSG_EMPTY:
        on_ended(f, m.body, m.kind == MW_MSG_EMPTY);
        break;
    case MW_MSG_FULLNESS:
        on_fullness(f, (int)m.target);
        break;
    default:
        mw_assert(m.kind == MW_MSG_FAILED);
        f->failed = 1;
        f->again |= m.target == 2;
        if (m.target) mw_flow_stop(f);
        else
            mw_flow_drain(f);
    }
}

static void open_control(mw_flow *f, uv_loop_t *loop)
{
    f->loop = loop;
    f->checkpoint_timer.data = f->progress_timer.data = f->drain_timer.data = f;
    f->terminate.data = f->interrupt.data = f->hangup.data = f;
    uv_timer_init(loop, &f->checkpoint_timer);
    uv_timer_init(loop, &f->progress_timer);
    uv_timer_init(loop, &f->drain_timer);
    uv_signal_init(loop, &f->terminate);
    uv_signal_init(loop, &f->interrupt);
    uv_signal_start(&f->terminate, on_signal, SIGTERM);
    uv_signal_start(&f->interrupt, on_signal, SIGINT);
    uv_signal_init(loop, &f->hangup);
    uv_signal_start(&f->hangup, on_hangup, SIGHUP);
    mw_reload_open(f);
    mw_post_open(f->post, f->shards, loop, on_message, f);
}

/* The event that a shard's rules are at: read by a signal handler. */
static const void *event_of(void *shard, size_t *len)
{
    const mw_shard *s = shard;
    const mw_view *v = s->running;
    if (!v || v->row >= v->count) return NULL;
    const mw_event *e = &v->events[v->row];
    const mw_batch *b = v->batch;
    if (e->origin >= b->count) return NULL;
    *len = b->events[e->origin].raw_len;
    return b->events[e->origin].raw;
}

static void guard_shards(mw_flow *f)
{
    mw_suspect suspects[f->shards];
    for (unsigned i = 0; i < f->shards; i++)
        suspects[i] = (mw_suspect){.event = event_of, .shard = &f->shard[i]};
    mw_watchdog_guard(f->options.watchdog, suspects, f->shards);
}

static mw_status finish(mw_flow *f, mw_error *error)
{
    mw_status status =
        mw_cut_is_used(f) && f->store ? mw_cut_finish(f, error) : mw_checkpoint_save(f, error);
    if (f->options.progress) fprintf(stderr, "\r\033[K");
    if (f->again) return mw_fail(error, MW_AGAIN, "the run begins again from its last checkpoint");
    if (f->failed == 2) return mw_fail(error, MW_CONFIG, "the flow could not start");
    if (f->failed) return mw_fail(error, MW_IO, "the run failed");
    return status;
}

mw_status mw_flow_run(mw_flow *f, mw_error *error)
{
    uv_loop_t loop;
    f->started_ns = mw_clock_steady_ns();
    f->started_wall_ns = mw_clock_wall_ns();
    mw_status status = MW_OK;
    if (!f->options.replay) status = mw_store_open(&f->store, f->options.state_folder, error);
    if (status != MW_OK) return status;
    status = mw_commit_recover(f, error);
    if (status != MW_OK) return status;
    mw_buffer_look_for_orphans(f);
    uv_loop_init(&loop);
    f->post = mw_post_new(f->shards + 1);
    f->shard = aligned_alloc(64, f->shards * sizeof *f->shard);
    mw_assert(f->shard != NULL);
    memset(f->shard, 0, f->shards * sizeof *f->shard);
    f->waiting = f->shards;
    mw_cut_restore(f);
    mw_version_place(f->version, f, NULL);
    open_control(f, &loop);
    if (f->options.extension)
        status = f->options.extension->open(&f->extension, f, &loop, f->options.extension, error);
    if (status == MW_OK) {
        guard_shards(f);
        for (unsigned i = 0; i < f->shards; i++) mw_shard_open(&f->shard[i], f, i);
        uv_run(&loop, UV_RUN_DEFAULT);
        for (unsigned i = 0; i < f->shards; i++) uv_thread_join(&f->shard[i].thread);
        for (unsigned i = 0; i < f->shards; i++) uv_loop_close(&f->shard[i].loop);
        status = finish(f, error);
    } else {
        mw_flow_stop(f);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&loop);
    return status;
}

int mw_flow_is_ready(const mw_flow *f)
{
    return atomic_load(&f->ready);
}
