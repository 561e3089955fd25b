/* spool.c: see spool.h. A segment's name is the position of its first record in 16 hexadecimal
 * digits. It begins with a head of 16 bytes: "MWSPOOL1", and that position again. A record is its
 * length and that of its first part, 4 bytes each, its checksum, 8 bytes, and its bytes. */
#include "state/spool.h"
#include "base/folders.h"
#include "base/hash.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEAD_BYTES = 16, RECORD_MOST = 1 << 30, READ_BYTES = 1 << 20, COMPLETE_MOST = 6 };
static const char magic[8] = {'M', 'W', 'S', 'P', 'O', 'O', 'L', '1'};

typedef struct segment {
    uint64_t start, end; /* positions of records in it */
} segment;

struct mw_spool {
    char *folder;
    size_t segment_bytes;
    uint64_t begin; /* where there is no segment */
    segment *list;  /* oldest first; the last is written to */
    size_t count;
    int fd; /* of the last; -1: not open */
    int unsynced;
    int complete[COMPLETE_MOST]; /* descriptors of segments before it that are not synced */
    size_t complete_count;
    int names_unsynced; /* the folder has a new one */
    /* reading */
    int read_fd;
    uint64_t read_start; /* of that segment */
    mw_buffer ahead;
    uint64_t ahead_at; /* position of its first byte */
};

/* ---- bytes ---- */

typedef struct record_head {
    uint32_t len, head_len;
    uint64_t sum;
} record_head;

/* With the position in it, so that bytes of elsewhere do not pass. */
static uint64_t sum_of(uint64_t position, const record_head *h, const void *head, const void *body)
{
    uint64_t first = mw_hash(head, h->head_len), rest = mw_hash(body, h->len - h->head_len);
    return mw_hash_fold(first ^ position, rest ^ MW_HASH_K1 ^ h->len);
}

static int is_whole(uint64_t position, const record_head *h, const char *bytes)
{
    return h->head_len <= h->len && sum_of(position, h, bytes, bytes + h->head_len) == h->sum;
}

static void path_of(const char *folder, uint64_t start, char *path, size_t room)
{
    snprintf(path, room, "%s/%016llx", folder, (unsigned long long)start);
}

static int read_all(int fd, void *to, size_t len, off_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)to + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        done += (size_t)n;
    }
    return 1;
}

static int has_head(int fd, uint64_t start)
{
    char head[HEAD_BYTES];
    return read_all(fd, head, sizeof head, 0) && memcmp(head, magic, sizeof magic) == 0 &&
           memcmp(head + sizeof magic, &start, sizeof start) == 0;
}

/* ---- looking at a segment ---- */

typedef struct walk {
    int fd;
    uint64_t start, size; /* of the file, without its head */
    mw_buffer bytes;
} walk;

/* How long the record at `at` (in the segment) is with its head; 0: there is no whole one; -1: its
 * checksum is not its own. */
static int64_t look(walk *w, uint64_t at)
{
    record_head h;
    if (at + sizeof h > w->size || !read_all(w->fd, &h, sizeof h, (off_t)(HEAD_BYTES + at)))
        return 0;
    if (h.len == 0 || h.len > RECORD_MOST || at + sizeof h + h.len > w->size) return 0;
    w->bytes.len = 0;
    mw_buffer_reserve(&w->bytes, h.len);
    if (!read_all(w->fd, w->bytes.bytes, h.len, (off_t)(HEAD_BYTES + at + sizeof h))) return 0;
    w->bytes.len = h.len;
    int64_t len = (int64_t)(sizeof h + h.len);
    return is_whole(w->start + at, &h, w->bytes.bytes) ? len : -len;
}

/* Where the whole records of the last segment end. One that is damaged but has others behind it is
 * not what a crash leaves. */
static uint64_t whole_records(walk *w)
{
    uint64_t at = 0, whole = 0;
    for (int64_t n; (n = look(w, at)) != 0;) {
        at += (uint64_t)(n < 0 ? -n : n);
        if (n > 0) whole = at;
    }
    return whole;
}

