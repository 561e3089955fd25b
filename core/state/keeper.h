/* keeper.h: what one declaration keeps by key on one shard: a window, records, timers, or cells,
 * behind what is the same for all: entries that checkpoints save, and a next time at which
 * something is due. Thread: the shard that owns the keys. */
#ifndef MW_KEEPER_H
#define MW_KEEPER_H

#include "state/window.h"

typedef enum mw_keeper_kind {
    MW_KEEPS_WINDOW,
    MW_KEEPS_RECORDS,
    MW_KEEPS_TIMERS,
    MW_KEEPS_CELLS, /* so many plain bytes a key, which begin as zeros: what detectors learn */
} mw_keeper_kind;

typedef struct mw_keeper {
    mw_keeper_kind kind;
    char *name;    /* "window/spend" */
    char *options; /* its declaration: equal texts keep the same */
    union {
        mw_window *window;
        struct mw_records *records;
        struct mw_timers *timers;
        mw_entries *cells;
    };
} mw_keeper;

/* `sort` is "window", "state", "timer" or "detector". */
mw_status mw_keeper_new(mw_keeper **keeper, const char *sort, const char *name, const char *options,
                        mw_error *error);
void mw_keeper_free(mw_keeper *k);
mw_entries *mw_keeper_entries(mw_keeper *k);
/* When next something is due in event time, and in the clock's; INT64_MAX: never. */
int64_t mw_keeper_due(const mw_keeper *k);
int64_t mw_keeper_due_by_clock(const mw_keeper *k);
/* What was due and is not read any more is gone. */
void mw_keeper_settle(mw_keeper *k);
/* What is kept besides the entries, of one shard of so many; and what to do when those were
 * restored. */
void mw_keeper_save(const mw_keeper *k, mw_buffer *out);
void mw_keeper_load(mw_keeper *k, unsigned shard, unsigned shards, const char *bytes, size_t len);
void mw_keeper_restored(mw_keeper *k);
/* A recorded entry from elsewhere takes the place of what there is of its key, as a change. */
void mw_keeper_import(mw_keeper *k, const mw_key *key, const char *value, size_t len);
/* Those in the store alone included, which are counted about; and these. */
uint64_t mw_keeper_keys(mw_keeper *k);
uint64_t mw_keeper_cold(const mw_keeper *k);
size_t mw_keeper_bytes(mw_keeper *k); /* of memory */
/* A row that is to be restored: 1, it is left in the store, there is no room. */
int mw_keeper_leaves(mw_keeper *k);

#endif
