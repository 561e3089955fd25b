/* http_limit.c: a bare HTTP server, libuv and http-parser, that answers every request with the same
 * bytes. http_limit PORT */
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 21\r\n\r\n{\"decision\":\"accept\"}";
static char room[65536];

typedef struct client {
    uv_tcp_t tcp;
    http_parser parser;
    uv_write_t write;
} client;

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_complete(http_parser *p)
{
    client *c = p->data;
    uv_buf_t buf = uv_buf_init((char *)answer, sizeof answer - 1);
    uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    return 0;
}

static const http_parser_settings settings = {.on_message_complete = on_complete};

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle, (void)suggested;
    *buf = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    client *c = stream->data;
    if (n < 0) uv_close((uv_handle_t *)stream, on_closed);
    else
        http_parser_execute(&c->parser, &settings, buf->base, (size_t)n);
}

static void on_connection(uv_stream_t *listener, int status)
{
    (void)status;
    client *c = calloc(1, sizeof *c);
    uv_tcp_init(listener->loop, &c->tcp);
    c->tcp.data = c;
    uv_accept(listener, (uv_stream_t *)&c->tcp);
    uv_tcp_nodelay(&c->tcp, 1);
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

int main(int argc, char **argv)
{
    uv_tcp_t listener;
    struct sockaddr_in address;
    if (argc != 2) return 2;
    uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address);
    uv_tcp_init(uv_default_loop(), &listener);
    if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) != 0) return 1;
    if (uv_listen((uv_stream_t *)&listener, 1024, on_connection) != 0) return 1;
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
