/* redis.h: a connection to Redis on a libuv loop: commands are pipelined, replies come in their
 * order.
 *
 * Commands are collected and leave together with `flush`. One that is not answered in time fails,
 * and its reply, should it still come, is dropped; when the connection is lost all that were sent
 * fail, since nobody can know whether they were done. After several failures in a row the circuit
 * opens: commands fail at once, and a new connection is tried now and then. Replies are hiredis's.
 *
 * URL: redis://[[user]:password@]host[:port][/database], unix://[[user]:password@]/path[?db=n], or
 * redis-sentinel://host[:port][,host…]/master[/database]. Thread: the loop's. */
#ifndef MW_REDIS_H
#define MW_REDIS_H

#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>
#include <uv.h>

typedef struct mw_redis mw_redis;
struct redisReply;

/* `reply` is NULL where there is none, and `why` says so. Both are the callee's while it runs. An
 * error that Redis answers is a reply. */
typedef void (*mw_redis_done)(void *self, const struct redisReply *reply, const char *why);

/* MW_CONFIG: the URL is wrong. `name` is for logs. It connects when it is first used. */
mw_status mw_redis_new(mw_redis **redis, uv_loop_t *loop, const char *url, const char *name,
                       int64_t timeout_ns, mw_error *error);
/* What waits fails first. Memory goes when the loop has closed its handles. */
void mw_redis_close(mw_redis *r);

/* One command, as RESP: begin, then each argument, then send. `done` is never called from inside
 * send. */
void mw_redis_begin(mw_buffer *command, uint32_t arguments);
void mw_redis_argument(mw_buffer *command, const char *bytes, size_t len);
void mw_redis_send(mw_redis *r, const mw_buffer *command, mw_redis_done done, void *self);
void mw_redis_flush(mw_redis *r);
/* Commands that are under way. */
uint32_t mw_redis_waiting(const mw_redis *r);

#endif
