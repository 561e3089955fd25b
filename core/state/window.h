/* window.h: aggregates over event time, by key.
 *
 * Time is cut into panes of `slide`; a window is the panes that its span covers (Li et al., "No
 * pane, no gain", SIGMOD Record 2005), and a tumbling window is one pane. For each key and span an
 * entry holds the panes that are live in a ring, those that do not fit there in a list. Adding
 * touches one pane a span; reading puts a span's panes together: neither depends on how many events
 * there were. Sessions are panes that grow, and are put together when an event lies between two.
 *
 * A pane lives until the last window that covers it has ended and its lateness is over. What is
 * due then is found by lists of keys by pane (sessions: a heap), so closing costs what it closes.
 *
 * Where aggregates are put together by adding, the sum of a window's older panes is kept beside
 * them, so that reading looks at the newest one alone.
 *
 * Thread: the shard that owns the keys. Memory a key: the entry's (entries.h) and 8 bytes a span
 * (and that sum), and for each pane of the ring 8 bytes (sessions 24) and the cells of the
 * aggregates; 4 bytes a pane for its list. */
#ifndef MW_WINDOW_H
#define MW_WINDOW_H

#include "base/status.h"
#include "state/aggregate.h"
#include "state/entries.h"

typedef struct mw_window mw_window;

enum { MW_SPANS_MAX = 8 };

/* What an addition came to. */
enum {
    MW_WINDOW_ADDED,
    MW_WINDOW_LATE,       /* all its windows are over: nothing changed */
    MW_WINDOW_CORRECTED,  /* added, to a window that had closed: see mw_window_correction */
    MW_WINDOW_NOT_NUMBER, /* nothing changed; mw_window_fault has the input */
};

/* A window of one key. */
typedef struct mw_window_result {
    int64_t start_ns, finish_ns; /* a session's finish is its last event and the gap */
    double epoch;                /* of what `id` means; see mw_window_text */
    double pane;                 /* its newest pane, for reading more of it */
    uint32_t id;
    uint32_t span;       /* number of its span */
    uint32_t correction; /* it had closed before, with less */
} mw_window_result;

/* Makes a window of what its declaration says, as JSON: by, spans, gap, lateness, emits, inputs,
 * keep (see scripts/moonweir/window.lua). MW_CONFIG: it cannot be. */
mw_status mw_window_new(mw_window **window, const char *json, size_t len, mw_error *error);
void mw_window_free(mw_window *w);
/* Whether windows that close are told of. */
void mw_window_emit(mw_window *w, int emits);
mw_entries *mw_window_entries(mw_window *w);
uint32_t mw_window_key_parts(const mw_window *w);
uint32_t mw_window_inputs(const mw_window *w);

/* Adds one event. `hint`: what mw_entries_prefetch_entry said, or 0. `values`: one for each input.
 * `mark_ns`: how far event time is known to have come; what has ended by then is late. The numbers
 * of each span's window that ends next are then in mw_window_numbers, [span * aggregates +
 * aggregate], NaN for none. */
int mw_window_add(mw_window *w, const mw_key *key, uint32_t hint, const mw_value *const *values,
                  int64_t at_ns, int64_t mark_ns);
uint32_t mw_window_fault(const mw_window *w);
/* Additions that came too late so far. */
uint64_t mw_window_late(const mw_window *w);
double *mw_window_numbers(mw_window *w);
/* Where the last addition or reading was: one a span. */
mw_window_result *mw_window_results(mw_window *w);
/* The next of the closed windows that the last addition changed, numbers included; 0: no more. */
int mw_window_correction(mw_window *w);

/* Reads without adding, at a time: of sessions the one that has it, else the last. 0: there is
 * nothing of this key. */
int mw_window_get(mw_window *w, const mw_key *key, int64_t at_ns);

/* What is not a scalar (mw_aggregate_kind) of a result: its number, or with `out` its JSON, as it
 * is now. 0: the result is over. */
int mw_window_read(mw_window *w, const mw_window_result *r, uint32_t aggregate, double *number,
                   mw_buffer *out);
/* Appends what the last addition or reading came to as JSON: an object, of several spans one with
 * an object each. */
void mw_window_json(mw_window *w, mw_buffer *out);
/* The same of results[0] alone, which was closed or corrected, with its key. */
void mw_window_closed_json(mw_window *w, mw_buffer *out);
/* Appends all that an entry holds, as a JSON list: for each pane the window that ends with it. */
void mw_window_entry_json(mw_window *w, uint32_t id, mw_buffer *out);
/* The key of a result as JSON; 0: it is over. */
int mw_window_key(const mw_window *w, const mw_window_result *r, mw_buffer *out);

/* When there is next something to close; INT64_MAX: never. */
int64_t mw_window_due(const mw_window *w);
/* Whether that may have come nearer since this was asked last. */
int mw_window_due_changed(mw_window *w);
/* Goes on closing what has ended by the watermark. 1: a window was closed, in mw_window_results[0]
 * and mw_window_numbers; it can be read until the next call. 0: that was all. 2: `most` keys were
 * looked at, there is more. */
int mw_window_close_next(mw_window *w, int64_t watermark_ns, uint32_t most);
/* Whether some keys of a window were told and others not: what is kept does not say which. */
int mw_window_is_closing(const mw_window *w);
/* Held, it closes no other window than the one that it is in the middle of. */
void mw_window_hold(mw_window *w, int held);
/* The result is not read any more: what was told is gone from what is kept. */
void mw_window_settle(mw_window *w);

/* What is kept besides the entries. */
void mw_window_save(const mw_window *w, mw_buffer *out);
/* What one of so many shards saved, of its keys. */
void mw_window_load(mw_window *w, unsigned shard, unsigned shards, const char *bytes, size_t len);
/* See mw_keeper_import. */
void mw_window_import(mw_window *w, const mw_key *key, const char *value, size_t len);
/* Once its entries were restored. */
void mw_window_restored(mw_window *w);

#endif
