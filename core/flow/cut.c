/* cut.c: cuts: moments at which all shards have decided the same events.
 *
 * Control marks a cut with a number: what sources give from then on carries it, and waits where it
 * comes early. When everything before the mark has been decided (the double count of mw_tally, by
 * the last bit of the cut's number, since never more than two are under way), control tells all
 * shards; each works on with what has waited. At a cut
 *   - the watermark of several shards moves (time.c): to what their partitions had come to;
 *   - a checkpoint begins: each shard takes what its keepers hold now, a little in every round, and
 *     says when everything that was given before the mark is safe. When all have, one transaction
 *     writes both the keepers and the positions at the mark. (Chandy and Lamport's snapshot, 1985,
 *     in the aligned form of Carbone et al., 2015.)
 * A flow that keeps nothing by key needs no cuts: its checkpoints are positions alone. */
#include "base/clock.h"
#include "base/log.h"
#include "flow/keeping.h"
#include "flow/reload.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS_A_ROUND = 4000, EARLY_NS = 5000000 /* clocks of timers are not that exact */ };

/* ---- a shard's side ---- */

static mw_partition *partition_of(const mw_progress *p)
{
    return p->partition;
}

static void mark_partition(mw_partition *p, unsigned cut)
{
    pthread_mutex_lock(&p->lock);
    p->cut = cut;
    p->cut_position = p->newest ? p->newest->end_position : atomic_load(&p->safe);
    p->cut_epoch = p->epoch;
    memcpy(p->cut_note, p->note, p->note_len);
    p->cut_note_len = p->note_len;
    pthread_mutex_unlock(&p->lock);
}

static void mark(mw_shard *s, unsigned cut, int checkpoint)
{
    s->marked_cut = cut;
    s->cut_checkpoint = checkpoint;
    for (uint32_t i = 0; checkpoint && i < s->progress_count; i++)
        if (partition_of(s->progress[i])) mark_partition(partition_of(s->progress[i]), cut);
    if (checkpoint) {
        s->checkpoint_cut = cut, s->cut_unsafe = 1;
        mw_seal_mark(s, cut);
    }
    mw_time_mark(s);
    atomic_fetch_add(&s->flow->cut.marked, 1);
    mw_shard_stay_awake(s);
}

/* Exactly once, what a window has told of itself is of the checkpoint or not, as a whole. */
void mw_cut_mark(mw_shard *s, unsigned cut, int checkpoint)
{
    const int whole = checkpoint && s->version->graph.exactly_once;
    if (whole) mw_keeping_hold(s, 1);
    if (whole && mw_keeping_is_closing(s)) s->late_cut = cut;
    else
        mark(s, cut, checkpoint);
}

static void mark_late(mw_shard *s)
{
    unsigned cut = s->late_cut;
    if (mw_keeping_is_closing(s)) return;
    s->late_cut = 0;
    mark(s, cut, 1);
}

static int is_decided(const mw_flow *f, unsigned cut)
{
    uint64_t begun = 0, ended = 0;
    for (unsigned i = 0; i < f->shards; i++)
        ended += atomic_load_explicit(&f->shard[i].ended[cut & 1], memory_order_acquire);
    for (unsigned i = 0; i < f->shards; i++) begun += mw_counted(&f->shard[i].begun[cut & 1]);
    return begun == ended;
}

static int is_safe(const mw_shard *s)
{
    if (s->seal.number) return mw_seal_is_done(s);
    for (uint32_t i = 0; i < s->progress_count; i++) {
        const mw_partition *p = partition_of(s->progress[i]);
        if (p && p->cut == s->checkpoint_cut && p->epoch == p->cut_epoch &&
            atomic_load(&p->safe) < p->cut_position)
            return 0;
    }
    return 1;
}

static int take_some(mw_shard *s)
{
    for (mw_snapshot *n = s->snapshots; n; n = n->next)
        if (n->keeper) return mw_snapshot_take(n, RECORDS_A_ROUND) || n->next != NULL;
    return 0;
}

/* States that may not grow further: a checkpoint comes at once, and far above the limit nothing new
 * until there is room. */
void mw_cut_look_at_limits(mw_shard *s)
{
    if (s->lets_go && !mw_keeping_let_go(s)) s->lets_go = 0;
    if (s->lets_go) mw_shard_stay_awake(s);
    if (mw_keeping_is_over(s, 1)) atomic_store(&s->flow->cut.wanted, 1);
    int over = mw_keeping_is_over(s, 2);
    if (over != s->is_over) mw_shard_report(s, MW_MSG_FULLNESS, (uint32_t)over, NULL);
    s->is_over = over;
}

