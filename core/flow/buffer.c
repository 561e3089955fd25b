/* buffer.c: see buffer.h. */
#include "flow/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "state/spool.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TICK_MS = 50,
    RETRY_MS = 200,
    RECORDS_A_ROUND = 64,
    SEGMENT_LEAST = 64 << 10,
    SEGMENT_MOST = 16 << 20,
};

static const mw_option options[] = {{NULL}};

/* One spool: the shard's own, or that of a shard that is no more. */
typedef struct part {
    struct part *next;
    mw_spool *spool;
    mw_partition *positions;
    uint64_t at; /* read so far */
    unsigned index;
} part;

/* What is in a record before the frames, and before what it says of lengths. */
typedef struct record {
    int64_t time_ns;
    uint32_t meta_len, why_len;
    int8_t octet_counted;
    uint8_t first;
    uint8_t unused[6];
} record;

/* Batches of the intake, by `next`. Those that are written end at `end_position` of the spool. */
typedef struct batches {
    mw_batch *first, *last;
} batches;

struct mw_disk_buffer {
    mw_source_host *reader, *intake;
    part *parts; /* the own first */
    size_t size, segment;
    int64_t sync_ms;
    uv_idle_t idle;
    uv_check_t check;
    uv_timer_t tick, sync_timer, retry;
    uv_work_t sync;
    int syncing, sync_failed, stopped, closing, handles;
    int fds[MW_SPOOL_FDS];
    size_t fd_count;
    uint64_t syncing_end;
    batches unwritten; /* the disk had no room */
    batches written;   /* not synced yet */
    mw_buffer text;
};

static void add(batches *list, mw_batch *b)
{
    b->next = NULL;
    if (list->last) list->last->next = b;
    else
        list->first = b;
    list->last = b;
}

static mw_batch *take(batches *list)
{
    mw_batch *b = list->first;
    list->first = b->next;
    if (!list->first) list->last = NULL;
    return b;
}

static size_t used(const mw_disk_buffer *d)
{
    size_t bytes = 0;
    for (const part *p = d->parts; p; p = p->next)
        bytes += mw_spool_end(p->spool) - mw_spool_first(p->spool);
    return bytes;
}

int mw_buffer_is_full(const mw_source_host *intake, int resume)
{
    const mw_disk_buffer *d = intake->buffer;
    return d->unwritten.first || used(d) >= (resume ? d->size / 8 * 7 : d->size);
}

/* ---- reading ---- */

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    (void)e, (void)kept;
    mw_buffer_text(out, b->meta);
}

static void give_record(mw_disk_buffer *d, part *p, uint64_t position, const char *bytes,
                        size_t total)
{
    mw_source *s = &d->reader->source;
    record r;
    memcpy(&r, bytes, sizeof r);
    const char *meta = bytes + sizeof r, *why = meta + r.meta_len, *block = why + r.why_len;
    size_t len = total - (size_t)(block - bytes);
    mw_batch *b = mw_source_take(s, len);
    memcpy(b->block, block, len);
    b->len = len, b->first = r.first;
    b->position = position, b->end_position = p->at;
    b->time_ns = r.time_ns;
    mw_stream *stream = mw_arena_get(&b->arena, sizeof *stream);
    mw_stream_init(stream, s->format, s->config, s->limit);
    stream->octet_counted = r.octet_counted;
    b->stream = stream;
    if (r.meta_len) {
        char *copy = mw_arena_get(&b->arena, r.meta_len + 1);
        memcpy(copy, meta, r.meta_len);
        copy[r.meta_len] = 0;
        b->meta = copy, b->write_meta = write_meta;
    }
    if (r.why_len) b->reject = mw_arena_copy(&b->arena, why, r.why_len);
    mw_source_read(s, len);
    mw_source_give(s, b, p->positions);
}

/* 0: there is nothing to read. */
static int read_one(mw_disk_buffer *d)
{
    mw_error error;
    const char *bytes;
    size_t len;
    for (part *p = d->parts; p; p = p->next) {
        uint64_t before = p->at;
        int found = mw_spool_read(p->spool, &p->at, &bytes, &len, &error);
        if (found > 0) give_record(d, p, before, bytes, len);
        else if (found < 0)
            mw_log(MW_ERROR, d->reader->source.name, "%s", error.message);
        if (found) return 1;
    }
    return 0;
}

static void look_at_end(mw_disk_buffer *d);

