/* http.c (source): events posted over HTTP/1.1, and answered.
 *
 * A request is a batch: one JSON object, an array of them, or several lines. The answer goes out
 * when the events are delivered, decided or accepted, as `acknowledge` says: what a rule replied,
 * or an empty object; for several events a list with a result for each. */
#include "event/json.h"
#include "net/http_server.h"
#include "sources/listen.h"

#include <moonweir/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const mw_option options[] = {
    {"listen", MW_OPT_TEXT, "!", "host:port; port 0 picks a free one and logs it", NULL, NULL},
    {"path", MW_OPT_TEXT, "/", "where events are posted", NULL, NULL},
    {"acknowledge", MW_OPT_TEXT, "delivered",
     "when the answer goes out: when all the event caused is safe, when the rules are done, or at "
     "once (202)",
     "delivered|decided|accepted", NULL},
    {"max_body", MW_OPT_SIZE, "16MiB", "largest body, after decompression", NULL, NULL},
    {"timeout", MW_OPT_DURATION, "30s", "for a request to arrive, and for an idle connection", NULL,
     NULL},
    {"max_connections", MW_OPT_COUNT, "10000", "connections at a time, for each shard", NULL, NULL},
    {0},
};

typedef struct http {
    mw_source *source;
    mw_http_server *server;
    const char *path;
    int accepted, draining;
    mw_buffer answer;
} http;

/* What goes with a batch: in its arena. */
typedef struct pending {
    mw_http_request *request; /* NULL once answered */
    mw_stream stream;         /* a csv header is the body's own */
    int is_list;
} pending;

/* ---- metadata: the head is copied, and made JSON only where somebody asks ---- */

typedef struct header {
    mw_http_text name, value;
} header;

typedef struct meta {
    const char *head, *method;
    const char *peer;
    mw_http_text path, query;
    header *headers;
    uint32_t header_count;
} meta;

static void add_text(mw_buffer *out, const char *name, const char *text, size_t len)
{
    mw_buffer_format(out, ",\"%s\":", name);
    mw_json_quote(out, text, len);
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

static void add_decoded(mw_buffer *out, const char *p, const char *end)
{
    mw_buffer text = {0};
    for (; p < end; p++) {
        char c = *p;
        if (c == '+') c = ' ';
        if (c == '%' && end - p > 2 && hex(p[1]) >= 0 && hex(p[2]) >= 0)
            c = (char)(hex(p[1]) * 16 + hex(p[2])), p += 2;
        mw_buffer_append(&text, &c, 1);
    }
    mw_json_quote(out, text.bytes ? text.bytes : "", text.len);
    mw_buffer_close(&text);
}

static void add_query(mw_buffer *out, const char *p, size_t len)
{
    const char *end = p + len;
    mw_buffer_text(out, ",\"query\":{");
    for (int first = 1; p < end; first = 0) {
        const char *stop = memchr(p, '&', (size_t)(end - p));
        if (!stop) stop = end;
        const char *equals = memchr(p, '=', (size_t)(stop - p));
        if (!first) mw_buffer_text(out, ",");
        add_decoded(out, p, equals ? equals : stop);
        mw_buffer_text(out, ":");
        add_decoded(out, equals ? equals + 1 : stop, stop);
        p = stop + 1;
    }
    mw_buffer_text(out, "}");
}

/* Headers that let somebody in: a rule may read them, a file should not keep them. */
static int is_secret(const char *name, size_t len)
{
    static const char *const secrets[] = {"authorization", "proxy-authorization", "cookie",
                                          "x-api-key"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (strlen(secrets[i]) == len && memcmp(secrets[i], name, len) == 0) return 1;
    return 0;
}

static void add_headers(mw_buffer *out, const meta *m, int kept)
{
    mw_buffer_text(out, ",\"headers\":{");
    for (uint32_t i = 0; i < m->header_count; i++) {
        char name[256];
        mw_http_text n = m->headers[i].name, v = m->headers[i].value;
        size_t len = n.len < sizeof name ? n.len : sizeof name;
        for (size_t j = 0; j < len; j++) {
            char c = m->head[n.at + j];
            name[j] = c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
        }
        if (i) mw_buffer_text(out, ",");
        mw_json_quote(out, name, len);
        mw_buffer_text(out, ":");
        if (kept && is_secret(name, len)) mw_buffer_text(out, "\"(left out)\"");
        else
            mw_json_quote(out, m->head + v.at, v.len);
    }
    mw_buffer_text(out, "}");
}

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    const meta *m = b->meta;
    (void)e;
    add_text(out, "method", m->method, strlen(m->method));
    add_text(out, "path", m->head + m->path.at, m->path.len);
    add_text(out, "peer", m->peer, strlen(m->peer));
    add_query(out, m->head + m->query.at, m->query.len);
    add_headers(out, m, kept);
}

static void keep_meta(mw_batch *b, const mw_http_request *r)
{
    meta *m = mw_arena_get(&b->arena, sizeof *m);
    *m = (meta){.head = mw_arena_copy(&b->arena, r->head.bytes, r->head.len),
                .method = r->method, /* a constant of the parser */
                .peer = mw_arena_copy(&b->arena, r->peer, strlen(r->peer) + 1),
                .path = r->path,
                .query = r->query,
                .header_count = r->header_count};
    m->headers = mw_arena_get(&b->arena, (r->header_count + 1) * sizeof *m->headers);
    for (uint32_t i = 0; i < r->header_count; i++)
        m->headers[i] = (header){r->headers[i].name, r->headers[i].value};
    b->meta = m, b->write_meta = write_meta;
}

/* ---- requests ---- */

static void answer_error(mw_http_request *r, int status, const char *headers, const char *why)
{
    mw_buffer body = {0};
    mw_buffer_text(&body, "{\"error\":");
    mw_json_quote(&body, why, strlen(why));
    mw_buffer_text(&body, "}");
    mw_http_answer(r, status, "application/json", headers, body.bytes, body.len);
    mw_buffer_close(&body);
}

static int path_is(const mw_http_request *r, const char *path)
{
    return r->path.len == strlen(path) &&
           memcmp(r->head.bytes + r->path.at, path, r->path.len) == 0;
}

/* Whether the body is a list of events, so that the answer is one too. */
static int looks_like_list(const http *h, const mw_http_request *r)
{
    const char *p = r->body.bytes, *end = p + r->body.len;
    if (strcmp(h->source->format->name, "json") != 0) return 1;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) p++;
    return p < end && *p == '[';
}

