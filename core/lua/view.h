/* view.h: what a shard's Lua state sees of a run, and the journal in which it says what should
 * become of the events.
 *
 * Lua reads and writes this struct through the FFI; its layout is repeated in
 * scripts/moonweir/core.lua. A run gives it a set of events (rows); rules append to the journal,
 * and nothing leaves before the run is over, so that what a failing rule sent can be taken back.
 * The functions below are called from Lua and belong to the thread of the view's shard. Rows that
 * rules make (events sent to channels) are appended behind those of the run. */
#ifndef MW_VIEW_H
#define MW_VIEW_H

#include "base/arena.h"
#include "base/buffer.h"
#include "event/batch.h"
#include "event/json.h"
#include "event/paths.h"
#include "lua/trial.h"
#include "lua/when.h"
#include "state/window.h"

/* Whom a line of the journal is for: a sink by number, or one of these (added to a channel's number
 * where it says so). */
enum {
    MW_TO_NOBODY = 0x7fffffff, /* taken back, or done with */
    MW_TO_REPLY = 0x40000000,
    MW_TO_CHANNEL = 0x20000000, /* + channel */
    MW_TO_DEAD = 0x10000000,    /* text: a dead letter */
};

typedef struct mw_send {
    const char *text;    /* NULL: the event as it is */
    const char *options; /* third argument of send, a JSON object; or NULL */
    uint32_t len, options_len;
    uint32_t to;
    uint32_t row;
    uint32_t rule;
    uint32_t http_status; /* of a reply */
} mw_send;

static inline int mw_send_is_to(const mw_send *s, uint32_t whom)
{
    return s->to >> 28 == whom >> 28;
}

/* What one rule did in this shard. */
typedef struct mw_rule_count {
    double events, filtered, failed, sent;
} mw_rule_count;

typedef struct mw_use mw_use;
typedef struct mw_scorer mw_scorer;
typedef struct mw_frame mw_frame;
typedef struct mw_parked mw_parked;
typedef struct mw_answer mw_answer;
typedef struct mw_far mw_far;

typedef struct mw_view {
    /* the part that Lua knows */
    uint32_t generation; /* of the run: a handle of another is stale */
    uint32_t count;      /* rows */
    uint32_t given;      /* rows that the run began with */
    uint32_t row;        /* the row being worked on: where to go on after an error */
    uint32_t stride;     /* slots a row */
    uint32_t send_count;
    uint32_t send_room;
    uint32_t rule;    /* number of the rule that runs */
    uint32_t pending; /* channel lines since the row began */
    uint32_t shards;
    uint32_t overlaid; /* the rule that runs has assigned to its event */
    mw_value *slots;
    mw_value *values; /* the slots of the row being worked on */
    mw_event *events;
    mw_send *sends;
    mw_rule_count *counts;
    uint64_t *hashes;  /* of the rows' keys, where `by` is a function */
    uint32_t *matched; /* result of mw_view_match */
    int32_t *tried;    /* by rule on trial: the row that it ran over */
    double *compared;  /* by rule on trial: on how many events */
    double now;        /* seconds since 1970, while what is due runs; 0: the event's time counts */
    mw_buffer out;     /* where Lua writes JSON */
    mw_value found;    /* result of mw_view_find */
    double *numbers;   /* of the window that was asked last */
    mw_window_result *results;
    mw_value key;
    int64_t due; /* an event whose mark is not before it: something is due first */
    /* rules that wait (lua/park.h) */
    uint32_t alone;   /* only this row: the others have run, or will */
    uint32_t blocked; /* keys whose events have to wait */
    uint32_t first;   /* journal line at which the row began */
    uint32_t base;    /* the row of the run that is worked on, while R.row may be one it made */
    mw_value *reply;  /* what was waited for, in preorder */
    uint32_t reply_count, asks; /* asks: there are stores that can be asked */
    const char *reply_error;    /* instead of a reply; or NULL */
    /* the rest is C's */
    mw_batch *batch;
    mw_trials *trials; /* or NULL */
    mw_arena *arena;   /* what the run allocates for the batch */
    mw_paths *paths;
    mw_projector *projector; /* for rows that rules made */
    uint32_t slots_room, events_room, hashes_room, matched_room, sends_max;
    int events_own; /* events is ours: it was copied to grow */
    mw_event *own_events;
    mw_when **whens;
    uint32_t when_count;
    mw_buffer edits, keys, dead;
    mw_buffer json; /* the encoder's */
    uint32_t edit_count;
    /* what is kept by key (lua/keep.h) */
    mw_use *uses;
    uint32_t use_count, shard, due_left, given_room;
    mw_value *given_values;
    mw_scorer *scorers; /* lua/model.h */
    uint32_t scorer_count;
    mw_buffer key_bytes;
    int by_row;
    int64_t watermark_ns, others_ns, clock_ns, now_ns;
    int64_t final_ns; /* where time has ended, when the watermark is INT64_MAX: windows all close,
                       * timers stay that are later */
    mw_frame *frame;  /* of the run, where something of it waits */
    mw_parked *asking, *held, *taken; /* taken: whose answer v->reply is */
    uint32_t generations;
    uint64_t alone_key; /* of the row that runs alone */
    mw_buffer command;
    void *host; /* the shard */
    int (*route)(void *host, struct mw_view *view, uint32_t row, uint32_t channel);
    void (*dead_letter)(void *host, struct mw_view *view, mw_buffer *out, uint32_t row,
                        uint32_t rule, const char *why, size_t len);
    void (*meta)(void *host, struct mw_view *view, uint32_t row, mw_buffer *out);
    void (*alive)(void *host);
    mw_parked *(*call)(void *host, mw_far *far);
    mw_parked *(*ask)(void *host, uint32_t store, const mw_buffer *command, const char *key,
                      size_t len, int how);
    const mw_answer *(*cached)(void *host, uint32_t store, const char *key, size_t len);
    void (*abandon)(void *host, mw_parked *parked); /* nobody will wait for its answer */
    void (*spare)(void *host, mw_parked *parked);   /* its answer was used */
    uint64_t (*key_of)(void *host, uint32_t row);
    void (*block)(void *host, uint64_t key); /* a row of this key waits */
    int (*defer)(void *host, uint32_t row);
} mw_view;

