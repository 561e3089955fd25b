/* redis.h: Redis as its users see it: one server, the master that Sentinels name, or a cluster.
 *
 * How commands and replies travel is net/redis_link.h. In a cluster a command goes to the node that
 * has its key's slot; a node that does not have it any more says where it is (MOVED, ASK), and the
 * command follows, eight times at most, each with its time. Slots are asked for when it begins,
 * when one moved, and when a node is lost. Where commands of one key follow each other without
 * waiting for answers, one that is redirected may come behind a later one.
 *
 * URL: redis://[[user]:password@]host[:port][/database], unix://[[user]:password@]/path[?db=n],
 * redis-sentinel://host[:port][,host…]/master[/database], or redis-cluster://host[:port][,host…].
 * Thread: the loop's. Source of the protocol: redis.io, "Redis cluster specification". */
#ifndef MW_REDIS_H
#define MW_REDIS_H

#include "net/redis_link.h"

typedef struct mw_redis mw_redis;

/* MW_CONFIG: the URL is wrong. `name` is for logs. It connects when it is first used. */
mw_status mw_redis_new(mw_redis **redis, uv_loop_t *loop, const char *url, const char *name,
                       int64_t timeout_ns, mw_error *error);
/* What waits fails first. Memory goes when the loop has closed its handles. */
void mw_redis_close(mw_redis *r);

/* One command (base/resp.h). `key` (`len` bytes; NULL: none) is what it is about. `done` is never
 * called from inside send. */
void mw_redis_send(mw_redis *r, const char *key, size_t len, const mw_buffer *command,
                   mw_redis_done done, void *self);
void mw_redis_flush(mw_redis *r);
/* The one connection that a client of one server is; NULL: it is a cluster's. */
mw_redis_link *mw_redis_single(mw_redis *r);

/* The text of a reply, "" where it is no text: nothing that a server answers may be taken on trust.
 */
const char *mw_redis_text(const struct redisReply *reply);
/* Whether a server that answers this error may answer otherwise later. */
int mw_redis_is_temporary(const char *error);

/* The slot of a key: CRC16 (XMODEM) of it, or of what stands between its first braces, by 16384. */
unsigned mw_redis_slot(const char *key, size_t len);

#endif
