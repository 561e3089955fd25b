/* file.c (source): files: a path, a glob, or a list of them; read to the end, or followed as they
 * grow.
 *
 * Files are read one after the other, in order of name, block by block, on the loop of the source's
 * shard. A followed file that was renamed is read to its end while the file that took its place is
 * begun. See file_tail.h for one file. */
#include "base/log.h"
#include "sources/file_tail.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const mw_option options[] = {
    {"path", MW_OPT_TEXTS, "!", "a path, a glob, or a list of them", NULL, NULL},
    {"follow", MW_OPT_BOOL, "false", "go on as files grow, are rotated, and appear", NULL, NULL},
    {"from", MW_OPT_TEXT, "start", "where to begin in a file of which no position is kept",
     "start|end", NULL},
    {"poll", MW_OPT_DURATION, "100ms", "how often followed files are looked at", NULL, NULL},
    {"block", MW_OPT_SIZE, NULL,
     "bytes read at a time; without it 256KiB, or 32KiB where rules ask shared states", NULL, NULL},
    {0},
};

typedef struct found {
    struct found *next;
    char path[];
} found;

typedef struct files {
    mw_source *source;
    found *found;     /* paths that are not open yet, in order */
    mw_tail *tails;   /* open files */
    mw_tail *current; /* where reading goes on */
    uv_idle_t idle;
    uv_timer_t timer;
    int follow, from_end, first_look, stopped;
    size_t block;
    int handles; /* not closed yet */
} files;

static int is_glob(const char *path)
{
    return strpbrk(path, "*?[") != NULL;
}

static void find_path(files *f, const char *path)
{
    found **at = &f->found;
    while (*at) at = &(*at)->next;
    found *entry = calloc(1, sizeof *entry + strlen(path) + 1);
    mw_assert(entry != NULL);
    strcpy(entry->path, path);
    *at = entry;
}

/* An open file, by its identity; a renamed one takes its new name. */
static int is_open(files *f, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return f->follow; /* not there yet, or not any more: the next look will tell */
    for (mw_tail *t = f->tails; t; t = t->next) {
        if (t->device != (uint64_t)st.st_dev || t->inode != (uint64_t)st.st_ino) continue;
        if (t->gone) {
            free(t->path);
            mw_assert((t->path = strdup(path)) != NULL);
            t->gone = 0;
        }
        return 1;
    }
    return 0;
}

/* Looks for files that are not open. */
static void look(files *f)
{
    const char *path;
    for (size_t i = 0; (path = mw_config_item(f->source->config, "path", i)); i++) {
        glob_t matches = {0};
        if (!is_glob(path)) {
            if (!is_open(f, path)) find_path(f, path);
        } else if (glob(path, 0, NULL, &matches) == 0) {
            for (size_t j = 0; j < matches.gl_pathc; j++)
                if (!is_open(f, matches.gl_pathv[j])) find_path(f, matches.gl_pathv[j]);
        }
        globfree(&matches);
    }
}

/* The next file to read from: an open one, or one that was found; NULL when there is none. */
static mw_tail *next_tail(files *f, mw_tail *after)
{
    if (after && after->next) return after->next;
    while (f->found) {
        found *entry = f->found;
        mw_tail *t = NULL, **end = &f->tails;
        mw_error why;
        f->found = entry->next;
        if (!is_open(f, entry->path) && mw_tail_open(&t, f->source, entry->path, f->block,
                                                     f->from_end && f->first_look, &why) != MW_OK) {
            if (f->follow) mw_log(MW_WARN, f->source->name, "%s", why.message);
            else
                mw_source_failed(f->source, why.message);
        }
        free(entry);
        if (!t) continue;
        while (*end) end = &(*end)->next;
        *end = t;
        return t;
    }
    f->first_look = 0;
    return NULL;
}

/* Which files are no longer what their path names. */
static void notice_renames(files *f)
{
    struct stat st;
    for (mw_tail *t = f->tails; t; t = t->next) {
        if (t->gone) continue;
        t->gone = stat(t->path, &st) != 0 || (uint64_t)st.st_dev != t->device ||
                  (uint64_t)st.st_ino != t->inode;
    }
}

/* Closes files that will not be read again and of which nothing is in flight. */
static void drop_ended(files *f)
{
    for (mw_tail **at = &f->tails; *at;) {
        mw_tail *t = *at;
        int over = t->in_flight == 0 && t->at_end && (f->follow ? t->gone : t != f->current);
        if (!over) {
            at = &t->next;
            continue;
        }
        if (f->current == t) f->current = NULL;
        *at = t->next;
        mw_tail_close(t);
    }
}

