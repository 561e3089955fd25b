/* flow_private.h: the structures that the files of this folder share: a flow, its shards, and what
 * they host.
 *
 * The way of a batch: a source gives it (source_host.c); its shard, or for large batches the shard
 * with the least to do, splits it and projects the fields (prepare.c); rules run over it, once for
 * each stage of the source's chain, on the shards that own the keys (run.c); what they sent goes as
 * lists to the sinks' homes (sink_host.c); and when nothing holds the batch any more it goes back
 * to its source, which moves its position (delivery.c). */
#ifndef MW_FLOW_PRIVATE_H
#define MW_FLOW_PRIVATE_H

#include "event/json.h"
#include "event/template.h"
#include "flow/flow.h"
#include "flow/post.h"
#include "flow/sequencer.h"
#include "lua/state.h"
#include "state/store.h"

#include <pthread.h>

typedef struct mw_shard mw_shard;
typedef struct mw_source_host mw_source_host;
typedef struct mw_sink_host mw_sink_host;

/* Counters are written by one thread and read by any. */
typedef _Atomic uint64_t mw_counter;
static inline void mw_count(mw_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t mw_counted(const mw_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* What messages between loops carry. */
enum mw_message_kind {
    MW_MSG_BATCH,    /* body: a batch to work on */
    MW_MSG_RUN,      /* body: mw_run */
    MW_MSG_LIST,     /* body: mw_list_item, for a sink's home */
    MW_MSG_DONE,     /* body: batch, for its source's home */
    MW_MSG_DECIDED,  /* the same, when the rules have run */
    MW_MSG_START,    /* sources begin */
    MW_MSG_DRAIN,    /* sources take nothing new in */
    MW_MSG_HURRY,    /* sinks deliver what waits */
    MW_MSG_STOP,     /* everything closes */
    MW_MSG_FULL,     /* target: 1, some sink is full; 0, none is any more */
    MW_MSG_READY,    /* to control: a shard is open; body: NULL or an mw_error */
    MW_MSG_ENDED,    /* to control: one source has read all it will; target: it is a listener */
    MW_MSG_EMPTY,    /* to control: one source has ended and nothing of it is in flight */
    MW_MSG_FAILED,   /* to control: the run fails; target: 1, at once */
    MW_MSG_FULLNESS, /* to control: target as above, from one sink */
};

/* A part of a batch on its way through a stage of a chain. */
typedef struct mw_run {
    mw_sequenced order; /* by batch, at the shard that runs it */
    mw_batch *batch;
    uint32_t chain, stage, source;
    int ordered;
    uint32_t parts; /* while it is gathered: how many have come */
    uint32_t count;
    mw_event events[];
} mw_run;

/* What keeps the runs of a stage in the order of their batches, at the shard that runs them; one
 * for each shard that batches come from. Behind the first stage a run comes in parts, one from each
 * shard, which are put together first. */
typedef struct mw_stage_order {
    mw_sequencer sequence;
    mw_run *gathering;
} mw_stage_order;

/* A position that is kept. Linked into the flow's list for good; fields but `safe` and `note` are
 * the home's. */
struct mw_partition {
    mw_partition *next;
    char *key;                 /* "source/NAME/KEY" */
    mw_batch *oldest, *newest; /* in flight, by mw_batch.after */
    uint32_t epoch;
    int known;
    _Atomic uint64_t safe;
    pthread_mutex_t lock; /* of the note */
    char note[MW_NOTE_BYTES];
    size_t note_len;
    uint64_t start; /* as the checkpoint had it */
    uint64_t saved; /* control's: what the checkpoint has */
    int dirty;      /* note changed since */
};

/* A list as it travels: in order of its batch where it is ordered. */
typedef struct mw_list_item {
    mw_sequenced order;
    mw_list list;
} mw_list_item;

struct mw_source_host {
    mw_source source; /* first: what the kind is handed */
    mw_shard *shard;
    uint32_t index;
    int open, full, ended, empty, draining;
    uint64_t sequence;
    size_t in_flight_bytes, in_flight_max;
    uint32_t in_flight;
    mw_batch *spare; /* to be used again */
    uint32_t spares;
    mw_stream reject_stream;
    mw_counter events, bytes, rejected, dropped, lag;
};

struct mw_sink_host {
    mw_sink sink; /* first */
    mw_shard *shard;
    uint32_t index;
    int open, full, dirty, failing;
    int selects; /* `only` or `without` are given */
    size_t queued, queue_max;
    mw_sequencer *orders; /* one a source */
    mw_template *template;
    mw_buffer scratch;
    mw_counter events, bytes, lists, failed, retried, waiting;
};

struct mw_shard {
    mw_flow *flow;
    unsigned index;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_check_t check;
    uv_idle_t idle;
    mw_error error; /* why it could not open */
    int stopping, is_full;
    /* work */
    mw_batch *work_first, *work_last;
    mw_run *runs_first, *runs_last;
    mw_batch *done_first, *done_last;
    mw_stage_order ***stage_orders; /* [chain][stage][home] */
    _Atomic uint32_t load;          /* batches dealt to it and not worked on yet */
    /* rules */
    mw_paths paths;
    mw_view view;
    mw_lua *lua;
    mw_projector **projectors; /* one a source */
    int32_t ***key_paths;      /* [chain][stage][n] */
    uint32_t *list_counts;     /* scratch, one a sink */
    mw_list **lists;
    size_t *list_bytes;
    mw_source_host *sources; /* one a declaration; those that live elsewhere are not open */
    mw_sink_host *sinks;
    struct mw_rule_counters {
        mw_counter events, filtered, failed;
    } * rule_counters; /* what Lua counts in the view, published now and then for other threads */
    uint64_t published_ms;
    mw_counter decided; /* events whose rules have run */
    mw_counter lua_bytes;
};

struct mw_flow {
    mw_flow_options options;
    const mw_kinds *kinds;
    mw_graph graph;
    mw_buffer kinds_json, default_state;
    unsigned shards;
    mw_shard *shard; /* shards of them */
    mw_post *post;   /* box `shards` is control's */
    mw_store *store;
    pthread_mutex_t partitions_lock;
    mw_partition *partitions;
    unsigned *sink_homes;
    pthread_mutex_t shared_lock;
    int *shared; /* one a source */
    /* control */
    uv_loop_t *loop;
    unsigned waiting, sources_open, listeners, ended, ended_readers, empty, full_sinks;
    int failed, phase, drain_wanted;
    uv_timer_t checkpoint_timer, progress_timer, drain_timer;
    uv_signal_t terminate, interrupt, hangup;
    int64_t started_ns; /* steady */
    int64_t started_wall_ns;
    mw_counter checkpoints, checkpoint_failures;
    _Atomic int ready;
    void *extension;
};

/* shard.c */
void mw_shard_open(mw_shard *s, mw_flow *flow, unsigned index);
void mw_shard_enqueue(mw_shard *s, mw_batch *b);
void mw_shard_run(mw_shard *s, mw_run *r);
void mw_shard_finish(mw_shard *s, mw_batch *b);
/* There is something to do in this round's check phase: the loop must not sleep before. */
void mw_shard_stay_awake(mw_shard *s);
/* Sends to control. */
void mw_shard_report(mw_shard *s, uint32_t kind, uint32_t target, void *body);

/* prepare.c: splits a batch, projects its fields, and runs or hands out the first stage. */
void mw_prepare(mw_shard *s, mw_batch *b);
/* Projects the rows of the shard's view that are not dead. */
void mw_prepare_project(mw_shard *s, uint32_t source);
/* The shard that owns the key of a row of the view. */
unsigned mw_prepare_owner(mw_shard *s, uint32_t chain, uint32_t stage, uint32_t row);

/* run.c: runs a stage over the events that the view holds, and sends on what came of it. */
void mw_run_here(mw_shard *s, mw_batch *b, uint32_t source, uint32_t chain, uint32_t stage,
                 int ordered);
void mw_run_received(mw_shard *s, mw_run *r);
/* Hands the rows of the view that are not dead to the shards that own their keys. */
void mw_run_hand_out(mw_shard *s, mw_batch *b, uint32_t source, uint32_t chain, uint32_t stage,
                     int ordered);
int mw_run_route(void *host, mw_view *v, uint32_t row, uint32_t channel);

/* delivery.c: holds of batches, positions, checkpoints. */
void mw_delivery_hold(mw_batch *b);
void mw_delivery_release(mw_shard *s, mw_batch *b);
void mw_delivery_decided(mw_shard *s, mw_batch *b);
/* On the home of the batch's source. */
void mw_delivery_done(mw_source_host *h, mw_batch *b);

/* source_host.c */
mw_status mw_source_host_open(mw_source_host *h, mw_error *error);
void mw_source_host_start(mw_source_host *h);
void mw_source_host_drain(mw_source_host *h);
void mw_source_host_close(mw_source_host *h);
void mw_source_host_free(mw_source_host *h); /* when the loop has run to its end */
void mw_source_host_check_full(mw_source_host *h);
void mw_source_host_returned(mw_source_host *h, mw_batch *b);

/* sink_host.c */
mw_status mw_sink_host_open(mw_sink_host *h, mw_error *error);
void mw_sink_host_take(mw_sink_host *h, mw_list_item *item);
void mw_sink_host_flush(mw_sink_host *h);
void mw_sink_host_close(mw_sink_host *h);
void mw_sink_host_free(mw_sink_host *h); /* when the loop has run to its end */

/* dead_letter.c: the JSON of a dead letter. */
void mw_dead_letter_of_row(void *shard, mw_view *v, mw_buffer *out, uint32_t row, uint32_t rule,
                           const char *why, size_t len);
void mw_dead_letter_write(mw_shard *s, mw_batch *b, const mw_event *e, const char *stage,
                          const char *name, const char *why, size_t why_len, mw_buffer *out);
void mw_meta_write(void *shard, mw_view *v, uint32_t row, mw_buffer *out);

/* checkpoint.c: on the control loop. */
mw_status mw_checkpoint_save(mw_flow *f, mw_error *error);

#endif