static void on_idle(uv_idle_t *idle)
{
    mw_disk_buffer *d = idle->data;
    for (int n = 0; n < RECORDS_A_ROUND; n++) {
        if (mw_source_is_full(&d->reader->source)) {
            uv_idle_stop(idle);
            return;
        }
        if (read_one(d)) continue;
        uv_idle_stop(idle);
        look_at_end(d);
        return;
    }
}

static void go_on(mw_disk_buffer *d)
{
    if (!d->stopped && d->reader->started && !uv_is_active((uv_handle_t *)&d->idle))
        uv_idle_start(&d->idle, on_idle);
}

/* ---- taking in ---- */

static void acknowledge(mw_disk_buffer *d, uint64_t end);
static void begin_sync(mw_disk_buffer *d);

/* Where nobody waits for an answer, memory goes as soon as the bytes are written. Where somebody
 * does, the sync does not wait for its time when much is waiting for it. */
static void on_round(uv_check_t *check)
{
    mw_disk_buffer *d = check->data;
    const mw_source_host *in = d->intake;
    if (!d->written.first || !in) return;
    if (in->source.kind->grade == MW_SOURCE_FORGETS) acknowledge(d, mw_spool_end(d->parts->spool));
    else if (!d->syncing && in->in_flight_bytes > in->in_flight_max / 2)
        begin_sync(d);
}

static int write_batch(mw_disk_buffer *d, mw_batch *b)
{
    mw_error error;
    record r = {.time_ns = b->time_ns,
                .why_len = b->reject ? (uint32_t)strlen(b->reject) + 1 : 0,
                .octet_counted = (int8_t)b->stream->octet_counted,
                .first = b->first != 0};
    d->text.len = 0;
    mw_buffer_append(&d->text, &r, sizeof r);
    if (b->write_meta) b->write_meta(b, NULL, 1, &d->text); /* without secrets: it is a file */
    r.meta_len = (uint32_t)(d->text.len - sizeof r);
    if (b->reject) mw_buffer_append(&d->text, b->reject, r.why_len);
    memcpy(d->text.bytes, &r, sizeof r);
    if (mw_spool_append(d->parts->spool, d->text.bytes, d->text.len, b->block, b->len, &error) !=
        MW_OK) {
        if (!d->unwritten.first)
            mw_log(MW_ERROR, d->intake->source.name, "%s; trying again until it succeeds",
                   error.message);
        return 0;
    }
    b->end_position = mw_spool_end(d->parts->spool);
    return 1;
}

static void on_sync_timer(uv_timer_t *timer)
{
    begin_sync(timer->data);
}

static void wants_sync(mw_disk_buffer *d)
{
    if (d->syncing || uv_is_active((uv_handle_t *)&d->sync_timer)) return;
    uv_timer_start(&d->sync_timer, on_sync_timer, (uint64_t)d->sync_ms, 0);
}

static void on_retry(uv_timer_t *timer)
{
    mw_disk_buffer *d = timer->data;
    while (d->unwritten.first && write_batch(d, d->unwritten.first))
        add(&d->written, take(&d->unwritten));
    if (d->unwritten.first) uv_timer_start(timer, on_retry, RETRY_MS, 0);
    if (d->written.first) wants_sync(d);
    if (d->intake) mw_source_host_check_full(d->intake);
    go_on(d);
}

mw_source_host **mw_buffer_intake(mw_source_host *reader)
{
    return &((mw_disk_buffer *)reader->source.self)->intake;
}

void mw_buffer_take(mw_source_host *intake, mw_batch *b)
{
    mw_disk_buffer *d = intake->buffer;
    if (d->unwritten.first || !write_batch(d, b)) {
        add(&d->unwritten, b);
        if (!uv_is_active((uv_handle_t *)&d->retry))
            uv_timer_start(&d->retry, on_retry, RETRY_MS, 0);
        return;
    }
    add(&d->written, b);
    wants_sync(d);
    go_on(d);
}

/* ---- syncing ---- */

static void sync_all(uv_work_t *work)
{
    mw_disk_buffer *d = work->data;
    for (size_t i = 0; i < d->fd_count; i++) {
        if (d->fds[i] < 0 || fdatasync(d->fds[i]) != 0) d->sync_failed = 1;
        if (d->fds[i] >= 0) close(d->fds[i]);
    }
}

static void finish_close(mw_disk_buffer *d);

