/* socket.c (sources): tcp and unix: connections that stream events in any framing. Nothing is
 * answered: what a client has written and we have read is ours; while too much is in flight,
 * connections are not read. Other options are taken in place, and connections stay; an instance
 * that leaves hears who has connected to it before it goes. */
#include "base/log.h"
#include "net/address.h"
#include "sources/feed.h"
#include "sources/listen.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define COMMON_OPTIONS                                                                             \
    {"timeout", MW_OPT_DURATION,                                                                   \
     "0",       "closes a connection that sends nothing for so long; 0: never",                    \
     NULL,      NULL},                                                                             \
        {"max_connections",                                                                        \
         MW_OPT_COUNT,                                                                             \
         "10000",                                                                                  \
         "connections at a time, for each shard",                                                  \
         NULL,                                                                                     \
         NULL},                                                                                    \
        {0},

static const mw_option tcp_options[] = {
    {"listen", MW_OPT_TEXT, "!", "host:port; port 0 picks a free one and logs it", NULL, NULL},
    COMMON_OPTIONS};
static const mw_option unix_options[] = {
    {"path", MW_OPT_TEXT, "!", "the socket's file", NULL, NULL}, COMMON_OPTIONS};

enum { SWEEP_MS = 500, LINGER_MS = 300, REST_ROUNDS = 256, BACKLOG = 1024 };

typedef struct connection connection;

typedef struct listener {
    mw_source *source;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    uv_timer_t sweep;
    connection *connections;
    unsigned count, max;
    uint64_t timeout_ms;
    int is_unix, full, draining, ended, closing, handles;
    int crowded; /* more have come than there may be, and it was said */
} listener;

struct connection {
    connection *next, *previous;
    listener *owner;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    mw_feed feed;
    char meta[160];
    uint64_t last_ms;
    int heard;        /* something came */
    int closed, gone; /* its handle is closed */
};

/* ---- connections ---- */

static void release_listener(listener *l)
{
    if (l->closing && l->handles == 0 && !l->connections) free(l);
}

/* A connection stays until its handle is closed and none of its batches borrows its stream. */
static void release(connection *c)
{
    listener *l = c->owner;
    if (!c->gone || c->feed.in_flight) return;
    if (c->previous) c->previous->next = c->next;
    else
        l->connections = c->next;
    if (c->next) c->next->previous = c->previous;
    mw_feed_close(&c->feed);
    free(c);
    release_listener(l);
}

static void on_gone(uv_handle_t *handle)
{
    connection *c = handle->data;
    c->gone = 1;
    release(c);
}

static void finish(listener *l)
{
    if (!l->draining || l->ended || l->count) return;
    l->ended = 1;
    mw_source_finished(l->source);
}

static void close_connection(connection *c)
{
    if (c->closed) return;
    c->closed = 1;
    c->owner->count--;
    uv_close((uv_handle_t *)&c->h.stream, on_gone);
    finish(c->owner);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    connection *c = handle->data;
    size_t room;
    (void)suggested;
    buf->base = mw_feed_room(&c->feed, &room);
    buf->len = room;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    connection *c = stream->data;
    mw_error error;
    (void)buf;
    if (n < 0) {
        if (n == UV_EOF) mw_feed_end(&c->feed);
        else
            mw_feed_cut_off(&c->feed, "the connection broke off in the middle of an event");
        close_connection(c);
    } else if (n > 0) {
        c->heard = 1;
        c->last_ms = uv_now(c->owner->source->loop);
        if (mw_feed_got(&c->feed, (size_t)n, &error) != MW_OK) close_connection(c);
    }
}

static void describe(connection *c)
{
    struct sockaddr_storage peer;
    int len = sizeof peer;
    if (c->owner->is_unix || uv_tcp_getpeername(&c->h.tcp, (struct sockaddr *)&peer, &len) != 0)
        return;
    mw_address a = {.storage = peer, .len = (socklen_t)len};
    char text[MW_ADDRESS_TEXT];
    snprintf(c->meta, sizeof c->meta, ",\"peer\":\"%s\"", mw_address_text(&a, text));
    c->feed.meta = c->meta;
}

static connection *new_connection(listener *l)
{
    connection *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->owner = l;
    mw_feed_init(&c->feed, l->source);
    if (l->is_unix) uv_pipe_init(l->source->loop, &c->h.pipe, 0);
    else
        uv_tcp_init(l->source->loop, &c->h.tcp);
    c->h.stream.data = c;
    c->next = l->connections;
    if (c->next) c->next->previous = c;
    l->connections = c;
    l->count++;
    return c;
}

static void refuse(connection *c)
{
    listener *l = c->owner;
    if (!l->crowded)
        mw_log(
            MW_WARN, l->source->name,
            "more than %u connections: others are closed (raise max_connections if they are meant)",
            l->max);
    l->crowded = 1;
    close_connection(c);
}

