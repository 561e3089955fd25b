/* flow_private.h: the structures that the files of this folder share: a flow, its versions, its
 * shards, and what they host.
 *
 * The way of a batch: a source gives it (source_host.c), which settles the version of the flow that
 * decides it; its shard, or for large batches the shard with the least to do, splits it and
 * projects the fields (prepare.c); rules run over it, once for each stage of the source's chain, on
 * the shards that own the keys (run.c); what they sent goes as lists to the sinks' homes
 * (sink_host.c); and when nothing holds the batch any more it goes back to its source, which moves
 * its position (delivery.c). How one version takes the place of another is in swap.c (a shard's
 * side) and reload.c (control's). */
#ifndef MW_FLOW_PRIVATE_H
#define MW_FLOW_PRIVATE_H

#include "event/json.h"
#include "event/template.h"
#include "flow/flow.h"
#include "flow/messages.h"
#include "flow/post.h"
#include "flow/sequencer.h"
#include "lua/state.h"
#include "state/snapshot.h"
#include "state/store.h"

#include <pthread.h>

typedef struct mw_shard mw_shard;
typedef struct mw_version mw_version;
typedef struct mw_rules mw_rules;
typedef struct mw_source_host mw_source_host;
typedef struct mw_sink_host mw_sink_host;
typedef struct mw_keeping mw_keeping;
typedef struct mw_store_client mw_store_client;
typedef struct mw_blocked mw_blocked;
typedef struct mw_wish mw_wish;
typedef struct mw_import mw_import;
typedef struct mw_disk_buffer mw_disk_buffer;

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

/* Numbers that a kind tells of itself. Written by its shard, read by any. */
typedef struct mw_stats {
    const char *_Atomic names[MW_STATS_MOST];
    _Atomic double values[MW_STATS_MOST];
} mw_stats;

/* A part of a batch on its way through a stage of a chain. */
typedef struct mw_run {
    mw_sequenced order; /* by batch, at the shard that runs it */
    mw_batch *batch;
    uint32_t chain, stage;
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

/* How far the events of a partition have come in time (time.c). Written by the shards that split
 * them, read by any; fields but the atomic ones are the home's. */
typedef struct mw_progress {
    _Atomic int64_t high_ns; /* the latest time; INT64_MIN: nothing came */
    _Atomic int64_t seen_ns; /* when something came; steady */
    int64_t lateness_ns, idle_ns;
    int arrival; /* events happen when they come */
    int listed;
    const mw_source_host *home;
    mw_partition *partition; /* NULL: it is a source without positions */
} mw_progress;

/* How a checkpoint gets to the disk: at once, or in two steps (commit.c). */
enum mw_write_step { MW_WRITE_ALL, MW_WRITE_PREPARED, MW_WRITE_PROMOTED };

/* A partition that is not idle as a cut is marked. */
typedef struct mw_marked {
    const mw_progress *progress;
    int64_t mark_ns; /* how far it has come; INT64_MIN: when all before the cut is decided, its high
                      * says so */
} mw_marked;

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
    uint64_t start;           /* as the checkpoint had it */
    uint64_t saved;           /* control's: what the checkpoint has */
    _Atomic uint64_t durable; /* what a checkpoint on disk has */
    int dirty;                /* note changed since */
    mw_progress progress;
    /* as of a cut; under the lock */
    unsigned cut;
    uint64_t cut_position;
    uint32_t cut_epoch;
    char cut_note[MW_NOTE_BYTES];
    size_t cut_note_len;
};

/* A list as it travels: in order of its batch where it is ordered. */
typedef struct mw_list_item {
    mw_sequenced order;
    mw_sink_host *to;
    struct mw_list_item *before, *after; /* among those that the sink has, oldest first */
    mw_list list;
} mw_list_item;

/* Fields behind `control` are the control loop's. */
struct mw_source_host {
    mw_source source; /* first: what the kind is handed */
    mw_source_host *next;
    mw_shard *shard;
    mw_version *version;  /* that decides what it gives */
    uint32_t index;       /* of its declaration in that version */
    mw_version *origin;   /* whose configuration it works by */
    mw_source_host *heir; /* takes its place when it is closed, and does not start before */
    int open, started, full, ended, empty, draining;
    uint64_t closed_ms; /* its loop's time; it is freed when its handles surely are */
    uint64_t sequence;
    size_t in_flight_bytes, in_flight_max;
    uint32_t in_flight;
    mw_batch *spare; /* to be used again */
    uint32_t spares;
    mw_stream reject_stream;
    mw_disk_buffer *buffer; /* to which it gives; NULL: to the rules */
    int *shared;            /* among the instances of a declaration */
    mw_progress progress;
    mw_counter events, bytes, rejected, dropped, lag;
    mw_stats stats;
    struct {
        int ended, empty, removed;
    } control;
};

