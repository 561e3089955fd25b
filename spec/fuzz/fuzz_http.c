/* fuzz_http.c: the HTTP server on a real loop and a socket pair: whatever bytes come, it answers or
 * closes, and every request that it hands over is answered once. */
#include "net/http_server.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned requests;

static void on_request(void *owner, mw_http_request *r)
{
    (void)owner;
    requests++;
    if (r->path.at + r->path.len > r->head.len) __builtin_trap();
    for (uint32_t i = 0; i < r->header_count; i++)
        if (r->headers[i].value.at + r->headers[i].value.len > r->head.len) __builtin_trap();
    mw_http_answer(r, 200, "text/plain", "", r->body.bytes ? r->body.bytes : "", r->body.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uv_loop_t loop;
    mw_error error;
    mw_http_server *server;
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int listener =
        socket(AF_UNIX, SOCK_STREAM, 0); /* a port for each input would run out of them */
    struct sockaddr unnamed = {.sa_family = AF_UNIX};
    if (bind(listener, &unnamed, sizeof unnamed.sa_family) != 0) __builtin_trap();
    getsockname(listener, (struct sockaddr *)&address, &len);
    uv_loop_init(&loop);
    mw_http_options options = {
        .max_body = 4096, .timeout_ms = 1000, .max_connections = 4, .on_request = on_request};
    if (mw_http_server_open(&server, &loop, listener, &options, &error) != MW_OK) __builtin_trap();
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&address, len) != 0) __builtin_trap();
    size_t half = size / 2;
    if (half && send(client, data, half, MSG_NOSIGNAL) < 0) half = size;
    for (int i = 0; i < 4; i++) uv_run(&loop, UV_RUN_NOWAIT);
    if (size > half) send(client, data + half, size - half, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 8; i++) uv_run(&loop, UV_RUN_NOWAIT);
    close(client);
    mw_http_server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) __builtin_trap();
    return 0;
}
