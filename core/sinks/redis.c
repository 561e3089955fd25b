/* redis.c (sink): events into a stream, a list, a channel, or under keys of Redis.
 *
 * Commands leave in the order of the events, many at a time. Delivered means that Redis answered.
 * Where no answer comes, or one that says "not now" (no memory, loading, no master), all that are
 * not answered are sent again from the oldest on, waiting twice as long each time: at least once,
 * and what was sent last stands in the right order. Any other error is final, and its event goes to
 * the dead letters. */
#include "base/resp.h"
#include "event/json.h"
#include "event/template.h"
#include "net/redis.h"

#include <hiredis/hiredis.h>
#include <moonweir/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mw_option retry_options[] = {
    {"first", MW_OPT_DURATION, "100ms", "the wait before the first repetition; doubled each time",
     NULL, NULL},
    {"most", MW_OPT_DURATION, "5s", "the longest wait", NULL, NULL},
    {0},
};

static const mw_option options[] = {
    {"url", MW_OPT_TEXT, "!", "redis://…, unix://…, redis-sentinel://… or redis-cluster://…", NULL,
     NULL},
    {"stream", MW_OPT_TEXT, NULL, "adds an entry to this stream (XADD); may hold {field}", NULL,
     NULL},
    {"list", MW_OPT_TEXT, NULL, "adds to the end of this list (RPUSH); may hold {field}", NULL,
     NULL},
    {"channel", MW_OPT_TEXT, NULL, "publishes in this channel (PUBLISH); may hold {field}", NULL,
     NULL},
    {"key", MW_OPT_TEXT, NULL, "sets this key (SET); may hold {field}", NULL, NULL},
    {"field", MW_OPT_TEXT, "event", "stream: the entry's field that has the event", NULL, NULL},
    {"identity", MW_OPT_TEXT, NULL,
     "stream: a field for a text that is the same whenever the event is sent again", NULL, NULL},
    {"max_length", MW_OPT_COUNT, "0", "stream: about how many entries stay; 0: all", NULL, NULL},
    {"ttl", MW_OPT_DURATION, "0s", "key: how long it lives; 0: for good", NULL, NULL},
    {"concurrency", MW_OPT_COUNT, "1000", "commands that may wait for their answer", NULL, NULL},
    {"timeout", MW_OPT_DURATION, "5s", "for an answer", NULL, NULL},
    {"retry", MW_OPT_TABLE, NULL, "how tries are repeated", NULL, retry_options},
    {0},
};

/* A list and how many of its pieces are not answered. */
typedef struct tracked {
    mw_list *list;
    uint32_t left;
} tracked;

typedef struct item {
    struct item *next;
    tracked *of;
    uint32_t piece;
    int answered;
} item;

typedef struct redis_sink {
    mw_sink *sink;
    mw_redis *redis;
    mw_template *target;
    char verb; /* of the option that says where: s, l, c, k */
    const char *field, *identity;
    uint64_t max_length, ttl_ms;
    item *first, **end, *unsent;
    unsigned in_flight, most, tries; /* tries: counts beginnings, so that answers of earlier ones
                                        are told apart */
    uint64_t wait_ms, first_ms, most_ms;
    uv_timer_t timer;
    int resting, closing;
    mw_buffer command, text, key;
} redis_sink;

/* A command that was sent. */
typedef struct flight {
    redis_sink *r;
    item *of;
    unsigned tries;
} flight;

/* ---- commands ---- */

static void number(mw_buffer *command, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    mw_resp_text(command, text);
}

/* What the rule said goes before the flow's option. */
static void name_target(redis_sink *r, const mw_piece *p)
{
    r->key.len = 0;
    if (p->options) {
        mw_value key = mw_json_field(mw_json_value(p->options, p->options_len), "key");
        if (key.kind == MW_STRING || key.kind == MW_NUMBER || key.kind == MW_INTEGER) {
            mw_buffer_append(&r->key, key.text, key.len);
            return;
        }
        if (key.kind == MW_ESCAPED) {
            mw_json_unescape(&r->key, key.text, key.len);
            return;
        }
    }
    mw_template_render(r->target, p->text, p->len, 0, &r->key);
}

