/* reload.h: how a new version of a flow takes the place of the running one. Control's thread, but
 * for the loading, which a thread of libuv's pool does.
 *
 * Steps: load (read, compile, declare, run the fixtures, make the rules of all shards); open (what
 * is new opens its files and sockets; a failure here or before refuses the version, and nothing has
 * happened); mark and swap (swap.c); then probation, while errors and times are watched; and the
 * version before is freed when nothing of it is in flight. Private to core/flow. */
#ifndef MW_RELOAD_H
#define MW_RELOAD_H

#include "flow/flow_private.h"
#include "flow/watch.h"

enum { MW_RECORDS = 16 };

/* What is remembered of a version. */
typedef struct mw_version_record {
    unsigned number;
    char hash[20];
    char author[64]; /* owner of the flow's file */
    int64_t time_ns; /* wall clock */
    mw_files *files; /* NULL: refused, there is no going back to it */
    char verdict[512];
    int good; /* it may be gone back to */
} mw_version_record;

typedef enum mw_reload_step {
    MW_RELOAD_IDLE,
    MW_RELOAD_LOADING,
    MW_RELOAD_OPENING,
    MW_RELOAD_ABANDONING,
    MW_RELOAD_SWAPPING,
} mw_reload_step;

/* Somebody who waits for the outcome. */
typedef struct mw_waiter {
    struct mw_waiter *next;
    mw_report_done done;
    void *self;
} mw_waiter;

typedef struct mw_reload {
    mw_flow *flow;
    mw_reload_step step;
    unsigned waiting, numbers;
    int again;      /* something changed while it was busy */
    int mark_waits; /* for a cut to be over */
    int going_back; /* the version that is loaded is an older one */
    char reason[256];
    mw_waiter *waiters, *later; /* later: for the reload after this one */
    /* the version under way */
    uv_work_t work;
    mw_version *next;
    mw_files *files;
    int owns_files;
    mw_error error;
    unsigned tests;
    int unchanged;
    int64_t began_ns, loaded_ns;
    /* versions */
    mw_version_record records[MW_RECORDS]; /* newest first */
    unsigned record_count;
    mw_version *dying; /* retired; hosts may still work by their configuration */
    unsigned retiring; /* shards that have not answered yet */
    mw_version *retired;
    uv_timer_t sweep;
    mw_buffer report;   /* of the last reload, JSON */
    char refusal[2000]; /* why the last one was refused; "" when it was not */
    mw_counter accepted, refused, rolled_back;
    mw_watch *watch;
    struct {
        uv_timer_t timer;
        int on, beyond; /* windows in a row that were beyond a limit */
        int64_t until_ns;
        mw_probation limits;
        double errors_before, ns_before; /* share, and time of rules for an event; < 0: not known */
        uint64_t decided, rule_ns;       /* of the version watched, when last looked at */
    } probation;
} mw_reload;

void mw_reload_open(mw_flow *f);
/* The first version is live: it is remembered, and its files are watched. */
void mw_reload_begin(mw_flow *f);
void mw_reload_close(mw_flow *f); /* handles */
void mw_reload_free(mw_flow *f);
/* Messages of shards about reloads; 0 when it is none. */
int mw_reload_message(mw_flow *f, mw_message m);
/* No cut is under way any more: a swap that waited for that begins. */
void mw_reload_after_cut(mw_flow *f);
int mw_reload_is_busy(const mw_flow *f);
void mw_reload_forget_empty(mw_flow *f); /* frees what no host works by any more */

/* probation.c */
void mw_probation_open(mw_reload *r);
void mw_probation_begin(mw_reload *r, const mw_version *before);
void mw_probation_end(mw_reload *r);
void mw_reload_roll_back(mw_reload *r, const char *why);

/* report.c */
void mw_report_write(mw_reload *r, const mw_version *v, const mw_version *before);
void mw_report_log(mw_reload *r, const mw_version *v, const mw_version *before);

#endif