static void begin_connection(connection *c)
{
    listener *l = c->owner;
    if (l->count > l->max) {
        refuse(c);
        return;
    }
    l->crowded = 0;
    describe(c);
    c->last_ms = uv_now(l->source->loop);
    if (!l->full) uv_read_start(&c->h.stream, on_room, on_read);
}

static void on_connection(uv_stream_t *stream, int status)
{
    if (status != 0) return;
    connection *c = new_connection(stream->data);
    if (uv_accept(stream, &c->h.stream) == 0) begin_connection(c);
    else
        close_connection(c);
}

/* Those whom the kernel has connected already. */
static void accept_rest(listener *l)
{
    uv_os_fd_t listening;
    int fd;
    if (uv_fileno((uv_handle_t *)&l->h.stream, &listening) != 0) return;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        connection *c = new_connection(l);
        int rc = l->is_unix ? uv_pipe_open(&c->h.pipe, fd) : uv_tcp_open(&c->h.tcp, fd);
        if (rc == 0) begin_connection(c);
        else
            close_connection(c);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    listener *l = timer->data;
    uint64_t now = uv_now(l->source->loop);
    for (connection *c = l->connections, *next; c; c = next) {
        next = c->next;
        if (c->closed || l->full || now - c->last_ms < l->timeout_ms) continue;
        mw_feed_end(&c->feed);
        close_connection(c);
    }
}

/* ---- listening ---- */

/* Whoever connects before the source is started waits, and is not refused: a router is said to be
 * ready before each shard has started its sources. */
static mw_status let_wait(mw_source *s, int fd, mw_error *error)
{
    if (listen(fd, BACKLOG) == 0) return MW_OK;
    mw_fail(error, MW_IO, "source '%s': cannot listen: %s", s->name, strerror(errno));
    close(fd);
    return MW_IO;
}

static mw_status listen_tcp(listener *l, mw_error *error)
{
    int fd = -1, inherited = l->source->inherited >= 0; /* that one listens */
    mw_status status = mw_source_listen(l->source, 0, "", "", &fd, error);
    if (status == MW_OK && !inherited) status = let_wait(l->source, fd, error);
    if (status != MW_OK) return status;
    uv_tcp_init(l->source->loop, &l->h.tcp);
    uv_tcp_open(&l->h.tcp, fd);
    return MW_OK;
}

/* A socket file that nobody listens on is removed: it is left over from a crash, or from us. */
static mw_status remove_stale(const char *path, mw_error *error)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) != 0) return MW_OK;
    if (!S_ISSOCK(st.st_mode))
        return mw_fail(error, MW_IO, "'%s' is there already, and is no socket", path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int taken = fd >= 0 && (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EAGAIN);
    if (fd >= 0) close(fd);
    if (taken) return mw_fail(error, MW_IO, "cannot listen on '%s': another program does", path);
    unlink(path);
    return MW_OK;
}

static int bind_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Bound by ourselves, since libuv would remove the file whenever it closes the handle. */
static mw_status listen_unix(listener *l, mw_error *error)
{
    mw_error why;
    mw_source *s = l->source;
    const char *path = mw_config_text(s->config, "path", "");
    int fd = s->inherited;
    s->inherited = -1;
    if (fd < 0) {
        mw_status status = remove_stale(path, &why);
        if (status != MW_OK) return mw_fail(error, status, "source '%s': %s", s->name, why.message);
        fd = bind_unix(path);
        if (fd < 0)
            return mw_fail(error, MW_IO, "source '%s': cannot listen on '%s': %s", s->name, path,
                           strerror(errno));
        if (let_wait(s, fd, error) != MW_OK) return MW_IO;
        mw_log(MW_INFO, s->name, "listening on %s", path);
    }
    uv_pipe_init(s->loop, &l->h.pipe, 0);
    uv_pipe_open(&l->h.pipe, fd);
    return MW_OK;
}

static void read_options(listener *l)
{
    const mw_source *s = l->source;
    l->timeout_ms = (uint64_t)mw_config_int(s->config, "timeout", 0) / 1000000;
    l->max = (unsigned)mw_config_int(s->config, "max_connections", 10000);
}

static mw_status open_listener(mw_source *s, int is_unix, mw_error *error)
{
    listener *l = calloc(1, sizeof *l);
    mw_assert(l != NULL);
    l->source = s, l->is_unix = is_unix;
    read_options(l);
    mw_status status = is_unix ? listen_unix(l, error) : listen_tcp(l, error);
    if (status != MW_OK) {
        free(l);
        return status;
    }
    s->self = l;
    l->handles = 2;
    uv_timer_init(s->loop, &l->sweep);
    l->h.stream.data = l->sweep.data = l;
    return MW_OK;
}

static mw_status open_tcp(mw_source *s, mw_error *error)
{
    return open_listener(s, 0, error);
}

static mw_status open_unix(mw_source *s, mw_error *error)
{
    return open_listener(s, 1, error);
}

