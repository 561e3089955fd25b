/* http_server.c: see http_server.h. */
#include "net/http_server.h"
#include "base/inflate.h"
#include "net/http_request.h"

#include <http_parser.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    READ_BYTES = 65536,
    LINGER_MS = 300,
    SWEEP_MS = 1000,
    KEEP_BYTES = 65536,
    INFLATE_BYTES = 65536,
    HELD_BYTES = 65536
};

typedef struct connection connection;

struct mw_http_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t sweep;
    mw_http_options options;
    connection *connections;
    unsigned count;
    int draining, drained, closing, handles;
    uint64_t linger_ms; /* the loop's time at which idle connections close */
    mw_buffer answer;   /* being put together */
    char read[READ_BYTES];
};

struct connection {
    connection *next, *previous;
    mw_http_server *server;
    uv_tcp_t tcp;
    http_parser parser;
    mw_http_request request;
    mw_buffer rest; /* read, not parsed: behind a request that is being answered */
    mw_inflate *inflate;
    uint64_t deadline_ms; /* of the loop; 0: none */
    int in_value;         /* the last head text was a header's value */
    int held_back;        /* reading was stopped */
    int busy;             /* a request is with the handler */
    int refused;          /* status of a refusal, when the request cannot be served */
    int receiving;        /* a request has begun and is not whole */
    int parsing;          /* the parser is on the stack: an answer only writes */
    int keep_alive, writing, closed, free_when_answered;
};

typedef struct write_job {
    uv_write_t request;
    connection *connection;
    char bytes[];
} write_job;

/* ---- life of a connection ---- */

static void free_connection(connection *c)
{
    mw_buffer_close(&c->request.head);
    mw_buffer_close(&c->request.body);
    free(c->request.headers);
    mw_buffer_close(&c->rest);
    mw_inflate_free(c->inflate);
    free(c);
}

static void release_server(mw_http_server *s)
{
    if (s->handles || s->count) return;
    mw_buffer_close(&s->answer);
    free(s);
}

static void report_drained(mw_http_server *s)
{
    if (s->drained || s->closing) return;
    s->drained = 1;
    if (s->options.on_drained) s->options.on_drained(s->options.owner);
}

static void on_closed(uv_handle_t *handle)
{
    connection *c = handle->data;
    mw_http_server *s = c->server;
    if (c->previous) c->previous->next = c->next;
    else
        s->connections = c->next;
    if (c->next) c->next->previous = c->previous;
    s->count--;
    if (c->busy) c->free_when_answered = 1;
    else
        free_connection(c);
    if (s->draining && s->count == 0) report_drained(s);
    if (s->closing) release_server(s);
}

