/* flow.c: loading a flow, and the control loop that takes it from start to end. See flow.h. */
#include "flow/flow.h"
#include "base/clock.h"
#include "base/log.h"
#include "flow/flow_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPENING, RUNNING, DRAINING, STOPPING, CHECKPOINT_MS = 100, PROGRESS_MS = 500 };

/* ---- loading ---- */

static const char *state_folder(mw_flow *f)
{
    if (f->options.state_folder) return f->options.state_folder;
    const char *slash = strrchr(f->options.path, '/'), *base = slash ? slash + 1 : f->options.path;
    mw_buffer_format(&f->default_state, ".moonweir/%.*s", (int)strcspn(base, "."), base);
    f->options.state_folder = f->default_state.bytes;
    return f->options.state_folder;
}

static mw_status read_graph(mw_flow *f, mw_error *error)
{
    const char *json;
    size_t len;
    mw_paths paths;
    mw_view view;
    mw_paths_init(&paths);
    mw_view_init(&view, &paths);
    view.shards = f->shards;
    mw_lua *l = mw_lua_new(&view);
    mw_status status = mw_lua_load(l, f->options.path, f->kinds_json.bytes, &json, &len, error);
    if (status == MW_OK)
        status =
            mw_graph_read(&f->graph, f->kinds, json, len, f->options.path, state_folder(f), error);
    mw_lua_free(l);
    mw_view_close(&view);
    mw_paths_close(&paths);
    return status;
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
    mw_kinds_json(kinds, &f->kinds_json);
    mw_buffer_append(&f->kinds_json, "", 1);
    mw_status status = read_graph(f, error);
    if (status != MW_OK) {
        mw_flow_free(f);
        return status;
    }
    f->sink_homes = calloc(f->graph.sink_count, sizeof *f->sink_homes);
    f->shared = calloc(f->graph.source_count, sizeof *f->shared);
    mw_assert(f->sink_homes != NULL && f->shared != NULL);
    for (uint32_t i = 1; i < f->graph.sink_count; i++) f->sink_homes[i] = i % f->shards;
    *flow = f;
    return MW_OK;
}

const mw_graph *mw_flow_graph(const mw_flow *f)
{
    return &f->graph;
}

void mw_flow_free(mw_flow *f)
{
    if (!f) return;
    for (mw_partition *p = f->partitions, *next; p; p = next) {
        next = p->next;
        pthread_mutex_destroy(&p->lock);
        free(p->key);
        free(p);
    }
    for (unsigned i = 0; f->shard && i < f->shards; i++) {
        free(f->shard[i].sources);
        free(f->shard[i].sinks);
        free(f->shard[i].list_counts);
        free(f->shard[i].lists);
        free(f->shard[i].list_bytes);
        free(f->shard[i].rule_counters);
    }
    free(f->shard);
    mw_post_free(f->post);
    mw_store_close(f->store);
    mw_graph_close(&f->graph);
    mw_buffer_close(&f->kinds_json);
    mw_buffer_close(&f->default_state);
    pthread_mutex_destroy(&f->partitions_lock);
    pthread_mutex_destroy(&f->shared_lock);
    free(f->shared);
    free(f->sink_homes);
    free(f);
}

/* ---- control ---- */