static mw_status open_last(mw_spool *s, mw_error *error)
{
    char path[4200];
    struct stat st;
    segment *last = &s->list[s->count - 1];
    path_of(s->folder, last->start, path, sizeof path);
    s->fd = open(path, O_RDWR | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0)
        return mw_fail(error, MW_IO, "cannot open '%s': %s", path, strerror(errno));
    if (st.st_size < HEAD_BYTES || !has_head(s->fd, last->start)) { /* it had only been made */
        close(s->fd), s->fd = -1;
        if (st.st_size > HEAD_BYTES) {
            char aside[4300];
            snprintf(aside, sizeof aside, "%s.damaged", path);
            mw_log(MW_ERROR, "buffer", "'%s' is no segment: it is kept as '%s'", path, aside);
            rename(path, aside);
        } else {
            unlink(path);
        }
        s->begin = last->start;
        s->count--;
        if (s->count) return open_last(s, error);
        return MW_OK;
    }
    walk w = {.fd = s->fd, .start = last->start, .size = (uint64_t)st.st_size - HEAD_BYTES};
    uint64_t whole = whole_records(&w);
    mw_buffer_close(&w.bytes);
    last->end = last->start + whole;
    if (whole == w.size) return MW_OK;
    mw_log(MW_WARN, "buffer",
           "'%s' ends inside a record (a crash): %llu bytes cut off, nobody was told that they are "
           "safe",
           path, (unsigned long long)(w.size - whole));
    if (ftruncate(s->fd, (off_t)(HEAD_BYTES + whole)) != 0)
        return mw_fail(error, MW_IO, "cannot cut '%s': %s", path, strerror(errno));
    return MW_OK;
}

/* ---- opening ---- */

static int by_start(const void *a, const void *b)
{
    const segment *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static void add_segment(mw_spool *s, uint64_t start, uint64_t end)
{
    s->list = realloc(s->list, (s->count + 1) * sizeof *s->list);
    mw_assert(s->list != NULL);
    s->list[s->count++] = (segment){start, end};
}

static void list_segments(mw_spool *s)
{
    DIR *d = opendir(s->folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *rest, path[4200];
        struct stat st;
        unsigned long long start = strtoull(e->d_name, &rest, 16);
        if (strlen(e->d_name) != 16 || *rest) continue;
        path_of(s->folder, start, path, sizeof path);
        if (stat(path, &st) != 0) continue;
        uint64_t len = st.st_size > HEAD_BYTES ? (uint64_t)st.st_size - HEAD_BYTES : 0;
        add_segment(s, start, start + len);
    }
    if (d) closedir(d);
    if (s->count) qsort(s->list, s->count, sizeof *s->list, by_start);
}

mw_status mw_spool_open(mw_spool **result, const char *folder, size_t bytes, uint64_t first,
                        mw_error *error)
{
    mw_spool *s = calloc(1, sizeof *s);
    mw_assert(s != NULL && (s->folder = strdup(folder)) != NULL);
    s->segment_bytes = bytes, s->begin = first, s->fd = s->read_fd = -1;
    mw_status status = mw_folders_make(folder, error);
    if (status == MW_OK) list_segments(s);
    if (status == MW_OK && s->count) status = open_last(s, error);
    if (status != MW_OK) {
        mw_spool_close(s);
        return status;
    }
    *result = s;
    return MW_OK;
}

void mw_spool_close(mw_spool *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->complete_count; i++) close(s->complete[i]);
    if (s->fd >= 0) close(s->fd);
    if (s->read_fd >= 0) close(s->read_fd);
    mw_buffer_close(&s->ahead);
    free(s->list);
    free(s->folder);
    free(s);
}

uint64_t mw_spool_first(const mw_spool *s)
{
    return s->count ? s->list[0].start : s->begin;
}

uint64_t mw_spool_end(const mw_spool *s)
{
    return s->count ? s->list[s->count - 1].end : s->begin;
}

/* ---- writing ---- */

