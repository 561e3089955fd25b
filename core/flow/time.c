/* time.c: event time on a shard: when events happened, how far time has come, and waking up when
 * something is due though nothing comes.
 *
 * A partition (where a source has none, the instance of the source) has come as far as the latest
 * time it has given, less the disorder that is allowed (`lateness`). The watermark is the least of
 * all that are not idle, and never goes back. On a single shard it moves with every event; on
 * several it moves at cuts (cut.c), before which everything has been decided on all shards.
 *
 * The internal source `clock` gives an empty event when something is due and nothing else comes, so
 * that what windows and timers send belongs to a batch like everything. */
#include "base/clock.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "lua/keep.h"

#include <stdlib.h>

enum { TICK_MS = 20 };

/* ---- how far partitions have come ---- */

mw_progress *mw_time_progress(const mw_batch *b)
{
    mw_partition *p = b->partition;
    mw_source_host *h = b->owner;
    return p ? &p->progress : &h->progress;
}

void mw_time_note(mw_source_host *h, mw_batch *b)
{
    mw_shard *s = h->shard;
    mw_progress *p = mw_time_progress(b);
    atomic_store_explicit(&p->seen_ns, mw_clock_steady_ns(), memory_order_relaxed);
    if (p->listed || h->source.kind->passive) return;
    const mw_declared *d = &h->version->graph.sources[h->index];
    p->listed = 1;
    p->idle_ns = d->time.idle_ns, p->lateness_ns = d->time.lateness_ns;
    p->arrival = d->time.path == NULL;
    p->home = h, p->partition = b->partition;
    atomic_store(&p->high_ns, INT64_MIN);
    s->progress = realloc(s->progress, (s->progress_count + 1) * sizeof *s->progress);
    mw_assert(s->progress != NULL);
    s->progress[s->progress_count++] = p;
}

void mw_time_forget(mw_source_host *h)
{
    mw_shard *s = h->shard;
    for (uint32_t i = 0; i < s->progress_count;) {
        if (s->progress[i]->home != h) {
            i++;
            continue;
        }
        s->progress[i]->listed = 0;
        s->progress[i] = s->progress[--s->progress_count];
    }
}

/* What comes by its arrival has come as far as the clock where nothing of it is under way. */
static int64_t mark_of(const mw_progress *p)
{
    int64_t high = atomic_load_explicit(&p->high_ns, memory_order_relaxed);
    int replays = p->home->shard->flow->options.replay != NULL;
    if (p->arrival && p->home->in_flight == 0 && !replays) return mw_clock_wall_ns();
    return high == INT64_MIN ? INT64_MIN : high - p->lateness_ns;
}

static int is_idle(const mw_progress *p, int64_t now_ns)
{
    if (p->home->ended && p->home->in_flight == 0) return 1;
    return !p->arrival && now_ns - atomic_load(&p->seen_ns) > p->idle_ns;
}

/* Where some sources tell the time, those that do not have no say in it. */
static int is_timed(const mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.source_count; i++)
        if (v->graph.sources[i].time.path) return 1;
    return 0;
}

int64_t mw_time_least(const mw_shard *s, const mw_progress *but)
{
    int64_t least = INT64_MAX, now_ns = 0;
    int timed = is_timed(s->version);
    for (uint32_t i = 0; i < s->progress_count; i++) {
        const mw_progress *p = s->progress[i];
        if (p == but || (timed && p->arrival)) continue;
        if (!now_ns) now_ns = mw_clock_steady_ns();
        if (is_idle(p, now_ns)) continue;
        int64_t mark = mark_of(p);
        if (mark < least) least = mark;
    }
    return least;
}

void mw_time_mark(mw_shard *s)
{
    int64_t now_ns = mw_clock_steady_ns();
    int timed = is_timed(s->version);
    if (s->progress_count > s->at_mark_room) {
        s->at_mark_room = s->progress_count * 2;
        s->at_mark = realloc(s->at_mark, s->at_mark_room * sizeof *s->at_mark);
        mw_assert(s->at_mark != NULL);
    }
    s->at_mark_count = 0;
    for (uint32_t i = 0; i < s->progress_count; i++) {
        const mw_progress *p = s->progress[i];
        if ((timed && p->arrival) || is_idle(p, now_ns)) continue;
        int still = p->arrival && p->home->in_flight == 0;
        s->at_mark[s->at_mark_count++] = (mw_marked){p, still ? mark_of(p) : INT64_MIN};
    }
}

