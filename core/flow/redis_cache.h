/* redis_cache.h: what Redis answered for keys, as long as Redis does not say that they changed.
 *
 * Redis keeps track of the keys that were read over the connection, and tells a second one which of
 * them changed (CLIENT TRACKING with REDIRECT, protocol 2). Nothing is kept while either connection
 * is down. The keys that an answer is on its way for are known, too: one that changes meanwhile is
 * not kept (the race is described at redis.io, "Client-side caching"). The longest unused go when
 * the room is full. Thread: the loop's. */
#ifndef MW_REDIS_CACHE_H
#define MW_REDIS_CACHE_H

#include "event/answer.h"
#include "net/redis_link.h"

typedef struct mw_redis_cache mw_redis_cache;

/* For reads over `link`. The URL is the link's, and taken over. `room` in bytes. */
mw_redis_cache *mw_redis_cache_new(uv_loop_t *loop, mw_redis_url *url, mw_redis_link *link,
                                   const char *name, int64_t timeout_ns, size_t room);
void mw_redis_cache_close(mw_redis_cache *c);

/* NULL: it is not here. Good until the next call. */
const mw_answer *mw_redis_cache_find(mw_redis_cache *c, const char *key, size_t len);
/* The key is being asked for: a ticket for keep. 0: what comes will not be kept. */
uint64_t mw_redis_cache_expect(mw_redis_cache *c, const char *key, size_t len);
/* The answer came: it is kept, unless the key changed since. NULL: it did not come. */
void mw_redis_cache_keep(mw_redis_cache *c, uint64_t ticket, const char *key, size_t len,
                         const mw_answer *answer);
/* We are about to change the key. */
void mw_redis_cache_drop(mw_redis_cache *c, const char *key, size_t len);

#endif
