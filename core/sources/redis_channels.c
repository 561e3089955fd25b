/* redis_channels.c: messages of Redis's channels, as they come. Redis keeps none: what is published
 * while nobody listens, or faster than we take it, is lost. */
#include "base/resp.h"
#include "event/json.h"
#include "net/redis.h"
#include "sources/redis_private.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_BYTES = 256 << 10 };

struct mw_redis_channels {
    mw_redis_reader *reader;
    mw_redis_link *link;
    mw_batch *batch; /* being filled */
    uv_timer_t timer;
    int ended;
};

typedef struct mw_redis_channels channels;

static void write_meta(const mw_batch *b, const mw_event *event, int kept, mw_buffer *out)
{
    const char *channel = b->meta;
    (void)event, (void)kept;
    mw_buffer_text(out, ",\"channel\":");
    mw_json_quote(out, channel, strlen(channel));
}

static void give(channels *c)
{
    mw_batch *b = c->batch;
    c->batch = NULL;
    uv_timer_stop(&c->timer);
    if (!b) return;
    if (b->len) mw_source_give(c->reader->source, b, NULL);
    else
        mw_source_untake(c->reader->source, b);
}

static void on_timer(uv_timer_t *timer)
{
    give(timer->data);
}

static void take(channels *c, const redisReply *channel, const redisReply *text)
{
    mw_source *s = c->reader->source;
    mw_error error;
    if (c->batch && strcmp(c->batch->meta, channel->str) != 0) give(c);
    if (!c->batch) {
        c->batch = mw_source_take(s, text->len + 1);
        c->batch->stream = &c->reader->stream;
        c->batch->meta = mw_arena_copy(&c->batch->arena, channel->str, channel->len + 1);
        c->batch->write_meta = write_meta;
        uv_timer_start(&c->timer, on_timer, 0, 0); /* when all that has come now is read */
    }
    mw_source_read(s, text->len);
    if (mw_redis_add(c->reader, &c->reader->stream, c->batch, text->str, text->len, &error) !=
        MW_OK) {
        give(c);
        mw_source_reject(s, NULL, &c->reader->stream, 0, 0, text->str, text->len, error.message);
    } else if (c->batch->len >= BATCH_BYTES) {
        give(c);
    }
}

/* ["message", channel, text], ["pmessage", pattern, channel, text]. */
static void on_message(void *self, const redisReply *m)
{
    channels *c = self;
    if (!m || c->ended || m->elements < 3) return;
    const redisReply *channel = m->element[m->elements - 2], *text = m->element[m->elements - 1];
    if (!strstr(mw_redis_text(m->element[0]), "message")) return;
    if (channel->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING) return;
    take(c, channel, text);
}

static int is_pattern(const char *name)
{
    return strpbrk(name, "*?[") != NULL;
}

static void add_subscriptions(channels *c, const char *verb, int patterns, mw_buffer *out)
{
    mw_config *config = c->reader->source->config;
    mw_buffer command = {0};
    const char *name;
    uint32_t count = 0;
    for (size_t i = 0; (name = mw_config_item(config, "channel", i)); i++)
        if (is_pattern(name) == patterns) count++;
    if (!count) return;
    mw_resp_begin(&command, count + 1);
    mw_resp_text(&command, verb);
    for (size_t i = 0; (name = mw_config_item(config, "channel", i)); i++)
        if (is_pattern(name) == patterns) mw_resp_text(&command, name);
    mw_buffer_append(out, command.bytes, command.len);
    mw_buffer_close(&command);
}

mw_status mw_redis_channels_open(mw_redis_reader *r, mw_error *error)
{
    mw_source *s = r->source;
    mw_redis_url url;
    mw_status status = mw_redis_url_read(&url, mw_config_text(s->config, "url", ""), error);
    if (status != MW_OK) return status;
    channels *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->reader = r, r->channels = c;
    c->link = mw_redis_link_new(s->loop, &url, s->name, 5000000000);
    uv_timer_init(s->loop, &c->timer);
    c->timer.data = c;
    r->handles = 1;
    return MW_OK;
}

void mw_redis_channels_start(mw_redis_reader *r)
{
    channels *c = r->channels;
    mw_buffer subscribe = {0};
    if (r->source->once) { /* a channel has nothing in it */
        mw_redis_channels_drain(r);
        return;
    }
    add_subscriptions(c, "SUBSCRIBE", 0, &subscribe);
    add_subscriptions(c, "PSUBSCRIBE", 1, &subscribe);
    mw_redis_link_listen(c->link, &subscribe, on_message, c);
    mw_buffer_close(&subscribe);
}

void mw_redis_channels_rest(mw_redis_reader *r, int rest)
{
    mw_redis_link_rest(r->channels->link, rest);
}

void mw_redis_channels_drain(mw_redis_reader *r)
{
    channels *c = r->channels;
    if (c->ended) return;
    give(c);
    c->ended = 1;
    mw_source_finished(r->source);
}

static void on_closed(uv_handle_t *handle)
{
    channels *c = handle->data;
    mw_redis_reader_released(c->reader);
    free(c);
}

void mw_redis_channels_close(mw_redis_reader *r)
{
    channels *c = r->channels;
    c->ended = 1;
    mw_redis_link_close(c->link);
    if (c->batch) mw_source_untake(r->source, c->batch);
    c->batch = NULL;
    uv_close((uv_handle_t *)&c->timer, on_closed);
}
