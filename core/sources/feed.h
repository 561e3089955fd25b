/* feed.h: a stream of bytes that comes in pieces (a pipe, a connection) cut into batches of whole
 * frames.
 *
 * Bytes are read straight into a batch's block; at each arrival what is whole is given away, and
 * what is not is carried to the next batch, so that nothing waits for more than it needs. Thread:
 * its source's shard. */
#ifndef MW_FEED_H
#define MW_FEED_H

#include "base/buffer.h"
#include "sources/oversize.h"

#include <moonweir/plugin.h>
#include <stdint.h>

typedef struct mw_feed {
    mw_source *source;
    mw_stream stream;
    mw_batch *batch;   /* being filled; NULL before the first byte */
    uint64_t position; /* of the batch's first byte in the stream */
    const char
        *meta; /* of every batch: members of a JSON object, each behind a comma; copied; or NULL */
    void *request;      /* of every batch */
    uint32_t in_flight; /* batches given and not acknowledged: they borrow the stream */
    mw_oversize oversize;
} mw_feed;

void mw_feed_init(mw_feed *f, mw_source *s);
/* When nothing of it is in flight. */
void mw_feed_close(mw_feed *f);
/* Where to read into, and how much. */
char *mw_feed_room(mw_feed *f, size_t *room);
/* `n` bytes were read there. MW_INVALID: the framing is lost, what was left is in the dead letters,
 * and the stream must end; `error` says why. */
mw_status mw_feed_got(mw_feed *f, size_t n, mw_error *error);
/* The stream is at its end: an unfinished last frame is a frame. */
void mw_feed_end(mw_feed *f);
/* The stream is broken off: an unfinished last frame is none, and goes into the dead letters. */
void mw_feed_cut_off(mw_feed *f, const char *why);
/* The source has other options, of the same format: the stream goes on by them. */
void mw_feed_change(mw_feed *f);
/* The feed of a batch that is done. */
mw_feed *mw_feed_acknowledge(mw_batch *b);

#endif
