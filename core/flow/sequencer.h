/* sequencer.h: puts things back into the order they were dealt out in.
 *
 * Each carries a number, counted from 0; they come in any order and leave in order of number. What
 * waits is a list, which is short: as long as the shards differ in speed. Thread: one. */
#ifndef MW_SEQUENCER_H
#define MW_SEQUENCER_H

#include <stdint.h>

typedef struct mw_sequenced {
    struct mw_sequenced *next;
    uint64_t number;
} mw_sequenced;

typedef struct mw_sequencer {
    mw_sequenced *waiting; /* by number */
    uint64_t next;
} mw_sequencer;

void mw_sequencer_push(mw_sequencer *s, mw_sequenced *item);
/* The next in order, or NULL when it has not come yet. */
mw_sequenced *mw_sequencer_pop(mw_sequencer *s);

#endif
