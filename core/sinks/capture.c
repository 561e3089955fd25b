/* capture.c: what mw.capture declares: raw events into segment files, the oldest of which go when
 * they take too much room. Not a sink of flows: the router gives it what sources read.
 *
 * Files are written by a thread of libuv's pool, so that the shard spends no time on it, half a
 * megabyte at a time, so that the threads do not wake each other all the time. Large blocks are
 * written from where they are, and hold their batch meanwhile; small ones (requests) are copied,
 * and hold nobody up. A capture is for looking back; it must not stop what it looks at: what cannot
 * be written is left out, and said. See event/capture.h for the format. */
#include "base/buffer.h"
#include "base/log.h"
#include "event/capture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <moonweir/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const mw_option options[] = {
    {"keep", MW_OPT_SIZE, "1GiB", "bytes that are kept; the oldest go", NULL, NULL},
    {"rate", MW_OPT_NUMBER, "1", "share of events that are kept, chosen by a hash of their bytes",
     NULL, NULL},
    {"queue", MW_OPT_SIZE, "1MiB", "bytes that may wait to be written before sources are paused",
     NULL, NULL},
    {"path", MW_OPT_TEXT, NULL,
     "folder of the segments (default: captures/NAME in the state folder)", NULL, NULL},
    {0},
};

enum {
    SMALL_BYTES = 16 << 10, /* a list that is copied */
    COPIED_MAX = 4 << 20,   /* bytes of them that may wait */
    WRITE_AT = 512 << 10,   /* bytes that are worth waking a thread for at once */
    WAIT_MS = 5,            /* when less is written */
};
enum { SEGMENT_MAX = 64 << 20, SEGMENT_MIN = 64 << 10, NAME_MAX_BYTES = 64, PARTS = 512 };

typedef struct capture {
    mw_sink *sink;
    const char *folder;
    uint64_t keep, segment;
    mw_list *queued, **queued_end, *writing;
    mw_buffer copied, writing_copied; /* whole records, older than the lists */
    size_t queued_bytes;
    uv_timer_t timer;
    uv_work_t work;
    int busy, closing;
    /* the writing thread's, while it is busy */
    int fd;
    uint64_t first, number, size; /* oldest segment, the one written to, and its size */
    uint64_t written, left_out;
    char why[256];
} capture;

/* ---- segments ---- */

static void segment_path(const capture *c, uint64_t number, char *to, size_t room)
{
    snprintf(to, room, "%s/%012llu%s", c->folder, (unsigned long long)number, MW_CAPTURE_SUFFIX);
}

