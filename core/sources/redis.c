/* redis.c (source): entries of streams, or messages of channels. */
#include "event/json.h"
#include "sources/redis_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mw_option options[] = {
    {"url", MW_OPT_TEXT, "!", "redis://…, unix://…, redis-sentinel://… or redis-cluster://…", NULL,
     NULL},
    {"stream", MW_OPT_TEXTS, NULL, "streams to read", NULL, NULL},
    {"channel", MW_OPT_TEXTS, NULL,
     "channels to listen to, or patterns of them; what is published while nobody listens is lost",
     NULL, NULL},
    {"field", MW_OPT_TEXT, "event",
     "the field of an entry that has the event; an entry without it is an event of its fields",
     NULL, NULL},
    {"from", MW_OPT_TEXT, "start", "where to begin, where no position is kept", "start|end", NULL},
    {"group", MW_OPT_TEXT, NULL,
     "reads as a member of this consumer group, which it makes; without it positions are kept here",
     NULL, NULL},
    {"consumer", MW_OPT_TEXT, NULL, "its name in the group; without it: the host's", NULL, NULL},
    {"claim", MW_OPT_DURATION, "5m",
     "group: takes over what another consumer has not acknowledged for so long; 0: never", NULL,
     NULL},
    {"count", MW_OPT_COUNT, "500", "entries that are asked for at a time", NULL, NULL},
    {0},
};

mw_status mw_redis_add(const mw_redis_reader *r, mw_stream *frames, mw_batch *b, const char *bytes,
                       size_t len, mw_error *error)
{
    size_t whole, before = b->len;
    mw_batch_reserve(b, b->len + len + 1);
    char *to = b->block + b->len;
    if (len) memcpy(to, bytes, len);
    if (r->by_line && (!len || to[len - 1] != '\n')) to[len++] = '\n';
    memset(to + len, 0, MW_JSON_PADDING);
    mw_status status = frames->format->boundary(frames, to, len, 1, &whole, error);
    if (status == MW_OK && whole != len)
        status = mw_fail(error, MW_INVALID, "it is not whole events of the source's format");
    if (status == MW_OK) b->len = before + len;
    return status;
}

static mw_status open_redis(mw_source *s, mw_error *error)
{
    mw_redis_reader *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    int streams = mw_config_item(s->config, "stream", 0) != NULL;
    int channels = mw_config_item(s->config, "channel", 0) != NULL;
    r->source = s;
    mw_status status;
    if (streams == channels)
        status =
            mw_fail(error, MW_CONFIG, "one of 'stream' and 'channel' must be given, and only one");
    else if (channels && mw_config_text(s->config, "group", NULL))
        status = mw_fail(error, MW_CONFIG, "a 'channel' has no 'group': groups are of streams");
    else
        status = streams ? mw_redis_streams_open(r, error) : mw_redis_channels_open(r, error);
    if (status != MW_OK) {
        free(r);
        return status;
    }
    s->self = r;
    r->by_line =
        strcmp(s->format->name, "length-prefixed") != 0 && strcmp(s->format->name, "json") != 0;
    mw_stream_init(&r->stream, s->format, s->config, s->limit);
    r->stream.octet_counted = 0;
    return MW_OK;
}

void mw_redis_reader_released(mw_redis_reader *r)
{
    if (--r->handles) return;
    mw_stream_close(&r->stream);
    free(r);
}

static void start(mw_source *s)
{
    mw_redis_reader *r = s->self;
    if (r->streams) mw_redis_streams_start(r);
    else
        mw_redis_channels_start(r);
}

static void pause_reading(mw_source *s)
{
    mw_redis_reader *r = s->self;
    if (r->channels) mw_redis_channels_rest(r, 1); /* streams ask before they read */
}

static void resume(mw_source *s)
{
    mw_redis_reader *r = s->self;
    if (r->streams) mw_redis_streams_resume(r);
    else
        mw_redis_channels_rest(r, 0);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    mw_redis_reader *r = s->self;
    if (r->streams) mw_redis_streams_acknowledge(r, b);
}

static void drain(mw_source *s)
{
    mw_redis_reader *r = s->self;
    if (r->streams) mw_redis_streams_drain(r);
    else
        mw_redis_channels_drain(r);
}

static void close_redis(mw_source *s)
{
    mw_redis_reader *r = s->self;
    if (r->streams) mw_redis_streams_close(r);
    else
        mw_redis_channels_close(r);
}

const mw_source_kind mw_source_redis = {
    .name = "redis",
    .grade = MW_SOURCE_ANSWERS,
    .options = options,
    .open = open_redis,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .close = close_redis,
};