static void on_closed(uv_handle_t *handle)
{
    listener *l = handle->data;
    l->handles--;
    release_listener(l);
}

static void start_sweep(listener *l)
{
    if (l->timeout_ms) uv_timer_start(&l->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    else
        uv_timer_stop(&l->sweep);
}

static void start(mw_source *s)
{
    listener *l = s->self;
    int rc = uv_listen(&l->h.stream, BACKLOG, on_connection);
    if (rc != 0) mw_source_failed(s, uv_strerror(rc));
    start_sweep(l);
}

static int is_buffered(mw_config *c)
{
    return mw_config_int(c, "buffer.size", 0) > 0;
}

/* All but where it listens, how bytes become events (connections are in the middle of some), and
 * whether they are on disk first. */
static int can_change(mw_config *before, mw_config *after)
{
    if (is_buffered(before) != is_buffered(after)) return 0;
    static const char *const same[] = {"listen", "path", "format"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(mw_config_text(before, same[i], ""), mw_config_text(after, same[i], "")) != 0)
            return 0;
    for (size_t i = 0;; i++) {
        const char *was = mw_config_item(before, "columns", i);
        const char *is = mw_config_item(after, "columns", i);
        if (!was || !is) return was == is;
        if (strcmp(was, is) != 0) return 0;
    }
}

static void change(mw_source *s)
{
    listener *l = s->self;
    read_options(l);
    for (connection *c = l->connections; c; c = c->next) mw_feed_change(&c->feed);
    start_sweep(l);
}

static void pause_reading(mw_source *s)
{
    listener *l = s->self;
    l->full = 1;
    for (connection *c = l->connections; c; c = c->next)
        if (!c->closed) uv_read_stop(&c->h.stream);
}

static void resume(mw_source *s)
{
    listener *l = s->self;
    l->full = 0;
    for (connection *c = l->connections; c; c = c->next) {
        if (c->closed) continue;
        c->last_ms = uv_now(s->loop);
        uv_read_start(&c->h.stream, on_room, on_read);
    }
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    (void)s;
    mw_feed *f = mw_feed_acknowledge(b);
    release((connection *)((char *)f - offsetof(connection, feed)));
}

/* What the kernel holds already was sent to us: it is read before the end. */
static void read_rest(connection *c)
{
    uv_os_fd_t fd;
    uv_buf_t buf;
    if (uv_fileno((uv_handle_t *)&c->h.stream, &fd) != 0) return;
    for (int round = 0; round < REST_ROUNDS && !c->closed; round++) {
        on_room((uv_handle_t *)&c->h.stream, 0, &buf);
        ssize_t n = recv(fd, buf.base, buf.len, MSG_DONTWAIT);
        if (n < 0) return;
        on_read(&c->h.stream, n ? n : UV_EOF, &buf);
    }
}

static void end_connection(connection *c)
{
    if (!c->closed) read_rest(c);
    if (c->closed) return;
    mw_feed_cut_off(&c->feed, "the source ended in the middle of an event");
    close_connection(c);
}

static void on_linger(uv_timer_t *timer)
{
    listener *l = timer->data;
    for (connection *c = l->connections, *next; c; c = next) next = c->next, end_connection(c);
}

/* Whoever has only just connected is about to send, and has a moment for it. */
static void drain(mw_source *s)
{
    listener *l = s->self;
    if (l->draining) return;
    accept_rest(l);
    uv_close((uv_handle_t *)&l->h.stream, on_closed);
    for (connection *c = l->connections, *next; c; c = next) {
        next = c->next;
        if (c->heard) end_connection(c);
    }
    l->draining = 1;
    uv_timer_start(&l->sweep, on_linger, LINGER_MS, 0);
    finish(l);
}

static int hand_over(mw_source *s)
{
    listener *l = s->self;
    return mw_source_duplicate((uv_handle_t *)&l->h.stream);
}

static void close_listener(mw_source *s)
{
    listener *l = s->self;
    mw_error error;
    if (!l->draining) uv_close((uv_handle_t *)&l->h.stream, on_closed);
    l->draining = l->ended = l->closing = 1;
    if (l->is_unix) remove_stale(mw_config_text(s->config, "path", ""), &error);
    uv_close((uv_handle_t *)&l->sweep, on_closed);
    for (connection *c = l->connections, *next; c; c = next) {
        next = c->next;
        c->feed.in_flight = 0;
        close_connection(c);
    }
}

const mw_source_kind mw_source_tcp = {
    .name = "tcp",
    .options = tcp_options,
    .every_shard = 1,
    .endless = 1,
    .open = open_tcp,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .can_change = can_change,
    .change = change,
    .hand_over = hand_over,
    .close = close_listener,
};

const mw_source_kind mw_source_unix = {
    .name = "unix",
    .options = unix_options,
    .open = open_unix,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .can_change = can_change,
    .change = change,
    .hand_over = hand_over,
    .close = close_listener,
};