/* The order of the lists of one source. */
typedef struct mw_sink_order {
    const mw_source_host *source;
    mw_sequencer sequence;
} mw_sink_order;

/* Exactly once: how far a sink is with a checkpoint (seal.c). */
enum mw_seal { MW_SEAL_NONE, MW_SEALING, MW_SEAL_PREPARES, MW_SEALED };

enum mw_sink_phase {
    MW_SINK_OPEN,
    MW_SINK_LEAVING, /* it delivers what it has, and is closed then */
    MW_SINK_CLOSED,  /* what still comes goes to its heir, or to the dead letters */
};

struct mw_sink_host {
    mw_sink sink; /* first */
    mw_sink_host *next;
    mw_shard *shard;
    mw_version *version; /* the last that declares it */
    uint32_t index;      /* in that one */
    mw_version *origin;  /* whose configuration it works by */
    mw_sink_host *heir;
    mw_sink_host *awaits; /* until it has left, what comes is kept */
    enum mw_sink_phase phase;
    int64_t deadline_ns; /* of leaving; steady */
    uint64_t closed_ms;
    mw_list_item *oldest, *newest; /* handed to the kind, or kept, and not answered */
    enum mw_seal seal;
    mw_list_item *behind, *behind_last; /* while it seals: what is of after the cut */
    int released;                       /* no list can come any more */
    int open, full, dirty, failing;
    int selects; /* `only` or `without` are given */
    size_t queued, queue_max;
    mw_sink_order *orders;
    uint32_t order_count;
    mw_template *template;
    mw_buffer scratch;
    struct {
        const mw_list *list; /* NULL: none that is still there */
        uint32_t piece, place;
    } named; /* the piece that was identified last */
    mw_counter events, bytes, lists, failed, retried, waiting;
    mw_stats stats;
};

struct mw_rule_counters {
    mw_counter events, filtered, failed;
};

/* Of what is kept under a declaration on one shard. `cold`: keys in the store alone; late additions
 * are a window's. */
struct mw_kept_counters {
    mw_counter keys, cold, bytes, late;
};

/* Of a model on one shard (lua/model.h). `apart_bits`: a double. */
struct mw_model_counters {
    mw_counter scored, compared, failed, disagreed, apart_bits;
    const struct mw_drift *drift; /* NULL: none; of the Lua state */
    mw_counter *drifted;          /* its counts */
};

/* The rules of a version on one shard: a Lua state, and what goes with it. It is made by the thread
 * that loads the version and belongs to the shard from the swap on. */
struct mw_rules {
    mw_version *version;
    mw_shard *shard;
    mw_paths paths;
    mw_view view;
    mw_lua *lua;
    mw_projector **projectors; /* one a source */
    int32_t *time_paths;       /* one a source; -1: none */
    int32_t ***key_paths;      /* [chain][stage][n] */
    /* [chain][stage][home]; of a channel [source * shards + home] */
    mw_stage_order ***stage_orders;
    mw_buffer routed; /* mw_routed of the run, where they leave in its order */
    int in_order;     /* what the run sends to channels is put back into the order of its batches */
    uint32_t *list_counts; /* scratch, one a sink */
    mw_list_item **lists;
    uint32_t chain, stage;      /* that run */
    mw_store_client **stores;   /* borrowed, one a declaration */
    mw_blocked **blocked;       /* keys that wait (park.c) */
    uint32_t questions, parked; /* counts */
    mw_parked *spare_questions;
    uint32_t spare_count;
    struct mw_kept_counters *kept;     /* one a declaration */
    struct mw_model_counters *models;  /* published likewise */
    struct mw_rule_counters *counters; /* what Lua counts in the view, published now and then for
                                        * other threads */
};

/* What a shard has begun and ended of a version, each written by it alone. Nothing more is under
 * way when the sums over all shards are equal, the ends having been read first (Mattern,
 * "Algorithms for distributed termination detection", 1987: the double count). */
