/* redis_acks.c: see redis_acks.h. */
#include "sources/redis_acks.h"
#include "base/log.h"
#include "base/resp.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

typedef struct ids {
    mw_buffer bytes;
    uint32_t count;
} ids;

struct mw_redis_acks {
    mw_redis *redis;
    const char *name, *stream, *group;
    ids waiting, sent;
    mw_buffer command;
    void (*failed)(void *self);
    void *self;
    int closing;
};

mw_status mw_redis_acks_new(mw_redis_acks **acks, uv_loop_t *loop, const char *url,
                            const char *name, const char *stream, const char *group,
                            void (*failed)(void *self), void *self, mw_error *error)
{
    mw_redis_acks *a = calloc(1, sizeof *a);
    mw_assert(a != NULL);
    a->name = name, a->stream = stream, a->group = group, a->failed = failed, a->self = self;
    mw_status status = mw_redis_new(&a->redis, loop, url, name, 5000000000, error);
    if (status != MW_OK) {
        free(a);
        return status;
    }
    *acks = a;
    return MW_OK;
}

static void move(ids *to, ids *from)
{
    mw_buffer_append(&to->bytes, from->bytes.bytes, from->bytes.len);
    to->count += from->count;
    from->bytes.len = 0, from->count = 0;
}

static void on_reply(void *self, const redisReply *reply, const char *why)
{
    mw_redis_acks *a = self;
    (void)why;
    if (a->closing) return;
    if (!reply || (reply->type == REDIS_REPLY_ERROR && mw_redis_is_temporary(reply->str))) {
        move(&a->waiting, &a->sent);
        a->failed(a->self);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR)
        mw_log(MW_ERROR, a->name, "stream '%s': acknowledging to group '%s': %s", a->stream,
               a->group, reply->str);
    a->sent.bytes.len = 0, a->sent.count = 0;
    mw_redis_acks_send(a);
}

void mw_redis_acks_send(mw_redis_acks *a)
{
    mw_buffer *c = &a->command;
    if (a->sent.count || !a->waiting.count) return;
    move(&a->sent, &a->waiting);
    mw_resp_begin(c, 3 + a->sent.count);
    mw_resp_text(c, "XACK");
    mw_resp_text(c, a->stream);
    mw_resp_text(c, a->group);
    mw_buffer_append(c, a->sent.bytes.bytes, a->sent.bytes.len);
    mw_redis_send(a->redis, a->stream, strlen(a->stream), c, on_reply, a);
    mw_redis_flush(a->redis);
}

void mw_redis_acks_add(mw_redis_acks *a, const mw_buffer *bytes, uint32_t count)
{
    mw_buffer_append(&a->waiting.bytes, bytes->bytes, bytes->len);
    a->waiting.count += count;
    mw_redis_acks_send(a);
}

void mw_redis_acks_close(mw_redis_acks *a)
{
    if (!a) return;
    move(&a->waiting, &a->sent);
    mw_redis_acks_send(a);
    a->closing = 1;
    mw_redis_close(a->redis);
    mw_buffer_close(&a->waiting.bytes);
    mw_buffer_close(&a->sent.bytes);
    mw_buffer_close(&a->command);
    free(a);
}
