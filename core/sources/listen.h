/* listen.h: the socket of a source that listens on an address, shared by its instances on all
 * shards. Thread: a shard's. */
#ifndef MW_LISTEN_H
#define MW_LISTEN_H

#include <moonweir/plugin.h>

/* Binds what the option `listen` names; port 0 is chosen by the first instance, which logs
 * "listening on BEFORE host:port AFTER"; or takes the socket that the source inherits. The caller
 * owns *fd. */
mw_status mw_source_listen(mw_source *s, int datagram, const char *before, const char *after,
                           int *fd, mw_error *error);

/* A duplicate of a listening handle's descriptor, for mw_source_kind.hand_over; or -1. */
int mw_source_duplicate(const uv_handle_t *handle);

#endif
