/* file_tail.c: see file_tail.h. */
#include "sources/file_tail.h"
#include "base/hash.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FINGERPRINT_BYTES = 256 };

typedef struct note {
    uint64_t hash;
    uint32_t len;
} note;

static int fingerprint(int fd, uint32_t len, uint64_t *hash)
{
    char head[FINGERPRINT_BYTES];
    ssize_t got = pread(fd, head, len, 0);
    if (got != (ssize_t)len) return 0;
    *hash = mw_hash(head, len);
    return 1;
}

static void keep_fingerprint(mw_tail *t, uint64_t size)
{
    note n = {.len = (uint32_t)(size < FINGERPRINT_BYTES ? size : FINGERPRINT_BYTES)};
    if (n.len <= t->fingerprint_len || !fingerprint(t->fd, n.len, &n.hash)) return;
    t->fingerprint_len = n.len;
    mw_partition_note(t->partition, &n, sizeof n);
}

/* Is this the file that the position was kept of? */
static int is_same_file(mw_tail *t, const char *bytes, size_t len, uint64_t position, uint64_t size)
{
    note n;
    uint64_t hash;
    if (len < sizeof n) return size >= position;
    memcpy(&n, bytes, sizeof n);
    if (n.len > FINGERPRINT_BYTES) return 0;
    t->fingerprint_len = n.len;
    return fingerprint(t->fd, n.len, &hash) && hash == n.hash && (t->inflate || size >= position);
}

static void begin_anew(mw_tail *t, uint64_t position)
{
    t->position = position;
    t->fingerprint_len = 0;
    mw_stream_restart(&t->stream);
    mw_partition_restart(t->partition, position);
}

/* What the stream's beginning teaches (a csv header, the framing) is needed where reading goes on
 * in the middle. */
static void teach(mw_tail *t)
{
    char *head = malloc(MW_TAIL_IN);
    mw_assert(head != NULL);
    ssize_t got = pread(t->fd, head, MW_TAIL_IN, 0);
    size_t whole;
    mw_error error;
    if (got > 0) t->stream.format->boundary(&t->stream, head, (size_t)got, 0, &whole, &error);
    free(head);
}

static void reject(mw_tail *t, uint64_t position, uint64_t end, const char *bytes, size_t len,
                   const char *why)
{
    t->in_flight++;
    mw_source_reject(t->source, t->partition, &t->stream, position, end, bytes, len, why);
}

mw_tail *mw_tail_acknowledge(mw_batch *b)
{
    mw_tail *t = (mw_tail *)((char *)b->stream - offsetof(mw_tail, stream));
    t->in_flight--;
    return t;
}

/* More decompressed bytes into `rest`; 0 at the end of what is there. */
static int decompress(mw_tail *t, size_t want)
{
    mw_error error;
    size_t used, made;
    while (t->rest.len < want) {
        if (t->in_at == t->in_len) {
            ssize_t got = read(t->fd, t->in, MW_TAIL_IN);
            if (got <= 0) return 0;
            t->in_at = 0, t->in_len = (size_t)got;
            mw_source_read(t->source, (uint64_t)got);
        }
        char *to = mw_buffer_reserve(&t->rest, MW_TAIL_IN);
        mw_status status = mw_inflate_run(t->inflate, t->in + t->in_at, t->in_len - t->in_at, &used,
                                          to, MW_TAIL_IN, &made, &error);
        t->in_at += used, t->rest.len += made;
        if (status != MW_OK) {
            reject(t, t->position, t->position + t->rest.len, t->rest.bytes, t->rest.len,
                   error.message);
            t->position += t->rest.len, t->rest.len = 0;
            t->ended = 1;
            return 0;
        }
    }
    return 1;
}

/* A restart reads an archive again, up to where it was. */
static void skip_to(mw_tail *t, uint64_t position)
{
    uint64_t at = 0;
    while (at < position && !t->ended) {
        int more = decompress(t, 1);
        size_t n = t->rest.len < position - at ? t->rest.len : (size_t)(position - at);
        if (at == 0 && t->rest.len) {
            size_t whole;
            mw_error error;
            t->stream.format->boundary(&t->stream, t->rest.bytes, t->rest.len, 0, &whole, &error);
        }
        mw_buffer_consume(&t->rest, n);
        at += n;
        if (!more && n == 0) break;
    }
}

static void find_position(mw_tail *t, uint64_t size, int from_end)
{
    const char *bytes;
    size_t len;
    uint64_t position;
    if (!mw_partition_known(t->partition, &position, &bytes, &len)) {
        t->position = from_end && !t->inflate ? size : 0;
        if (t->position) mw_partition_restart(t->partition, t->position);
    } else if (is_same_file(t, bytes, len, position, size)) {
        t->position = position;
    } else {
        mw_log(MW_WARN, t->source->name,
               "'%s' is not what it was when it was read up to byte %llu (truncated, or replaced): "
               "read from its start",
               t->path, (unsigned long long)position);
        begin_anew(t, 0);
    }
    if (t->inflate && t->position) skip_to(t, t->position);
    else if (t->position)
        teach(t);
    keep_fingerprint(t, size);
}

