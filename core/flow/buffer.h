/* buffer.h: a disk buffer between a source that cannot give again what it has given, and the rules.
 *
 * A source with `buffer` (the intake) writes its batches to a spool on disk, and has them
 * acknowledged as soon as they are synced. A source of the router's own, which has the rules
 * (`NAME.buffer`), reads the spool and keeps positions as one that reads files does, so that what
 * was taken in survives the router, and is bounded by the disk rather than by memory while sinks
 * are away. There is one spool a shard; those of shards that are no more are read by others.
 * Thread: the shard's. */
#ifndef MW_FLOW_BUFFER_H
#define MW_FLOW_BUFFER_H

#include "flow/flow_private.h"

extern const mw_source_kind mw_source_buffer; /* the reader's */
/* The intake that it knows: of several, while one takes the place of another, the new one. */
mw_source_host **mw_buffer_intake(mw_source_host *reader);

/* buffer_links.c: ties intake and reader of one shard, whichever is opened last. */
void mw_buffer_link(mw_source_host *h);
/* One of them closes; for any source. */
void mw_buffer_unlink(mw_source_host *h);
/* Says what is in buffers of sources that the flow does not have. At the start. */
void mw_buffer_look_for_orphans(const mw_flow *f);
/* A batch that the intake gives. */
void mw_buffer_take(mw_source_host *intake, mw_batch *b);
/* Whether the intake has to wait; `resume`: it waits already. */
int mw_buffer_is_full(const mw_source_host *intake, int resume);

#endif
