/* plugin.h: the one door through which sources and sinks enter, the built-in ones too.
 *
 * A kind is a table of functions and a table of options. The router makes an instance for each
 * declaration of the flow (and for each shard, where the kind says so), and calls it on one thread
 * only: the shard that is its home, whose libuv loop it may use. What a kind may call is declared
 * below; it sees no more of the router than this.
 *
 * The life of a source: open, start, (pause, resume)*, drain, close. Of a sink: open, write*,
 * drain, close. Not yet a promise to others: the version rises with every change. */
#ifndef MOONWEIR_PLUGIN_H
#define MOONWEIR_PLUGIN_H

#include "base/status.h"
#include "event/batch.h"
#include "event/config.h"
#include "event/format.h"

#include <uv.h>

#define MW_PLUGIN_VERSION 1

/* ---- sources ---- */

typedef struct mw_source mw_source;
typedef struct mw_partition mw_partition;

/* Exactly once: how far a source had come at a checkpoint's mark, in words that a sink of its own
 * world understands, so that both can be made known at once (Kafka: offsets in a transaction). The
 * first member of the kind's own. */
typedef struct mw_offsets {
    struct mw_offsets *next;
    const char *world; /* compared by address */
    const void *what;
    mw_source *source; /* the router's */
    void (*free)(struct mw_offsets *o);
} mw_offsets;

/* What becomes of its events when the router dies before they are safe. */
typedef enum mw_source_grade {
    MW_SOURCE_FORGETS, /* they are lost: nobody knows that they were not delivered */
    MW_SOURCE_ANSWERS, /* whoever sent them has had no answer, and may send them again */
    MW_SOURCE_REPLAYS, /* it gives them again, from a position: a flow may be exactly once */
} mw_source_grade;

typedef struct mw_source_kind {
    const char *name;
    const mw_option *options; /* besides those that every source has */
    int every_shard;          /* one instance a shard (listeners), or one in all (files) */
    int endless;              /* it never ends by itself (a listener) */
    int spread; /* its batches are large: they are dealt out to all shards, and what comes of them
                 * is put back in their order */
    const char *format; /* what `format` is when the flow does not say; NULL: "ndjson" */
    int passive;        /* the router's own: it counts for nothing, and ends when all others have */
    int hidden;         /* the router's own: flows cannot name it */
    mw_source_grade grade;
    mw_status (*open)(mw_source *s, mw_error *error);
    void (*start)(mw_source *s);
    /* Too much is in flight: read nothing more until resume. A batch that is already filled may
     * still be given. NULL: the source asks mw_source_is_full by itself. */
    void (*pause)(mw_source *s);
    void (*resume)(mw_source *s);
    /* All that the batch caused is safe, and its replies are there. Never called from inside
     * mw_source_give. Batches of a partition come in their order, the others as they are done. May
     * be NULL. */
    void (*acknowledge)(mw_source *s, mw_batch *b);
    /* The rules have run, but nothing need be safe yet. Only for sources that set `wants_decision`
     * in open. */
    void (*decided)(mw_source *s, mw_batch *b);
    /* Take nothing new in; call mw_source_finished as soon as nothing more will be given. */
    void (*drain)(mw_source *s);
    /* Whether an instance can go on, with its connections and all, when a new version of the flow
     * declares the source with other options; 0: another instance takes its place. Any thread.
     * NULL: it never can. */
    int (*can_change)(mw_config *before, mw_config *after);
    /* s->config is the new one. What was given before may be in flight with the old one, which
     * stays until it is not. */
    void (*change)(mw_source *s);
    /* A duplicate of the listening socket, for the instance that takes its place and listens at the
     * same address; -1 when there is none. May be NULL. */
    int (*hand_over)(mw_source *s);
    /* Exactly once, at a checkpoint's mark: how far it has come, for others to know; NULL: nothing
     * new. May be NULL. */
    mw_offsets *(*offsets)(mw_source *s);
    /* The checkpoint is made that these are of; `told`: a sink has made them known with it. May be
     * NULL. */
    void (*checkpointed)(mw_source *s, mw_offsets *o, int told);
    /* Frees self. No batch of it is in flight. libuv handles must be closed with uv_close; the loop
     * runs on until they are. */
    void (*close)(mw_source *s);
} mw_source_kind;

struct mw_source {
    const mw_source_kind *kind;
    const char *name;
    mw_config *config;
    const mw_format *format;
    size_t limit; /* largest event in bytes */
    uv_loop_t *loop;
    unsigned shard, shards;
    int once;      /* end at the end of what is there now, as if nothing more would come */
    int inherited; /* in open: a listening socket from the instance before; -1: none. What open does
                    * not take over, by setting it to -1, is closed */
    int exactly_once; /* the flow is */
    int buffered;     /* a batch is acknowledged when it is on disk: nobody has decided it */
    int wants_decision;
    size_t batch_bytes; /* what a batch should have at most, where the flow does not say; 0: no
                         * matter. Rows of a large one that all wait for answers fall out of the
                         * processor's caches */
    void *self;         /* the kind's own */
};