static void give(http *h, mw_http_request *r, mw_batch *b, pending *p, size_t whole)
{
    b->len = whole, b->first = 1;
    b->request = p;
    b->wants_replies = !h->accepted;
    keep_meta(b, r);
    mw_source_read(h->source, r->body.len);
    if (h->accepted) {
        p->request = NULL;
        mw_http_answer(r, 202, "application/json", "", "{}", 2);
    }
    mw_source_give(h->source, b, NULL);
}

static void on_request(void *owner, mw_http_request *r)
{
    http *h = owner;
    mw_error error;
    size_t whole = 0;
    if (!path_is(r, h->path)) {
        answer_error(r, 404, "", "there is nothing here; events are posted to the source's path");
        return;
    }
    if (strcmp(r->method, "POST") != 0 && strcmp(r->method, "PUT") != 0) {
        answer_error(r, 405, "Allow: POST, PUT\r\n", "events are posted");
        return;
    }
    if (h->draining) {
        answer_error(r, 503, "Retry-After: 1\r\n", "the router is stopping");
        return;
    }
    if (mw_source_is_full(h->source)) {
        answer_error(r, 429, "Retry-After: 1\r\n", "too much is in flight; try again");
        return;
    }
    mw_batch *b = mw_source_take(h->source, r->body.len);
    if (r->body.len) memcpy(b->block, r->body.bytes, r->body.len);
    memset(b->block + r->body.len, 0, MW_JSON_PADDING);
    pending *p = mw_arena_get(&b->arena, sizeof *p);
    *p = (pending){.request = r, .is_list = looks_like_list(h, r)};
    mw_stream_init(&p->stream, h->source->format, h->source->config, h->source->limit);
    b->stream = &p->stream;
    r->owner = p;
    mw_status status =
        p->stream.format->boundary(&p->stream, b->block, r->body.len, 1, &whole, &error);
    if (status == MW_OK && whole) {
        give(h, r, b, p, whole);
        return;
    }
    mw_stream_close(&p->stream);
    mw_source_untake(h->source, b);
    if (r->body.len == 0) answer_error(r, 400, "", "the body is empty");
    else
        answer_error(r, status == MW_LIMIT ? 413 : 400, "",
                     status == MW_OK ? "the body has no whole event" : error.message);
}

/* ---- answers ---- */

