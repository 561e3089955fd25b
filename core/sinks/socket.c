/* socket.c (sinks): tcp and unix: a connection that events are written to; connected again, waiting
 * longer each time, when it breaks. Delivered means that the kernel has taken the bytes: the
 * protocol has no acknowledgement. */
#include "base/log.h"
#include "net/address.h"
#include "sinks/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mw_option tcp_options[] = {{"connect", MW_OPT_TEXT, "!", "host:port", NULL, NULL},
                                        {0}};
static const mw_option unix_options[] = {
    {"path", MW_OPT_TEXT, "!", "the socket's file", NULL, NULL}, {0}};

enum { BACK_OFF_MS = 100, BACK_OFF_MS_MAX = 5000 };

typedef struct peer {
    mw_sink *sink;
    mw_outbox outbox;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    uv_connect_t request;
    uv_timer_t timer;
    uint64_t back_off_ms;
    const char *where;
    int is_unix, has_handle, connected, closing, timer_closed;
    char drop[256];
} peer;

static void connect_now(peer *l);

static void release(peer *l)
{
    if (!l->closing || l->has_handle || !l->timer_closed) return;
    mw_outbox_close(&l->outbox);
    free(l);
}

static void on_timer(uv_timer_t *timer)
{
    connect_now(timer->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    peer *l = handle->data;
    l->has_handle = 0;
    if (l->closing) {
        release(l);
        return;
    }
    uint64_t jitter = (uint64_t)(rand() % (int)(l->back_off_ms / 2 + 1));
    uv_timer_start(&l->timer, on_timer, l->back_off_ms + jitter, 0);
    l->back_off_ms = l->back_off_ms * 2 < BACK_OFF_MS_MAX ? l->back_off_ms * 2 : BACK_OFF_MS_MAX;
}

static void broken(void *owner, int status)
{
    peer *l = owner;
    char why[300];
    if (!l->has_handle || uv_is_closing(&l->h.handle)) return;
    snprintf(why, sizeof why, "the connection to %s is broken: %s", l->where, uv_strerror(status));
    l->connected = 0;
    mw_outbox_connect(&l->outbox, NULL);
    mw_sink_retried(l->sink, why);
    uv_close(&l->h.handle, on_handle_closed);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    peer *l = handle->data;
    (void)suggested;
    *buf = uv_buf_init(l->drop, sizeof l->drop);
}

/* Nothing is expected from the other side; reading is how its leaving is noticed. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0) broken(stream->data, (int)n);
}

static void on_connect(uv_connect_t *request, int status)
{
    peer *l = request->data;
    if (l->closing || status == UV_ECANCELED) return;
    if (status != 0) {
        broken(l, status);
        return;
    }
    l->connected = 1;
    l->back_off_ms = BACK_OFF_MS;
    mw_sink_recovered(l->sink);
    uv_read_start(&l->h.stream, on_room, on_read);
    mw_outbox_connect(&l->outbox, &l->h.stream);
}

static void connect_now(peer *l)
{
    mw_address address;
    mw_error error;
    int rc = 0;
    l->request.data = l;
    l->h.handle.data = l;
    if (l->is_unix) {
        uv_pipe_init(l->sink->loop, &l->h.pipe, 0);
        l->has_handle = 1, l->h.handle.data = l;
        uv_pipe_connect(&l->request, &l->h.pipe, l->where, on_connect);
        return;
    }
    uv_tcp_init(l->sink->loop, &l->h.tcp);
    l->has_handle = 1, l->h.handle.data = l;
    if (mw_address_read(&address, l->where, &error) != MW_OK) rc = UV_EAI_NONAME;
    if (rc == 0) uv_tcp_nodelay(&l->h.tcp, 1);
    if (rc == 0)
        rc = uv_tcp_connect(&l->request, &l->h.tcp, (const struct sockaddr *)&address.storage,
                            on_connect);
    if (rc != 0) broken(l, rc);
}

static mw_status open_link(mw_sink *k, int is_unix)
{
    peer *l = calloc(1, sizeof *l);
    mw_assert(l != NULL);
    k->self = l;
    l->sink = k, l->is_unix = is_unix;
    l->where = mw_config_text(k->config, is_unix ? "path" : "connect", "");
    l->back_off_ms = BACK_OFF_MS;
    uv_timer_init(k->loop, &l->timer);
    l->timer.data = l;
    mw_outbox_init(&l->outbox, k, broken, l);
    connect_now(l);
    return MW_OK;
}

static mw_status open_tcp(mw_sink *k, mw_error *error)
{
    mw_address address;
    const char *where = mw_config_text(k->config, "connect", "");
    mw_status status = mw_address_read(&address, where, error);
    return status == MW_CONFIG ? status
                               : open_link(k, 0); /* a name that cannot be found now may be later */
}

static mw_status open_unix(mw_sink *k, mw_error *error)
{
    (void)error;
    return open_link(k, 1);
}

static void write_list(mw_sink *k, mw_list *list)
{
    peer *l = k->self;
    mw_outbox_add(&l->outbox, list);
}

static void flush(mw_sink *k)
{
    peer *l = k->self;
    if (l->connected) mw_outbox_flush(&l->outbox);
}

static void on_timer_closed(uv_handle_t *handle)
{
    peer *l = handle->data;
    l->timer_closed = 1;
    release(l);
}

static void close_link(mw_sink *k)
{
    peer *l = k->self;
    l->closing = 1;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    if (l->has_handle && !uv_is_closing(&l->h.handle)) uv_close(&l->h.handle, on_handle_closed);
}

const mw_sink_kind mw_sink_tcp = {.name = "tcp",
                                  .options = tcp_options,
                                  .open = open_tcp,
                                  .write = write_list,
                                  .flush = flush,
                                  .close = close_link};

const mw_sink_kind mw_sink_unix = {.name = "unix",
                                   .options = unix_options,
                                   .open = open_unix,
                                   .write = write_list,
                                   .flush = flush,
                                   .close = close_link};