void mw_cut_written(mw_shard *s, unsigned cut)
{
    if (!s->has_limits || cut != s->checkpoint_cut) return;
    mw_keeping_let_go_begin(s);
    s->lets_go = 1;
    mw_shard_stay_awake(s);
}

void mw_cut_look(mw_shard *s)
{
    mw_flow *f = s->flow;
    if (s->late_cut) mark_late(s);
    if (s->marked_cut != s->cut) {
        if (atomic_load(&f->cut.marked) < f->shards || !is_decided(f, s->marked_cut - 1)) return;
        if (!atomic_exchange(&f->cut.over, 1)) mw_shard_report(s, MW_MSG_CUT_OVER, 0, NULL);
        return;
    }
    if (s->taking && !take_some(s)) s->taking = 0;
    if (s->taking) mw_shard_stay_awake(s);
    if (s->seal.number) mw_seal_look(s);
    if (!s->cut_unsafe || s->cut < s->checkpoint_cut || s->taking || !is_safe(s)) return;
    s->cut_unsafe = 0;
    if (s->seal.number) mw_seal_end(s);
    mw_shard_report(s, MW_MSG_CUT_TAKEN, 0, s);
}

void mw_cut_now(mw_shard *s)
{
    s->cut = s->marked_cut;
    if (s->cut_checkpoint) {
        mw_keeping_snapshot(s);
        mw_keeping_hold(s, 0);
        s->taking = s->snapshots != NULL, s->lets_go = 0;
        mw_seal_send(s);
    }
    s->cut_reached = s->watermark_ns == INT64_MAX ? s->kept_watermark_ns : s->watermark_ns;
    mw_shard_report(s, MW_MSG_CUT_PASSED, 0, s);
    mw_swap_release_held(s);
    mw_shard_stay_awake(s);
}

/* ---- control's ---- */

/* A checkpoint on its way to the disk, by a thread of libuv's pool. */
typedef struct writing {
    uv_work_t work;
    mw_flow *flow;
    mw_status status;
    mw_error error;
} writing;

int mw_cut_is_used(const mw_flow *f)
{
    const mw_graph *g = &f->version->graph;
    return f->cut.number > 0 || g->keep_count > 0 || (g->exactly_once && f->store);
}

static int is_time(const mw_flow *f, int64_t now_ns)
{
    return now_ns + EARLY_NS - f->cut.checkpoint_at_ns >= f->version->graph.checkpoint_ns ||
           atomic_load(&f->cut.wanted);
}

void mw_cut_begin(mw_flow *f)
{
    if (f->cut.busy || mw_reload_is_busy(f) || f->phase == MW_STOPPING) return;
    int64_t now_ns = mw_clock_steady_ns();
    int checkpoint =
        f->store && !f->cut.rows && !f->cut.snapshots && !f->cut.awaited && is_time(f, now_ns);
    if (!checkpoint && f->shards == 1) return;
    f->cut.busy = 1;
    f->cut.number++;
    f->cut.awaited_pass = f->shards;
    if (checkpoint) {
        f->cut.awaited = f->shards, f->cut.checkpoint = f->cut.number;
        f->cut.checkpoint_at_ns = now_ns;
        atomic_store(&f->cut.wanted, 0);
        mw_contents_begun(f, f->cut.number);
    }
    atomic_store(&f->cut.marked, 0);
    atomic_store(&f->cut.over, 0);
    mw_flow_broadcast(f, MW_MSG_CUT_MARK, f->cut.number << 1 | (unsigned)checkpoint, NULL);
}

static void gather_snapshots(mw_flow *f)
{
    for (unsigned i = 0; i < f->shards; i++) {
        mw_snapshot **end = &f->cut.snapshots;
        while (*end) end = &(*end)->next;
        *end = f->shard[i].snapshots;
        f->shard[i].snapshots = NULL;
    }
}

static void write_all(uv_work_t *work)
{
    writing *w = work->data;
    mw_flow *f = w->flow;
    if (f->cut.step == MW_WRITE_PROMOTED) {
        w->status = mw_store_promote(f->store, &w->error);
        return;
    }
    mw_store_writer *to =
        f->cut.step == MW_WRITE_ALL
            ? mw_store_begin(f->store)
            : mw_store_prepare(f->store, f->cut.numbered, f->cut.record.bytes, f->cut.record.len);
    mw_snapshot_add(to, f->cut.snapshots, f->cut.rows, f->cut.row_count);
    w->status = mw_store_end(to, &w->error);
}

static void free_rows(mw_record *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((void *)rows[i].key);
        free((void *)rows[i].value);
    }
    free(rows);
}

