/* http_server.h: HTTP/1.1 on a listening socket (parser: http-parser).
 *
 * A connection has one request at a time: while it is answered, nothing more is read from it, which
 * bounds memory and keeps pipelined answers in order. Bodies may be chunked and compressed (gzip,
 * zstd); head, body, time and number of connections are limited. The request's memory is good until
 * it is answered. Thread: its loop's. */
#ifndef MW_HTTP_SERVER_H
#define MW_HTTP_SERVER_H

#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>
#include <uv.h>

typedef struct mw_http_server mw_http_server;

/* A text inside a request's head. */
typedef struct mw_http_text {
    uint32_t at, len;
} mw_http_text;

typedef struct mw_http_request {
    const char *method;
    mw_buffer head; /* all texts below lie in it */
    mw_http_text url, path, query;
    struct {
        mw_http_text name, value;
    } * headers;
    uint32_t header_count, headers_room;
    mw_buffer body;
    char peer[80];
    int gone;    /* the client went away; an answer is not sent */
    void *owner; /* the handler's */
} mw_http_request;

typedef struct mw_http_options {
    size_t max_body;
    int64_t timeout_ms; /* for a request to arrive whole, and for an idle connection */
    unsigned max_connections;
    void (*on_request)(void *owner, mw_http_request *r);
    void (*on_drained)(void *owner); /* or NULL: see mw_http_server_drain */
    void *owner;
} mw_http_options;

/* Listens on `fd`, a bound socket, which it takes over. */
mw_status mw_http_server_open(mw_http_server **s, uv_loop_t *loop, int fd,
                              const mw_http_options *options, mw_error *error);
/* Other limits, from the next request or connection on. */
void mw_http_server_change(mw_http_server *s, const mw_http_options *options);
/* Who has connected is served still, and nobody else: each connection closes with its next answer,
 * and idle ones after a moment, since a request may be on its way. Then on_drained is called, once;
 * what still comes is served as before. */
void mw_http_server_drain(mw_http_server *s);
/* Closes everything; frees itself when the loop has run. */
void mw_http_server_close(mw_http_server *s);
/* Answers. `headers` is more header lines, each ended by CR LF, or "". Exactly once a request; it
 * is gone after. */
void mw_http_answer(mw_http_request *r, int status, const char *content_type, const char *headers,
                    const char *body, size_t len);
const char *mw_http_reason(int status);

#endif
