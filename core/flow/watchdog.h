/* watchdog.h: what the supervisor and its router share: whether the shards are alive, which event a
 * shard was at when the router died, and which events have brought it down twice.
 *
 * It is a page of memory that both processes map. Shards write when they were last alive; when one
 * has not been for too long, the supervisor ends the router (SIGABRT), and the signal handler of
 * the router notes the event whose rule runs, as it does for a crash. An event that was noted twice
 * is quarantined: the next router puts it into the dead letters without trying. The handler's view
 * of the shards is the one thing of this program besides the log that is process-wide. */
#ifndef MW_WATCHDOG_H
#define MW_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>

typedef struct mw_watchdog mw_watchdog;

/* In the supervisor, before the router is forked. NULL when there is no memory for it. */
mw_watchdog *mw_watchdog_new(void);
/* The index of a shard that was not alive for so long, or -1. */
int mw_watchdog_find_hung(const mw_watchdog *w, int64_t limit_ns);
/* Says which shard the coming SIGABRT is about. */
void mw_watchdog_accuse(mw_watchdog *w, int shard);
int mw_watchdog_accused(const mw_watchdog *w);
/* The router died: forgets its shards, and counts the event it died of, if one was noted. True when
 * that event is quarantined from now on. */
int mw_watchdog_buried(mw_watchdog *w);

/* In the router. NULL does nothing, everywhere. */
/* A shard is alive. */
void mw_watchdog_beat(mw_watchdog *w, unsigned shard);
/* A shard ends: nothing more is expected of it. */
void mw_watchdog_leave(mw_watchdog *w, unsigned shard);
int mw_watchdog_has_quarantine(const mw_watchdog *w);
int mw_watchdog_is_quarantined(const mw_watchdog *w, const void *bytes, size_t len);

/* What a shard works on, for the signal handler: the bytes of the event, or NULL. */
typedef struct mw_suspect {
    const void *(*event)(void *shard, size_t *len);
    void *shard;
} mw_suspect;
/* Installs the handler for `count` shards. Once, before they start. */
void mw_watchdog_guard(mw_watchdog *w, const mw_suspect *suspects, unsigned count);

#endif
