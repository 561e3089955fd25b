/* timers.h: durable timers by key: what mw.timer sets.
 *
 * A key has one timer; setting it again moves it. It is due in event time, or by the clock. Thread:
 * the shard that owns the keys. Memory a timer: the entry's (entries.h), 40 bytes, its data, and 16
 * in the heap. */
#ifndef MW_TIMERS_H
#define MW_TIMERS_H

#include "state/entries.h"
#include "state/kept.h"

typedef struct mw_timers mw_timers;

mw_timers *mw_timers_new(int by_clock);
void mw_timers_free(mw_timers *t);
mw_entries *mw_timers_entries(mw_timers *t);
int mw_timers_by_clock(const mw_timers *t);
void mw_timers_set(mw_timers *t, const mw_key *key, int64_t at_ns, const mw_value *data);
/* 1: there was one. */
int mw_timers_cancel(mw_timers *t, const mw_key *key);
int64_t mw_timers_due(const mw_timers *t);
/* The next timer that is due by `now_ns`, which is over with the next call; 0: there is none. */
uint32_t mw_timers_fire(mw_timers *t, int64_t now_ns);
/* The one that fired last is not read any more, and is gone. */
void mw_timers_settle(mw_timers *t);
/* Time and data of any timer. */
int64_t mw_timers_look(const mw_timers *t, uint32_t id, mw_value *data);
/* Of a timer that fires. */
int64_t mw_timers_at(mw_timers *t, uint32_t id, mw_value *data);
void mw_timers_restored(mw_timers *t);
/* See mw_keeper_import. */
void mw_timers_import(mw_timers *t, const mw_key *key, const char *value, size_t len);

#endif