static void close_connection(connection *c)
{
    if (c->closed) return;
    c->closed = 1;
    c->request.gone = 1;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void set_deadline(connection *c)
{
    c->deadline_ms = uv_now(c->server->loop) + (uint64_t)c->server->options.timeout_ms;
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status)
{
    write_job *job = (write_job *)request;
    connection *c = job->connection;
    c->writing--;
    if (status != 0 || (!c->keep_alive && !c->busy)) close_connection(c);
    free(job);
}

/* Writes now what the socket takes, and the rest when it can. */
static void send_bytes(connection *c, const char *bytes, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
    int n = c->writing ? UV_EAGAIN : uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == (int)len) return;
    if (n < 0 && n != UV_EAGAIN) {
        close_connection(c);
        return;
    }
    size_t done = n > 0 ? (size_t)n : 0;
    write_job *job = malloc(sizeof *job + len - done);
    mw_assert(job != NULL);
    job->connection = c;
    memcpy(job->bytes, bytes + done, len - done);
    buf = uv_buf_init(job->bytes, (unsigned)(len - done));
    if (uv_write(&job->request, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0) {
        c->writing++;
        return;
    }
    free(job);
    close_connection(c);
}

static void append_number(mw_buffer *out, size_t n)
{
    char digits[24], *p = digits + sizeof digits;
    do *--p = (char)('0' + n % 10);
    while (n /= 10);
    mw_buffer_append(out, p, (size_t)(digits + sizeof digits - p));
}

static void write_answer(connection *c, int status, const char *type, const char *headers,
                         const char *body, size_t len)
{
    mw_buffer *out = &c->server->answer;
    out->len = 0;
    mw_buffer_text(out, "HTTP/1.1 ");
    append_number(out, (size_t)status);
    mw_buffer_append(out, " ", 1);
    mw_buffer_text(out, mw_http_reason(status));
    mw_buffer_text(out, "\r\nContent-Type: ");
    mw_buffer_text(out, type);
    mw_buffer_text(out, "\r\nContent-Length: ");
    append_number(out, len);
    mw_buffer_text(out, c->keep_alive ? "\r\n" : "\r\nConnection: close\r\n");
    mw_buffer_text(out, headers);
    mw_buffer_append(out, "\r\n", 2);
    if (strcmp(c->request.method, "HEAD") != 0) mw_buffer_append(out, body, len);
    send_bytes(c, out->bytes, out->len);
    if (out->room > (1 << 20)) mw_buffer_close(out);
}

/* ---- parsing ---- */

static void begin_request(connection *c)
{
    mw_http_request *r = &c->request;
    if (r->body.room > KEEP_BYTES) mw_buffer_close(&r->body);
    r->head.len = r->body.len = 0;
    r->url = r->path = r->query = (mw_http_text){0};
    r->header_count = 0, r->owner = NULL;
    c->in_value = 0, c->refused = 0, c->receiving = 1;
    mw_inflate_free(c->inflate);
    c->inflate = NULL;
}

static int on_message_begin(http_parser *p)
{
    begin_request(p->data);
    return 0;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
    connection *c = p->data;
    mw_http_append_text(&c->request, &c->request.url, at, len);
    return 0;
}

static int on_header_field(http_parser *p, const char *at, size_t len)
{
    connection *c = p->data;
    mw_http_request *r = &c->request;
    if (c->in_value || r->header_count == 0) {
        if (r->header_count == r->headers_room) {
            r->headers_room = r->headers_room ? r->headers_room * 2 : 16;
            r->headers = realloc(r->headers, r->headers_room * sizeof *r->headers);
            mw_assert(r->headers != NULL);
        }
        memset(&r->headers[r->header_count++], 0, sizeof *r->headers);
        c->in_value = 0;
    }
    mw_http_append_text(r, &r->headers[r->header_count - 1].name, at, len);
    return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t len)
{
    connection *c = p->data;
    c->in_value = 1;
    mw_http_append_text(&c->request, &c->request.headers[c->request.header_count - 1].value, at,
                        len);
    return 0;
}

static void choose_encoding(connection *c)
{
    const mw_http_request *r = &c->request;
    if (mw_http_header_is(r, "content-encoding", "gzip") ||
        mw_http_header_is(r, "content-encoding", "x-gzip") ||
        mw_http_header_is(r, "content-encoding", "deflate"))
        c->inflate = mw_inflate_new(MW_GZIP);
    else if (mw_http_header_is(r, "content-encoding", "zstd"))
        c->inflate = mw_inflate_new(MW_ZSTD);
    else if (mw_http_has_header(r, "content-encoding") &&
             !mw_http_header_is(r, "content-encoding", "identity"))
        c->refused = 415;
}

static int on_headers_complete(http_parser *p)
{
    connection *c = p->data;
    mw_http_request *r = &c->request;
    r->method = http_method_str(p->method);
    if (r->url.len == 0) mw_buffer_append(&r->head, "", 1);
    mw_http_find_path(r);
    choose_encoding(c);
    if (p->content_length != UINT64_MAX && p->content_length > c->server->options.max_body)
        c->refused = 413;
    if (p->upgrade) c->refused = 501;
    if (mw_http_header_is(r, "expect", "100-continue")) {
        if (c->refused) return -1;
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        send_bytes(c, go_on, sizeof go_on - 1);
    }
    return c->refused ? -1 : 0;
}

static void inflate_body(connection *c, const char *at, size_t len)
{
    mw_error error;
    size_t used, made, max = c->server->options.max_body;
    while (len && !c->refused) {
        char *to = mw_buffer_reserve(&c->request.body, INFLATE_BYTES);
        if (mw_inflate_run(c->inflate, at, len, &used, to, INFLATE_BYTES, &made, &error) != MW_OK)
            c->refused = 400;
        c->request.body.len += made;
        at += used, len -= used;
        if (c->request.body.len > max) c->refused = 413;
        if (used == 0 && made == 0) break;
    }
    while (!c->refused) { /* what the decoder still holds */
        char *to = mw_buffer_reserve(&c->request.body, INFLATE_BYTES);
        if (mw_inflate_run(c->inflate, at, 0, &used, to, INFLATE_BYTES, &made, &error) != MW_OK ||
            made == 0)
            break;
        c->request.body.len += made;
        if (c->request.body.len > max) c->refused = 413;
    }
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    connection *c = p->data;
    if (c->inflate) inflate_body(c, at, len);
    else if (c->request.body.len + len > c->server->options.max_body)
        c->refused = 413;
    else
        mw_buffer_append(&c->request.body, at, len);
    return c->refused ? -1 : 0;
}

static int on_message_complete(http_parser *p)
{
    connection *c = p->data;
    if (c->inflate && !mw_inflate_is_whole(c->inflate)) c->refused = 400;
    if (c->refused) return -1;
    c->keep_alive = http_should_keep_alive(p) && !c->server->draining;
    c->busy = 1;
    http_parser_pause(p, 1); /* the next one waits for this one's answer */
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void refuse(connection *c, int status, const char *why)
{
    char body[300];
    int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}", why);
    if (!c->request.method) c->request.method = "";
    c->keep_alive = 0;
    write_answer(c, status, "application/json", "", body, (size_t)n);
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (!c->writing) close_connection(c);
}

static void refuse_parse(connection *c)
{
    enum http_errno e = HTTP_PARSER_ERRNO(&c->parser);
    if (c->refused == 413) refuse(c, 413, "the body is larger than `max_body` allows");
    else if (c->refused == 415)
        refuse(c, 415, "this Content-Encoding is not known (gzip, zstd and identity are)");
    else if (c->refused == 400)
        refuse(c, 400, "the compressed body is damaged or truncated");
    else if (c->refused)
        refuse(c, c->refused, "not supported");
    else if (e == HPE_HEADER_OVERFLOW)
        refuse(c, 431, "the request's head is too large");
    else
        refuse(c, 400, http_errno_description(e));
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Parses until a request waits for its answer, and keeps what is behind it. Requests that are
 * answered at once are a loop, not a recursion. */
static void parse(connection *c, const char *bytes, size_t len)
{
    c->parsing = 1;
    while (len && !c->closed) {
        size_t used = http_parser_execute(&c->parser, &settings, bytes, len);
        if (!c->busy) {
            if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK || c->refused) refuse_parse(c);
            break;
        }
        bytes += used, len -= used;
        c->receiving = 0, c->deadline_ms = 0;
        c->server->options.on_request(c->server->options.owner, &c->request);
        if (c->busy) {
            mw_buffer_append(&c->rest, bytes, len);
            break;
        }
        if (!c->keep_alive) break;
        http_parser_pause(&c->parser, 0);
        set_deadline(c);
    }
    c->parsing = 0;
}

/* ---- reading ---- */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    connection *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->server->read, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    connection *c = stream->data;
    if (n < 0) {
        close_connection(c);
        return;
    }
    if (n <= 0) return;
    if (c->busy) { /* it waits; so does the client, when it has sent much */
        mw_buffer_append(&c->rest, buf->base, (size_t)n);
        c->held_back = c->rest.len > HELD_BYTES;
        if (c->held_back) uv_read_stop(stream);
        return;
    }
    parse(c, buf->base, (size_t)n);
}

