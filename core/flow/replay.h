/* replay.h: a flow whose sources read a capture instead of the world, and whose sinks only note
 * what they were sent.
 *
 * All else is the flow as it runs: shards, keys, order. The time of an event is that of its
 * capture. What was decided comes out in the order in which it was captured, whatever the number of
 * shards. Used by `moonweir replay`. */
#ifndef MW_REPLAY_H
#define MW_REPLAY_H

#include "flow/graph.h"

/* Takes the decisions of one batch: a line of JSON for each of its events, in order. They come in
 * order for each source; on one thread. */
typedef struct mw_decisions {
    void (*take)(void *self, const char *source, const char *lines, size_t len, uint32_t events);
    void *self;
} mw_decisions;

enum { MW_REPLAY_SINKS = 256 };

typedef struct mw_replay {
    const char *capture;           /* see capture_reader.h */
    int deliver;                   /* sinks are those of the flow */
    const mw_decisions *decisions; /* NULL: nobody wants to know */
    /* by sink, the dead letters first; those beyond are the last's */
    _Atomic uint64_t sent[MW_REPLAY_SINKS];
    _Atomic uint64_t replied, damaged; /* damaged: records that could not be read */
    _Atomic uint64_t unknown;          /* records of sources that the flow does not declare */
} mw_replay;

/* Makes a graph's sources and sinks those of a replay. */
void mw_replay_substitute(mw_graph *g, const mw_replay *r);

#endif