static void write_command(redis_sink *r, const mw_list *list, const mw_piece *p)
{
    mw_buffer *c = &r->command;
    char identity[160];
    if (r->verb == 's') {
        mw_resp_begin(c, 5 + (r->max_length ? 3 : 0) + (r->identity ? 2 : 0));
        mw_resp_text(c, "XADD");
        mw_resp_argument(c, r->key.bytes, r->key.len);
        if (r->max_length) {
            mw_resp_text(c, "MAXLEN");
            mw_resp_text(c, "~");
            number(c, r->max_length);
        }
        mw_resp_text(c, "*");
        if (r->identity) {
            mw_sink_identify(r->sink, list, p, identity, sizeof identity);
            mw_resp_text(c, r->identity);
            mw_resp_text(c, identity);
        }
        mw_resp_text(c, r->field);
        mw_resp_argument(c, r->text.bytes, r->text.len);
        return;
    }
    int lives = r->verb == 'k' && r->ttl_ms;
    mw_resp_begin(c, lives ? 5 : 3);
    mw_resp_text(c, r->verb == 'l' ? "RPUSH" : r->verb == 'c' ? "PUBLISH" : "SET");
    mw_resp_argument(c, r->key.bytes, r->key.len);
    mw_resp_argument(c, r->text.bytes, r->text.len);
    if (lives) {
        mw_resp_text(c, "PX");
        number(c, r->ttl_ms);
    }
}

/* ---- answers ---- */

static void send_ready(redis_sink *r);

static void on_timer(uv_timer_t *timer)
{
    redis_sink *r = timer->data;
    r->resting = 0;
    send_ready(r);
}

/* All that are not answered begin again, after a while. */
static void begin_again(redis_sink *r, const char *why)
{
    mw_sink_retried(r->sink, why);
    r->tries++;
    r->in_flight = 0;
    r->unsent = r->first;
    r->resting = 1;
    uv_timer_start(&r->timer, on_timer,
                   r->wait_ms / 2 + (uint64_t)rand() % (r->wait_ms / 2 + 1) + 1, 0);
    r->wait_ms = r->wait_ms * 2 < r->most_ms ? r->wait_ms * 2 : r->most_ms;
}

static void take_off(redis_sink *r)
{
    for (item *i; (i = r->first) && i->answered;) {
        r->first = i->next;
        if (!r->first) r->end = &r->first;
        if (r->unsent == i) r->unsent = i->next;
        if (--i->of->left == 0) {
            mw_sink_done(r->sink, i->of->list);
            free(i->of);
        }
        free(i);
    }
}

static void on_reply(void *self, const redisReply *reply, const char *why)
{
    flight *f = self;
    redis_sink *r = f->r;
    item *i = f->of;
    int current = !r->closing && f->tries == r->tries;
    char text[300];
    free(f);
    if (!current) return;
    if (!reply || (reply->type == REDIS_REPLY_ERROR && mw_redis_is_temporary(reply->str))) {
        begin_again(r, reply ? reply->str : why);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(text, sizeof text, "Redis refused it: %s", reply->str);
        mw_sink_fail(r->sink, i->of->list, i->piece, text);
    } else {
        r->wait_ms = r->first_ms;
        mw_sink_recovered(r->sink);
        mw_sink_wrote(r->sink, i->of->list->pieces[i->piece].len);
    }
    i->answered = 1;
    r->in_flight--;
    take_off(r);
    if (r->in_flight <= r->most / 2) send_ready(r); /* many leave in one write */
}

static void send_ready(redis_sink *r)
{
    int sent = 0;
    for (; !r->resting && r->unsent && r->in_flight < r->most; r->unsent = r->unsent->next) {
        item *i = r->unsent;
        const mw_piece *p = &i->of->list->pieces[i->piece];
        if (i->answered) continue;
        flight *f = malloc(sizeof *f);
        mw_assert(f != NULL);
        *f = (flight){.r = r, .of = i, .tries = r->tries};
        r->text.len = 0;
        mw_sink_render(r->sink, i->of->list, p, &r->text);
        if (r->text.len && r->text.bytes[r->text.len - 1] == '\n') r->text.len--;
        name_target(r, p);
        write_command(r, i->of->list, p);
        r->in_flight++, sent = 1;
        mw_redis_send(r->redis, r->key.bytes, r->key.len, &r->command, on_reply, f);
    }
    if (sent) mw_redis_flush(r->redis);
}

