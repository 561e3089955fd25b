/* batch.h: events on their way: a block of bytes as a source read it, and views into it.
 *
 * A source fills a batch's block with whole frames and gives it away; from then on nobody writes to
 * the block. What the batch causes (runs of rules, lists of pieces at sinks) holds the batch; when
 * the last hold is let go the batch is done, which is what acknowledges it to its source, and its
 * memory is used again. Thread: filled by its source's shard; split by the shard that works on it
 * first; then read by any. Holds are atomic. */
#ifndef MW_BATCH_H
#define MW_BATCH_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct mw_batch mw_batch;
typedef struct mw_stream mw_stream;
typedef struct mw_event mw_event;
typedef void (*mw_meta_writer)(const mw_batch *b, const mw_event *e, int kept,
                               struct mw_buffer *out);

/* One event: its JSON, and the bytes it came in. Where the source's format is JSON both are the
 * same. Lua reads this struct through the FFI: its layout is repeated in scripts/moonweir/core.lua.
 */
struct mw_event {
    const char *text;
    const char *raw; /* NULL when a rule made the event */
    uint32_t len;
    uint32_t raw_len;
    uint32_t origin; /* the event of the batch that it came from */
    uint32_t dead;   /* in the dead letters already: no rule sees it */
    int64_t time_ns; /* when it happened, as far as it says so, else when it came */
    int64_t mark_ns; /* how far time is known to have come with it: nothing earlier is to come */
};

/* An answer to one event of a batch; its bytes belong to the batch's arena or to memory attached to
 * the batch. */
typedef struct mw_reply {
    const char *text;
    uint32_t len;
    uint16_t http_status;
    _Atomic uint16_t state;
} mw_reply;

enum { MW_REPLY_NONE, MW_REPLY_WRITING, MW_REPLY_SET };

struct mw_batch {
    mw_batch *next;        /* in whatever list it is in */
    mw_batch *after;       /* the partition's next batch, while it is in flight */
    void *owner;           /* the flow's view of the source; opaque here, as the next */
    void *version;         /* of the flow that decides it */
    uint32_t cut;          /* number of the last cut before it */
    uint32_t source;       /* number of the source in that version */
    void *partition;       /* the flow's record of positions, or NULL */
    mw_stream *stream;     /* how the block is framed; borrowed from the source */
    const char *reject;    /* the block is no frame, for this reason; in the arena; or NULL */
    void *request;         /* the source's own (an HTTP request), or NULL */
    uint64_t sequence;     /* counts the batches of a source */
    uint64_t position;     /* of the block's first byte in the partition */
    uint64_t end_position; /* where to go on once this batch is done */
    int64_t time_ns;       /* arrival, wall clock */
    char *block;           /* room + MW_JSON_PADDING bytes */
    size_t len, room;
    mw_event *events;
    uint32_t count, events_room;
    int first;         /* the block begins its stream: a csv header may be in it */
    int wants_replies; /* the source will look at `replies` */
    uint32_t epoch;    /* of the partition, when the batch was given */
    int done;          /* all holds are gone; kept by the flow */
    mw_reply *replies; /* one an event, or NULL */
    const void *meta;  /* what the source knows of the events; in the arena; or NULL */
    /* Appends what it says of an event (NULL: of the batch) as members of a JSON object, each
     * behind a comma; NULL: nothing. `kept`: for the dead letters, so without secrets. */
    mw_meta_writer write_meta;
    /* Where an event of the batch is in the partition, by its distance in the block from the first;
     * NULL: so many bytes behind it. */
    uint64_t (*position_of)(const mw_batch *b, size_t distance);
    mw_arena arena;          /* of the shard that works on the batch, until it is shared */
    _Atomic int holds;       /* what keeps it from being done */
    _Atomic int deciding;    /* runs of rules still to come */
    _Atomic(void *) garbage; /* memory that shards attached, a list of mw_garbage */
    size_t weight;           /* bytes that the flow counts for it while it is in flight */
};

typedef struct mw_garbage {
    struct mw_garbage *next;
    void (*release)(struct mw_garbage *self);
} mw_garbage;

mw_batch *mw_batch_new(size_t room);
void mw_batch_free(mw_batch *b);
/* Makes it as new: empty, unheld, its memory kept (unless it grew past `keep_room`). */
void mw_batch_reset(mw_batch *b, size_t keep_room);
/* Room for at least `room` bytes; what is there stays. Before the batch is given. */
void mw_batch_reserve(mw_batch *b, size_t room);
/* Adds a frame. `text` is its JSON (the same pointer as raw, or in the arena). */
void mw_batch_add(mw_batch *b, const char *raw, size_t raw_len, const char *text, size_t len);
/* Makes room for one reply an event, when the source wants them. */
void mw_batch_expect_replies(mw_batch *b);
/* Answers an event, unless it is answered already (0). The text must live as long as the batch. Any
 * thread. */
int mw_batch_reply(mw_batch *b, uint32_t event, unsigned http_status, const char *text, size_t len);
/* Adds memory that is released when the batch is. Any thread. */
void mw_batch_attach(mw_batch *b, mw_garbage *g);

#endif
