/* redis_url.h: where Redis is. Any thread. */
#ifndef MW_REDIS_URL_H
#define MW_REDIS_URL_H

#include "base/status.h"

enum { MW_REDIS_HOSTS = 8 };

/* Texts are owned. */
typedef struct mw_redis_url {
    char *hosts[MW_REDIS_HOSTS]; /* the one, the Sentinels, or nodes of the cluster */
    char *ports[MW_REDIS_HOSTS];
    unsigned host_count;
    char *path;   /* of a socket; then there are no hosts */
    char *master; /* what the Sentinels call it; NULL: none */
    char *user, *password;
    int database;
    int cluster;
} mw_redis_url;

mw_status mw_redis_url_read(mw_redis_url *u, const char *text, mw_error *error);
void mw_redis_url_close(mw_redis_url *u);

#endif