void mw_view_init(mw_view *v, mw_paths *paths);
void mw_view_close(mw_view *v);
/* Points the view at the events of a run; they are borrowed. `arena` lives as long as the batch.
 * Slots are not filled. */
void mw_view_begin(mw_view *v, mw_batch *b, mw_arena *arena, mw_event *events, uint32_t count);

/* Forgets the conditions of rules: they will be added anew. */
void mw_view_forget(mw_view *v);
/* Room for a hash a row of the run in v->hashes. */
void mw_view_reserve_hashes(mw_view *v);
/* Room for one more line in the journal. */
void mw_view_grow(mw_view *v);
/* Finds a value by path where no slot holds it; into v->found. */
void mw_view_find(mw_view *v, uint32_t row, int32_t path);
int32_t mw_view_path_key(mw_view *v, int32_t parent, const char *key, size_t len);
int32_t mw_view_path_index(mw_view *v, int32_t parent, uint32_t index);
/* A path was learned: the rows get slots for it at once, so that compiled rules need know one way
 * to read only. */
void mw_view_learned(mw_view *v);
/* The children of a value's text: iteration for decoding. 0 at the end; the member's value in
 * v->found, its key in *key. */
int mw_view_next(mw_view *v, const char *text, size_t len, size_t *cursor, mw_value *key,
                 mw_value *value);
/* Text that an escaped value means, into v->out from its start. */
void mw_view_unescape(mw_view *v, const char *text, size_t len);

/* An object member by member into v->out, which was emptied before the first. */
void mw_view_put_text(mw_view *v, const char *name, size_t name_len, const char *text, size_t len);
void mw_view_put_number(mw_view *v, const char *name, size_t name_len, double number);
void mw_view_put_boolean(mw_view *v, const char *name, size_t name_len, _Bool value);
void mw_view_put_end(mw_view *v);

/* Edits of one event: begin, then for each edit its keys (from the root) and `set` with the value
 * that v->out holds (or remove), then finish, which leaves the new text in v->sends[n] as the text
 * of journal line n. 0, with the reason in v->out, when an edit is impossible. */
void mw_view_edit_begin(mw_view *v);
void mw_view_edit_key(mw_view *v, const char *key, size_t len);
void mw_view_edit_index(mw_view *v, uint32_t index);
void mw_view_edit_end(mw_view *v, int remove);
int mw_view_edit_finish(mw_view *v, uint32_t row, mw_send *line);
/* Copies v->out to where it lives as long as the batch; as an event's text, which is read with
 * padding, or not. */
const char *mw_view_keep(mw_view *v);
const char *mw_view_keep_plain(mw_view *v);

/* Makes a row of a journal line that was sent to a channel; the row's number. */
uint32_t mw_view_derive(mw_view *v, uint32_t line);
/* Hands a row to the shard that owns its key there; 0 when that is here and now. */
int mw_view_route(mw_view *v, uint32_t row, uint32_t channel);
/* What the row's source knows of it, as JSON in v->out. */
void mw_view_meta(mw_view *v, uint32_t row);
/* The rules take long, but go on: a long run of slow rules is no hang. */
void mw_view_alive(mw_view *v);
/* A rule failed: its lines from `mark` on are taken back and a dead letter takes their place. */
void mw_view_fail(mw_view *v, uint32_t row, uint32_t rule, uint32_t mark, const char *why,
                  size_t len);
/* A row's rules have run: compares what those on trial did with what was decided, and takes back
 * the journal lines (from `first` on) of whichever does not decide. */
void mw_view_settle(mw_view *v, uint32_t row, uint32_t first);
/* Which of the rules of an indexed group want the row: their numbers in v->matched, ascending. */
uint32_t mw_view_match(mw_view *v, uint32_t group, uint32_t row);
uint32_t mw_view_when_add(mw_view *v);
mw_when *mw_view_when(mw_view *v, uint32_t group);

#endif