typedef struct mw_tally {
    _Alignas(64) mw_counter given, returned; /* batches, from their source and back to it */
    mw_counter begun, ended;                 /* runs of rules, the preparation included */
    mw_counter decided;                      /* events that its rules have run over */
    mw_counter failed;                       /* of those, how many became dead letters */
    mw_counter rule_ns;                      /* time in rules */
} mw_tally;

/* What becomes of a declaration when a version takes the place of another. */
typedef enum mw_fate { MW_STARTED, MW_KEPT, MW_CHANGED, MW_REPLACED } mw_fate;

/* One version of the flow. Made by control (or the thread that loads for it), and not changed from
 * the mark on but for the tallies and `marked`. */
struct mw_version {
    mw_version *next; /* the one before it */
    unsigned number;
    mw_files *files; /* borrowed */
    mw_graph graph;
    unsigned shards;
    mw_rules *rules;          /* one a shard; NULL once it is retired */
    mw_source_host **sources; /* [source * shards + shard]; NULL where it does not live */
    mw_sink_host **sinks;
    uint64_t *first;   /* [source * shards + shard]: number of the source's first batch of it */
    mw_tally *tallies; /* by shard */
    _Atomic unsigned marked; /* shards that have passed the mark */
    _Atomic int over;        /* the version before is decided, all of it */
    mw_version *before;      /* that it takes the place of, until the swap is done */
    _Atomic int users;       /* hosts that work by its configuration */
    mw_fate *fates;          /* of its sources, then of its sinks */
};

struct mw_shard {
    mw_flow *flow;
    unsigned index;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t tick;           /* while sinks are leaving */
    uv_timer_t clock;          /* where something may be due */
    uv_timer_t beat;           /* where there is a watchdog */
    mw_view *volatile running; /* whose rules run; for the watchdog's signal handler */
    mw_error error;            /* why it could not open */
    int stopping, is_full;
    mw_version *version; /* by which it works */
    mw_version *next;    /* whose mark has passed, until the swap */
    int64_t marked_ns;
    /* work */
    mw_batch *work_first, *work_last;
    mw_run *runs_first, *runs_last;
    mw_batch *held_first, *held_last; /* of a version that is not there yet */
    mw_run *held_runs, *held_runs_last;
    mw_batch *done_first, *done_last;
    _Atomic uint32_t load; /* batches dealt to it and not worked on yet */
    mw_source_host *sources;
    mw_sink_host *sinks;
    /* time, and what is kept by key */
    mw_progress **progress; /* of the partitions that live here */
    uint32_t progress_count;
    int64_t watermark_ns, kept_watermark_ns; /* the latter: before all was at its end */
    int has_due, is_flushing;
    mw_keeping *keepers;
    int has_limits, lets_go, is_over; /* of memory (keeping.c) */
    mw_store_client *stores;
    mw_parked *answered, *answered_last;
    uint32_t waits; /* rows that wait for an answer */
    int waits_full; /* too many: sources are paused */
    /* cuts (cut.c) */
    _Alignas(64) mw_counter begun[2], ended[2]; /* runs, by the last bit of their batch's cut */
    unsigned cut, marked_cut, checkpoint_cut;
    unsigned late_cut; /* to be marked when no window is in the middle of closing; 0: none */
    int held;          /* no other begins to close before the cut */
    int cut_checkpoint, cut_unsafe, taking;
    mw_snapshot *snapshots;
    int64_t cut_reached; /* where its watermark was at the cut */
    struct {
        unsigned number;  /* of the checkpoint; 0: none is under way */
        unsigned came[2]; /* shards whose seals have come */
        int closed;       /* its sinks but that of the dead letters have no more of before */
        mw_record *rows;  /* for the checkpoint, and behind it control's */
        size_t count, room;
        mw_buffer record; /* of a kind with transactions */
        mw_sink_host *commits;
        mw_offsets *offsets;
    } seal; /* exactly once (seal.c) */
    void *sink_shared;
    mw_marked *at_mark;
    uint32_t at_mark_count, at_mark_room;
    uint64_t published_ms;
    mw_counter lua_bytes;
    mw_counter swap_ns, hold_ns; /* of the last swap: its own work, and how long batches waited */
};

