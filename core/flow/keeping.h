/* keeping.h: event time, what is kept by key, and the cuts at which it is saved: what the files of
 * this folder call of time.c,
 * keeping.c, cut.c and contents.c. */
#ifndef MW_KEEPING_H
#define MW_KEEPING_H

#include "flow/flow_private.h"
#include "state/moved.h"

/* time.c */
mw_progress *mw_time_progress(const mw_batch *b);
/* A batch is given: its partition is known from here on. */
void mw_time_note(mw_source_host *h, mw_batch *b);
void mw_time_forget(mw_source_host *h);
/* How far time has come in the partitions of a shard, but for one; INT64_MAX: there is no other
 * that counts. */
int64_t mw_time_least(const mw_shard *s, const mw_progress *but);
/* For the watermark of a cut: its home notes which partitions count, before it says that it has
 * passed the mark; control reads how far they have come when all before the cut is decided and
 * nobody works on. INT64_MAX: none counts. */
void mw_time_mark(mw_shard *s);
int64_t mw_time_at_cut(const mw_flow *f);
/* Gives the rows of the view their times. What has none becomes a dead letter. */
void mw_time_of_batch(mw_shard *s, mw_rules *r, mw_batch *b);
void mw_time_read_rows(mw_rules *r, mw_batch *b, mw_progress *p);
/* Before and after rules run. */
void mw_time_begin(mw_rules *r, mw_batch *b);
void mw_time_end(mw_rules *r);
int mw_time_is_due(mw_shard *s);
/* Nothing more will come: with `windows`, what is open ends. Then the clock ends. Timers that are
 * later than `final_ns`, where time has come to, stay for the next start. */
void mw_time_flush(mw_shard *s, int windows, int64_t final_ns);
/* How far time has come when all has been read. Control's thread. */
int64_t mw_time_at_end(const mw_flow *f);
void mw_time_open(mw_shard *s);
void mw_time_start(mw_shard *s); /* or stops, where the version needs no ticks */
void mw_time_close(mw_shard *s);

/* contents.c: what waits for a checkpoint is told; a shard's part of an import. */
void mw_contents_begun(mw_flow *f, unsigned cut);
void mw_contents_stored(mw_flow *f, unsigned cut);
void mw_contents_import(mw_shard *s, mw_import *i);
int mw_contents_message(mw_flow *f, mw_message m);
void mw_contents_stop(mw_flow *f);
void mw_contents_free(mw_flow *f); /* when all threads have ended */

/* keeping.c: what is kept by key, on a shard. */
/* Ties the version's declarations to what the shard keeps under their names, makes what is new, and
 * fills it from the last checkpoint. */
mw_status mw_keeping_open(mw_shard *s, mw_version *v, mw_error *error);
/* The version takes over: which windows tell when they close. */
void mw_keeping_swap(mw_shard *s, mw_version *v);
/* Forgets what neither this version nor the one before it declares. */
void mw_keeping_sweep(mw_shard *s);
void mw_keeping_free(mw_shard *s);
/* An entry from outside takes the place of what there is; 0: nothing of its name is declared. */
int mw_keeping_import(mw_shard *s, const mw_moved *m);
/* Whether a window is in the middle of closing: some of its keys were told. A checkpoint then would
 * have it told again. */
int mw_keeping_is_closing(const mw_shard *s);
void mw_keeping_hold(mw_shard *s, int held);
/* Begins a snapshot of all that the version keeps, behind those that there are. */
void mw_keeping_snapshot(mw_shard *s);
/* States with a limit of memory: the store has all that was taken, so records may go; goes on with
 * that, 0: it is done. Whether some take more than they may, `times` over. */
void mw_keeping_let_go_begin(mw_shard *s);
int mw_keeping_let_go(mw_shard *s);
int mw_keeping_is_over(const mw_shard *s, unsigned times);

/* cut.c: a shard's side of cuts and checkpoints, */
void mw_cut_mark(mw_shard *s, unsigned cut, int checkpoint);
void mw_cut_look(mw_shard *s); /* after each round */
void mw_cut_now(mw_shard *s);
void mw_cut_written(mw_shard *s, unsigned cut);
void mw_cut_look_at_limits(mw_shard *s); /* after each round, where there are some */
/* and control's. */
int mw_cut_is_used(const mw_flow *f);
void mw_cut_begin(mw_flow *f);
void mw_cut_retry(mw_flow *f);
int mw_cut_message(mw_flow *f, mw_message m);
void mw_cut_restore(mw_flow *f);
mw_status mw_cut_finish(mw_flow *f, mw_error *error);
/* Everything has come to its end. Whether the run may end; if not, it is told to when it may. */
int mw_cut_is_last(mw_flow *f);

/* seal.c: exactly once, a shard's side, */
void mw_seal_mark(mw_shard *s, unsigned cut);
void mw_seal_send(mw_shard *s); /* at the cut */
void mw_seal_came(mw_shard *s, uint32_t which);
void mw_seal_look(mw_shard *s); /* after each round, while one is under way */
int mw_seal_is_done(const mw_shard *s);
void mw_seal_end(mw_shard *s);
void mw_seal_free(mw_shard *s);
/* A row for the checkpoint, whose key and value are given away. */
void mw_seal_keep(mw_shard *s, mw_record row);
/* and commit.c, control's: takes what shards have for the checkpoint; 0: nothing. */
int mw_commit_gather(mw_flow *f);
void mw_commit_number(mw_flow *f); /* the checkpoint gets its number */
void mw_commit_ask(mw_flow *f);
void mw_commit_do(mw_sink_host *h);
void mw_commit_over(mw_flow *f);
void mw_commit_tell(mw_offsets *o, int told);
void mw_commit_free(mw_flow *f);
void mw_offsets_free(mw_offsets *o);
/* Before anything is open: a checkpoint that was prepared counts, or does not. */
mw_status mw_commit_recover(mw_flow *f, mw_error *error);

#endif
