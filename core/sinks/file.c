/* file.c (sink): files, appended to. The path may hold {field}: one file for each value.
 *
 * An event is safe when its bytes are with the operating system (they survive a crash of the
 * router), or, with `sync`, on the disk (they survive a loss of power): "always" syncs before
 * anything is acknowledged, a duration at most that late. */
#include "base/clock.h"
#include "base/log.h"
#include "event/template.h"
#include "sinks/file_marks.h"
#include "sinks/file_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_MAX = 256, WRITE_AT = 512 << 10, RETRY_MS = 200, RETRY_MS_MAX = 5000 };

static const mw_option rotate_options[] = {
    {"size", MW_OPT_SIZE, NULL, "rotate a file of this size", NULL, NULL},
    {"age", MW_OPT_DURATION, NULL, "rotate a file that was opened so long ago", NULL, NULL},
    {"keep", MW_OPT_COUNT, NULL, "how many rotated files stay; all when not given", NULL, NULL},
    {0},
};

static const mw_option options[] = {
    {"path", MW_OPT_TEXT, "!", "where to write; {field} stands for the field's value", NULL, NULL},
    {"rotate", MW_OPT_TABLE, NULL,
     "when to begin a new file: PATH becomes PATH.1, PATH.1 becomes PATH.2", NULL, rotate_options},
    {"sync", MW_OPT_TEXT, "never",
     "when bytes are forced to the disk: \"never\", \"always\", or a duration such as \"1s\"", NULL,
     NULL},
    {0},
};

typedef struct files {
    mw_sink *sink;
    mw_template *path;
    int has_fields;
    mw_output *outputs; /* most recently used first, where there are fields */
    unsigned open;
    mw_rotation rotation;
    int sync_always;
    int64_t sync_every_ns; /* 0: never */
    mw_list *written;      /* rendered into outputs, not yet written to files */
    mw_list **written_end;
    mw_list *unsynced; /* written, wait for a sync */
    mw_list **unsynced_end;
    size_t pending;
    uv_timer_t retry, tick;
    uint64_t retry_ms;
    mw_buffer name;
    uv_work_t sync_work;
    int *sync_fds;
    size_t sync_count;
    mw_list *syncing;
    int sync_running, sync_failed, closing, handles;
    enum { PREPARE_NONE, PREPARE_WAITS, PREPARE_SYNCS } prepares;
    mw_output *left; /* closed, and not of a checkpoint yet */
} files;

/* ---- which file ---- */

static mw_output *output_of(files *f, const mw_piece *p, mw_error *error)
{
    mw_output *o, **at = &f->outputs;
    if (!f->has_fields && f->outputs) return f->outputs;
    f->name.len = 0;
    mw_template_render(f->path, p->text, p->len, 1, &f->name);
    mw_buffer_append(&f->name, "", 1);
    for (; (o = *at); at = &o->next) {
        if (strcmp(o->path, f->name.bytes) != 0) continue;
        *at = o->next;
        break;
    }
    if (!o) {
        if (mw_output_open(&o, f->sink, f->name.bytes, error) != MW_OK) return NULL;
        f->open++;
    }
    o->next = f->outputs;
    f->outputs = o;
    return o;
}

static int syncs(const files *f)
{
    return f->sync_always || f->sync_every_ns;
}

/* A mark is kept until the checkpoint. */
static void leave(files *f, mw_output *o)
{
    if (f->sink->exactly_once && o->marked != o->size) {
        close(o->fd);
        o->next = f->left;
        f->left = o;
    } else {
        mw_output_close(o);
    }
}

/* The least recently used ones that have nothing to write are closed when too many are open. */
static void close_some(files *f)
{
    unsigned seen = 0;
    for (mw_output **at = &f->outputs; *at;) {
        mw_output *o = *at;
        if (++seen <= OPEN_MAX || o->pending.len || f->sync_running) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        if (o->unsynced && syncs(f)) fdatasync(o->fd);
        leave(f, o);
        f->open--;
    }
}

/* ---- writing ---- */

static void answer(files *f, mw_list *l)
{
    while (l) {
        mw_list *next = l->next;
        mw_sink_done(f->sink, l);
        l = next;
    }
}

static void render(files *f, mw_list *l)
{
    mw_error error;
    if (!f->has_fields) {
        mw_buffer *out = &f->outputs->pending;
        size_t before = out->len;
        for (uint32_t i = 0; i < l->count;) i += mw_sink_render_some(f->sink, l, i, out);
        f->pending += out->len - before;
        return;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        mw_output *o = output_of(f, &l->pieces[i], &error);
        if (!o) {
            mw_sink_fail(f->sink, l, i, error.message); /* this one file cannot be opened */
            continue;
        }
        size_t before = o->pending.len;
        mw_sink_render(f->sink, l, &l->pieces[i], &o->pending);
        f->pending += o->pending.len - before;
    }
}

