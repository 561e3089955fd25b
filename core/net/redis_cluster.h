/* redis_cluster.h: the nodes of a Redis Cluster: which has which slot, and commands that follow
 * where slots go. Used through net/redis.h. Thread: the loop's. */
#ifndef MW_REDIS_CLUSTER_H
#define MW_REDIS_CLUSTER_H

#include "net/redis_link.h"

enum { MW_REDIS_SLOTS = 16384 };

typedef struct mw_redis_cluster mw_redis_cluster;

/* The URL (whose hosts are nodes to begin with) is taken over. */
mw_redis_cluster *mw_redis_cluster_new(uv_loop_t *loop, mw_redis_url *url, const char *name,
                                       int64_t timeout_ns);
/* What waits fails first. */
void mw_redis_cluster_close(mw_redis_cluster *c);
/* To the node that has the slot (-1: any). The command is copied, since it may have to be sent
 * again. */
void mw_redis_cluster_send(mw_redis_cluster *c, int slot, const mw_buffer *command,
                           mw_redis_done done, void *self);
void mw_redis_cluster_flush(mw_redis_cluster *c);

#endif