static void acknowledge(mw_disk_buffer *d, uint64_t end)
{
    while (d->written.first && d->written.first->end_position <= end) {
        mw_batch *b = take(&d->written);
        mw_source_host *h = b->owner;
        if (h->source.kind->acknowledge) h->source.kind->acknowledge(&h->source, b);
        mw_source_host_returned(h, b);
    }
}

static void on_synced(uv_work_t *work, int status)
{
    mw_disk_buffer *d = work->data;
    (void)status;
    d->syncing = 0;
    if (d->closing) {
        finish_close(d);
        return;
    }
    if (d->sync_failed) {
        mw_source_failed(&d->reader->source, "the disk would not sync the buffer");
        return;
    }
    acknowledge(d, d->syncing_end);
    if (mw_spool_is_unsynced(d->parts->spool)) wants_sync(d);
    look_at_end(d);
}

static void begin_sync(mw_disk_buffer *d)
{
    d->fd_count = mw_spool_unsynced(d->parts->spool, d->fds);
    d->syncing_end = mw_spool_end(d->parts->spool);
    d->syncing = 1;
    uv_queue_work(d->reader->source.loop, &d->sync, sync_all, on_synced);
}

/* ---- now and then ---- */

/* What a checkpoint is behind of is not read again. */
static void on_tick(uv_timer_t *timer)
{
    mw_disk_buffer *d = timer->data;
    uint64_t left = 0;
    for (part *p = d->parts; p; p = p->next) {
        mw_spool_trim(p->spool, atomic_load(&p->positions->durable));
        left += mw_spool_end(p->spool) - p->at;
    }
    mw_source_lag(&d->reader->source, left);
    if (d->intake && d->intake->open) mw_source_host_check_full(d->intake);
    if (left) go_on(d);
    look_at_end(d);
}

/* A run that ends with its input goes on until all that was taken in is read. */
static void look_at_end(mw_disk_buffer *d)
{
    const mw_source_host *h = d->reader, *in = d->intake;
    if (d->stopped || !h->draining || !h->source.once) return;
    if (in && (!in->ended || in->in_flight)) return;
    for (const part *p = d->parts; p; p = p->next)
        if (p->at < mw_spool_end(p->spool)) return;
    d->stopped = 1;
    mw_source_finished(&d->reader->source);
}

/* ---- the source ---- */

static mw_status open_part(mw_disk_buffer *d, unsigned index, mw_error *error)
{
    mw_source *s = &d->reader->source;
    char key[16];
    mw_buffer folder = {0};
    uint64_t position;
    part **end = &d->parts, *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    snprintf(key, sizeof key, "%u", index);
    p->positions = mw_source_partition(s, key);
    int known = mw_partition_known(p->positions, &position, NULL, NULL);
    mw_buffer_format(&folder, "%s/buffers/%s/%u", d->reader->shard->flow->options.state_folder,
                     s->name, index);
    mw_buffer_append(&folder, "", 1);
    p->index = index;
    mw_status status =
        mw_spool_open(&p->spool, folder.bytes, d->segment, known ? position : 0, error);
    mw_buffer_close(&folder);
    if (status != MW_OK) {
        free(p);
        return status;
    }
    if (known) mw_spool_trim(p->spool, position);
    p->at = mw_spool_first(p->spool);
    if (known && position > p->at) p->at = position;
    if (p->at > mw_spool_end(p->spool)) p->at = mw_spool_end(p->spool);
    if (!known || p->at != position) mw_partition_restart(p->positions, p->at);
    while (*end) end = &(*end)->next;
    *end = p;
    return MW_OK;
}

/* Shards that are no more. */
static mw_status open_others(mw_disk_buffer *d, mw_error *error)
{
    mw_source *s = &d->reader->source;
    mw_buffer folder = {0};
    mw_status status = MW_OK;
    mw_buffer_format(&folder, "%s/buffers/%s", d->reader->shard->flow->options.state_folder,
                     s->name);
    mw_buffer_append(&folder, "", 1);
    DIR *list = opendir(folder.bytes);
    for (struct dirent *e; list && status == MW_OK && (e = readdir(list));) {
        char *rest;
        unsigned long index = strtoul(e->d_name, &rest, 10);
        if (*rest || rest == e->d_name || index < s->shards || index % s->shards != s->shard)
            continue;
        status = open_part(d, (unsigned)index, error);
    }
    if (list) closedir(list);
    mw_buffer_close(&folder);
    return status;
}

