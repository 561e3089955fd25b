/* http.c (sink): events posted to a URL, one or several a request.
 *
 * An answer of 2xx is delivery. No answer, 408, 425, 429 and 5xx are tried again, waiting twice as
 * long each time (with jitter, or as Retry-After says); any other answer is final, and the
 * request's events go to the dead letters. Each request carries an Idempotency-Key that is the same
 * at every try, so that a receiver can tell. */
#include "base/hash.h"
#include "event/json.h"
#include "net/http_client.h"

#include <moonweir/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const mw_option batch_options[] = {
    {"count", MW_OPT_COUNT, "1", "events a request, at most", NULL, NULL},
    {"size", MW_OPT_SIZE, "1MiB", "bytes a request, before compression", NULL, NULL},
    {"after", MW_OPT_DURATION, "100ms", "how long an event waits for others", NULL, NULL},
    {0},
};

static const mw_option retry_options[] = {
    {"first", MW_OPT_DURATION, "100ms", "the wait before the first repetition; doubled each time",
     NULL, NULL},
    {"most", MW_OPT_DURATION, "30s", "the longest wait", NULL, NULL},
    {0},
};

static const mw_option options[] = {
    {"url", MW_OPT_TEXT, "!", "where to post", NULL, NULL},
    {"method", MW_OPT_TEXT, "POST", "the method", NULL, NULL},
    {"headers", MW_OPT_MAP, NULL, "more headers", NULL, NULL},
    {"batch", MW_OPT_TABLE, NULL,
     "how events are put together; with more than one, a request is lines of JSON", NULL,
     batch_options},
    {"concurrency", MW_OPT_COUNT, "4", "requests at a time; 1 keeps their order", NULL, NULL},
    {"compress", MW_OPT_TEXT, "none", "compresses bodies", "none|gzip", NULL},
    {"timeout", MW_OPT_DURATION, "10s", "for an answer", NULL, NULL},
    {"retry", MW_OPT_TABLE, NULL, "how tries are repeated", NULL, retry_options},
    {0},
};

enum { HEADERS_MAX = 40 };

/* A list and how many of its pieces are still under way. */
typedef struct tracked {
    mw_list *list;
    uint32_t left;
} tracked;

typedef struct item {
    tracked *of;
    uint32_t piece;
} item;

typedef struct request {
    struct request *next;
    struct http *http;
    mw_buffer body;
    item *items;
    uint32_t count, room;
    char key[120];
    int64_t wait_ms;
    uint64_t due_ms; /* of the loop: not before */
} request;

typedef struct http {
    mw_sink *sink;
    mw_http_client *client;
    uv_timer_t form_timer, retry_timer;
    request *forming;
    request *waiting, **waiting_end; /* whole, not sent; by age */
    request *resting;                /* will be repeated; by due_ms */
    unsigned active, concurrency;
    uint32_t batch_count;
    size_t batch_size;
    int64_t after_ms, first_ms, most_ms, timeout_ms;
    int gzip, draining, handles;
    const char *headers[HEADERS_MAX + 5];
    char *owned[HEADERS_MAX];
    unsigned header_count;
} http;

/* ---- requests ---- */

static void free_request(request *r)
{
    mw_buffer_close(&r->body);
    free(r->items);
    free(r);
}

static void item_done(http *h, item *i)
{
    if (--i->of->left) return;
    mw_sink_done(h->sink, i->of->list);
    free(i->of);
}