struct mw_flow {
    mw_flow_options options;
    const mw_kinds *kinds;
    mw_buffer kinds_json, default_state;
    unsigned shards;
    mw_shard *shard; /* shards of them */
    mw_post *post;   /* box `shards` is control's */
    mw_store *store;
    pthread_mutex_t partitions_lock;
    mw_partition *partitions;
    pthread_mutex_t shared_lock; /* of what the instances of a source share */
    mw_version *version;         /* the one that is live; older ones, not retired yet, behind it */
    mw_totals gone;              /* counts of hosts that were closed */
    struct mw_reload *reload;
    /* control */
    uv_loop_t *loop;
    unsigned waiting, full_sinks;
    int failed, again, phase, drain_wanted, hurried, flushed;
    uv_timer_t checkpoint_timer, progress_timer, drain_timer;
    uv_signal_t terminate, interrupt, hangup;
    int64_t started_ns; /* steady */
    int64_t started_wall_ns;
    mw_counter checkpoints, checkpoint_failures;
    _Atomic int ready;
    void *extension;
    struct {
        _Atomic unsigned marked; /* shards that have passed the mark */
        _Atomic int over;        /* one has seen that all before it is decided */
        _Atomic int wanted;      /* a checkpoint before its time */
        /* control's */
        unsigned number, awaited_pass, awaited;
        unsigned checkpoint; /* number of the cut that the checkpoint under way is of */
        int busy, writing, failed;
        int64_t checkpoint_at_ns; /* when the last began; steady */
        int64_t took_ns;          /* the last, until it was written */
        int64_t watermark, least;
        int64_t kept_watermark; /* that of the checkpoint */
        mw_snapshot *snapshots; /* that are being written */
        mw_record *rows;
        size_t row_count;
        /* exactly once (commit.c) */
        mw_buffer record;
        mw_sink_host *commits; /* NULL: nothing is to be committed */
        mw_offsets *offsets;
        uint64_t numbered; /* of the last checkpoint, for good */
        enum mw_write_step step;
        int ends;      /* everything has come to its end */
        unsigned last; /* the cut whose checkpoint is the last of the run; 0: not yet */
    } cut;
    uint64_t state; /* a number that is the state folder's for good */
    struct {
        uv_work_t work;
        int64_t at_ns, took_ns; /* the last */
        uint64_t checkpoints;
        int running;
    } copy; /* of the store */
    struct {
        mw_wish *wishes;
        mw_import *imports;
    } contents; /* contents.c */
};

/* flow.c */
enum { MW_OPENING, MW_RUNNING, MW_DRAINING, MW_STOPPING };
void mw_flow_stop(mw_flow *f);
void mw_flow_broadcast(mw_flow *f, uint32_t kind, uint32_t target, void *body);
/* Looks whether all sources have ended, or are empty, and goes on accordingly. */
void mw_flow_look_around(mw_flow *f);

/* version.c: loading versions; who lives where. */
mw_status mw_graph_load(mw_graph *g, const char *path, const mw_kinds *kinds,
                        const char *kinds_json, mw_files *files, unsigned shards,
                        const char *state_folder, mw_error *error);
mw_status mw_version_load(mw_version **version, mw_flow *f, mw_files *files, mw_error *error);
/* Makes the hosts of what `old` (which may be NULL) does not have, and takes over those it has. */
void mw_version_place(mw_version *v, mw_flow *f, mw_version *old);
/* Finds a declaration by name; 0 when there is none. */
int mw_version_find(const mw_declared *list, uint32_t count, const char *name, uint32_t *index);
void mw_version_free_rules(mw_version *v);
void mw_version_free(mw_version *v);
/* Whether nothing of it is in flight (given and not back), or being decided. */
int mw_version_is_empty(const mw_version *v);
int mw_version_is_decided(const mw_version *v);
/* What a rule on trial has compared so far, on all shards. */
void mw_version_trial(const mw_version *v, uint32_t rule, uint64_t *compared,
                      uint64_t differs[MW_DIFFERENCES]);

/* rules.c */
mw_status mw_rules_open(mw_rules *r, mw_version *v, const char *path, const char *kinds,
                        mw_error *error);