static void next_request(connection *c)
{
    http_parser_pause(&c->parser, 0);
    set_deadline(c);
    if (c->rest.len) {
        mw_buffer rest = c->rest;
        c->rest = (mw_buffer){0};
        parse(c, rest.bytes, rest.len);
        mw_buffer_close(&rest);
        if (c->busy || c->closed || !c->keep_alive) return;
    }
    if (c->held_back) uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
    c->held_back = 0;
}

void mw_http_answer(mw_http_request *r, int status, const char *type, const char *headers,
                    const char *body, size_t len)
{
    connection *c = (connection *)((char *)r - offsetof(connection, request));
    c->busy = 0;
    if (c->closed) {
        if (c->free_when_answered) free_connection(c);
        return;
    }
    if (c->server->draining) c->keep_alive = 0;
    write_answer(c, status, type, headers, body, len);
    if (c->closed) return;
    if (!c->keep_alive) {
        if (!c->writing) close_connection(c);
    } else if (!c->parsing) {
        next_request(c);
    }
}

/* ---- the server ---- */

static connection *new_connection(mw_http_server *s)
{
    connection *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->server = s;
    uv_tcp_init(s->loop, &c->tcp);
    c->tcp.data = c;
    c->next = s->connections;
    if (c->next) c->next->previous = c;
    s->connections = c;
    s->count++;
    return c;
}

