/* watch.c: see watch.h. */
#include "flow/watch.h"
#include "base/buffer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTLE_MS = 15, SETTLE_MS_MAX = 150, LOOK_MS = 1000, FOLDERS_MAX = 32 };

typedef struct seen {
    char *path;
    mw_mark mark;
} seen;

typedef struct folder {
    uv_fs_event_t event;
    mw_watch *watch;
    char *path;
} folder;

struct mw_watch {
    uv_loop_t *loop;
    void (*changed)(void *self);
    void *self;
    seen *files;
    uint32_t count;
    folder *folders[FOLDERS_MAX];
    unsigned folder_count;
    char **names; /* that matter in those folders: of files, and of links on the way to them */
    size_t name_count;
    uv_timer_t settle, look;
    uint64_t first_ms; /* of the burst */
    int in_burst, handles;
};

/* ---- files ---- */

static void look(mw_watch *w)
{
    int any = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        mw_mark now = mw_mark_of(w->files[i].path);
        if (mw_mark_same(&now, &w->files[i].mark)) continue;
        w->files[i].mark = now;
        any = 1;
    }
    if (any) w->changed(w->self);
}

static void on_settled(uv_timer_t *timer)
{
    mw_watch *w = timer->data;
    w->in_burst = 0;
    look(w);
}

static void on_look(uv_timer_t *timer)
{
    mw_watch *w = timer->data;
    if (!w->in_burst) look(w);
}

/* A folder may hold much else, outputs that are written to all the time. Kubernetes' links begin
 * with two dots. */
static int matters(const mw_watch *w, const char *name)
{
    if (!name || strncmp(name, "..", 2) == 0) return 1;
    for (size_t i = 0; i < w->name_count; i++)
        if (strcmp(w->names[i], name) == 0) return 1;
    return 0;
}

/* Something happens: it may not be all yet. */
static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    mw_watch *w = ((folder *)event->data)->watch;
    (void)events, (void)status;
    if (!matters(w, name)) return;
    uint64_t now = uv_now(w->loop);
    if (!w->in_burst) w->in_burst = 1, w->first_ms = now;
    if (now - w->first_ms < SETTLE_MS_MAX) uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

/* ---- folders ---- */

static void on_folder_closed(uv_handle_t *handle)
{
    folder *f = handle->data;
    free(f->path);
    free(f);
}

static void close_folders(mw_watch *w)
{
    for (unsigned i = 0; i < w->folder_count; i++)
        uv_close((uv_handle_t *)&w->folders[i]->event, on_folder_closed);
    for (size_t i = 0; i < w->name_count; i++) free(w->names[i]);
    w->folder_count = 0, w->name_count = 0;
}

static void add_name(mw_watch *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    w->names = realloc(w->names, (w->name_count + 1) * sizeof *w->names);
    mw_assert(w->names != NULL);
    w->names[w->name_count] = strdup(slash ? slash + 1 : path);
    mw_assert(w->names[w->name_count++] != NULL);
}

static void add_folder(mw_watch *w, const char *path, size_t len)
{
    for (unsigned i = 0; i < w->folder_count; i++)
        if (strlen(w->folders[i]->path) == len && memcmp(w->folders[i]->path, path, len) == 0)
            return;
    if (w->folder_count == FOLDERS_MAX) return; /* the timer looks at the others */
    folder *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    f->path = len ? strndup(path, len) : strdup(".");
    mw_assert(f->path != NULL);
    f->watch = w;
    uv_fs_event_init(w->loop, &f->event);
    f->event.data = f;
    if (uv_fs_event_start(&f->event, on_event, f->path, 0) != 0) {
        uv_close((uv_handle_t *)&f->event, on_folder_closed);
        return;
    }
    w->folders[w->folder_count++] = f;
}

static size_t folder_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
}

/* The folder of a file, and of what each link on its way leads to: flow.lua -> ..data/flow.lua and
 * ..data -> ..2026_11_24 are two. */
static void add_folders_of(mw_watch *w, const char *path)
{
    char at[PATH_MAX], link[PATH_MAX];
    snprintf(at, sizeof at, "%s", path);
    for (int hops = 0; hops < 8; hops++) {
        size_t len = folder_len(at);
        add_folder(w, at, len);
        add_name(w, at);
        ssize_t n = readlink(at, link, sizeof link - 1);
        if (n <= 0) break;
        link[n] = 0;
        if (link[0] == '/') {
            snprintf(at, sizeof at, "%s", link);
        } else {
            char joined[2 * PATH_MAX + 2];
            snprintf(joined, sizeof joined, "%.*s%s%s", (int)len, at, len ? "/" : "", link);
            if (strlen(joined) >= sizeof at) break;
            strcpy(at, joined);
        }
    }
}

void mw_watch_files(mw_watch *w, const mw_files *files)
{
    for (uint32_t i = 0; i < w->count; i++) free(w->files[i].path);
    free(w->files);
    close_folders(w);
    w->count = files->count;
    w->files = calloc(w->count + 1, sizeof *w->files);
    mw_assert(w->files != NULL);
    for (uint32_t i = 0; i < w->count; i++) {
        w->files[i].path = strdup(files->list[i]->path);
        mw_assert(w->files[i].path != NULL);
        w->files[i].mark = files->list[i]->mark;
        add_folders_of(w, w->files[i].path);
    }
    look(w);
}

/* ---- life ---- */

mw_watch *mw_watch_new(uv_loop_t *loop, void (*changed)(void *self), void *self)
{
    mw_watch *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->loop = loop, w->changed = changed, w->self = self;
    uv_timer_init(loop, &w->settle);
    uv_timer_init(loop, &w->look);
    w->settle.data = w->look.data = w;
    uv_timer_start(&w->look, on_look, LOOK_MS, LOOK_MS);
    return w;
}

static void on_closed(uv_handle_t *handle)
{
    mw_watch *w = handle->data;
    if (--w->handles) return;
    for (uint32_t i = 0; i < w->count; i++) free(w->files[i].path);
    free(w->files);
    free(w->names);
    free(w);
}

void mw_watch_close(mw_watch *w)
{
    close_folders(w);
    w->handles = 2;
    uv_close((uv_handle_t *)&w->settle, on_closed);
    uv_close((uv_handle_t *)&w->look, on_closed);
}
