/* flow.h: a running flow: its shards, its control loop, its way from start to end.
 *
 * Control (the calling thread) starts the shards, takes signals, saves checkpoints, and ends the
 * run: when all sources have ended and nothing is in flight, when it is told to drain, or when
 * something failed. */
#ifndef MW_FLOW_H
#define MW_FLOW_H

#include "flow/graph.h"

typedef struct mw_flow mw_flow;

/* What looks at a running flow from its control loop (the admin interface). */
typedef struct mw_flow_extension {
    const char *address; /* its own */
    mw_status (*open)(void **self, mw_flow *f, uv_loop_t *loop, const struct mw_flow_extension *e,
                      mw_error *error);
    void (*close)(void *self); /* closes its handles, and frees itself when the loop has run */
} mw_flow_extension;

struct mw_replay;

typedef struct mw_flow_options {
    const char *path;                   /* of the flow's file */
    const char *state_folder;           /* NULL: .moonweir/NAME beside where it is run */
    const mw_flow_extension *extension; /* or NULL */
    struct mw_replay *replay;           /* or NULL: see replay.h */
    unsigned shards;
    int progress;         /* a line on the terminal while it runs */
    int once;             /* sources that follow end at the end of what is there now */
    int watch;            /* reload when the flow's files change */
    int64_t probation_ns; /* how long a new version is watched, where the flow does not say */
    int64_t drain_timeout_ns;
    struct mw_watchdog *watchdog; /* or NULL: see watchdog.h */
} mw_flow_options;

/* Loads and checks the flow. MW_CONFIG with "file:line: message". */
mw_status mw_flow_load(mw_flow **flow, const mw_flow_options *options, const mw_kinds *kinds,
                       mw_error *error);
const mw_graph *mw_flow_graph(const mw_flow *f);
/* Runs it to its end. MW_OK: everything that came in was delivered, or is in the dead letters.
 * MW_AGAIN: it has to be run anew, from its last checkpoint. */
mw_status mw_flow_run(mw_flow *f, mw_error *error);
void mw_flow_free(mw_flow *f);

/* What the flow has counted, for metrics, the progress line and the summary. Any thread; a moment's
 * picture. */
typedef struct mw_totals {
    uint64_t in, out, filtered, dead, bytes_in, bytes_out, lag_bytes;
} mw_totals;
mw_totals mw_flow_totals(const mw_flow *f);
/* Prometheus text. */
void mw_flow_metrics(const mw_flow *f, mw_buffer *out);
int mw_flow_is_ready(const mw_flow *f);
/* Begins to drain, as SIGTERM does. Control's thread, as all that follow. */
void mw_flow_drain(mw_flow *f);

/* How a reload, or what else was asked for, came out: `report` is JSON, good for the call only. */
typedef void (*mw_report_done)(void *self, int accepted, const char *report, size_t len);
/* Loads the flow's files and, when they are good, swaps to them. Asked for while one is under way,
 * it is done after it. `done` may be NULL; it is called exactly once, at the latest when the flow
 * stops. */
void mw_flow_reload(mw_flow *f, const char *why, mw_report_done done, void *self);
/* Goes back to the version before the one that is live. */
void mw_flow_rollback(mw_flow *f, mw_report_done done, void *self);
/* JSON: the versions that are remembered, newest first; the flow's state, its reload, its rules on
 * trial with samples. */
void mw_flow_versions(const mw_flow *f, mw_buffer *out);
void mw_flow_status(const mw_flow *f, mw_buffer *out);
/* Why the last reload was refused; NULL when it was not. */
const char *mw_flow_refusal(const mw_flow *f);

#endif
