/* file_output.c: see file_output.h. */
#include "sinks/file_output.h"
#include "base/clock.h"
#include "base/log.h"
#include "sinks/file_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_folders(const char *path)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *p = folder + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(folder, 0777); /* what goes wrong shows when the file is opened */
        *p = '/';
    }
}

/* Length up to and with the last line break. */
static uint64_t whole_lines(int fd, uint64_t size)
{
    char block[4096];
    while (size > 0) {
        size_t n = size < sizeof block ? (size_t)size : sizeof block;
        if (pread(fd, block, n, (off_t)(size - n)) != (ssize_t)n) return size;
        const char *newline = memrchr(block, '\n', n);
        if (newline) return size - n + (size_t)(newline - block) + 1;
        size -= n;
    }
    return 0;
}

/* A file that we know as ours and that does not end with a line break was torn by a crash: the
 * piece is cut off, since its event was not acknowledged and comes again. In a file that is not
 * ours the line is ended instead. */
static void mend(mw_output *o)
{
    uint64_t known, keep = whole_lines(o->fd, o->size);
    char key[64];
    struct stat st;
    if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
    snprintf(key, sizeof key, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    if (!mw_sink_recall(o->sink, key, &known) || known > o->size) { /* or an old inode's */
        if (keep < o->size && write(o->fd, "\n", 1) == 1) o->size++;
        mw_sink_remember(o->sink, key, o->size);
    } else if (keep < o->size && keep >= known) {
        mw_log(MW_WARN, o->sink->name,
               "'%s' ended inside a line (a crash): %llu bytes cut off, their event comes again",
               o->path, (unsigned long long)(o->size - keep));
        if (ftruncate(o->fd, (off_t)keep) == 0) o->size = keep;
    }
}

static mw_file_mark mark_of(const mw_output *o)
{
    return (mw_file_mark){.device = o->device, .inode = o->inode, .length = o->size};
}

/* The name of a new file has to be on the disk before what is in it counts. */
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static mw_status begin_marks(mw_output *o, int is_file, mw_error *error)
{
    if (!is_file)
        return mw_fail(error, MW_CONFIG,
                       "'%s' is not a plain file, and cannot be written to exactly once", o->path);
    sync_folder(o->path);
    o->marked = o->size;
    if (o->rotations || mw_file_marks_has(o->sink, o->path)) return MW_OK;
    mend(o);
    o->marked = o->size;
    const mw_file_mark m = mark_of(o);
    return mw_file_marks_begin(o->sink, o->path, &m, error);
}

static mw_status reopen(mw_output *o, mw_error *error)
{
    struct stat st;
    o->fd = open(o->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (o->fd < 0 && errno == ENOENT) {
        make_folders(o->path);
        o->fd = open(o->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    }
    if (o->fd < 0 && errno == EACCES) o->fd = open(o->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (o->fd < 0)
        return mw_fail(error, MW_IO, "cannot open '%s' for writing: %s", o->path, strerror(errno));
    int known = fstat(o->fd, &st) == 0;
    o->size = known ? (uint64_t)st.st_size : 0;
    o->device = known ? (uint64_t)st.st_dev : 0, o->inode = known ? (uint64_t)st.st_ino : 0;
    o->opened_ns = o->used_ns = mw_clock_steady_ns();
    if (o->sink->exactly_once) return begin_marks(o, known && S_ISREG(st.st_mode), error);
    if (!o->sink->takes_over) mend(o); /* else the one before writes to it still, and mends it */
    return MW_OK;
}

mw_status mw_output_open(mw_output **output, mw_sink *k, const char *path, mw_error *error)
{
    mw_output *o = calloc(1, sizeof *o);
    mw_assert(o != NULL && (o->path = strdup(path)) != NULL);
    o->sink = k;
    mw_status status = reopen(o, error);
    if (status != MW_OK) {
        free(o->path);
        free(o);
        return status;
    }
    *output = o;
    return MW_OK;
}

/* What is left of a write that failed begins inside a line: the line's event will come again. */
static void cut_half_line(mw_output *o)
{
    struct stat st;
    if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
    uint64_t size = (uint64_t)st.st_size, keep = whole_lines(o->fd, size);
    if (keep < size && ftruncate(o->fd, (off_t)keep) != 0)
        mw_log(MW_WARN, o->sink->name, "'%s' ends inside a line", o->path);
}

void mw_output_close(mw_output *o)
{
    if (o->fd >= 0 && o->pending.len) cut_half_line(o);
    if (o->fd >= 0) close(o->fd);
    mw_buffer_close(&o->pending);
    free(o->path);
    free(o);
}

mw_status mw_output_write(mw_output *o, mw_error *error)
{
    size_t done = 0;
    if (o->fd < 0) {
        mw_status status = reopen(o, error);
        if (status != MW_OK) return status;
    }
    while (done < o->pending.len) {
        ssize_t n = write(o->fd, o->pending.bytes + done, o->pending.len - done);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        mw_fail(error, MW_IO, "cannot write to '%s': %s", o->path,
                n < 0 ? strerror(errno) : "nothing was taken");
        break;
    }
    o->size += done;
    o->unsynced |= done > 0;
    mw_sink_wrote(o->sink, done);
    if (done == o->pending.len) {
        o->pending.len = 0;
        if (o->pending.room > (4 << 20))
            mw_buffer_close(&o->pending); /* an unusually large one is not kept */
        return MW_OK;
    }
    mw_buffer_consume(&o->pending, done);
    return MW_IO;
}

/* What a restart needs to go back to the last checkpoint stays. */
static void remove_old(const mw_output *o, const mw_rotation *r)
{
    char path[4200];
    int most = r->keep > o->rotations ? (int)r->keep : o->rotations;
    if (r->keep < 0) return;
    do snprintf(path, sizeof path, "%s.%d", o->path, ++most);
    while (unlink(path) == 0);
}

void mw_output_mark(mw_output *o, const mw_rotation *r)
{
    if (o->fd < 0) return; /* it has just been rotated: the next time */
    const mw_file_mark m = mark_of(o);
    if (o->rotations || o->marked != o->size) mw_file_marks_keep(o->sink, o->path, &m);
    if (o->rotations) remove_old(o, r);
    o->marked = o->size, o->rotations = 0;
}

static void shift_names(const mw_output *o, const mw_rotation *given)
{
    char from[4200], to[4200];
    mw_rotation kept = *given;
    const mw_rotation *r = &kept;
    int last = 0;
    if (o->sink->exactly_once) kept.keep = -1; /* see remove_old */
    struct stat st;
    do snprintf(from, sizeof from, "%s.%d", o->path, ++last);
    while (stat(from, &st) == 0);
    for (int i = last; i > 1; i--) {
        snprintf(from, sizeof from, "%s.%d", o->path, i - 1);
        snprintf(to, sizeof to, "%s.%d", o->path, i);
        if (r->keep >= 0 && i > r->keep) unlink(from);
        else
            rename(from, to);
    }
    snprintf(to, sizeof to, "%s.1", o->path);
    if (r->keep == 0) unlink(o->path);
    else
        rename(o->path, to);
}

mw_status mw_output_rotate(mw_output *o, const mw_rotation *r, int64_t now_ns, mw_error *error)
{
    int by_size = r->size && o->size >= r->size,
        by_age = r->age_ns && now_ns - o->opened_ns >= r->age_ns && o->size > 0;
    if (o->fd < 0 || (!by_size && !by_age)) return MW_OK;
    if (o->unsynced) fdatasync(o->fd), o->unsynced = 0;
    close(o->fd);
    o->fd = -1;
    shift_names(o, r);
    o->rotations++;
    return reopen(o, error);
}
