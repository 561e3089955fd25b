/* cold.h: rows of a state that are in the store and not in memory.
 *
 * The store has each record as the last checkpoint has it. A record that has not been changed since
 * can be let go of, and is read again when it is asked for: from the page cache, where it fits
 * there. Thread: the shard's; a read never waits for the write of a checkpoint. */
#ifndef MW_COLD_H
#define MW_COLD_H

#include "state/key.h"
#include "state/store.h"

typedef struct mw_cold {
    mw_store_reader *reader;
    unsigned shard, shards; /* whose rows they are */
    size_t head;            /* of a row's key, what is before the group */
    mw_buffer row, value;   /* the last that was read */
    int any;                /* there are some */
    uint64_t count;         /* rows without a record in memory, about */
} mw_cold;

/* `name`: "state/NAME". */
mw_cold *mw_cold_new(mw_store *store, const char *name, unsigned shard, unsigned shards);
void mw_cold_free(mw_cold *c);
/* 1: the row is in `value`. */
int mw_cold_find(mw_cold *c, const mw_key *key);
/* The first row of this shard behind another, whose key is as in the store (none: the first there
 * is): the row is in `row` and `value`, `key` points into it. 0: there is none. */
int mw_cold_next(mw_cold *c, const char *after, size_t len, mw_key *key);

#endif
