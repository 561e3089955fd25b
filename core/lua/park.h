/* park.h: rules that wait for an answer from outside, while others go on.
 *
 * A rule that asks gives up its coroutine's turn; the scheduler (scripts/moonweir/park.lua) goes on
 * with the next row in another one. What the run has (events, slots, generation) then becomes a
 * frame, which the view takes up again for each row that goes on. A row's journal lines wait with
 * it. Thread: the view's shard. */
#ifndef MW_PARK_H
#define MW_PARK_H

#include "lua/view.h"
#include "event/answer.h"

/* What a view has of a run; swapped with the view's. */
struct mw_frame {
    mw_batch *batch;
    mw_arena *arena;
    mw_event *events;
    mw_value *slots;
    uint32_t generation, count, given, stride, slots_room, events_room;
    uint32_t open;    /* rows that wait, for an answer or for their turn */
    mw_buffer lines;  /* mw_send of rows that are done, where they leave together */
    mw_buffer routed; /* what they sent to channels, likewise; the host's */
    /* what is to be done with it */
    uint32_t chain, stage;
    int ordered, in_order;
    void *run;
};

/* A question, and the row that waits for its answer. One that asks several at once has the others
 * beside it, until it waits for them. */
struct mw_parked {
    mw_parked *next;
    mw_parked *beside; /* others that the row asked */
    uint32_t number;
    void *rules;
    mw_frame *frame; /* NULL: no row waits for it now */
    uint32_t row, base, first, pending;
    uint32_t rule, overlaid; /* what the view says of the rule that runs */
    double now;
    uint64_t key; /* 0: none waits behind it */
    mw_send *lines;
    uint32_t line_count, line_room;
    int answered, abandoned; /* abandoned: nobody will wait for it */
    mw_answer answer;
    const char *error; /* instead of it */
    /* of a store's cache */
    uint64_t ticket;
    uint32_t store;
    mw_buffer asked_key;
};

/* What is done with the cache of a store, if it has one. */
enum { MW_ASK_PLAIN, MW_ASK_READ, MW_ASK_CHANGE };

/* ---- from Lua ---- */

/* Asks a store what v->command says, about a key (an empty one: none), where v->asks. The number of
 * the question. */
uint32_t mw_view_ask(mw_view *v, uint32_t store, const char *key, size_t len, int how);
/* The answer, in v->reply, where the store's cache has it. */
int mw_view_cached(mw_view *v, uint32_t store, const char *key, size_t len);
/* The question that was asked last waits beside the row, while it asks others. */
void mw_view_hold(mw_view *v);
/* One that was held: 1, its answer is there; 0, the row is to park for it. */
int mw_view_take(mw_view *v, uint32_t number);
/* Nobody will wait for what is held. */
void mw_view_release(mw_view *v);
/* The row that asked last waits: its journal lines go with it. */
void mw_view_park(mw_view *v);
/* Whether the row must wait because its key does; then it is noted. */
int mw_view_defer(mw_view *v, uint32_t row);

/* ---- by C ---- */

mw_frame *mw_frame_of_run(mw_view *v);
/* Moves what the run has into its frame. */
void mw_frame_leave(mw_view *v);
/* Gives the view a frame's, and a row to go on with. */
void mw_frame_enter(mw_view *v, mw_frame *f, uint32_t row);
void mw_frame_free(mw_frame *f);
/* The row of a frame that the view has goes on where it waited. */
void mw_parked_enter(mw_view *v, mw_parked *p);
void mw_parked_free(mw_parked *p);
/* Ready to be another question; its memory stays. */
void mw_parked_clear(mw_parked *p);

#endif