void mw_rules_close(mw_rules *r);
/* The counts in the view are Lua's, which knows no atomics: other threads see copies. */
void mw_rules_publish(mw_rules *r);
/* Of models (model_metrics.c): room for what a shard publishes, that, and the text of it all. */
void mw_models_open(mw_rules *r);
void mw_models_close(mw_rules *r);
void mw_models_publish(mw_rules *r);
void mw_models_metrics(const mw_flow *f, mw_buffer *out);

/* shard.c */
void mw_shard_open(mw_shard *s, mw_flow *flow, unsigned index);
void mw_shard_free(mw_shard *s); /* when its thread has ended */
void mw_shard_enqueue(mw_shard *s, mw_batch *b);
void mw_shard_run(mw_shard *s, mw_run *r);
void mw_shard_finish(mw_shard *s, mw_batch *b);
/* There is something to do in this round's check phase: the loop must not sleep before. */
void mw_shard_stay_awake(mw_shard *s);
/* Sends to control. */
void mw_shard_report(mw_shard *s, uint32_t kind, uint32_t target, void *body);

/* swap.c: a shard's side of a reload. */
mw_status mw_swap_open(mw_shard *s, mw_version *v, mw_error *error);
void mw_swap_abandon(mw_shard *s, mw_version *v);
void mw_swap_mark(mw_shard *s, mw_version *v);
/* Whether all before the mark is decided; then every shard is told. After each round. */
void mw_swap_look(mw_shard *s);
void mw_swap_now(mw_shard *s, mw_version *v);
void mw_swap_retire(mw_shard *s, mw_version *v);
/* What came early, of a version or of a cut, is worked on. */
void mw_swap_release_held(mw_shard *s);
void mw_swap_close_source(mw_shard *s, mw_source_host *h);

/* capture.c: gives a batch, which has been split, to the captures of its source. */
void mw_capture_batch(mw_shard *s, mw_batch *b, int ordered);

/* prepare.c: splits a batch, projects its fields, and runs or hands out the first stage. */
void mw_prepare(mw_shard *s, mw_batch *b);
/* A row becomes a dead letter. */
void mw_prepare_reject(mw_rules *r, uint32_t row, const char *why, size_t len);
/* Projects the rows of the rules' view that are not dead. */
void mw_prepare_project(mw_rules *r, uint32_t source);
/* The shard that owns the key of a row of the view. */
unsigned mw_prepare_owner(mw_rules *r, uint32_t chain, uint32_t stage, uint32_t row);

/* run.c: runs a stage over the events that the view holds, and sends on what came of it. */
/* NULL, or what waits of the run: then mw_run_finish ends it, some time. */
mw_frame *mw_run_here(mw_rules *r, mw_batch *b, uint32_t chain, uint32_t stage, int ordered);
void mw_run_finish(mw_shard *s, mw_rules *r, mw_frame *f);
/* What the journal says is done: lists to sinks, answers. */
void mw_run_carry_out(mw_rules *r, mw_batch *b, int ordered);
void mw_run_received(mw_shard *s, mw_run *r);
/* Hands the rows of the view that are not dead to the shards that own their keys. */
void mw_run_hand_out(mw_rules *r, mw_batch *b, uint32_t chain, uint32_t stage, int ordered);
int mw_run_route(void *host, mw_view *v, uint32_t row, uint32_t channel);
mw_list_item *mw_run_new_list(mw_batch *b, mw_sink_host *to, int ordered, uint32_t count);
void mw_run_send_list(mw_shard *s, mw_list_item *item);

/* park.c: rules that wait for answers. */
void mw_park_work(mw_shard *s); /* answers that came: their rules go on */
mw_parked *mw_park_question(mw_rules *r);
void mw_park_take_answer(mw_parked *p); /* it is in p */
void mw_park_spare(void *rules, mw_parked *p);
void mw_park_abandon(void *rules, mw_parked *p);
void mw_park_forget(mw_rules *r);
/* A call to a key that lives here; and the answer to one that was made here. */
void mw_park_called(mw_shard *s, mw_far *far);
void mw_park_answered(mw_far *far);
/* For the view. */
mw_parked *mw_park_call(void *rules, mw_far *far);
uint64_t mw_park_key(void *rules, uint32_t row);
void mw_park_block(void *rules, uint64_t key);
int mw_park_defer(void *rules, uint32_t row);

/* stores.c: what rules ask outside. */
mw_status mw_stores_open(mw_shard *s, mw_version *v, mw_error *error);
void mw_stores_close(mw_shard *s);
void mw_stores_flush(mw_shard *s); /* what was asked leaves */
mw_parked *mw_stores_ask(void *rules, uint32_t store, const mw_buffer *command, const char *key,
                         size_t len, int how);
