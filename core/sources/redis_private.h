/* redis_private.h: what the two ways of reading Redis have in common: a source is either some
 * streams or some channels. Thread: the source's shard. */
#ifndef MW_SOURCE_REDIS_H
#define MW_SOURCE_REDIS_H

#include <moonweir/plugin.h>

struct redisReply;

typedef struct mw_redis_reader {
    mw_source *source;
    mw_stream stream; /* of the channels; each stream has its own */
    int by_line;
    unsigned handles; /* that are not closed yet */
    struct mw_redis_streams *streams;
    struct mw_redis_channels *channels;
} mw_redis_reader;

/* Adds the bytes of an entry or a message to the batch. Not MW_OK: they are no events, `error` says
 * why, and the batch is as it was. */
mw_status mw_redis_add(const mw_redis_reader *r, mw_stream *frames, mw_batch *b, const char *bytes,
                       size_t len, mw_error *error);
/* A handle is closed: memory goes with the last. */
void mw_redis_reader_released(mw_redis_reader *r);

/* ---- streams ---- */

mw_status mw_redis_streams_open(mw_redis_reader *r, mw_error *error);
void mw_redis_streams_start(mw_redis_reader *r);
void mw_redis_streams_resume(mw_redis_reader *r);
void mw_redis_streams_acknowledge(mw_redis_reader *r, mw_batch *b);
void mw_redis_streams_drain(mw_redis_reader *r);
void mw_redis_streams_close(mw_redis_reader *r);

/* ---- channels ---- */

mw_status mw_redis_channels_open(mw_redis_reader *r, mw_error *error);
void mw_redis_channels_start(mw_redis_reader *r);
void mw_redis_channels_rest(mw_redis_reader *r, int rest);
void mw_redis_channels_drain(mw_redis_reader *r);
void mw_redis_channels_close(mw_redis_reader *r);

#endif
