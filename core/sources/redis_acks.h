/* redis_acks.h: tells a consumer group which entries of a stream are done (XACK), over a connection
 * of its own, since reads wait. One command at a time; what comes meanwhile leaves with the next,
 * and what may not have come is sent again. Thread: the source's shard. */
#ifndef MW_REDIS_ACKS_H
#define MW_REDIS_ACKS_H

#include "net/redis.h"

typedef struct mw_redis_acks mw_redis_acks;

/* Texts are borrowed. `failed` is called when something is to be sent again: by mw_redis_acks_send,
 * after a while. */
mw_status mw_redis_acks_new(mw_redis_acks **acks, uv_loop_t *loop, const char *url,
                            const char *name, const char *stream, const char *group,
                            void (*failed)(void *self), void *self, mw_error *error);
/* What was not answered is sent once more. */
void mw_redis_acks_close(mw_redis_acks *a);
/* IDs, as arguments of a command. */
void mw_redis_acks_add(mw_redis_acks *a, const mw_buffer *ids, uint32_t count);
void mw_redis_acks_send(mw_redis_acks *a);

#endif