static void add_row(mw_record **rows, size_t *count, const char *key, const void *value, size_t len)
{
    *rows = realloc(*rows, (*count + 1) * sizeof **rows);
    char *copy = malloc(len + 1);
    mw_assert(*rows && copy);
    memcpy(copy, value, len);
    (*rows)[(*count)++] = (mw_record){.key = strdup(key), .value = copy, .len = len};
}

/* Positions at the mark; at the end of the run (`last`) where they are. */
static size_t position_rows(mw_flow *f, int last, mw_record **rows)
{
    size_t count = 0;
    *rows = NULL;
    pthread_mutex_lock(&f->partitions_lock);
    for (mw_partition *p = f->partitions; p; p = p->next) {
        char value[8 + MW_NOTE_BYTES];
        pthread_mutex_lock(&p->lock);
        int cut = p->cut == f->cut.checkpoint && !last;
        uint64_t position = cut ? p->cut_position : atomic_load(&p->safe);
        size_t note_len = cut ? p->cut_note_len : p->note_len;
        memcpy(value, &position, 8);
        memcpy(value + 8, cut ? p->cut_note : p->note, note_len);
        int wanted = last || (cut && (position != p->saved || p->dirty));
        if (wanted) p->saved = position, p->dirty = 0;
        pthread_mutex_unlock(&p->lock);
        if (wanted) add_row(rows, &count, p->key, value, 8 + note_len);
    }
    pthread_mutex_unlock(&f->partitions_lock);
    int64_t watermark = last ? f->cut.watermark : f->cut.kept_watermark;
    if (watermark != INT64_MIN) add_row(rows, &count, "watermark", &watermark, sizeof watermark);
    return count;
}

static int has_records(const mw_snapshot *list)
{
    for (; list; list = list->next)
        if (list->records.len || list->renews) return 1;
    return 0;
}

static void free_snapshots(mw_flow *f)
{
    for (mw_snapshot *s = f->cut.snapshots, *next; s; s = next) next = s->next, mw_snapshot_free(s);
    f->cut.snapshots = NULL;
}

/* The store has all that the cut of the checkpoint had. */
static void on_stored(mw_flow *f)
{
    pthread_mutex_lock(&f->partitions_lock);
    for (mw_partition *p = f->partitions; p; p = p->next) {
        pthread_mutex_lock(&p->lock);
        if (p->cut == f->cut.checkpoint) atomic_store(&p->durable, p->cut_position);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&f->partitions_lock);
    mw_flow_broadcast(f, MW_MSG_WRITTEN, f->cut.checkpoint, NULL);
    mw_contents_stored(f, f->cut.checkpoint);
    mw_commit_over(f);
    if (f->cut.last == f->cut.checkpoint) mw_flow_stop(f);
}

static void begin_write(mw_flow *f);

static void on_step(mw_flow *f)
{
    if (f->cut.step == MW_WRITE_PREPARED) {
        if (f->phase != MW_STOPPING) mw_commit_ask(f);
        return;
    }
    mw_count(&f->checkpoints, 1);
    f->cut.took_ns = mw_clock_steady_ns() - f->cut.checkpoint_at_ns;
    free_snapshots(f);
    free_rows(f->cut.rows, f->cut.row_count);
    f->cut.rows = NULL, f->cut.row_count = 0;
    on_stored(f);
}

static void on_written(uv_work_t *work, int status)
{
    writing *w = work->data;
    mw_flow *f = w->flow;
    (void)status;
    f->cut.writing = 0;
    if (w->status == MW_OK) {
        on_step(f);
    } else { /* the same again, until it is written: nothing of it may be lost */
        mw_count(&f->checkpoint_failures, 1);
        mw_log(MW_ERROR, "checkpoint", "%s; trying again", w->error.message);
        f->cut.failed = 1;
    }
    free(w);
}

static void begin_write(mw_flow *f)
{
    writing *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->work.data = w, w->flow = f;
    f->cut.writing = 1;
    f->cut.failed = 0;
    uv_queue_work(f->loop, &w->work, write_all, on_written);
}

void mw_cut_retry(mw_flow *f)
{
    if (f->cut.failed && !f->cut.writing) begin_write(f);
}

static void on_taken(mw_flow *f)
{
    if (--f->cut.awaited) return;
    gather_snapshots(f);
    f->cut.row_count = position_rows(f, 0, &f->cut.rows);
    int moved = f->cut.row_count > (f->cut.kept_watermark != INT64_MIN);
    moved |= mw_commit_gather(f);
    if (!moved && !has_records(f->cut.snapshots)) {
        free_snapshots(f);
        free_rows(f->cut.rows, f->cut.row_count);
        f->cut.rows = NULL, f->cut.row_count = 0;
        on_stored(f);
        return;
    }
    if (f->version->graph.exactly_once) mw_commit_number(f);
    f->cut.step = f->cut.commits ? MW_WRITE_PREPARED : MW_WRITE_ALL;
    begin_write(f);
}