/* A batch with an empty block of at least `room` bytes. The caller fills block, len, stream, first,
 * position, end_position, meta and request as far as it has them, and gives the batch, or takes it
 * back. Never NULL. */
mw_batch *mw_source_take(mw_source *s, size_t room);
void mw_source_untake(mw_source *s, mw_batch *b);
/* Hands a batch of whole frames over. `partition` is NULL where there is nothing to resume. */
void mw_source_give(mw_source *s, mw_batch *b, mw_partition *partition);
/* True when the source should not read: too much is in flight, or a sink is full. */
int mw_source_is_full(const mw_source *s);

/* A partition (a file, say) with a position of its own, which is kept across restarts. `key` names
 * it for good. A note of up to MW_NOTE_BYTES is kept with the position. */
enum { MW_NOTE_BYTES = 64 };
mw_partition *mw_source_partition(mw_source *s, const char *key);
/* Whether a checkpoint knew it; the position to go on at, and the note. */
int mw_partition_known(const mw_partition *p, uint64_t *position, const char **note,
                       size_t *note_len);
void mw_partition_note(mw_partition *p, const void *note, size_t len);
/* Starts the partition over at a position: what is in flight from before no longer moves it. */
void mw_partition_restart(mw_partition *p, uint64_t position);

/* Bytes that cannot be events go to the dead letters, with why. `end_position` is where to go on
 * behind them. */
void mw_source_reject(mw_source *s, mw_partition *partition, mw_stream *stream, uint64_t position,
                      uint64_t end_position, const char *bytes, size_t len, const char *why);
/* A checkpoint should be made now, before its time. */
void mw_source_wants_checkpoint(mw_source *s);
/* Nothing more will come: a finite source is at its end, or a drained one is empty. */
void mw_source_finished(mw_source *s);
/* The source cannot go on; the run fails. */
void mw_source_failed(mw_source *s, const char *why);
/* The run ends, and begins again from its last checkpoint. */
void mw_source_restart(mw_source *s, const char *why);
/* Counts what the source had to drop (only udp may). */
void mw_source_dropped(mw_source *s, uint64_t events);
/* A number that the instances of a source share (the port that the first listener was given), 0 at
 * first. Between lock and unlock one instance has it to itself. */
int *mw_source_lock_shared(mw_source *s);
void mw_source_unlock_shared(mw_source *s);
/* Says how many bytes are there and not read yet. */
void mw_source_lag(mw_source *s, uint64_t bytes);
/* A number of the kind's own for the metrics, as it is now; `name` is a constant. There is room for
 * MW_STATS_MOST names. */
enum { MW_STATS_MOST = 16 };
void mw_source_stat(mw_source *s, const char *name, double value);
/* Counts bytes read. */
void mw_source_read(mw_source *s, uint64_t bytes);

/* ---- sinks ---- */

typedef struct mw_sink mw_sink;

/* One event for a sink. */
typedef struct mw_piece {
    const char *text; /* its JSON */
    const char *
        raw; /* as it came, in the format of its source, when nothing was changed; NULL otherwise */
    const char *options; /* third argument of send, a JSON object; NULL when there was none */
    uint32_t len, raw_len, options_len;
    uint32_t event; /* in its batch */
    uint32_t rule;  /* that sent it */
} mw_piece;

/* What one run sent to one sink. Pieces point into the batch, which the list holds. */
typedef struct mw_list {
    struct mw_list *next; /* the sink's own, while it has the list */
    mw_batch *batch;
    uint64_t sequence; /* of the batch at its source: with the source's name and the piece's number,
                          a stable identity */
    int ordered;       /* the router's own */
    uint32_t count;
    size_t bytes; /* of all pieces */
    mw_piece pieces[];
} mw_list;

/* What a sink's events may come to after a crash. */
typedef enum mw_sink_grade {
    MW_SINK_REPEATS, /* some come again, and nothing tells that they do */
    MW_SINK_KEYED,   /* some come again, each with the same identity: whoever gets them can tell */
    MW_SINK_ONCE,    /* where the flow is exactly once, none does */
} mw_sink_grade;