static uint64_t size_of(const capture *c, uint64_t number)
{
    char path[4096];
    struct stat st;
    segment_path(c, number, path, sizeof path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The oldest segment becomes the next one: its pages are there already, which halves the cost of
 * writing. Those beyond the limit go. */
static void make_room(capture *c, const char *next)
{
    char path[4096];
    uint64_t total = 0;
    int taken = 0;
    for (uint64_t n = c->first; n <= c->number; n++) total += size_of(c, n);
    for (; total + c->segment > c->keep && c->first < c->number; c->first++) {
        total -= size_of(c, c->first);
        segment_path(c, c->first, path, sizeof path);
        if (!taken && rename(path, next) == 0) taken = 1;
        else
            unlink(path);
    }
}

static void end_segment(capture *c)
{
    if (c->fd < 0) return;
    if (ftruncate(c->fd, (off_t)c->size) != 0) c->size = 0; /* what is behind has another number */
    close(c->fd);
    c->fd = -1;
}

static int next_segment(capture *c)
{
    char path[4096];
    end_segment(c);
    segment_path(c, c->number + 1, path, sizeof path);
    make_room(c, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    if (write(fd, MW_CAPTURE_MAGIC, MW_CAPTURE_MAGIC_BYTES) != MW_CAPTURE_MAGIC_BYTES) {
        close(fd);
        return -1;
    }
    c->fd = fd, c->number++, c->size = MW_CAPTURE_MAGIC_BYTES;
    return 0;
}

/* ---- writing: in a thread of the pool ---- */

static int write_all(capture *c, struct iovec *parts, int count, size_t total)
{
    size_t done = 0;
    while (done < total) {
        ssize_t n = writev(c->fd, parts, count);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        done += (size_t)n;
        for (; count && (size_t)n >= parts->iov_len; parts++, count--) n -= (ssize_t)parts->iov_len;
        if (count) parts->iov_base = (char *)parts->iov_base + n, parts->iov_len -= (size_t)n;
    }
    if (done == total) {
        c->size += total, c->written += total;
        return 0;
    }
    snprintf(c->why, sizeof c->why, "%s", strerror(errno));
    end_segment(c); /* a torn record would end it anyway */
    return -1;
}

static void write_some(capture *c, const mw_list *l, uint32_t from, uint32_t count)
{
    struct iovec parts[3 * PARTS];
    mw_capture_head heads[PARTS];
    size_t total = 0;
    int n = 0;
    for (uint32_t i = 0; i < count; i++)
        total += sizeof *heads + l->pieces[from + i].options_len + l->pieces[from + i].len;
    if ((c->fd < 0 || c->size + total > c->segment) && next_segment(c) != 0) {
        snprintf(c->why, sizeof c->why, "%s", strerror(errno));
        c->left_out += count;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const mw_piece *p = &l->pieces[from + i];
        heads[i] = (mw_capture_head){.magic = MW_CAPTURE_RECORD,
                                     .about_len = p->options_len,
                                     .len = p->len,
                                     .segment = (uint32_t)c->number};
        heads[i].hash = mw_capture_hash(p->options, p->options_len, p->text, p->len);
        parts[n++] = (struct iovec){&heads[i], sizeof heads[i]};
        parts[n++] = (struct iovec){(char *)p->options, p->options_len};
        parts[n++] = (struct iovec){(char *)p->text, p->len};
    }
    if (write_all(c, parts, n, total) != 0) c->left_out += count;
}

/* As many of the records from `at` on as the segment has room for, at least one; how many bytes
 * they are. Only now it is known which segment they are in. */
static size_t write_run(capture *c, size_t at)
{
    mw_buffer *b = &c->writing_copied;
    size_t len = 0;
    while (at + len < b->len) {
        mw_capture_head head;
        memcpy(&head, b->bytes + at + len, sizeof head);
        size_t record = sizeof head + head.about_len + head.len;
        if (c->fd < 0 || c->size + len + record > c->segment) {
            if (len) break;
            if (next_segment(c) != 0) {
                snprintf(c->why, sizeof c->why, "%s", strerror(errno));
                c->left_out++;
                return record;
            }
        }
        head.segment = (uint32_t)c->number;
        memcpy(b->bytes + at + len, &head, sizeof head);
        len += record;
    }
    struct iovec part = {b->bytes + at, len};
    if (write_all(c, &part, 1, len) != 0) c->left_out++;
    return len;
}

static void write_copied(capture *c)
{
    for (size_t at = 0; at < c->writing_copied.len;) at += write_run(c, at);
}

static void write_thread(uv_work_t *work)
{
    capture *c = work->data;
    write_copied(c);
    for (const mw_list *l = c->writing; l; l = l->next)
        for (uint32_t i = 0; i < l->count; i += PARTS)
            write_some(c, l, i, l->count - i < PARTS ? l->count - i : PARTS);
}

/* ---- the sink ---- */

static void start_writing(capture *c);
static void on_timer(uv_timer_t *timer);

static void write_or_wait(capture *c)
{
    if (c->queued_bytes + c->copied.len >= WRITE_AT) start_writing(c);
    else if ((c->queued || c->copied.len) && !uv_is_active((uv_handle_t *)&c->timer))
        uv_timer_start(&c->timer, on_timer, WAIT_MS, 0);
}

static void on_closed(uv_handle_t *handle)
{
    capture *c = handle->data;
    c->writing_copied.len = 0;
    mw_buffer_append(&c->writing_copied, c->copied.bytes, c->copied.len);
    write_copied(c);
    end_segment(c);
    mw_buffer_close(&c->copied);
    mw_buffer_close(&c->writing_copied);
    free(c);
}

static void end(capture *c)
{
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_written(uv_work_t *work, int status)
{
    capture *c = work->data;
    mw_list *l = c->writing;
    (void)status;
    c->busy = 0, c->writing = NULL;
    if (c->closing) {
        end(c);
        return;
    }
    mw_sink_wrote(c->sink, c->written);
    if (c->left_out) {
        mw_log(MW_WARN, c->sink->name, "%llu records could not be captured: %s",
               (unsigned long long)c->left_out, c->why);
        mw_sink_retried(c->sink, c->why);
    } else {
        mw_sink_recovered(c->sink);
    }
    c->written = c->left_out = 0;
    for (mw_list *next; l; l = next) next = l->next, mw_sink_done(c->sink, l);
    write_or_wait(c);
}

static void start_writing(capture *c)
{
    if (c->busy || (!c->queued && !c->copied.len)) return;
    c->busy = 1;
    mw_buffer swap = c->writing_copied;
    c->writing_copied = c->copied, c->copied = swap;
    c->copied.len = 0, c->queued_bytes = 0;
    uv_timer_stop(&c->timer);
    c->writing = c->queued;
    c->queued = NULL, c->queued_end = &c->queued;
    uv_queue_work(c->sink->loop, &c->work, write_thread, on_written);
}

static void find_segments(capture *c)
{
    DIR *folder = opendir(c->folder);
    struct dirent *entry;
    c->first = UINT64_MAX;
    while (folder && (entry = readdir(folder))) {
        char *suffix;
        uint64_t n = strtoull(entry->d_name, &suffix, 10);
        if (strcmp(suffix, MW_CAPTURE_SUFFIX) != 0) continue;
        if (n < c->first) c->first = n;
        if (n > c->number) c->number = n;
    }
    if (folder) closedir(folder);
    if (c->first == UINT64_MAX) c->first = 1;
}

static mw_status make_folder(const char *path, mw_error *error)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(part, 0777);
        *slash = '/';
    }
    if (mkdir(part, 0700) == 0 || errno == EEXIST) return MW_OK;
    return mw_fail(error, MW_IO, "cannot make the folder '%s': %s", path, strerror(errno));
}

static mw_status open_capture(mw_sink *k, mw_error *error)
{
    const char *folder = mw_config_text(k->config, "path", "");
    mw_status status = make_folder(folder, error);
    if (status != MW_OK) return status;
    capture *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    k->self = c;
    c->sink = k, c->folder = folder, c->fd = -1;
    c->keep = (uint64_t)mw_config_int(k->config, "keep", 1 << 30);
    c->segment = c->keep / 8 < SEGMENT_MAX ? c->keep / 8 : SEGMENT_MAX;
    if (c->segment < SEGMENT_MIN) c->segment = SEGMENT_MIN;
    c->queued_end = &c->queued;
    c->work.data = c->timer.data = c;
    uv_timer_init(k->loop, &c->timer);
    find_segments(c);
    return MW_OK;
}

static void on_timer(uv_timer_t *timer)
{
    start_writing(timer->data);
}

static void copy(capture *c, const mw_list *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const mw_piece *p = &l->pieces[i];
        mw_capture_head head = {.magic = MW_CAPTURE_RECORD,
                                .about_len = p->options_len,
                                .len = p->len,
                                .hash =
                                    mw_capture_hash(p->options, p->options_len, p->text, p->len)};
        mw_buffer_append(&c->copied, &head, sizeof head);
        mw_buffer_append(&c->copied, p->options, p->options_len);
        mw_buffer_append(&c->copied, p->text, p->len);
    }
}

static void write_list(mw_sink *k, mw_list *l)
{
    capture *c = k->self;
    if (l->bytes <= SMALL_BYTES && !c->queued && c->copied.len < COPIED_MAX) {
        copy(c, l);
        mw_sink_done(k, l);
        return;
    }
    c->queued_bytes += l->bytes;
    l->next = NULL;
    *c->queued_end = l;
    c->queued_end = &l->next;
}

static void flush(mw_sink *k)
{
    write_or_wait(k->self);
}

static void drain(mw_sink *k)
{
    start_writing(k->self);
}

static void close_capture(mw_sink *k)
{
    capture *c = k->self;
    c->closing = 1;
    if (!c->busy) end(c);
}

const mw_sink_kind mw_sink_capture = {
    .name = "capture",
    .options = options,
    .open = open_capture,
    .write = write_list,
    .flush = flush,
    .drain = drain,
    .close = close_capture,
};
