/* admin.c: see admin.h. */
#include "admin/admin.h"
#include "base/hex.h"
#include "base/log.h"
#include "flow/contents.h"
#include "net/address.h"
#include "net/http_server.h"

#include <stdlib.h>
#include <string.h>

enum { BODY_MOST = 64 << 20, STATE_PAGE = 1 << 20 };

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

static void answer_json(mw_http_request *r, int status, const char *json, size_t len)
{
    mw_http_answer(r, status, "application/json", "", json, len);
}

static void on_report(void *self, int accepted, const char *report, size_t len)
{
    answer_json(self, accepted ? 200 : 409, report, len);
}

static void get_metrics(admin *a, mw_http_request *r)
{
    a->text.len = 0;
    mw_flow_metrics(a->flow, &a->text);
    mw_http_answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", "", a->text.bytes,
                   a->text.len);
}

static void get_health(admin *a, mw_http_request *r)
{
    (void)a;
    mw_http_answer(r, 200, "text/plain", "", "alive\n", 6);
}

/* Refused rules do not make the router unready: it goes on by those it has. */
static void get_ready(admin *a, mw_http_request *r)
{
    int ready = mw_flow_is_ready(a->flow);
    const char *refusal = mw_flow_refusal(a->flow);
    a->text.len = 0;
    mw_buffer_text(&a->text, ready ? "ready\n" : "not ready\n");
    if (refusal) mw_buffer_format(&a->text, "the last reload was refused: %s\n", refusal);
    mw_http_answer(r, ready ? 200 : 503, "text/plain", "", a->text.bytes, a->text.len);
}

static void get_versions(admin *a, mw_http_request *r)
{
    a->text.len = 0;
    mw_flow_versions(a->flow, &a->text);
    answer_json(r, 200, a->text.bytes, a->text.len);
}

static void get_status(admin *a, mw_http_request *r)
{
    a->text.len = 0;
    mw_flow_status(a->flow, &a->text);
    answer_json(r, 200, a->text.bytes, a->text.len);
}

static void post_reload(admin *a, mw_http_request *r)
{
    mw_flow_reload(a->flow, "asked for over the admin address", on_report, r);
}

static void post_rollback(admin *a, mw_http_request *r)
{
    mw_flow_rollback(a->flow, on_report, r);
}

static void post_drain(admin *a, mw_http_request *r)
{
    answer_json(r, 202, "{}", 2);
    mw_flow_drain(a->flow);
}

/* ---- what is kept by key: for `moonweir state` ---- */

/* The bytes that a parameter of the query gives in hexadecimal digits; 0: they are none. */
static int parameter(const mw_http_request *r, const char *name, mw_buffer *out)
{
    const char *at = r->head.bytes + r->query.at, *end = at + r->query.len;
    size_t len = strlen(name);
    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        if (!next) next = end;
        if ((size_t)(next - at) > len && memcmp(at, name, len) == 0 && at[len] == '=')
            return mw_hex_read(out, at + len + 1, (size_t)(next - at) - len - 1);
        at = next + 1;
    }
    return 1;
}

static int flag(const mw_http_request *r, const char *name)
{
    return r->query.len == strlen(name) &&
           memcmp(r->head.bytes + r->query.at, name, r->query.len) == 0;
}

static void get_state(admin *a, mw_http_request *r)
{
    mw_buffer prefix = {0}, after = {0};
    a->text.len = 0;
    if (parameter(r, "prefix", &prefix) && parameter(r, "after", &after)) {
        mw_flow_rows(a->flow, &prefix, &after, STATE_PAGE, &a->text);
        mw_http_answer(r, 200, "application/x-ndjson", "", a->text.bytes, a->text.len);
    } else {
        mw_http_answer(r, 400, "text/plain", "", "prefix and after are hexadecimal digits\n", 40);
    }
    mw_buffer_close(&prefix);
    mw_buffer_close(&after);
}

static void post_state(admin *a, mw_http_request *r)
{
    if (flag(r, "checkpoint")) mw_flow_checkpoint(a->flow, on_report, r);
    else
        mw_flow_import(a->flow, r->body.bytes, r->body.len, flag(r, "try"), on_report, r);
}

static const struct route {
    const char *path;
    int post;
    void (*handle)(admin *a, mw_http_request *r);
} routes[] = {{"/metrics", 0, get_metrics},    {"/healthz", 0, get_health},
              {"/readyz", 0, get_ready},       {"/versions", 0, get_versions},
              {"/status", 0, get_status},      {"/reload", 1, post_reload},
              {"/rollback", 1, post_rollback}, {"/drain", 1, post_drain},
              {"/state", 0, get_state},        {"/state", 1, post_state}};

static void on_request(void *owner, mw_http_request *r)
{
    static const char unknown[] = "there are /metrics, /healthz, /readyz, /status, /versions, "
                                  "/state, and to be posted to /reload, /rollback, /drain, "
                                  "/state\n";
    int post = strcmp(r->method, "POST") == 0;
    int get = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    const struct route *other = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        if (!path_is(r, route->path)) continue;
        if (route->post ? post : get) {
            route->handle(owner, r);
            return;
        }
        other = route;
    }
    if (other)
        mw_http_answer(r, 405, "text/plain",
                       other->post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n", "", 0);
    else
        mw_http_answer(r, 404, "text/plain", "", unknown, sizeof unknown - 1);
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
    mw_http_options o = {.max_body = BODY_MOST,
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