static mw_status begin_segment(mw_spool *s, uint64_t start, mw_error *error)
{
    char path[4200], head[HEAD_BYTES];
    path_of(s->folder, start, path, sizeof path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    memcpy(head, magic, sizeof magic);
    memcpy(head + sizeof magic, &start, sizeof start);
    if (fd < 0 || pwrite(fd, head, sizeof head, 0) != (ssize_t)sizeof head) {
        mw_fail(error, MW_IO, "cannot write '%s': %s", path, strerror(errno));
        if (fd >= 0) close(fd), unlink(path);
        return MW_IO;
    }
    if (s->fd >= 0 && s->complete_count == COMPLETE_MOST) fdatasync(s->fd), close(s->fd);
    else if (s->fd >= 0)
        s->complete[s->complete_count++] = s->fd;
    s->fd = fd;
    s->names_unsynced = 1;
    add_segment(s, start, start);
    return MW_OK;
}

/* How many bytes could be written. */
static size_t write_parts(int fd, struct iovec *parts, int count, off_t at)
{
    size_t done = 0;
    while (count) {
        ssize_t n = pwritev(fd, parts, count, at + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
        for (size_t left = (size_t)n; count && left >= parts->iov_len; parts++, count--)
            left -= parts->iov_len, n = (ssize_t)left;
        if (!count) break;
        parts->iov_base = (char *)parts->iov_base + n;
        parts->iov_len -= (size_t)n;
    }
    return done;
}

mw_status mw_spool_append(mw_spool *s, const void *head, size_t head_len, const void *body,
                          size_t len, mw_error *error)
{
    mw_status status = MW_OK;
    if (head_len + len > RECORD_MOST)
        return mw_fail(error, MW_LIMIT, "a record of %zu bytes is too large", head_len + len);
    uint64_t end = mw_spool_end(s);
    if (s->fd < 0 || end - s->list[s->count - 1].start >= s->segment_bytes)
        status = begin_segment(s, end, error);
    if (status != MW_OK) return status;
    segment *last = &s->list[s->count - 1];
    record_head h = {.len = (uint32_t)(head_len + len), .head_len = (uint32_t)head_len};
    h.sum = sum_of(end, &h, head, body);
    off_t at = (off_t)(HEAD_BYTES + (end - last->start));
    struct iovec parts[] = {{&h, sizeof h}, {(void *)head, head_len}, {(void *)body, len}};
    size_t total = sizeof h + h.len, done = write_parts(s->fd, parts, 3, at);
    if (done < total) {
        mw_fail(error, MW_IO, "cannot write to the buffer in '%s': %s", s->folder, strerror(errno));
        if (ftruncate(s->fd, at) != 0) mw_log(MW_WARN, "buffer", "half a record is left");
        return MW_IO;
    }
    last->end += total;
    s->unsynced = 1;
    return MW_OK;
}

size_t mw_spool_unsynced(mw_spool *s, int fds[MW_SPOOL_FDS])
{
    size_t n = 0;
    if (s->names_unsynced) fds[n++] = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < s->complete_count; i++) fds[n++] = s->complete[i];
    if (s->unsynced && s->fd >= 0) fds[n++] = dup(s->fd);
    s->complete_count = 0, s->unsynced = s->names_unsynced = 0;
    return n;
}

int mw_spool_is_unsynced(const mw_spool *s)
{
    return s->unsynced;
}

/* ---- reading ---- */

static const segment *segment_of(const mw_spool *s, uint64_t position)
{
    size_t low = 0, high = s->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (s->list[middle].start <= position) low = middle;
        else
            high = middle;
    }
    return &s->list[low];
}

static int open_for_reading(mw_spool *s, const segment *g)
{
    char path[4200];
    if (s->read_fd >= 0 && s->read_start == g->start) return 1;
    if (s->read_fd >= 0) close(s->read_fd);
    path_of(s->folder, g->start, path, sizeof path);
    s->read_fd = open(path, O_RDONLY | O_CLOEXEC);
    s->read_start = g->start;
    s->ahead.len = 0;
    return s->read_fd >= 0;
}

/* `len` bytes from a position on, out of what was read ahead; NULL: they cannot be read. */
static const char *bytes_at(mw_spool *s, const segment *g, uint64_t position, size_t len)
{
    if (position >= s->ahead_at && position + len <= s->ahead_at + s->ahead.len)
        return s->ahead.bytes + (position - s->ahead_at);
    uint64_t left = g->end - position;
    size_t want = len > READ_BYTES ? len : left < READ_BYTES ? (size_t)left : READ_BYTES;
    s->ahead.len = 0;
    mw_buffer_reserve(&s->ahead, want);
    if (!read_all(s->read_fd, s->ahead.bytes, want, (off_t)(HEAD_BYTES + (position - g->start))))
        return NULL;
    s->ahead.len = want, s->ahead_at = position;
    return s->ahead.bytes;
}