static void start_sync(files *f);

static void on_retry(uv_timer_t *timer);

static void failed(files *f, const char *why)
{
    mw_sink_retried(f->sink, why);
    uv_timer_start(&f->retry, on_retry, f->retry_ms, 0);
    f->retry_ms = f->retry_ms * 2 < RETRY_MS_MAX ? f->retry_ms * 2 : RETRY_MS_MAX;
}

static void flush_now(files *f)
{
    mw_error error;
    int64_t now = mw_clock_steady_ns();
    if (!f->written || uv_is_active((uv_handle_t *)&f->retry)) return;
    for (mw_output *o = f->outputs; o; o = o->next) {
        if (o->pending.len && mw_output_write(o, &error) != MW_OK) {
            failed(f, error.message);
            return;
        }
        if (mw_output_rotate(o, &f->rotation, now, &error) != MW_OK) {
            failed(f, error.message);
            return;
        }
    }
    f->retry_ms = RETRY_MS;
    mw_sink_recovered(f->sink);
    f->pending = 0;
    mw_list *lists = f->written;
    *f->written_end = NULL;
    f->written = NULL;
    mw_list **end = f->written_end;
    f->written_end = &f->written;
    if (f->open > OPEN_MAX) close_some(f);
    if (!f->sync_always) {
        answer(f, lists);
        return;
    }
    *f->unsynced_end = lists;
    f->unsynced_end = end;
    start_sync(f);
}

static void on_retry(uv_timer_t *timer)
{
    flush_now(timer->data);
}

static void write_list(mw_sink *k, mw_list *l)
{
    files *f = k->self;
    render(f, l);
    l->next = NULL;
    *f->written_end = l;
    f->written_end = &l->next;
    if (f->pending >= WRITE_AT) flush_now(f);
}

static void flush(mw_sink *k)
{
    flush_now(k->self);
}

/* ---- syncing, on libuv's thread pool ---- */

static void sync_thread(uv_work_t *work)
{
    files *f = work->data;
    for (size_t i = 0; i < f->sync_count; i++) {
        if (fdatasync(f->sync_fds[i]) != 0 && errno != EINVAL) f->sync_failed = 1;
        close(f->sync_fds[i]);
    }
}

static void finish_close(files *f);

static void sync_for_checkpoint(files *f)
{
    f->prepares = PREPARE_SYNCS;
    start_sync(f);
}

static void on_synced(uv_work_t *work, int status)
{
    files *f = work->data;
    (void)status;
    free(f->sync_fds);
    f->sync_running = 0;
    mw_list *lists = f->syncing;
    f->syncing = NULL;
    int failed = f->sync_failed;
    f->sync_failed = 0;
    if (failed)
        mw_log(MW_ERROR, f->sink->name,
               "the disk would not sync; its files may be incomplete after a loss of power");
    if (f->closing) {
        finish_close(f);
        return;
    }
    if (failed && f->sink->exactly_once) { /* no checkpoint may count on it */
        mw_sink_failed(f->sink, "a checkpoint cannot be made of what is not on the disk");
        return;
    }
    answer(f, lists);
    if (f->prepares == PREPARE_SYNCS) {
        f->prepares = PREPARE_NONE;
        mw_sink_prepared(f->sink, NULL, 0);
    }
    if (f->prepares == PREPARE_WAITS) sync_for_checkpoint(f);
    else if (f->unsynced)
        start_sync(f);
}

/* Descriptors are duplicated: a file may be closed or rotated meanwhile. */
static void start_sync(files *f)
{
    if (f->sync_running) return;
    f->sync_fds = calloc(f->open + 1, sizeof *f->sync_fds);
    mw_assert(f->sync_fds != NULL);
    f->sync_count = 0;
    for (mw_output *o = f->outputs; o; o = o->next) {
        if (!o->unsynced || o->fd < 0) continue;
        int fd = dup(o->fd);
        if (fd < 0) continue;
        f->sync_fds[f->sync_count++] = fd;
        o->unsynced = 0;
    }
    *f->unsynced_end = NULL;
    f->syncing = f->unsynced;
    f->unsynced = NULL;
    f->unsynced_end = &f->unsynced;
    f->sync_running = 1;
    uv_queue_work(f->sink->loop, &f->sync_work, sync_thread, on_synced);
}

/* What is written up to here is of the checkpoint. Where the sink syncs, it has to be on the disk
 * before that counts. */
