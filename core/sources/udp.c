/* udp.c (source): datagrams, each one event or several lines of them; received many at a time.
 *
 * What the kernel had to drop because we did not read in time is counted (SO_RXQ_OVFL). */
#include "event/json.h"
#include "sources/listen.h"

#include <errno.h>
#include <moonweir/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mw_option options[] = {
    {"listen", MW_OPT_TEXT, "!", "host:port; port 0 picks a free one and logs it", NULL, NULL},
    {"receive_buffer", MW_OPT_SIZE, "4MiB", "what the kernel holds while we are busy", NULL, NULL},
    {0},
};

enum { AT_ONCE = 64, DATAGRAM = 65536 };

typedef struct udp {
    mw_source *source;
    uv_poll_t poll;
    int fd, ended, by_line;
    uint32_t dropped;
    mw_stream stream;
    uint32_t in_flight;
    char *buffer; /* AT_ONCE datagrams */
    struct mmsghdr messages[AT_ONCE];
    struct iovec parts[AT_ONCE];
    char control[AT_ONCE][CMSG_SPACE(sizeof(uint32_t))];
} udp;

static void count_drops(udp *u, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL) continue;
        uint32_t total;
        memcpy(&total, CMSG_DATA(c), sizeof total);
        if (total != u->dropped) mw_source_dropped(u->source, total - u->dropped);
        u->dropped = total;
    }
}

static int receive(udp *u)
{
    for (int i = 0; i < AT_ONCE; i++) {
        u->parts[i] = (struct iovec){u->buffer + (size_t)i * DATAGRAM, DATAGRAM};
        u->messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &u->parts[i],
                                                      .msg_iovlen = 1,
                                                      .msg_control = u->control[i],
                                                      .msg_controllen = sizeof u->control[i]}};
    }
    return recvmmsg(u->fd, u->messages, AT_ONCE, MSG_DONTWAIT, NULL);
}

/* Each datagram is whole frames; those of lines get the line break that many senders leave out. */
static void take(udp *u, mw_batch *b, const char *bytes, size_t len)
{
    mw_error error;
    size_t whole;
    if (len == 0) return;
    mw_batch_reserve(b, b->len + len + 1);
    char *to = b->block + b->len;
    memcpy(to, bytes, len);
    if (u->by_line && to[len - 1] != '\n') to[len++] = '\n';
    memset(to + len, 0, MW_JSON_PADDING);
    mw_status status = u->stream.format->boundary(&u->stream, to, len, 1, &whole, &error);
    if (status == MW_OK && whole == len) {
        b->len += len;
        return;
    }
    u->in_flight++;
    mw_source_reject(u->source, NULL, &u->stream, 0, 0, bytes, len,
                     status == MW_OK ? "the datagram is not whole frames" : error.message);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    udp *u = poll->data;
    (void)events;
    if (status != 0) return;
    int n = receive(u);
    if (n <= 0) return;
    mw_batch *b = mw_source_take(u->source, DATAGRAM);
    b->stream = &u->stream, b->first = 0;
    for (int i = 0; i < n; i++) {
        count_drops(u, &u->messages[i].msg_hdr);
        mw_source_read(u->source, u->messages[i].msg_len);
        take(u, b, u->parts[i].iov_base, u->messages[i].msg_len);
    }
    if (b->len) u->in_flight++, mw_source_give(u->source, b, NULL);
    else
        mw_source_untake(u->source, b);
}

static mw_status open_udp(mw_source *s, mw_error *error)
{
    udp *u = calloc(1, sizeof *u);
    mw_assert(u != NULL && (u->buffer = malloc((size_t)AT_ONCE * DATAGRAM)) != NULL);
    int one = 1, room = (int)mw_config_int(s->config, "receive_buffer", 4 << 20);
    mw_status status = mw_source_listen(s, 1, "udp ", "", &u->fd, error);
    if (status != MW_OK) {
        free(u->buffer);
        free(u);
        return status;
    }
    setsockopt(u->fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one);
    setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    s->self = u;
    u->source = s;
    u->by_line =
        strcmp(s->format->name, "length-prefixed") != 0 && strcmp(s->format->name, "json") != 0;
    mw_stream_init(&u->stream, s->format, s->config, s->limit);
    u->stream.octet_counted = 0; /* a datagram is its own frame (RFC 5426) */
    uv_poll_init(s->loop, &u->poll, u->fd);
    u->poll.data = u;
    return MW_OK;
}

static void resume(mw_source *s)
{
    udp *u = s->self;
    if (!u->ended) uv_poll_start(&u->poll, UV_READABLE, on_readable);
}

static void pause_reading(mw_source *s)
{
    udp *u = s->self;
    uv_poll_stop(&u->poll);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    udp *u = s->self;
    (void)b;
    u->in_flight--;
}

/* What the kernel holds already was sent to us: it is read before the end. */
static void drain(mw_source *s)
{
    udp *u = s->self;
    if (u->ended) return;
    uv_poll_stop(&u->poll);
    for (int round = 0; round < 1000; round++) {
        if (recv(u->fd, u->buffer, 1, MSG_PEEK | MSG_DONTWAIT) < 0) break;
        on_readable(&u->poll, 0, UV_READABLE);
    }
    u->ended = 1;
    mw_source_finished(s);
}

static int hand_over(mw_source *s)
{
    udp *u = s->self;
    return mw_source_duplicate((uv_handle_t *)&u->poll);
}

static void on_closed(uv_handle_t *handle)
{
    udp *u = handle->data;
    close(u->fd);
    mw_stream_close(&u->stream);
    free(u->buffer);
    free(u);
}

static void close_udp(mw_source *s)
{
    udp *u = s->self;
    uv_close((uv_handle_t *)&u->poll, on_closed);
}

const mw_source_kind mw_source_udp = {
    .name = "udp",
    .options = options,
    .every_shard = 1,
    .endless = 1,
    .open = open_udp,
    .start = resume,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .hand_over = hand_over,
    .close = close_udp,
};