typedef struct mw_sink_kind {
    const char *name;
    const mw_option *options;
    const char *format;
    mw_sink_grade grade;
    /* Exactly once, before anything is open: whether the checkpoint `number`, which was being
     * committed with `record` (of mw_sink_prepared) when the router ended, has been. From then on
     * it cannot be any more. Blocks for as long as that cannot be known. Control's thread. */
    mw_status (*settle)(mw_sink *k, uint64_t number, const char *record, size_t len, int *committed,
                        mw_error *error);
    mw_status (*open)(mw_sink *k, mw_error *error);
    /* Exactly once: what two sinks write has to become visible at once; MW_CONFIG: it cannot be
     * ("their brokers are not the same"). For kinds with `commit`. */
    mw_status (*together)(mw_config *a, mw_config *b, mw_error *error);
    /* Takes the list; answers later (or at once) with mw_sink_done. Lists are answered in any
     * order. */
    void (*write)(mw_sink *k, mw_list *list);
    /* Called after a round of writes: what was collected should leave now. May be NULL. */
    void (*flush)(mw_sink *k);
    /* The flow ends: deliver what is waiting without regard to batching. May be NULL. */
    void (*drain)(mw_sink *k);
    /* Exactly once, at a checkpoint: all lists of before have been answered, and those of after
     * come next. The kind says by mw_sink_prepared, now or later, that what it has written up to
     * here is safe, and how it is told apart from what comes (mw_sink_keep). NULL: what was
     * answered is safe. */
    void (*prepare)(mw_sink *k, uint64_t number);
    /* Kinds with transactions, whose sinks all live on one shard: the checkpoint is on disk, to
     * count when this has been carried out: all that these sinks wrote before it, and the offsets
     * (NULL: none), become visible at once. Called for one of those sinks; says mw_sink_committed.
     * It may not fail: where the outcome cannot be known the run has to end (mw_sink_failed), and
     * the next asks `settle`. NULL: it has none. */
    void (*commit)(mw_sink *k, uint64_t number, const mw_offsets *offsets);
    /* Frees self. Lists that were not answered are no business of it any more: they are not to be
     * answered now or later. */
    void (*close)(mw_sink *k);
} mw_sink_kind;

struct mw_sink {
    const mw_sink_kind *kind;
    const char *name;
    mw_config *config;
    const mw_format *format;
    const char *flow; /* name of the flow */
    int exactly_once; /* the flow is, and the sink does not say otherwise */
    uint64_t state;   /* a number that is the state folder's for good */
    int takes_over;   /* in open: another instance is still delivering, perhaps to the same place */
    uv_loop_t *loop;
    void *self;
};

/* Every piece of the list is safe, or was failed. */
void mw_sink_done(mw_sink *k, mw_list *list);
/* One piece can never be delivered: it goes to the dead letters. Before mw_sink_done. */
void mw_sink_fail(mw_sink *k, mw_list *list, uint32_t piece, const char *why);
/* Counts a try that did not succeed and will be repeated; the first of a row is logged. */
void mw_sink_retried(mw_sink *k, const char *why);
/* Tries succeed again. */
void mw_sink_recovered(mw_sink *k);
/* The sink cannot go on, and retrying cannot help (standard output was closed); the run fails. */
void mw_sink_failed(mw_sink *k, const char *why);
/* The run ends, and begins again from its last checkpoint. */
void mw_sink_restart(mw_sink *k, const char *why);
/* As mw_source_stat. */
void mw_sink_stat(mw_sink *k, const char *name, double value);
/* Bytes that left. */
void mw_sink_wrote(mw_sink *k, uint64_t bytes);
/* Appends one piece as the sink should write it: its format or template, its `only` and `without`.
 */
void mw_sink_render(mw_sink *k, const mw_list *list, const mw_piece *p, mw_buffer *out);
/* Where it is to be written just as it lies there: its bytes, without a line's end, which stay as
 * long as the list; else NULL. */
const char *mw_sink_plain(mw_sink *k, const mw_list *list, const mw_piece *p, size_t *len);
/* The same for as many pieces from `first` on as can be written in one go (neighbours in their
 * block, unchanged); how many that was, at least one. */
uint32_t mw_sink_render_some(mw_sink *k, const mw_list *list, uint32_t first, mw_buffer *out);
/* A text that is the same whenever the piece is sent, after a restart too where its source keeps
 * positions: flow, source, partition, position, and the piece's place. */
void mw_sink_identify(mw_sink *k, const mw_list *list, const mw_piece *p, char *to, size_t room);
/* See mw_sink_kind.prepare. `record`, where there is one, is for `commit`, or else for `settle`. */
void mw_sink_prepared(mw_sink *k, const char *record, size_t len);
void mw_sink_committed(mw_sink *k);
/* A record that is kept with the checkpoint that is being prepared; NULL: it is removed. */
void mw_sink_keep(mw_sink *k, const char *key, const void *value, size_t len);
/* The same at once, whatever becomes of the checkpoint. */
mw_status mw_sink_keep_now(mw_sink *k, const char *key, const void *value, size_t len,
                           mw_error *error);
/* Shows all records of the sink whose key begins so. In open. */
void mw_sink_kept(mw_sink *k, const char *prefix,
                  void (*each)(void *self, const char *key, const char *value, size_t len),
                  void *self);
/* What the sinks with transactions share; NULL at first. */
void **mw_sink_shared(mw_sink *k);
/* A small record that is kept across restarts, at once. Returns 0 and leaves *value when there is
 * none. */
int mw_sink_recall(mw_sink *k, const char *key, uint64_t *value);
mw_status mw_sink_remember(mw_sink *k, const char *key, uint64_t value);

#endif
