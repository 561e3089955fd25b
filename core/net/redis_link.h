/* redis_link.h: one connection to Redis on a libuv loop: commands are pipelined, replies come in
 * their order.
 *
 * Commands are collected and leave together with `flush`. One that is not answered in time fails,
 * and its reply, should it still come, is dropped; when the connection is lost all that were sent
 * fail, since nobody can know whether they were done. After several failures in a row the circuit
 * opens: commands fail at once, and a new connection is tried now and then. Replies are hiredis's.
 * Thread: the loop's. */
#ifndef MW_REDIS_LINK_H
#define MW_REDIS_LINK_H

#include "base/buffer.h"
#include "net/redis_url.h"

#include <stdint.h>
#include <uv.h>

typedef struct mw_redis_link mw_redis_link;
struct redisReply;

/* `reply` is NULL where there is none, and `why` says so. Both are the callee's while it runs. An
 * error that Redis answers is a reply. */
typedef void (*mw_redis_done)(void *self, const struct redisReply *reply, const char *why);
/* What comes unasked (messages of channels); NULL: the connection was lost, and with it what came
 * while there was none. */
typedef void (*mw_redis_pushed)(void *self, const struct redisReply *message);

/* The URL is taken over; `name` is for logs, and copied. It connects when it is first used. */
mw_redis_link *mw_redis_link_new(uv_loop_t *loop, mw_redis_url *url, const char *name,
                                 int64_t timeout_ns);
/* What waits fails first. Memory goes when the loop has closed its handles. */
void mw_redis_link_close(mw_redis_link *r);

/* A command that goes ahead of all others at each connection, and now where there is one; it takes
 * the place of the one before. `done` (or NULL) gets each answer, and NULL whenever the connection
 * is lost. */
void mw_redis_link_greet(mw_redis_link *r, const mw_buffer *command, mw_redis_done done,
                         void *self);
/* Makes it a connection for messages: `subscribe` is sent at each connection behind the greeting.
 * It connects at once, and again whenever it is lost. */
void mw_redis_link_listen(mw_redis_link *r, const mw_buffer *subscribe, mw_redis_pushed pushed,
                          void *self);
/* Whether to leave what comes in the kernel for now. */
void mw_redis_link_rest(mw_redis_link *r, int rest);

/* `done` is never called from inside send; it may be NULL. */
void mw_redis_link_send(mw_redis_link *r, const mw_buffer *command, mw_redis_done done, void *self);
void mw_redis_link_flush(mw_redis_link *r);

#endif