mw_status mw_tail_open(mw_tail **tail, mw_source *s, const char *path, size_t block, int from_end,
                       mw_error *error)
{
    struct stat st;
    char head[4], key[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mw_fail(error, MW_IO, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        close(fd);
        return mw_fail(error, MW_IO,
                       "cannot read '%s': it is a directory (name the files in it: '%s/*')", path,
                       path);
    }
    mw_tail *t = calloc(1, sizeof *t);
    mw_assert(t != NULL && (t->path = strdup(path)) != NULL);
    t->source = s, t->fd = fd, t->block = t->block_normal = block;
    t->device = (uint64_t)st.st_dev, t->inode = (uint64_t)st.st_ino;
    mw_stream_init(&t->stream, s->format, s->config, s->limit);
    snprintf(key, sizeof key, "%llu:%llu", (unsigned long long)t->device,
             (unsigned long long)t->inode);
    t->partition = mw_source_partition(s, key);
    ssize_t got = pread(fd, head, sizeof head, 0);
    mw_compression kind = mw_compression_of(head, got > 0 ? (size_t)got : 0);
    if (kind != MW_PLAIN) {
        t->inflate = mw_inflate_new(kind);
        mw_assert((t->in = malloc(MW_TAIL_IN)) != NULL);
    }
    t->size = (uint64_t)st.st_size;
    find_position(t, t->size, from_end);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *tail = t;
    return MW_OK;
}

void mw_tail_close(mw_tail *t)
{
    close(t->fd);
    mw_inflate_free(t->inflate);
    free(t->in);
    mw_buffer_close(&t->rest);
    mw_stream_close(&t->stream);
    free(t->path);
    free(t);
}

void mw_tail_check(mw_tail *t)
{
    struct stat st;
    if (t->inflate || fstat(t->fd, &st) != 0) return;
    if ((uint64_t)st.st_size < t->position && !t->truncated) {
        mw_log(MW_WARN, t->source->name,
               "'%s' was truncated from at least %llu to %llu bytes: read from its start", t->path,
               (unsigned long long)t->position, (unsigned long long)st.st_size);
        t->truncated = 1;
    }
    if (t->truncated) {
        if (t->in_flight) return;
        t->truncated = 0, t->oversize.inside = 0, t->block = t->block_normal;
        begin_anew(t, 0);
    }
    t->size = (uint64_t)st.st_size;
    keep_fingerprint(t, t->size);
}

/* ---- reading ---- */

/* Bytes from t->position on, into the block; 0 at the end, -1 when the file cannot be read. */
static ssize_t fill(mw_tail *t, mw_batch *b, size_t want)
{
    if (t->inflate) {
        decompress(t, want);
        size_t n = t->rest.len < want ? t->rest.len : want;
        if (n) memcpy(b->block, t->rest.bytes, n);
        return (ssize_t)n;
    }
    ssize_t got;
    do got = pread(t->fd, b->block, want, (off_t)t->position);
    while (got < 0 && errno == EINTR);
    if (got > 0) mw_source_read(t->source, (uint64_t)got);
    return got;
}

static void advance(mw_tail *t, size_t n)
{
    t->position += n;
    if (t->inflate) mw_buffer_consume(&t->rest, n);
}

/* Inside a frame that is too large. */
static int pass_oversize(mw_tail *t, mw_batch *b, size_t got, int final)
{
    uint32_t given;
    size_t n = mw_oversize_pass(&t->oversize, t->source, t->partition, &t->stream, t->position,
                                b->block, got, final, &given);
    t->in_flight += given;
    advance(t, n);
    mw_source_untake(t->source, b);
    return got > 0;
}

static int refuse(mw_tail *t, mw_batch *b, size_t len, mw_status status, const mw_error *error,
                  int final)
{
    if (status == MW_LIMIT) {
        mw_oversize_begin(&t->oversize, t->position);
        t->block = t->block_normal;
        mw_source_untake(t->source, b);
        return 1;
    }
    /* the stream has lost its framing: what is left of it cannot be told apart */
    reject(t, t->position, t->position + len, b->block, len, error->message);
    mw_source_untake(t->source, b);
    advance(t, len);
    t->ended = !final || len == 0;
    return 0;
}

int mw_tail_read(mw_tail *t, int final)
{
    mw_error error;
    size_t whole = 0;
    if (t->ended || t->truncated) return 0;
    mw_batch *b = mw_source_take(t->source, t->block);
    ssize_t got = fill(t, b, t->block);
    if (got < 0) {
        char why[300];
        snprintf(why, sizeof why, "cannot read '%s' at byte %llu: %s", t->path,
                 (unsigned long long)t->position, strerror(errno));
        mw_source_untake(t->source, b);
        mw_source_failed(t->source, why);
        t->ended = 1;
        return 0;
    }
    size_t len = (size_t)got;
    int end = final && len < t->block;
    int truncated = end && t->inflate && !mw_inflate_is_whole(t->inflate);
    int last = end && !truncated; /* then what is left is a frame */
    t->at_end = len < t->block;
    if (t->oversize.inside) return pass_oversize(t, b, len, end);
    mw_status status =
        len ? t->stream.format->boundary(&t->stream, b->block, len, last, &whole, &error) : MW_OK;
    if (whole) { /* what is good goes on its way; what is not comes again with the next block */
        b->len = whole, b->stream = &t->stream, b->first = t->position == 0;
        b->position = t->position, b->end_position = t->position + whole;
        advance(t, whole);
        t->block = t->block_normal;
        t->in_flight++;
        mw_source_give(t->source, b, t->partition);
        return !t->at_end || whole < len;
    }
    if (status != MW_OK) return refuse(t, b, len, status, &error, last);
    if (truncated) {
        t->ended = 1;
        reject(t, t->position, t->position + len, b->block, len,
               "the compressed file is truncated: what could be read of it was");
    }
    mw_source_untake(t->source, b);
    if (len < t->block) return 0;
    t->block *= 2; /* a frame larger than the block */
    if (t->block > t->stream.limit * 2 + t->block_normal)
        t->block = t->stream.limit * 2 + t->block_normal;
    return 1;
}