static void on_passed(mw_flow *f, const mw_shard *s)
{
    if (--f->cut.awaited_pass) return;
    f->cut.busy = 0;
    if (f->shards > 1 && f->cut.least != INT64_MAX && f->cut.least > f->cut.watermark) {
        f->cut.watermark = f->cut.least;
        mw_flow_broadcast(f, MW_MSG_WATERMARK, 0, (void *)(intptr_t)f->cut.watermark);
    } else if (f->shards == 1) {
        f->cut.watermark = s->cut_reached;
    }
    if (f->cut.checkpoint == f->cut.number) f->cut.kept_watermark = f->cut.watermark;
    mw_reload_after_cut(f);
    if (f->cut.ends) mw_cut_is_last(f);
}

int mw_cut_message(mw_flow *f, mw_message m)
{
    switch (m.kind) {
    case MW_MSG_CUT_OVER:
        f->cut.least = mw_time_at_cut(f);
        mw_flow_broadcast(f, MW_MSG_CUT_NOW, 0, NULL);
        return 1;
    case MW_MSG_CUT_PASSED:
        on_passed(f, m.body);
        return 1;
    case MW_MSG_CUT_TAKEN:
        on_taken(f);
        return 1;
    case MW_MSG_COMMITTED:
        f->cut.step = MW_WRITE_PROMOTED;
        begin_write(f);
        return 1;
    default:
        return 0;
    }
}

/* ---- the first and the last ---- */

void mw_cut_restore(mw_flow *f)
{
    mw_buffer value = {0};
    f->cut.watermark = INT64_MIN;
    if (f->store && mw_store_get(f->store, "watermark", &value) && value.len == 8)
        memcpy(&f->cut.watermark, value.bytes, 8);
    f->cut.kept_watermark = f->cut.watermark;
    mw_buffer_close(&value);
}

static void take_all(mw_flow *f)
{
    for (unsigned i = 0; i < f->shards; i++)
        for (mw_snapshot *n = f->shard[i].snapshots; n; n = n->next)
            while (mw_snapshot_take(n, UINT32_MAX)) {
            }
    gather_snapshots(f);
}

/* A run that is exactly once ends with a checkpoint of all that came; one that is under way may be
 * of less. */
int mw_cut_is_last(mw_flow *f)
{
    if (!f->version->graph.exactly_once || !f->store) return 1;
    f->cut.ends = 1;
    if (f->cut.last || f->cut.busy || f->cut.rows || f->cut.snapshots || f->cut.awaited) return 0;
    atomic_store(&f->cut.wanted, 1);
    f->cut.last = f->cut.number + 1;
    mw_cut_begin(f);
    if (!f->cut.busy) f->cut.last = 0; /* not now: with the clock */
    return 0;
}

/* All threads have ended. A checkpoint that could not be written is tried once more; where
 * everything that was given is safe, what the keepers hold now follows what was taken before. */
mw_status mw_cut_finish(mw_flow *f, mw_error *error)
{
    mw_record *rows = f->cut.rows;
    size_t count = f->cut.row_count;
    f->cut.rows = NULL;
    if (f->version->graph.exactly_once) { /* what it has written is of the last checkpoint */
        if (rows) free_rows(rows, count);
        gather_snapshots(f);
        free_snapshots(f);
        return MW_OK;
    }
    if (!f->failed) {
        free_rows(rows, count);
        take_all(f);
        for (unsigned i = 0; i < f->shards; i++) mw_keeping_snapshot(&f->shard[i]);
        take_all(f);
        const mw_shard *s = &f->shard[0];
        if (f->shards == 1)
            f->cut.watermark =
                s->watermark_ns == INT64_MAX ? s->kept_watermark_ns : s->watermark_ns;
        count = position_rows(f, 1, &rows);
    }
    /* sources that have no position, as HTTP, have rules that keep something all the same */
    mw_status status = rows || !f->failed
                           ? mw_snapshot_write(f->store, f->cut.snapshots, rows, count, error)
                           : MW_OK;
    if (rows) free_rows(rows, count);
    free_snapshots(f);
    for (unsigned i = 0; i < f->shards; i++)
        for (mw_snapshot *n = f->shard[i].snapshots, *next; n; n = next)
            next = n->next, mw_snapshot_free(n);
    return status;
}
