/* snapshot.h: what keepers hold at a cut, on its way to the store and back.
 *
 * A shard begins a snapshot of a keeper at the cut, takes its records some at a time, and hands it
 * over; whoever writes (any one thread) puts all of a cut into one transaction, with the positions
 * of the sources. In the store a keeper is rows under its name: one an entry, with the entry's key
 * group first (so that any number of shards finds its own), one a shard for what is kept besides,
 * and one for its declaration. */
#ifndef MW_SNAPSHOT_H
#define MW_SNAPSHOT_H

#include "state/keeper.h"
#include "state/store.h"

typedef struct mw_snapshot {
    struct mw_snapshot *next;
    mw_keeper *keeper; /* until all is taken */
    char *name, *options;
    unsigned shard;
    int renews; /* what the store has under this name is of another declaration */
    mw_buffer head, records;
} mw_snapshot;

/* Begins: what the keeper holds now is what is taken. By its shard. */
mw_snapshot *mw_snapshot_begin(mw_keeper *k, unsigned shard, int renews);
/* Takes at most `most` records; 0: that was all. By the same. */
int mw_snapshot_take(mw_snapshot *s, uint32_t most);
void mw_snapshot_free(mw_snapshot *s);

/* Adds a list of snapshots, older ones of a keeper before newer ones, and some rows more (whose
 * value is NULL: they go). */
void mw_snapshot_add(mw_store_writer *w, const mw_snapshot *list, const mw_record *rows,
                     size_t count);
/* The same as one transaction. */
mw_status mw_snapshot_write(mw_store *store, const mw_snapshot *list, const mw_record *rows,
                            size_t count, mw_error *error);

/* Fills a keeper, which is empty, with the entries of a shard. 1: the store had them, of the same
 * declaration. MW_INVALID: a row is damaged. */
mw_status mw_snapshot_restore(mw_store *store, mw_keeper *k, unsigned shard, unsigned shards,
                              int *found, mw_error *error);

#endif
