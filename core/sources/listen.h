/* listen.h: the socket of a source that listens on an address, shared by its instances on all
 * shards. Thread: a shard's. */
#ifndef MW_LISTEN_H
#define MW_LISTEN_H

#include <moonweir/plugin.h>

/* Binds what the option `listen` names; port 0 is chosen by the first instance, which logs
 * "listening on BEFORE host:port AFTER". The caller owns *fd. */
mw_status mw_source_listen(mw_source *s, int datagram, const char *before, const char *after,
                           int *fd, mw_error *error);

#endif