/* ---- the sink ---- */

/* The one option that says where. */
static mw_status read_target(redis_sink *r, mw_error *error)
{
    static const char *const names[] = {"stream", "list", "channel", "key", NULL};
    const char *target = NULL, *by = NULL;
    for (unsigned i = 0; names[i]; i++) {
        const char *text = mw_config_text(r->sink->config, names[i], NULL);
        if (text && target)
            return mw_fail(error, MW_CONFIG, "'%s' and '%s' cannot both be given", by, names[i]);
        if (text) target = text, by = names[i];
    }
    if (!target)
        return mw_fail(error, MW_CONFIG,
                       "one of 'stream', 'list', 'channel' or 'key' must be given");
    r->verb = by[0];
    return mw_template_new(&r->target, target, error);
}

static void free_sink(redis_sink *r)
{
    if (r->target) mw_template_free(r->target);
    mw_buffer_close(&r->command);
    mw_buffer_close(&r->text);
    mw_buffer_close(&r->key);
    free(r);
}

static mw_status open_redis(mw_sink *k, mw_error *error)
{
    redis_sink *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    r->sink = k;
    r->end = &r->first;
    mw_status status = read_target(r, error);
    if (status == MW_OK)
        status = mw_redis_new(&r->redis, k->loop, mw_config_text(k->config, "url", ""), k->name,
                              mw_config_int(k->config, "timeout", 5000000000), error);
    if (status != MW_OK) {
        free_sink(r);
        return status;
    }
    k->self = r;
    r->field = mw_config_text(k->config, "field", "event");
    r->identity = mw_config_text(k->config, "identity", NULL);
    r->max_length = (uint64_t)mw_config_int(k->config, "max_length", 0);
    r->ttl_ms = (uint64_t)mw_config_int(k->config, "ttl", 0) / 1000000;
    r->most = (unsigned)mw_config_int(k->config, "concurrency", 1000);
    if (r->most == 0) r->most = 1;
    r->first_ms = (uint64_t)mw_config_int(k->config, "retry.first", 100000000) / 1000000;
    if (r->first_ms < 2) r->first_ms = 2;
    r->most_ms = (uint64_t)mw_config_int(k->config, "retry.most", 5000000000) / 1000000;
    if (r->most_ms < r->first_ms) r->most_ms = r->first_ms;
    r->wait_ms = r->first_ms;
    uv_timer_init(k->loop, &r->timer);
    r->timer.data = r;
    return MW_OK;
}

static void write_list(mw_sink *k, mw_list *list)
{
    redis_sink *r = k->self;
    uint32_t count = list->count;
    tracked *t = malloc(sizeof *t);
    mw_assert(t != NULL);
    *t = (tracked){.list = list, .left = count};
    for (uint32_t n = 0; n < count; n++) {
        item *i = malloc(sizeof *i);
        mw_assert(i != NULL);
        *i = (item){.of = t, .piece = n};
        *r->end = i;
        r->end = &i->next;
        if (!r->unsent) r->unsent = i;
    }
}

static void flush(mw_sink *k)
{
    send_ready(k->self);
}

static void on_closed(uv_handle_t *handle)
{
    free_sink(handle->data);
}

static void close_redis(mw_sink *k)
{
    redis_sink *r = k->self;
    tracked *last = NULL;
    r->closing = 1;
    mw_redis_close(r->redis);
    for (item *i = r->first, *next; i; i = next) { /* those of a list stand together */
        next = i->next;
        if (last && last != i->of) free(last);
        last = i->of;
        free(i);
    }
    free(last);
    uv_close((uv_handle_t *)&r->timer, on_closed);
}

const mw_sink_kind mw_sink_redis = {
    .name = "redis",
    .options = options,
    .open = open_redis,
    .write = write_list,
    .flush = flush,
    .close = close_redis,
};
