/* oversize.h: a frame that is larger than `limit` allows, on its way into the dead letters.
 *
 * It is never held whole: its bytes become dead letters as they come, in parts of up to a megabyte
 * that follow each other and say where the frame begins, so that nothing of it is lost and memory
 * stays bounded. It ends at the next line break. Thread: its source's shard. */
#ifndef MW_OVERSIZE_H
#define MW_OVERSIZE_H

#include <moonweir/plugin.h>
#include <stdint.h>

typedef struct mw_oversize {
    int inside;     /* bytes that come belong to the frame */
    uint64_t from;  /* where it begins in its partition or stream */
    unsigned parts; /* so far */
} mw_oversize;

void mw_oversize_begin(mw_oversize *o, uint64_t position);
/* Takes what belongs to the frame of the bytes at `position` and returns how many that is; after
 * its last byte `inside` is 0. `final`: nothing follows. *given is how many dead letters were made,
 * each of which borrows the stream. */
size_t mw_oversize_pass(mw_oversize *o, mw_source *s, mw_partition *p, mw_stream *stream,
                        uint64_t position, const char *bytes, size_t len, int final,
                        uint32_t *given);

#endif
