/* stdin.c: standard input, whatever it is: a pipe, a terminal, or a file that was redirected. It
 * cannot be read again: what was read and not delivered when the router dies is lost, as with any
 * filter. */
#include "sources/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mw_option options[] = {{0}};

typedef struct input {
    mw_source *source;
    mw_feed feed;
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tty_t tty;
        uv_tcp_t tcp;
        uv_idle_t idle; /* a file */
    } h;
    int is_file, ended, started;
} input;

static void end(input *in)
{
    if (in->ended) return;
    in->ended = 1;
    if (in->is_file) uv_idle_stop(&in->h.idle);
    else
        uv_read_stop(&in->h.stream);
    mw_feed_end(&in->feed);
    mw_source_finished(in->source);
}

static void got(input *in, ssize_t n)
{
    mw_error error;
    if (n < 0) {
        end(in);
    } else if (n > 0 && mw_feed_got(&in->feed, (size_t)n, &error) != MW_OK) {
        mw_source_failed(in->source, error.message);
        end(in);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    input *in = handle->data;
    size_t room;
    (void)suggested;
    buf->base = mw_feed_room(&in->feed, &room);
    buf->len = room;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    got(stream->data, n);
}

static void on_idle(uv_idle_t *handle)
{
    input *in = handle->data;
    size_t room;
    char *to = mw_feed_room(&in->feed, &room);
    ssize_t n = read(STDIN_FILENO, to, room);
    if (n < 0 && errno == EINTR) return;
    got(in, n > 0 ? n : -1);
}

static mw_status open_input(mw_source *s, mw_error *error)
{
    input *in = calloc(1, sizeof *in);
    mw_assert(in != NULL);
    int rc = 0;
    switch (uv_guess_handle(STDIN_FILENO)) {
    case UV_TTY:
        rc = uv_tty_init(s->loop, &in->h.tty, STDIN_FILENO, 1);
        break;
    case UV_NAMED_PIPE:
        rc = uv_pipe_init(s->loop, &in->h.pipe, 0);
        if (rc == 0) rc = uv_pipe_open(&in->h.pipe, fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
        break;
    case UV_TCP:
        rc = uv_tcp_init(s->loop, &in->h.tcp);
        if (rc == 0) rc = uv_tcp_open(&in->h.tcp, fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
        break;
    default:
        in->is_file = 1;
        rc = uv_idle_init(s->loop, &in->h.idle);
    }
    if (rc != 0) {
        free(in);
        return mw_fail(error, MW_IO, "source '%s': standard input cannot be read: %s", s->name,
                       uv_strerror(rc));
    }
    in->h.stream.data = in;
    in->source = s;
    s->self = in;
    mw_feed_init(&in->feed, s);
    return MW_OK;
}

static void resume(mw_source *s)
{
    input *in = s->self;
    if (in->ended || !in->started) return;
    if (in->is_file) uv_idle_start(&in->h.idle, on_idle);
    else
        uv_read_start(&in->h.stream, on_room, on_read);
}

static void start(mw_source *s)
{
    input *in = s->self;
    in->started = 1;
    resume(s);
}

static void pause_reading(mw_source *s)
{
    input *in = s->self;
    if (in->is_file) uv_idle_stop(&in->h.idle);
    else
        uv_read_stop(&in->h.stream);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    (void)s;
    mw_feed_acknowledge(b);
}

static void drain(mw_source *s)
{
    end(s->self);
}

static void on_closed(uv_handle_t *handle)
{
    input *in = handle->data;
    mw_feed_close(&in->feed);
    free(in);
}

static void close_input(mw_source *s)
{
    input *in = s->self;
    uv_close((uv_handle_t *)&in->h.stream, on_closed);
}

const mw_source_kind mw_source_stdin = {
    .name = "stdin",
    .options = options,
    .open = open_input,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .close = close_input,
};