static void compress_body(request *r)
{
    z_stream z = {0};
    mw_buffer out = {0};
    if (deflateInit2(&z, 5, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return;
    size_t bound = deflateBound(&z, r->body.len);
    z.next_in = (Bytef *)r->body.bytes, z.avail_in = (uInt)r->body.len;
    z.next_out = (Bytef *)mw_buffer_reserve(&out, bound), z.avail_out = (uInt)bound;
    deflate(&z, Z_FINISH);
    out.len = z.total_out;
    deflateEnd(&z);
    mw_buffer_close(&r->body);
    r->body = out;
}

static void send_ready(http *h);

/* The request that is being formed is whole. */
static void close_forming(http *h)
{
    request *r = h->forming;
    if (!r) return;
    h->forming = NULL;
    uv_timer_stop(&h->form_timer);
    if (h->batch_count == 1 && r->body.len && r->body.bytes[r->body.len - 1] == '\n') r->body.len--;
    if (h->gzip) compress_body(r);
    r->next = NULL;
    *h->waiting_end = r;
    h->waiting_end = &r->next;
}

static void on_form_timer(uv_timer_t *timer)
{
    close_forming(timer->data);
    send_ready(timer->data);
}

static void add_piece(http *h, tracked *t, uint32_t piece)
{
    request *r = h->forming;
    if (!r) {
        r = h->forming = calloc(1, sizeof *r);
        mw_assert(r != NULL);
        r->http = h;
        r->wait_ms = h->first_ms;
        mw_sink_identify(h->sink, t->list, &t->list->pieces[piece], r->key, sizeof r->key);
        if (h->batch_count > 1 && !h->draining)
            uv_timer_start(&h->form_timer, on_form_timer, (uint64_t)h->after_ms, 0);
    }
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 4;
        r->items = realloc(r->items, r->room * sizeof *r->items);
        mw_assert(r->items != NULL);
    }
    r->items[r->count++] = (item){t, piece};
    mw_sink_render(h->sink, t->list, &t->list->pieces[piece], &r->body);
    if (r->count >= h->batch_count || r->body.len >= h->batch_size) close_forming(h);
}

/* ---- trying ---- */

static void on_retry_timer(uv_timer_t *timer)
{
    send_ready(timer->data);
}

static void repeat_later(http *h, request *r, int64_t retry_after_ms)
{
    int64_t wait = r->wait_ms / 2 + rand() % (r->wait_ms / 2 + 1);
    if (retry_after_ms > wait) wait = retry_after_ms < 3600000 ? retry_after_ms : 3600000;
    r->wait_ms = r->wait_ms * 2 < h->most_ms ? r->wait_ms * 2 : h->most_ms;
    r->due_ms = uv_now(h->sink->loop) + (uint64_t)wait;
    request **at = &h->resting;
    while (*at && (*at)->due_ms <= r->due_ms) at = &(*at)->next;
    r->next = *at;
    *at = r;
}

static int is_temporary(int status)
{
    return status == 0 || status == 408 || status == 425 || status == 429 || status >= 500;
}

static void on_done(void *owner, int status, const char *why, int64_t retry_after_ms)
{
    request *r = owner;
    http *h = r->http;
    char text[400];
    h->active--;
    if (status >= 200 && status < 300) {
        mw_sink_recovered(h->sink);
        mw_sink_wrote(h->sink, r->body.len);
        for (uint32_t i = 0; i < r->count; i++) item_done(h, &r->items[i]);
        free_request(r);
    } else if (is_temporary(status)) {
        if (status) snprintf(text, sizeof text, "the answer was %d", status);
        else
            snprintf(text, sizeof text, "no answer: %s", why);
        mw_sink_retried(h->sink, text);
        repeat_later(h, r, retry_after_ms);
    } else {
        snprintf(text, sizeof text, "the receiver refused it with status %d", status);
        for (uint32_t i = 0; i < r->count; i++) {
            mw_sink_fail(h->sink, r->items[i].of->list, r->items[i].piece, text);
            item_done(h, &r->items[i]);
        }
        free_request(r);
    }
    send_ready(h);
}

static void send_request(http *h, request *r)
{
    char key[160];
    unsigned n = h->header_count;
    snprintf(key, sizeof key, "Idempotency-Key: %s", r->key);
    h->headers[n++] = key;
    if (h->gzip) h->headers[n++] = "Content-Encoding: gzip";
    h->headers[n] = NULL;
    mw_http_call call = {.url = mw_config_text(h->sink->config, "url", ""),
                         .method = mw_config_text(h->sink->config, "method", "POST"),
                         .headers = h->headers,
                         .body = r->body.bytes,
                         .len = r->body.len,
                         .timeout_ms = h->timeout_ms,
                         .done = on_done,
                         .owner = r};
    h->active++;
    mw_http_client_call(h->client, &call);
}

static void send_ready(http *h)
{
    uint64_t now = uv_now(h->sink->loop);
    while (h->active < h->concurrency) {
        request *r = h->resting;
        if (r && r->due_ms <= now) {
            h->resting = r->next;
        } else if (h->concurrency == 1 && r) {
            break; /* order is kept: nothing overtakes */
        } else if ((r = h->waiting)) {
            h->waiting = r->next;
            if (!h->waiting) h->waiting_end = &h->waiting;
        } else {
            break;
        }
        send_request(h, r);
    }
    if (h->resting)
        uv_timer_start(&h->retry_timer, on_retry_timer,
                       h->resting->due_ms > now ? h->resting->due_ms - now : 1, 0);
}

/* ---- the sink ---- */

static void add_header(http *h, const char *name, const char *value)
{
    if (h->header_count == HEADERS_MAX) return;
    size_t len = strlen(name) + strlen(value) + 3;
    char *text = malloc(len);
    mw_assert(text != NULL);
    snprintf(text, len, "%s: %s", name, value);
    h->owned[h->header_count] = text;
    h->headers[h->header_count++] = text;
}

static mw_status open_http(mw_sink *k, mw_error *error)
{
    const char *url = mw_config_text(k->config, "url", ""), *name, *value;
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return mw_fail(error, MW_CONFIG, "'url' must begin with http:// or https://, not '%s'",
                       url);
    http *h = calloc(1, sizeof *h);
    mw_assert(h != NULL);
    k->self = h;
    h->sink = k;
    h->waiting_end = &h->waiting;
    h->concurrency = (unsigned)mw_config_int(k->config, "concurrency", 4);
    if (h->concurrency == 0) h->concurrency = 1;
    h->batch_count = (uint32_t)mw_config_int(k->config, "batch.count", 1);
    if (h->batch_count == 0) h->batch_count = 1;
    h->batch_size = (size_t)mw_config_int(k->config, "batch.size", 1 << 20);
    h->after_ms = mw_config_int(k->config, "batch.after", 100000000) / 1000000;
    h->first_ms = mw_config_int(k->config, "retry.first", 100000000) / 1000000;
    if (h->first_ms < 1) h->first_ms = 1;
    h->most_ms = mw_config_int(k->config, "retry.most", 30000000000) / 1000000;
    h->timeout_ms = mw_config_int(k->config, "timeout", 10000000000) / 1000000;
    h->gzip = strcmp(mw_config_text(k->config, "compress", "none"), "gzip") == 0;
    add_header(h, "Content-Type",
               h->batch_count == 1 && k->format->json ? "application/json"
                                                      : k->format->content_type);
    for (size_t i = 0; mw_config_pair(k->config, "headers", i, &name, &value); i++)
        add_header(h, name, value);
    h->client = mw_http_client_new(k->loop);
    uv_timer_init(k->loop, &h->form_timer);
    uv_timer_init(k->loop, &h->retry_timer);
    h->form_timer.data = h->retry_timer.data = h;
    return MW_OK;
}

static void write_list(mw_sink *k, mw_list *l)
{
    http *h = k->self;
    tracked *t = malloc(sizeof *t);
    mw_assert(t != NULL);
    uint32_t count = l->count;
    *t = (tracked){.list = l, .left = count};
    for (uint32_t i = 0; i < count; i++) add_piece(h, t, i);
}

static void flush(mw_sink *k)
{
    http *h = k->self;
    if (h->draining) close_forming(h);
    send_ready(h);
}

static void drain(mw_sink *k)
{
    http *h = k->self;
    h->draining = 1;
    flush(k);
}

static void free_all(request *r)
{
    while (r) {
        request *next = r->next;
        free_request(r);
        r = next;
    }
}

static void on_closed(uv_handle_t *handle)
{
    http *h = handle->data;
    if (--h->handles) return;
    for (unsigned i = 0; i < h->header_count; i++) free(h->owned[i]);
    free(h);
}

static void close_http(mw_sink *k)
{
    http *h = k->self;
    mw_http_client_close(h->client);
    if (h->forming) free_request(h->forming);
    free_all(h->waiting);
    free_all(h->resting);
    h->handles = 2;
    uv_close((uv_handle_t *)&h->form_timer, on_closed);
    uv_close((uv_handle_t *)&h->retry_timer, on_closed);
}

const mw_sink_kind mw_sink_http = {
    .name = "http",
    .grade = MW_SINK_KEYED,
    .options = options,
    .open = open_http,
    .write = write_list,
    .flush = flush,
    .drain = drain,
    .close = close_http,
};
