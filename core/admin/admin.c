/* admin.c: see admin.h. */
#include "admin/admin.h"
#include "base/log.h"
#include "net/address.h"
#include "net/http_server.h"

#include <stdlib.h>
#include <string.h>

typedef struct admin {
    mw_flow *flow;
    mw_http_server *server;
    mw_buffer text;
} admin;

static int path_is(const mw_http_request *r, const char *path)
{
    return r->path.len == strlen(path) &&
           memcmp(r->head.bytes + r->path.at, path, r->path.len) == 0;
}

static void on_request(void *owner, mw_http_request *r)
{
    admin *a = owner;
    static const char unknown[] = "there are /metrics, /healthz and /readyz\n";
    if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0) {
        mw_http_answer(r, 405, "text/plain", "Allow: GET, HEAD\r\n", "", 0);
    } else if (path_is(r, "/metrics")) {
        a->text.len = 0;
        mw_flow_metrics(a->flow, &a->text);
        mw_http_answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", "", a->text.bytes,
                       a->text.len);
    } else if (path_is(r, "/healthz")) {
        mw_http_answer(r, 200, "text/plain", "", "alive\n", 6);
    } else if (path_is(r, "/readyz")) {
        int ready = mw_flow_is_ready(a->flow);
        mw_http_answer(r, ready ? 200 : 503, "text/plain", "", ready ? "ready\n" : "not ready\n",
                       ready ? 6 : 10);
    } else {
        mw_http_answer(r, 404, "text/plain", "", unknown, sizeof unknown - 1);
    }
}

static mw_status open_admin(void **self, mw_flow *f, uv_loop_t *loop, const mw_flow_extension *e,
                            mw_error *error)
{
    mw_address address;
    mw_error why;
    int port = 0, fd = -1;
    char text[MW_ADDRESS_TEXT];
    admin *a = calloc(1, sizeof *a);
    mw_assert(a != NULL);
    a->flow = f;
    mw_http_options o = {.max_body = 65536,
                         .timeout_ms = 10000,
                         .max_connections = 100,
                         .on_request = on_request,
                         .owner = a};
    mw_status status = mw_address_read(&address, e->address, &why);
    if (status == MW_OK) status = mw_address_bind(&address, 0, &port, &fd, &why);
    if (status == MW_OK) status = mw_http_server_open(&a->server, loop, fd, &o, &why);
    if (status != MW_OK) {
        free(a);
        return mw_fail(error, MW_CONFIG, "--admin: %s", why.message);
    }
    mw_address_set_port(&address, port);
    mw_log(MW_INFO, "admin", "listening on http://%s", mw_address_text(&address, text));
    *self = a;
    return MW_OK;
}

static void close_admin(void *self)
{
    admin *a = self;
    mw_http_server_close(a->server);
    mw_buffer_close(&a->text);
    free(a);
}

mw_flow_extension mw_admin_extension(const char *address)
{
    return (mw_flow_extension){.address = address, .open = open_admin, .close = close_admin};
}