static void broadcast(mw_flow *f, uint32_t kind, uint32_t target)
{
    for (unsigned i = 0; i < f->shards; i++)
        mw_post_send(f->post, f->shards, i, (mw_message){.kind = kind, .target = target});
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void stop(mw_flow *f)
{
    if (f->phase == STOPPING) return;
    f->phase = STOPPING;
    atomic_store(&f->ready, 0);
    broadcast(f, MW_MSG_STOP, 0);
    close_handle((uv_handle_t *)&f->checkpoint_timer);
    close_handle((uv_handle_t *)&f->progress_timer);
    close_handle((uv_handle_t *)&f->drain_timer);
    close_handle((uv_handle_t *)&f->terminate);
    close_handle((uv_handle_t *)&f->interrupt);
    close_handle((uv_handle_t *)&f->hangup);
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
    stop(f);
}

void mw_flow_drain(mw_flow *f)
{
    if (f->phase != RUNNING) return;
    f->phase = DRAINING;
    atomic_store(&f->ready, 0);
    broadcast(f, MW_MSG_DRAIN, 0);
    broadcast(f, MW_MSG_HURRY, 0);
    uv_timer_start(&f->drain_timer, on_drain_timeout,
                   (uint64_t)(f->options.drain_timeout_ns / 1000000), 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    mw_flow *f = handle->data;
    if (f->phase == DRAINING && number == SIGINT) { /* somebody is impatient */
        mw_log(MW_WARN, "flow", "interrupted while draining: what is in flight is left");
        f->failed = 1;
        stop(f);
        return;
    }
    mw_log(MW_INFO, "flow", "signal %d: draining", number);
    f->drain_wanted = 1;
    mw_flow_drain(f);
}

static void on_checkpoint(uv_timer_t *timer)
{
    mw_flow *f = timer->data;
    mw_error error;
    if (mw_checkpoint_save(f, &error) != MW_OK)
        mw_log(MW_ERROR, "checkpoint", "%s; trying again", error.message);
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
        stop(f);
        return;
    }
    f->phase = RUNNING;
    f->sources_open = 0;
    for (unsigned i = 0; i < f->shards; i++)
        for (uint32_t j = 0; j < f->graph.source_count; j++) {
            int open = f->shard[i].sources[j].open != 0;
            f->sources_open += (unsigned)open;
            f->listeners += open && f->graph.sources[j].source_kind->endless;
        }
    uv_timer_start(&f->checkpoint_timer, on_checkpoint, CHECKPOINT_MS, CHECKPOINT_MS);
    if (f->options.progress)
        uv_timer_start(&f->progress_timer, on_progress, PROGRESS_MS, PROGRESS_MS);
    broadcast(f, MW_MSG_START, 0);
    atomic_store(&f->ready, 1);
    if (f->drain_wanted) mw_flow_drain(f); /* the signal came while it opened */
    mw_log(MW_INFO, "flow", "'%s' version %s is ready (%u shards, %.1f ms)", f->graph.name,
           f->graph.version, f->shards, (double)(mw_clock_steady_ns() - f->started_ns) / 1e6);
}

/* Told to run once, listeners end when all that can be read to an end was. */
static void on_ended(mw_flow *f, int listener)
{
    if (++f->ended == f->sources_open) broadcast(f, MW_MSG_HURRY, 0);
    f->ended_readers += !listener;
    if (f->options.once && f->ended_readers == f->sources_open - f->listeners) mw_flow_drain(f);
}

static void on_fullness(mw_flow *f, int full)
{
    unsigned before = f->full_sinks;
    f->full_sinks += full ? 1u : -1u;
    if ((before == 0) != (f->full_sinks == 0)) broadcast(f, MW_MSG_FULL, f->full_sinks > 0);
}

static void on_message(void *self, mw_message m)
{
    mw_flow *f = self;
    if (f->phase == STOPPING) return;
    switch (m.kind) {
    case MW_MSG_READY:
        on_ready(f, m.body, (int)m.target);
        break;
    case MW_MSG_ENDED:
        on_ended(f, (int)m.target);
        break;
    case MW_MSG_EMPTY:
        if (++f->empty == f->sources_open) stop(f);
        break;
    case MW_MSG_FULLNESS:
        on_fullness(f, (int)m.target);
        break;
    default:
        mw_assert(m.kind == MW_MSG_FAILED);
        f->failed = 1;
        if (m.target) stop(f);
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
    uv_signal_start(&f->hangup, on_signal, SIGHUP); /* the terminal is gone */
    mw_post_open(f->post, f->shards, loop, on_message, f);
}

static mw_status finish(mw_flow *f, mw_error *error)
{
    mw_status status = mw_checkpoint_save(f, error);
    if (f->options.progress) fprintf(stderr, "\r\033[K");
    if (f->failed == 2) return mw_fail(error, MW_CONFIG, "the flow could not start");
    if (f->failed) return mw_fail(error, MW_IO, "the run failed");
    return status;
}

mw_status mw_flow_run(mw_flow *f, mw_error *error)
{
    uv_loop_t loop;
    f->started_ns = mw_clock_steady_ns();
    f->started_wall_ns = mw_clock_wall_ns();
    mw_status status = mw_store_open(&f->store, state_folder(f), error);
    if (status != MW_OK) return status;
    uv_loop_init(&loop);
    f->post = mw_post_new(f->shards + 1);
    f->shard = calloc(f->shards, sizeof *f->shard);
    mw_assert(f->shard != NULL);
    f->waiting = f->shards;
    open_control(f, &loop);
    if (f->options.extension)
        status = f->options.extension->open(&f->extension, f, &loop, f->options.extension, error);
    if (status == MW_OK) {
        for (unsigned i = 0; i < f->shards; i++) mw_shard_open(&f->shard[i], f, i);
        uv_run(&loop, UV_RUN_DEFAULT);
        for (unsigned i = 0; i < f->shards; i++) uv_thread_join(&f->shard[i].thread);
        for (unsigned i = 0; i < f->shards; i++) uv_loop_close(&f->shard[i].loop);
        status = finish(f, error);
    } else {
        stop(f);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&loop);
    return status;
}

int mw_flow_is_ready(const mw_flow *f)
{
    return atomic_load(&f->ready);
}
