/* redis.c: see redis.h. */
#include "net/redis.h"
#include "net/redis_cluster.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

struct mw_redis {
    mw_redis_link *link; /* of one server */
    struct mw_redis_cluster *cluster;
};

mw_status mw_redis_new(mw_redis **redis, uv_loop_t *loop, const char *url, const char *name,
                       int64_t timeout_ns, mw_error *error)
{
    mw_redis_url where;
    mw_status status = mw_redis_url_read(&where, url, error);
    if (status != MW_OK) return status;
    mw_redis *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    if (where.cluster) r->cluster = mw_redis_cluster_new(loop, &where, name, timeout_ns);
    else
        r->link = mw_redis_link_new(loop, &where, name, timeout_ns);
    *redis = r;
    return MW_OK;
}

void mw_redis_close(mw_redis *r)
{
    if (!r) return;
    if (r->cluster) mw_redis_cluster_close(r->cluster);
    else
        mw_redis_link_close(r->link);
    free(r);
}

void mw_redis_send(mw_redis *r, const char *key, size_t len, const mw_buffer *command,
                   mw_redis_done done, void *self)
{
    if (r->link) mw_redis_link_send(r->link, command, done, self);
    else
        mw_redis_cluster_send(r->cluster, key ? (int)mw_redis_slot(key, len) : -1, command, done,
                              self);
}

void mw_redis_flush(mw_redis *r)
{
    if (r->link) mw_redis_link_flush(r->link);
    else
        mw_redis_cluster_flush(r->cluster);
}

mw_redis_link *mw_redis_single(mw_redis *r)
{
    return r->link;
}

const char *mw_redis_text(const redisReply *reply)
{
    int is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                  reply->type == REDIS_REPLY_ERROR;
    return is_text && reply->str ? reply->str : "";
}

int mw_redis_is_temporary(const char *error)
{
    static const char *const words[] = {
        "LOADING ",    "BUSY ",      "OOM ",           "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ",
        "TRYAGAIN ",   "MISCONF ",   "MOVED ",         "ASK ",      "NOAUTH ",     "WRONGPASS ",
        "NOREPLICAS ", "UNBLOCKED ", "ERR max number", NULL};
    for (unsigned i = 0; words[i]; i++)
        if (strncmp(error, words[i], strlen(words[i])) == 0) return 1;
    return 0;
}