static void begin_connection(connection *c)
{
    mw_http_server *s = c->server;
    uv_tcp_nodelay(&c->tcp, 1);
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    struct sockaddr_storage peer;
    int len = sizeof peer;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &len) == 0) {
        char host[64] = "?";
        uv_ip_name((struct sockaddr *)&peer, host, sizeof host);
        int port = peer.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&peer)->sin6_port)
                                              : ntohs(((struct sockaddr_in *)&peer)->sin_port);
        snprintf(c->request.peer, sizeof c->request.peer, "%s:%d", host, port);
    }
    if (s->count > s->options.max_connections) {
        refuse(c, 503, "too many connections");
        return;
    }
    set_deadline(c);
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status != 0) return;
    connection *c = new_connection(listener->data);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) == 0) begin_connection(c);
    else
        close_connection(c);
}

/* Those whom the kernel has connected already: closing the socket would reset them. */
static void accept_rest(mw_http_server *s)
{
    uv_os_fd_t listener;
    int fd;
    if (uv_fileno((uv_handle_t *)&s->listener, &listener) != 0) return;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        connection *c = new_connection(s);
        if (uv_tcp_open(&c->tcp, fd) == 0) begin_connection(c);
        else
            close_connection(c);
    }
}

static void close_idle(mw_http_server *s)
{
    for (connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        if (!c->busy && !c->receiving && !c->closed) close_connection(c);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    mw_http_server *s = timer->data;
    uint64_t now = uv_now(s->loop);
    if (s->draining && now >= s->linger_ms) {
        close_idle(s);
        report_drained(s);
    }
    for (connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        if (c->closed || c->busy || !c->deadline_ms || now < c->deadline_ms) continue;
        if (c->receiving && !c->writing) refuse(c, 408, "the request did not arrive in time");
        else
            close_connection(c);
    }
}

mw_status mw_http_server_open(mw_http_server **server, uv_loop_t *loop, int fd,
                              const mw_http_options *options, mw_error *error)
{
    mw_http_server *s = calloc(1, sizeof *s);
    mw_assert(s != NULL);
    s->loop = loop, s->options = *options;
    uv_tcp_init(loop, &s->listener);
    uv_timer_init(loop, &s->sweep);
    s->listener.data = s->sweep.data = s;
    s->handles = 2;
    int rc = uv_tcp_open(&s->listener, fd);
    if (rc == 0) rc = uv_listen((uv_stream_t *)&s->listener, 1024, on_connection);
    uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    *server = s;
    if (rc == 0) return MW_OK;
    mw_http_server_close(s);
    return mw_fail(error, MW_IO, "cannot listen: %s", uv_strerror(rc));
}

static void on_server_closed(uv_handle_t *handle)
{
    mw_http_server *s = handle->data;
    s->handles--;
    if (s->closing) release_server(s);
}

void mw_http_server_change(mw_http_server *s, const mw_http_options *options)
{
    s->options = *options;
}

void mw_http_server_drain(mw_http_server *s)
{
    if (s->draining) return;
    accept_rest(s);
    s->draining = 1;
    uv_close((uv_handle_t *)&s->listener, on_server_closed);
    s->linger_ms = uv_now(s->loop) + LINGER_MS;
    uv_timer_start(&s->sweep, on_sweep, LINGER_MS, LINGER_MS);
    if (s->count == 0) report_drained(s);
}

void mw_http_server_close(mw_http_server *s)
{
    if (!s->draining) uv_close((uv_handle_t *)&s->listener, on_server_closed);
    s->draining = s->closing = 1;
    uv_close((uv_handle_t *)&s->sweep, on_server_closed);
    for (connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        close_connection(c);
    }
}