/* The segment stays under another name, for somebody to look into. */
static int give_up(mw_spool *s, const segment *g, uint64_t *position, uint64_t to, mw_error *error)
{
    char path[4200], aside[4300];
    path_of(s->folder, g->start, path, sizeof path);
    snprintf(aside, sizeof aside, "%s.damaged", path);
    int linked = link(path, aside) == 0 || errno == EEXIST;
    mw_fail(
        error, MW_INVALID,
        "the buffer's segment '%s' is damaged at byte %llu: %llu bytes of it cannot be read%s%s",
        path, (unsigned long long)(HEAD_BYTES + *position - g->start),
        (unsigned long long)(to - *position), linked ? "; it is kept as " : "",
        linked ? aside : "");
    *position = to;
    return -1;
}

int mw_spool_read(mw_spool *s, uint64_t *position, const char **bytes, size_t *len, mw_error *error)
{
    record_head h;
    if (!s->count || *position >= mw_spool_end(s)) return 0;
    const segment *g = segment_of(s, *position);
    if (*position < g->start) *position = g->start;
    if (*position >= g->end) {
        *position = g[1].start; /* there is one: it is before the end */
        return mw_spool_read(s, position, bytes, len, error);
    }
    const char *p = open_for_reading(s, g) ? bytes_at(s, g, *position, sizeof h) : NULL;
    if (p) memcpy(&h, p, sizeof h);
    if (!p || g->end - *position < sizeof h || h.len == 0 || h.len > RECORD_MOST ||
        h.len + sizeof h > g->end - *position)
        return give_up(s, g, position, g->end, error);
    p = bytes_at(s, g, *position, sizeof h + h.len);
    if (!p) return give_up(s, g, position, g->end, error);
    uint64_t next = *position + sizeof h + h.len;
    if (!is_whole(*position, &h, p + sizeof h)) return give_up(s, g, position, next, error);
    *bytes = p + sizeof h, *len = h.len;
    *position = next;
    return 1;
}

void mw_spool_trim(mw_spool *s, uint64_t position)
{
    char path[4200];
    size_t gone = 0;
    while (gone + 1 < s->count && s->list[gone + 1].start <= position) {
        path_of(s->folder, s->list[gone].start, path, sizeof path);
        unlink(path);
        gone++;
    }
    if (!gone) return;
    s->count -= gone;
    memmove(s->list, s->list + gone, s->count * sizeof *s->list);
}

/* ---- verifying ---- */

static void verify_segment(const mw_spool *s, const segment *g, int last, mw_spool_report *r)
{
    char path[4200];
    mw_error *first = r->damaged ? NULL : &r->first;
    path_of(s->folder, g->start, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    r->segments++;
    if (fd < 0 || !has_head(fd, g->start)) {
        mw_fail(first, MW_INVALID, "'%s' has no head of a segment", path);
        r->damaged++;
    } else {
        walk w = {.fd = fd, .start = g->start, .size = g->end - g->start};
        uint64_t at = 0;
        for (int64_t n; (n = look(&w, at)) != 0; at += (uint64_t)(n < 0 ? -n : n)) {
            if (n > 0) {
                r->records++, r->bytes += (uint64_t)n;
                r->end = g->start + at + (uint64_t)n;
                continue;
            }
            mw_fail(r->damaged++ ? NULL : &r->first, MW_INVALID,
                    "'%s': the record at byte %llu is damaged", path,
                    (unsigned long long)(HEAD_BYTES + at));
        }
        if (at < w.size && last) r->torn_bytes += w.size - at;
        else if (at < w.size)
            mw_fail(r->damaged++ ? NULL : &r->first, MW_INVALID,
                    "'%s': there is no record at byte %llu", path,
                    (unsigned long long)(HEAD_BYTES + at));
        mw_buffer_close(&w.bytes);
    }
    if (fd >= 0) close(fd);
}

mw_status mw_spool_verify(const char *folder, mw_spool_report *r, mw_error *error)
{
    mw_spool s = {.folder = (char *)folder};
    struct stat st;
    *r = (mw_spool_report){0};
    if (stat(folder, &st) != 0)
        return mw_fail(error, MW_IO, "cannot read '%s': %s", folder, strerror(errno));
    list_segments(&s);
    for (size_t i = 0; i < s.count; i++) verify_segment(&s, &s.list[i], i + 1 == s.count, r);
    free(s.list);
    return MW_OK;
}
