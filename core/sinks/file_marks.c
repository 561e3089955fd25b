/* file_marks.c: see file_marks.h. */
#include "sinks/file_marks.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_BYTES = 32 };

static void key_of(const char *path, char key[KEY_BYTES])
{
    snprintf(key, KEY_BYTES, "path:%016llx", (unsigned long long)mw_hash(path, strlen(path)));
}

/* The record is the mark, and behind it the path. */
static void write_mark(const char *path, const mw_file_mark *m, mw_buffer *out)
{
    mw_buffer_append(out, (const char *)m, sizeof *m);
    mw_buffer_append(out, path, strlen(path));
}

mw_status mw_file_marks_begin(mw_sink *k, const char *path, const mw_file_mark *m, mw_error *error)
{
    char key[KEY_BYTES];
    mw_buffer value = {0};
    key_of(path, key);
    write_mark(path, m, &value);
    mw_status status = mw_sink_keep_now(k, key, value.bytes, value.len, error);
    mw_buffer_close(&value);
    return status;
}

void mw_file_marks_keep(mw_sink *k, const char *path, const mw_file_mark *m)
{
    char key[KEY_BYTES];
    mw_buffer value = {0};
    key_of(path, key);
    write_mark(path, m, &value);
    mw_sink_keep(k, key, value.bytes, value.len);
    mw_buffer_close(&value);
}

static void note_found(void *self, const char *key, const char *value, size_t len)
{
    (void)key, (void)value, (void)len;
    *(int *)self = 1;
}

int mw_file_marks_has(mw_sink *k, const char *path)
{
    char key[KEY_BYTES];
    int found = 0;
    key_of(path, key);
    mw_sink_kept(k, key, note_found, &found);
    return found;
}

/* ---- at a start ---- */

typedef struct restoring {
    mw_sink *sink;
    mw_status status;
    mw_error *error;
    mw_buffer keys; /* of records that go, each with its end */
} restoring;

static int is_file(const char *path, const mw_file_mark *m, uint64_t *size)
{
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    *size = (uint64_t)st.st_size;
    return (uint64_t)st.st_dev == m->device && (uint64_t)st.st_ino == m->inode;
}

static void rotated_name(char *to, size_t room, const char *path, int n)
{
    if (n) snprintf(to, room, "%s.%d", path, n);
    else
        snprintf(to, room, "%s", path);
}

/* It was renamed to PATH.n since: PATH to PATH.n-1 were begun after the checkpoint and go, and
 * those behind take their names again. 0: it is nowhere. */
static int undo_rotations(const char *path, const mw_file_mark *m, uint64_t *size)
{
    char from[4200], to[4200];
    int n = 1;
    do rotated_name(from, sizeof from, path, n);
    while (!is_file(from, m, size) && access(from, F_OK) == 0 && ++n);
    if (access(from, F_OK) != 0) return 0;
    for (int i = 0; i < n; i++) {
        rotated_name(to, sizeof to, path, i);
        unlink(to);
    }
    for (int i = n; access(from, F_OK) == 0; i++) {
        rotated_name(to, sizeof to, path, i - n);
        if (rename(from, to) != 0) return 0;
        rotated_name(from, sizeof from, path, i + 1);
    }
    return 1;
}

static void restore(void *self, const char *key, const char *value, size_t len)
{
    restoring *r = self;
    char path[4096];
    mw_file_mark m;
    uint64_t size = 0;
    (void)key;
    if (len < sizeof m || len - sizeof m >= sizeof path || r->status != MW_OK) return;
    memcpy(&m, value, sizeof m);
    memcpy(path, value + sizeof m, len - sizeof m);
    path[len - sizeof m] = 0;
    if (!is_file(path, &m, &size) && !undo_rotations(path, &m, &size)) {
        mw_log(MW_WARN, r->sink->name,
               "'%s' is not the file that it was at the last checkpoint: what is there stays",
               path);
        mw_buffer_append(&r->keys, key, strlen(key) + 1);
    } else if (size < m.length) {
        mw_log(MW_WARN, r->sink->name,
               "'%s' has %llu bytes, and had %llu at the last checkpoint: somebody has cut it",
               path, (unsigned long long)size, (unsigned long long)m.length);
        mw_buffer_append(&r->keys, key, strlen(key) + 1);
    } else if (size > m.length) {
        if (truncate(path, (off_t)m.length) != 0)
            r->status = mw_fail(r->error, MW_IO,
                                "'%s' cannot be cut to what it was at the last checkpoint: %s",
                                path, strerror(errno));
        else
            mw_log(MW_INFO, r->sink->name,
                   "'%s' is cut to what it was at the last checkpoint: %llu bytes come again", path,
                   (unsigned long long)(size - m.length));
    }
}

static void collect_key(void *self, const char *key, const char *value, size_t len)
{
    restoring *r = self;
    (void)value, (void)len;
    mw_buffer_append(&r->keys, key, strlen(key) + 1);
}

mw_status mw_file_marks_restore(mw_sink *k, mw_error *error)
{
    restoring r = {.sink = k, .error = error};
    mw_sink_kept(k, "path:", k->exactly_once ? restore : collect_key, &r);
    for (size_t at = 0; at < r.keys.len && r.status == MW_OK; at += strlen(r.keys.bytes + at) + 1)
        r.status = mw_sink_keep_now(k, r.keys.bytes + at, NULL, 0, error);
    mw_buffer_close(&r.keys);
    return r.status;
}