static void prepare(mw_sink *k, uint64_t number)
{
    files *f = k->self;
    (void)number;
    for (mw_output *o = f->left, *next; o; o = next) {
        next = o->next;
        mw_output_mark(o, &f->rotation);
        o->fd = -1;
        mw_output_close(o);
    }
    f->left = NULL;
    for (mw_output *o = f->outputs; o; o = o->next) mw_output_mark(o, &f->rotation);
    if (!syncs(f)) mw_sink_prepared(k, NULL, 0);
    else if (f->sync_running)
        f->prepares = PREPARE_WAITS;
    else
        sync_for_checkpoint(f);
}

/* Rotation by age of files that nothing is written to, and syncs by the clock. */
static void on_tick(uv_timer_t *timer)
{
    files *f = timer->data;
    mw_error error;
    int64_t now = mw_clock_steady_ns();
    for (mw_output *o = f->outputs; o && f->rotation.age_ns; o = o->next)
        if (!o->pending.len && mw_output_rotate(o, &f->rotation, now, &error) != MW_OK)
            mw_log(MW_ERROR, f->sink->name, "%s", error.message);
    if (f->sync_every_ns) start_sync(f);
}

/* ---- life ---- */

static int64_t shorter(int64_t a, int64_t b)
{
    return !a ? b : !b || a < b ? a : b;
}

static mw_status read_sync(files *f, mw_error *error)
{
    const char *text = mw_config_text(f->sink->config, "sync", "never");
    char *unit;
    if (strcmp(text, "never") == 0) return MW_OK;
    f->sync_always = strcmp(text, "always") == 0;
    if (f->sync_always) return MW_OK;
    double n = strtod(text, &unit);
    double factor = strcmp(unit, "ms") == 0  ? 1e6
                    : strcmp(unit, "s") == 0 ? 1e9
                    : strcmp(unit, "m") == 0 ? 60e9
                                             : 0;
    f->sync_every_ns = (int64_t)(n * factor);
    if (f->sync_every_ns > 0) return MW_OK;
    return mw_fail(error, MW_CONFIG,
                   "'sync' must be \"never\", \"always\" or a duration such as \"1s\", not \"%s\"",
                   text);
}

static mw_status open_files(mw_sink *k, mw_error *error)
{
    files *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    k->self = f;
    f->sink = k;
    f->written_end = &f->written, f->unsynced_end = &f->unsynced;
    f->retry_ms = RETRY_MS;
    f->rotation = (mw_rotation){.size = (uint64_t)mw_config_int(k->config, "rotate.size", 0),
                                .age_ns = mw_config_int(k->config, "rotate.age", 0),
                                .keep = mw_config_int(k->config, "rotate.keep", -1)};
    mw_status status = read_sync(f, error);
    if (status == MW_OK) status = mw_file_marks_restore(k, error);
    if (status == MW_OK)
        status = mw_template_new(&f->path, mw_config_text(k->config, "path", ""), error);
    if (status == MW_OK && !(f->has_fields = mw_template_has_fields(f->path))) {
        mw_piece none = {.text = "{}", .len = 2};
        if (!output_of(f, &none, error)) status = MW_IO;
    }
    if (status != MW_OK) {
        mw_template_free(f->path);
        mw_buffer_close(&f->name);
        free(f);
        return status;
    }
    uv_timer_init(k->loop, &f->retry);
    uv_timer_init(k->loop, &f->tick);
    f->retry.data = f->tick.data = f->sync_work.data = f;
    int64_t every =
        shorter(f->rotation.age_ns ? f->rotation.age_ns / 4 + 1 : 0, f->sync_every_ns) / 1000000;
    if (f->rotation.age_ns || f->sync_every_ns)
        uv_timer_start(&f->tick, on_tick, (uint64_t)(every ? every : 1),
                       (uint64_t)(every ? every : 1));
    return MW_OK;
}

static void on_closed(uv_handle_t *handle)
{
    files *f = handle->data;
    if (--f->handles) return;
    for (mw_output *o = f->outputs, *next; o; o = next) next = o->next, mw_output_close(o);
    for (mw_output *o = f->left, *next; o; o = next) next = o->next, o->fd = -1, mw_output_close(o);
    mw_template_free(f->path);
    mw_buffer_close(&f->name);
    free(f);
}

static void finish_close(files *f)
{
    for (mw_output *o = f->outputs; o; o = o->next)
        if (o->unsynced && o->fd >= 0 && syncs(f)) fdatasync(o->fd);
    f->handles = 2;
    uv_close((uv_handle_t *)&f->retry, on_closed);
    uv_close((uv_handle_t *)&f->tick, on_closed);
}

static void close_files(mw_sink *k)
{
    files *f = k->self;
    f->closing = 1;
    if (!f->sync_running) finish_close(f);
}

const mw_sink_kind mw_sink_file = {
    .name = "file",
    .grade = MW_SINK_ONCE,
    .options = options,
    .open = open_files,
    .write = write_list,
    .flush = flush,
    .prepare = prepare,
    .close = close_files,
};