const mw_answer *mw_stores_cached(void *rules, uint32_t store, const char *key, size_t len);

/* delivery.c: holds of batches, positions, checkpoints. */
void mw_delivery_hold(mw_batch *b);
void mw_delivery_release(mw_shard *s, mw_batch *b);
/* The same when all threads have ended: there is nobody to return it to. */
void mw_delivery_drop(mw_batch *b);
/* The partition that the batch is of, by its source's name for it, or NULL; and where one of its
 * events begins there: events of one batch keep their distance. */
const char *mw_delivery_partition(const mw_batch *b);
uint64_t mw_delivery_position(const mw_batch *b, uint32_t origin);
/* A run of rules begins to exist, and is over: for the batch's version, and for its decision. */
void mw_delivery_begin(mw_shard *s, mw_batch *b);
void mw_delivery_decided(mw_shard *s, mw_batch *b);
/* On the home of the batch's source. */
void mw_delivery_done(mw_source_host *h, mw_batch *b);

/* source_host.c */
mw_status mw_source_host_open(mw_source_host *h, mw_error *error);
/* Works by the options of a new version, where its kind can (mw_source_kind.change). */
void mw_source_host_change(mw_source_host *h, mw_version *v);
void mw_source_host_start(mw_source_host *h);
void mw_source_host_drain(mw_source_host *h);
void mw_source_host_close(mw_source_host *h);
void mw_source_host_free(mw_source_host *h); /* when the loop has run to its end */
void mw_source_host_check_full(mw_source_host *h);
void mw_source_host_returned(mw_source_host *h, mw_batch *b);

/* sink_host.c */
mw_status mw_sink_host_open(mw_sink_host *h, mw_error *error);
/* Knows from now on the order of a source's lists, which begin with number `first`. `continues`:
 * the version before had them in order too, and what is under way of it comes first. */
void mw_sink_host_expect(mw_sink_host *h, const mw_source_host *source, uint64_t first,
                         int continues);
/* Forgets the order of sources that neither of two versions (which may be NULL) has. */
void mw_sink_host_forget(mw_sink_host *h, const mw_version *v, const mw_version *other);
void mw_sink_host_take(mw_sink_host *h, mw_list_item *item);
void mw_sink_host_flush(mw_sink_host *h);
/* Exactly once: it has nothing of before the checkpoint's cut any more. */
void mw_sink_host_prepare(mw_sink_host *h, unsigned number);
/* It is not declared any more, or otherwise: it delivers what it has, and closes. */
void mw_sink_host_leave(mw_sink_host *h, int64_t most_ns);
/* Whether it has left; closes it when it is empty or out of time. Once in a while. */
int mw_sink_host_has_left(mw_sink_host *h);
void mw_sink_host_close(mw_sink_host *h);
void mw_sink_host_free(mw_sink_host *h); /* when the loop has run to its end */

/* dead_letter.c: the JSON of a dead letter. */
void mw_dead_letter_of_row(void *rules, mw_view *v, mw_buffer *out, uint32_t row, uint32_t rule,
                           const char *why, size_t len);
void mw_dead_letter_write(mw_batch *b, const mw_event *e, const char *stage, const char *name,
                          const char *why, size_t why_len, mw_buffer *out);
/* Sends one event to the dead letters of its batch's version. */
void mw_dead_letter_send(mw_shard *s, mw_batch *b, const mw_event *e, const char *stage,
                         const char *name, const char *why);
void mw_meta_write(void *rules, mw_view *v, uint32_t row, mw_buffer *out);

/* metrics.c */
void mw_stats_set(mw_stats *s, const char *name, double value);

/* report.c: tells whoever asked for something (`done` may be NULL) that it is done, or why not. */
void mw_report_tell(mw_report_done done, void *self, const char *why);

/* checkpoint.c: on the control loop. */
mw_status mw_checkpoint_save(mw_flow *f, mw_error *error);

static inline mw_version *mw_version_of(const mw_batch *b)
{
    return b->version;
}
static inline mw_rules *mw_rules_of(const mw_batch *b, const mw_shard *s)
{
    return &mw_version_of(b)->rules[s->index];
}

#endif