int64_t mw_time_at_cut(const mw_flow *f)
{
    int64_t least = INT64_MAX;
    for (unsigned i = 0; i < f->shards; i++) {
        const mw_shard *s = &f->shard[i];
        for (uint32_t k = 0; k < s->at_mark_count; k++) {
            const mw_progress *p = s->at_mark[k].progress;
            int64_t high = atomic_load(&p->high_ns), mark = s->at_mark[k].mark_ns;
            if (mark == INT64_MIN && high != INT64_MIN) mark = high - p->lateness_ns;
            if (mark < least) least = mark;
        }
    }
    return least;
}

/* ---- the times of events ---- */

static void raise_high(mw_progress *p, int64_t at)
{
    int64_t high = atomic_load_explicit(&p->high_ns, memory_order_relaxed);
    while (at > high && !atomic_compare_exchange_weak(&p->high_ns, &high, at)) {
    }
}

static void reject_time(mw_rules *r, uint32_t row, const char *name, const mw_value *v)
{
    char why[300];
    int n = v->kind == MW_ABSENT
                ? snprintf(why, sizeof why, "the event has no time: there is no field '%s'", name)
                : snprintf(why, sizeof why,
                           "the event has no time: '%s' is %.*s, which is not in the source's "
                           "'time_format'",
                           name, v->len < 80 ? (int)v->len : 80, v->text ? v->text : "");
    mw_prepare_reject(r, row, why, (size_t)n);
}

void mw_time_read_rows(mw_rules *r, mw_batch *b, mw_progress *p)
{
    mw_view *v = &r->view;
    const mw_declared *d = &r->version->graph.sources[b->source];
    int32_t path = r->time_paths[b->source];
    int64_t high = atomic_load_explicit(&p->high_ns, memory_order_relaxed);
    for (uint32_t row = 0; row < v->given; row++) {
        mw_event *e = &v->events[row];
        e->time_ns = b->time_ns;
        if (path >= 0 && !e->dead) {
            const mw_value *value = &v->slots[(size_t)row * v->stride + (size_t)path];
            if (!mw_time_read(&d->time.format, value, b->time_ns, &e->time_ns)) {
                reject_time(r, row, d->time.path, value);
                e->time_ns = b->time_ns;
            } else if (e->time_ns > high) {
                high = e->time_ns;
            }
        } else if (path < 0 && b->time_ns > high) {
            high = b->time_ns;
        }
        e->mark_ns = high == INT64_MIN ? INT64_MIN : high - d->time.lateness_ns;
    }
    if (high != INT64_MIN) raise_high(p, high);
}

/* A tick happens at the clock's time; event time has come as far as the shard knows. */
void mw_time_of_batch(mw_shard *s, mw_rules *r, mw_batch *b)
{
    mw_source_host *h = b->owner;
    if (!h->source.kind->passive) {
        mw_time_read_rows(r, b, mw_time_progress(b));
        return;
    }
    for (uint32_t row = 0; row < r->view.given; row++)
        r->view.events[row].time_ns = b->time_ns, r->view.events[row].mark_ns = s->watermark_ns;
}

void mw_time_begin(mw_rules *r, mw_batch *b)
{
    mw_shard *s = r->shard;
    if (!r->view.use_count) return;
    const mw_progress *p = mw_time_progress(b);
    int by_row = s->flow->shards == 1;
    int64_t others = INT64_MAX;
    if (by_row && s->progress_count > 1) others = mw_time_least(s, p);
    if (p->arrival && is_timed(r->version) && others == INT64_MAX) others = s->watermark_ns;
    mw_view_time(&r->view, s->watermark_ns, by_row, others, mw_clock_wall_ns());
}

static void on_tick(uv_timer_t *timer);