static void add_reply(mw_buffer *out, const mw_reply *r)
{
    if (r && atomic_load(&r->state) == MW_REPLY_SET) mw_buffer_append(out, r->text, r->len);
    else
        mw_buffer_text(out, "{}");
}

/* One event: its own status. Several: 200, unless not one of them was accepted. */
static int status_of(const mw_batch *b)
{
    int status = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const mw_reply *r = b->replies ? &b->replies[i] : NULL;
        int own = r && atomic_load(&r->state) == MW_REPLY_SET ? r->http_status : 200;
        if (b->count == 1) return own;
        if (own < 400) return 200;
        if (!status) status = own;
    }
    return status ? status : 200;
}

static void answer(http *h, mw_batch *b)
{
    pending *p = b->request;
    if (!p || !p->request) return;
    mw_http_request *r = p->request;
    p->request = NULL;
    h->answer.len = 0;
    if (h->source->buffered) { /* it is on disk, and not looked at yet */
        mw_http_answer(r, 202, "application/json", "", "{}", 2);
        return;
    }
    if (b->count == 0) {
        answer_error(r, 400, "", "the body has no events");
        return;
    }
    if (p->is_list || b->count > 1) mw_buffer_text(&h->answer, "[");
    for (uint32_t i = 0; i < b->count; i++) {
        if (i) mw_buffer_text(&h->answer, ",");
        add_reply(&h->answer, b->replies ? &b->replies[i] : NULL);
    }
    if (p->is_list || b->count > 1) mw_buffer_text(&h->answer, "]");
    mw_http_answer(r, status_of(b), "application/json", "", h->answer.bytes, h->answer.len);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    pending *p = b->request;
    answer(s->self, b);
    if (p) mw_stream_close(&p->stream);
}

static void decided(mw_source *s, mw_batch *b)
{
    answer(s->self, b);
}

/* ---- life ---- */

static void on_drained(void *owner)
{
    http *h = owner;
    h->draining = 1;
    mw_source_finished(h->source);
}

static void read_options(http *h, mw_http_options *o)
{
    mw_source *s = h->source;
    const char *when = mw_config_text(s->config, "acknowledge", "delivered");
    h->path = mw_config_text(s->config, "path", "/");
    h->accepted = strcmp(when, "accepted") == 0;
    s->wants_decision = strcmp(when, "decided") == 0;
    *o = (mw_http_options){.max_body = (size_t)mw_config_int(s->config, "max_body", 16 << 20),
                           .timeout_ms = mw_config_int(s->config, "timeout", 30000000000) / 1000000,
                           .max_connections =
                               (unsigned)mw_config_int(s->config, "max_connections", 10000),
                           .on_request = on_request,
                           .on_drained = on_drained,
                           .owner = h};
}

static mw_status open_http(mw_source *s, mw_error *error)
{
    http *h = calloc(1, sizeof *h);
    mw_http_options o;
    int fd = -1;
    mw_assert(h != NULL);
    s->self = h;
    h->source = s;
    read_options(h, &o);
    mw_status status = mw_source_listen(s, 0, "http://", h->path, &fd, error);
    if (status == MW_OK) status = mw_http_server_open(&h->server, s->loop, fd, &o, error);
    if (status != MW_OK) free(h);
    return status;
}

/* All but the address: each request is read by what holds when it comes. */
static int can_change(mw_config *before, mw_config *after)
{
    return strcmp(mw_config_text(before, "listen", ""), mw_config_text(after, "listen", "")) == 0;
}

static void change(mw_source *s)
{
    http *h = s->self;
    mw_http_options o;
    read_options(h, &o);
    mw_http_server_change(h->server, &o);
}

static void start(mw_source *s)
{
    (void)s; /* it listens already: what comes before the flow is ready waits in the backlog */
}

static void drain(mw_source *s)
{
    http *h = s->self;
    mw_http_server_drain(h->server);
}

static void close_http(mw_source *s)
{
    http *h = s->self;
    mw_http_server_close(h->server);
    mw_buffer_close(&h->answer);
    free(h);
}

const mw_source_kind mw_source_http = {
    .name = "http",
    .options = options,
    .grade = MW_SOURCE_ANSWERS,
    .every_shard = 1,
    .endless = 1,
    .format = "json",
    .open = open_http,
    .start = start,
    .acknowledge = acknowledge,
    .decided = decided,
    .drain = drain,
    .can_change = can_change,
    .change = change,
    .close = close_http,
};