static void free_buffer(mw_disk_buffer *d)
{
    for (part *p = d->parts, *next; p; p = next) {
        next = p->next;
        mw_spool_close(p->spool);
        free(p);
    }
    while (d->written.first) mw_batch_free(take(&d->written));
    while (d->unwritten.first) mw_batch_free(take(&d->unwritten));
    mw_buffer_close(&d->text);
    free(d);
}

static mw_status open_buffer(mw_source *s, mw_error *error)
{
    mw_disk_buffer *d = calloc(1, sizeof *d);
    mw_assert(d != NULL);
    d->reader = (mw_source_host *)s;
    d->size = (size_t)mw_config_int(s->config, "size", 1 << 30) / s->shards;
    d->sync_ms = mw_config_int(s->config, "sync", 100000000) / 1000000;
    d->segment = d->size / 8 < SEGMENT_LEAST  ? SEGMENT_LEAST
                 : d->size / 8 > SEGMENT_MOST ? SEGMENT_MOST
                                              : d->size / 8;
    s->self = d;
    mw_status status = open_part(d, s->shard, error);
    if (status == MW_OK) status = open_others(d, error);
    if (status != MW_OK) {
        free_buffer(d);
        return status;
    }
    uv_idle_init(s->loop, &d->idle);
    uv_check_init(s->loop, &d->check);
    uv_check_start(&d->check, on_round);
    uv_timer_init(s->loop, &d->tick);
    uv_timer_init(s->loop, &d->sync_timer);
    uv_timer_init(s->loop, &d->retry);
    d->idle.data = d->check.data = d->tick.data = d->sync_timer.data = d->retry.data =
        d->sync.data = d;
    mw_buffer_link(d->reader);
    return MW_OK;
}

static void start(mw_source *s)
{
    mw_disk_buffer *d = s->self;
    uint64_t left = 0;
    for (const part *p = d->parts; p; p = p->next) left += mw_spool_end(p->spool) - p->at;
    if (left)
        mw_log(MW_INFO, s->name, "%llu bytes are in the buffer, and come first",
               (unsigned long long)left);
    uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
    go_on(d);
}

static void pause_reading(mw_source *s)
{
    uv_idle_stop(&((mw_disk_buffer *)s->self)->idle);
}

static void resume(mw_source *s)
{
    go_on(s->self);
}

static void on_acknowledged(mw_source *s, mw_batch *b)
{
    (void)s;
    mw_stream_close(b->stream);
}

/* What is not read yet stays for the next start, unless the run ends with its input. */
static void drain(mw_source *s)
{
    mw_disk_buffer *d = s->self;
    if (s->once) return;
    d->stopped = 1;
    uv_idle_stop(&d->idle);
    mw_source_finished(s);
}

static int can_change(mw_config *before, mw_config *after)
{
    (void)before, (void)after;
    return 1;
}

static void change(mw_source *s)
{
    mw_disk_buffer *d = s->self;
    d->size = (size_t)mw_config_int(s->config, "size", 1 << 30) / s->shards;
    d->sync_ms = mw_config_int(s->config, "sync", 100000000) / 1000000;
}

static void on_closed(uv_handle_t *handle)
{
    mw_disk_buffer *d = handle->data;
    if (--d->handles == 0) free_buffer(d);
}

static void finish_close(mw_disk_buffer *d)
{
    d->handles = 5;
    uv_close((uv_handle_t *)&d->check, on_closed);
    uv_close((uv_handle_t *)&d->idle, on_closed);
    uv_close((uv_handle_t *)&d->tick, on_closed);
    uv_close((uv_handle_t *)&d->sync_timer, on_closed);
    uv_close((uv_handle_t *)&d->retry, on_closed);
}

static void close_buffer(mw_source *s)
{
    mw_disk_buffer *d = s->self;
    uv_check_stop(&d->check);
    uv_timer_stop(&d->tick);
    uv_timer_stop(&d->sync_timer);
    uv_timer_stop(&d->retry);
    uv_idle_stop(&d->idle);
    d->closing = 1;
    if (!d->syncing) finish_close(d);
}

const mw_source_kind mw_source_buffer = {
    .name = "router-buffer",
    .options = options,
    .grade = MW_SOURCE_REPLAYS,
    .every_shard = 1,
    .endless = 1,
    .hidden = 1,
    .open = open_buffer,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = on_acknowledged,
    .drain = drain,
    .can_change = can_change,
    .change = change,
    .close = close_buffer,
};
