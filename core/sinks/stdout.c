/* stdout.c: standard output. Nothing is held back: a round of the loop is one write. */
#include "sinks/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mw_option options[] = {{0}};

typedef struct output {
    mw_sink *sink;
    mw_outbox outbox;
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tty_t tty;
        uv_tcp_t tcp;
        uv_timer_t retry; /* a file */
    } h;
    int is_file;
    mw_buffer text;
    mw_list *lists;
    mw_list **lists_end;
} output;

static void on_broken(void *owner, int status)
{
    output *o = owner;
    mw_outbox_connect(&o->outbox, NULL);
    if (status == UV_EPIPE || status == UV_ECONNRESET)
        mw_sink_failed(o->sink, "standard output was closed by its reader");
    else
        mw_sink_failed(o->sink, uv_strerror(status));
}

static mw_status open_output(mw_sink *k, mw_error *error)
{
    output *o = calloc(1, sizeof *o);
    mw_assert(o != NULL);
    int rc = 0;
    o->sink = k;
    o->lists_end = &o->lists;
    switch (uv_guess_handle(STDOUT_FILENO)) {
    case UV_TTY:
        rc = uv_tty_init(k->loop, &o->h.tty, STDOUT_FILENO, 0);
        break;
    case UV_NAMED_PIPE:
        rc = uv_pipe_init(k->loop, &o->h.pipe, 0);
        if (rc == 0) rc = uv_pipe_open(&o->h.pipe, fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
        break;
    case UV_TCP:
        rc = uv_tcp_init(k->loop, &o->h.tcp);
        if (rc == 0) rc = uv_tcp_open(&o->h.tcp, fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
        break;
    default:
        o->is_file = 1;
        rc = uv_timer_init(k->loop, &o->h.retry);
    }
    if (rc != 0) {
        free(o);
        return mw_fail(error, MW_IO, "standard output cannot be written: %s", uv_strerror(rc));
    }
    k->self = o;
    o->h.stream.data = o;
    mw_outbox_init(&o->outbox, k, on_broken, o);
    if (!o->is_file) mw_outbox_connect(&o->outbox, &o->h.stream);
    return MW_OK;
}

/* ---- a file that was redirected to ---- */

static void write_file(output *o);

static void on_retry(uv_timer_t *timer)
{
    write_file(timer->data);
}

static void write_file(output *o)
{
    size_t done = 0;
    if (uv_is_active((uv_handle_t *)&o->h.retry)) return;
    while (done < o->text.len) {
        ssize_t n = write(STDOUT_FILENO, o->text.bytes + done, o->text.len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        mw_sink_retried(o->sink, strerror(errno));
        uv_timer_start(&o->h.retry, on_retry, 200, 0);
        break;
    }
    mw_sink_wrote(o->sink, done);
    mw_buffer_consume(&o->text, done);
    if (o->text.len) return;
    mw_sink_recovered(o->sink);
    mw_list *l = o->lists;
    o->lists = NULL, o->lists_end = &o->lists;
    while (l) {
        mw_list *next = l->next;
        mw_sink_done(o->sink, l);
        l = next;
    }
}

/* ---- */

static void write_list(mw_sink *k, mw_list *l)
{
    output *o = k->self;
    if (!o->is_file) {
        mw_outbox_add(&o->outbox, l);
        return;
    }
    for (uint32_t i = 0; i < l->count;) i += mw_sink_render_some(k, l, i, &o->text);
    l->next = NULL;
    *o->lists_end = l;
    o->lists_end = &l->next;
}

static void flush(mw_sink *k)
{
    output *o = k->self;
    if (o->is_file) write_file(o);
    else
        mw_outbox_flush(&o->outbox);
}

static void on_closed(uv_handle_t *handle)
{
    output *o = handle->data;
    mw_outbox_close(&o->outbox);
    mw_buffer_close(&o->text);
    free(o);
}

static void close_output(mw_sink *k)
{
    output *o = k->self;
    uv_close((uv_handle_t *)&o->h.stream, on_closed);
}

const mw_sink_kind mw_sink_stdout = {
    .name = "stdout",
    .options = options,
    .open = open_output,
    .write = write_list,
    .flush = flush,
    .close = close_output,
};