static void end(files *f)
{
    if (f->stopped) return;
    f->stopped = 1;
    uv_idle_stop(&f->idle);
    uv_timer_stop(&f->timer);
    mw_source_finished(f->source);
}

/* What is there to read still: the rest of the open files. */
static void tell_lag(files *f)
{
    uint64_t lag = 0;
    for (const mw_tail *t = f->tails; t; t = t->next)
        if (!t->inflate && t->size > t->position) lag += t->size - t->position;
    mw_source_lag(f->source, lag);
}

static void on_idle(uv_idle_t *handle)
{
    files *f = handle->data;
    tell_lag(f);
    if (!f->current) f->current = f->tails ? f->tails : next_tail(f, NULL);
    while (f->current) {
        if (mw_tail_read(f->current, !f->follow || f->current->gone)) return;
        f->current->at_end = 1;
        f->current = next_tail(f, f->current);
        if (mw_source_is_full(f->source)) return;
    }
    uv_idle_stop(&f->idle);
    if (!f->follow) end(f);
}

static void on_timer(uv_timer_t *timer)
{
    files *f = timer->data;
    drop_ended(f);
    notice_renames(f);
    look(f);
    for (mw_tail *t = f->tails; t; t = t->next) mw_tail_check(t);
    if (!mw_source_is_full(f->source) && !uv_is_active((uv_handle_t *)&f->idle))
        uv_idle_start(&f->idle, on_idle);
}

/* A path that names one file must be readable from the start, where files are not followed. */
static mw_status check_paths(files *f, mw_error *error)
{
    const char *path;
    struct stat st;
    for (size_t i = 0; (path = mw_config_item(f->source->config, "path", i)); i++) {
        if (is_glob(path) || f->follow) continue;
        if (access(path, R_OK) != 0 || stat(path, &st) != 0)
            return mw_fail(error, MW_IO, "source '%s': cannot open '%s': %s", f->source->name, path,
                           strerror(errno));
        if (S_ISDIR(st.st_mode))
            return mw_fail(error, MW_IO,
                           "source '%s': '%s' is a directory (name the files in it: '%s/*')",
                           f->source->name, path, path);
    }
    return MW_OK;
}

static mw_status open_files(mw_source *s, mw_error *error)
{
    files *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    s->self = f;
    f->source = s;
    f->follow = mw_config_bool(s->config, "follow", 0) && !s->once;
    f->from_end = strcmp(mw_config_text(s->config, "from", "start"), "end") == 0;
    f->block = (size_t)mw_config_int(s->config, "block",
                                     s->batch_bytes ? (int64_t)s->batch_bytes : 256 << 10);
    if (f->block < 4096) f->block = 4096;
    f->first_look = 1;
    mw_status status = check_paths(f, error);
    if (status != MW_OK) {
        free(f);
        return status;
    }
    look(f);
    if (!f->found)
        mw_log(MW_WARN, s->name, "no file matches '%s'%s", mw_config_item(s->config, "path", 0),
               f->follow ? " yet" : "");
    uv_idle_init(s->loop, &f->idle);
    uv_timer_init(s->loop, &f->timer);
    f->idle.data = f->timer.data = f;
    return MW_OK;
}

static void start(mw_source *s)
{
    files *f = s->self;
    uint64_t poll_ms = (uint64_t)mw_config_int(s->config, "poll", 100000000) / 1000000;
    uv_idle_start(&f->idle, on_idle);
    if (f->follow)
        uv_timer_start(&f->timer, on_timer, poll_ms ? poll_ms : 1, poll_ms ? poll_ms : 1);
}

static void pause_reading(mw_source *s)
{
    files *f = s->self;
    uv_idle_stop(&f->idle);
}

static void resume(mw_source *s)
{
    files *f = s->self;
    if (!f->stopped) uv_idle_start(&f->idle, on_idle);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    files *f = s->self;
    mw_tail *t = mw_tail_acknowledge(b);
    if (!f->follow && t->at_end && t->in_flight == 0) drop_ended(f);
}

static void drain(mw_source *s)
{
    end(s->self);
}

static void on_closed(uv_handle_t *handle)
{
    files *f = handle->data;
    if (--f->handles) return;
    for (mw_tail *t = f->tails, *next; t; t = next) next = t->next, mw_tail_close(t);
    for (found *e = f->found, *next; e; e = next) next = e->next, free(e);
    free(f);
}

static void close_files(mw_source *s)
{
    files *f = s->self;
    f->handles = 2;
    uv_close((uv_handle_t *)&f->idle, on_closed);
    uv_close((uv_handle_t *)&f->timer, on_closed);
}

const mw_source_kind mw_source_file = {
    .name = "file",
    .grade = MW_SOURCE_REPLAYS,
    .options = options,
    .spread = 1,
    .open = open_files,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .close = close_files,
};
