/* udp.c (sink): a datagram an event. Delivered means sent: nobody says whether it arrived. What is
 * too large for a datagram goes to the dead letters. */
#include "net/address.h"

#include <errno.h>
#include <moonweir/plugin.h>
#include <stdlib.h>
#include <string.h>

static const mw_option options[] = {{"connect", MW_OPT_TEXT, "!", "host:port", NULL, NULL}, {0}};

enum { DATAGRAM_MAX = 65507, RETRY_MS = 5 };

typedef struct udp {
    mw_sink *sink;
    uv_udp_t socket;
    uv_timer_t retry;
    mw_address address;
    mw_list *lists;
    mw_list **lists_end;
    uint32_t next; /* piece of the first list */
    mw_buffer text;
    int handles;
} udp;

static void send_waiting(udp *u);

static void on_retry(uv_timer_t *timer)
{
    send_waiting(timer->data);
}

/* 0 when the kernel has no room just now. */
static int send_piece(udp *u, mw_list *l, uint32_t i)
{
    u->text.len = 0;
    mw_sink_render(u->sink, l, &l->pieces[i], &u->text);
    if (u->text.len > DATAGRAM_MAX) {
        mw_sink_fail(u->sink, l, i, "the event is larger than a datagram can be");
        return 1;
    }
    uv_buf_t buf = uv_buf_init(u->text.bytes, (unsigned)u->text.len);
    int n = uv_udp_try_send(&u->socket, &buf, 1, (const struct sockaddr *)&u->address.storage);
    if (n == UV_EAGAIN || n == UV_ENOBUFS) return 0;
    if (n == UV_EMSGSIZE) mw_sink_fail(u->sink, l, i, "the event is larger than a datagram can be");
    else if (n < 0)
        mw_sink_retried(u->sink,
                        uv_strerror(n)); /* nobody listens: a datagram is gone all the same */
    else
        mw_sink_wrote(u->sink, (uint64_t)n);
    return 1;
}

static void send_waiting(udp *u)
{
    while (u->lists) {
        mw_list *l = u->lists;
        for (; u->next < l->count; u->next++) {
            if (send_piece(u, l, u->next)) continue;
            uv_timer_start(&u->retry, on_retry, RETRY_MS, 0);
            return;
        }
        u->next = 0;
        u->lists = l->next;
        if (!u->lists) u->lists_end = &u->lists;
        mw_sink_done(u->sink, l);
    }
}

static mw_status open_udp(mw_sink *k, mw_error *error)
{
    udp *u = calloc(1, sizeof *u);
    mw_assert(u != NULL);
    mw_status status =
        mw_address_read(&u->address, mw_config_text(k->config, "connect", ""), error);
    if (status != MW_OK) {
        free(u);
        return status;
    }
    k->self = u;
    u->sink = k;
    u->lists_end = &u->lists;
    uv_udp_init_ex(k->loop, &u->socket, u->address.storage.ss_family);
    uv_timer_init(k->loop, &u->retry);
    u->socket.data = u->retry.data = u;
    return MW_OK;
}

static void write_list(mw_sink *k, mw_list *l)
{
    udp *u = k->self;
    l->next = NULL;
    *u->lists_end = l;
    u->lists_end = &l->next;
}

static void flush(mw_sink *k)
{
    udp *u = k->self;
    if (!uv_is_active((uv_handle_t *)&u->retry)) send_waiting(u);
}

static void on_closed(uv_handle_t *handle)
{
    udp *u = handle->data;
    if (--u->handles) return;
    mw_buffer_close(&u->text);
    free(u);
}

static void close_udp(mw_sink *k)
{
    udp *u = k->self;
    u->handles = 2;
    uv_close((uv_handle_t *)&u->socket, on_closed);
    uv_close((uv_handle_t *)&u->retry, on_closed);
}

const mw_sink_kind mw_sink_udp = {.name = "udp",
                                  .options = options,
                                  .open = open_udp,
                                  .write = write_list,
                                  .flush = flush,
                                  .close = close_udp};