void mw_time_end(mw_rules *r)
{
    mw_shard *s = r->shard;
    if (!r->view.use_count) return;
    if (r->view.watermark_ns > s->watermark_ns) s->watermark_ns = r->view.watermark_ns;
    s->has_due = mw_view_has_more(&r->view);
    if (s->has_due && uv_is_active((uv_handle_t *)&s->clock)) /* at once, not with the next tick */
        uv_timer_start(&s->clock, on_tick, 0, TICK_MS);
}

/* ---- ticks ---- */

static mw_source_host *clock_of(const mw_shard *s)
{
    const mw_version *v = s->version;
    for (uint32_t i = 0; i < v->graph.source_count; i++)
        if (v->graph.sources[i].source_kind->passive) return v->sources[i * v->shards + s->index];
    return NULL;
}

static void tick(mw_source_host *clock)
{
    static const char nothing[] = "{}\n";
    mw_batch *b = mw_source_take(&clock->source, sizeof nothing);
    memcpy(b->block, nothing, sizeof nothing - 1);
    b->len = sizeof nothing - 1;
    if (!clock->reject_stream.format)
        mw_stream_init(&clock->reject_stream, clock->source.format, clock->source.config,
                       clock->source.limit);
    b->stream = &clock->reject_stream;
    mw_source_give(&clock->source, b, NULL);
}

int mw_time_is_due(mw_shard *s)
{
    const mw_view *v = &s->version->rules[s->index].view;
    if (!v->use_count) return 0;
    if (s->flow->shards == 1 && s->watermark_ns != INT64_MAX) {
        int64_t least = mw_time_least(s, NULL);
        if (least != INT64_MAX && least > s->watermark_ns) s->watermark_ns = least;
    }
    int64_t due = mw_view_due(v);
    return s->has_due || (due < INT64_MAX && due <= s->watermark_ns) ||
           mw_view_due_by_clock(v) <= mw_clock_wall_ns();
}

static void on_tick(uv_timer_t *timer)
{
    mw_shard *s = timer->data;
    mw_source_host *clock = s->version ? clock_of(s) : NULL;
    if (!clock || !clock->started || s->next) return;
    if (clock->in_flight) {
        if (s->has_due) uv_timer_start(timer, on_tick, 1, TICK_MS);
        return;
    }
    const int closing = mw_keeping_is_closing(s);
    if (s->held && !closing) return; /* what is due is told after the checkpoint's cut */
    if (s->is_flushing && !closing && (s->watermark_ns != INT64_MAX || !mw_time_is_due(s))) {
        mw_source_finished(&clock->source);
        return;
    }
    if (mw_time_is_due(s)) tick(clock);
}

int64_t mw_time_at_end(const mw_flow *f)
{
    int64_t latest = INT64_MIN;
    for (unsigned i = 0; i < f->shards; i++)
        for (uint32_t k = 0; k < f->shard[i].progress_count; k++) {
            const mw_progress *p = f->shard[i].progress[k];
            int64_t high = atomic_load(&p->high_ns);
            if (!p->arrival && high != INT64_MIN && high - p->lateness_ns > latest)
                latest = high - p->lateness_ns;
        }
    return latest;
}

void mw_time_flush(mw_shard *s, int windows, int64_t final_ns)
{
    s->is_flushing = 1;
    if (!windows || !clock_of(s)) return;
    s->kept_watermark_ns = s->watermark_ns;
    s->version->rules[s->index].view.final_ns =
        final_ns > s->watermark_ns ? final_ns : s->watermark_ns;
    s->watermark_ns = s->version->rules[s->index].view.watermark_ns = INT64_MAX;
}

void mw_time_open(mw_shard *s)
{
    s->watermark_ns = s->flow->cut.watermark;
    uv_timer_init(&s->loop, &s->clock);
    s->clock.data = s;
}

void mw_time_start(mw_shard *s)
{
    if (clock_of(s) && !s->stopping) uv_timer_start(&s->clock, on_tick, TICK_MS, TICK_MS);
    else
        uv_timer_stop(&s->clock);
}

void mw_time_close(mw_shard *s)
{
    uv_close((uv_handle_t *)&s->clock, NULL);
}
