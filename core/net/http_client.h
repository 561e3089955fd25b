/* http_client.h: HTTP requests on a libuv loop, by libcurl's multi interface.
 *
 * Connections are kept and used again. Thread: its loop's. */
#ifndef MW_HTTP_CLIENT_H
#define MW_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct mw_http_client mw_http_client;

typedef struct mw_http_call {
    const char *url, *method;
    const char *const *headers; /* "Name: value", NULL ends them */
    const char *body;           /* must stay until `done` */
    size_t len;
    int64_t timeout_ms;
    /* `status` is 0 when no answer came; then `why` says why not. `retry_after_ms` is -1 where the
     * answer does not say. */
    void (*done)(void *owner, int status, const char *why, int64_t retry_after_ms);
    void *owner;
} mw_http_call;

mw_http_client *mw_http_client_new(uv_loop_t *loop);
/* Calls under way are given up without `done`; frees itself when the loop has run. */
void mw_http_client_close(mw_http_client *c);
void mw_http_client_call(mw_http_client *c, const mw_http_call *call);

#endif
