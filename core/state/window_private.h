/* window_private.h: what the files of a window share. */
#ifndef MW_WINDOW_PRIVATE_H
#define MW_WINDOW_PRIVATE_H

#include "state/due.h"
#include "state/window.h"

/* A pane, in words of 8 bytes: its start with the lowest bit set (0: not in use); of a session also
 * its last event, and the time of its item in the heap; then the cells. */
typedef int64_t mw_pane;
enum { MW_PANE_START, MW_SESSION_LAST, MW_SESSION_ITEM, MW_SESSION_HEAD };

static inline int64_t mw_pane_start(const mw_pane *p)
{
    return p[MW_PANE_START] & ~1ll;
}

/* Panes that have no place in the ring. */
typedef struct mw_more_panes {
    uint32_t count, room;
    mw_pane words[];
} mw_more_panes;

/* The keys that have a pane with this start. */
typedef struct mw_pane_list {
    int64_t start;
    uint32_t *ids;
    uint32_t count, room;
} mw_pane_list;

#define MW_NOT_CLOSING INT64_MIN

typedef struct mw_ring {
    int64_t span, slide; /* a session's: the gap, and 0 */
    char *name;          /* of the span, as it was declared */
    double span_s;
    uint32_t slots, offset; /* offset of the ring in the payload, in words; before it is the pointer
                             * to more panes */
    int32_t older;     /* offset of the sum of all panes but the newest of the window that was read
                        * last: its start, as in a pane, and its cells; -1: it is not kept */
    int64_t start;     /* the pane that was asked for last, */
    uint32_t slot;     /* and its slot */
    int64_t mark_pane; /* that of the mark that was asked for last */
    int64_t closed_until; /* windows that end by then were closed */
    int64_t *told; /* by group of keys: those that end by then were closed before what is kept
                    * was loaded, of some keys later ones than of others; NULL: of all the same */
    int64_t told_most;
    mw_pane_list *lists; /* by start */
    uint32_t list_count, list_room;
    /* closing: the window that ends at `closing` (MW_NOT_CLOSING: none), and how far it is */
    int64_t closing;
    uint32_t at_list, at_id;
} mw_ring;

struct mw_window {
    mw_entries *entries;
    mw_aggregate *aggregates;
    uint32_t aggregate_count, cell_count, head, pane_words;
    uint32_t key_parts, input_count, fault;
    uint64_t late;    /* additions that came too late */
    uint8_t *numeric; /* by input */
    int64_t gap_ns, lateness_ns;
    int emits, all_scalar, held;
    int additive;    /* what is kept is put together by adding */
    int plain;       /* counts of events, and sums: its cells are its numbers */
    int is_simple;   /* plain, of one span of one pane, or of more whose sum is kept */
    int due_changed; /* something may be due earlier than before */
    mw_ring rings[MW_SPANS_MAX];
    uint32_t ring_count;
    mw_due due;       /* of sessions */
    mw_cell *scratch; /* of one pane */
    double *numbers, *seen;
    mw_window_result results[MW_SPANS_MAX];
    double epoch; /* a whole number */
    /* corrections of the last addition */
    uint32_t corrected_id;
    int64_t corrected_start[MW_SPANS_MAX], corrected_next[MW_SPANS_MAX];
    int64_t corrected_mark;
    /* a session that was closed and goes with the next call */
    uint32_t leaving_id;
    int64_t leaving_start;
};

static inline mw_cell *mw_pane_cells(const mw_window *w, const mw_pane *p)
{
    return (mw_cell *)(p + w->head);
}

/* window.c */
mw_more_panes **mw_window_more(const mw_window *w, const mw_ring *r, void *payload);
mw_pane *mw_window_ring(const mw_ring *r, void *payload);
mw_pane *mw_window_find(const mw_window *w, const mw_ring *r, void *payload, int64_t start);
/* A pane with that start, which there is not yet; its cells have begun. Moves the others. */
mw_pane *mw_window_make(mw_window *w, mw_ring *r, void *payload, int64_t start);
void mw_window_drop(mw_window *w, mw_ring *r, void *payload, mw_pane *p);
/* Every pane of a ring: begin with *n 0; NULL at the end. */
mw_pane *mw_window_each(const mw_window *w, const mw_ring *r, void *payload, uint32_t *n);
int mw_window_is_empty(const mw_window *w, void *payload);
void mw_window_add_values(mw_window *w, mw_pane *p, const mw_value *const *values, int64_t at_ns);
/* Leaves the numbers of the window that ends with the pane `start`, and where it is. 0: no pane of
 * it is there. */
int mw_window_fold(mw_window *w, uint32_t span, uint32_t id, int64_t start);
int mw_window_fold_session(mw_window *w, uint32_t id, const mw_pane *p);

/* window_close.c */
mw_pane_list *mw_window_list(mw_ring *r, int64_t start);
void mw_window_list_add(mw_ring *r, int64_t start, uint32_t id);
/* An entry has no pane with this start any more: what is there of it is 0. */
void mw_window_list_forget(mw_ring *r, int64_t start, uint32_t id);

/* Until where windows of an entry are closed. */
int64_t mw_window_closed_until(const mw_window *w, const mw_ring *r, uint32_t id);
/* Those of all are. */
void mw_window_closed(mw_ring *r, int64_t until);

/* session.c */
void mw_session_leave(mw_window *w);
int mw_session_add(mw_window *w, const mw_key *key, const mw_value *const *values, int64_t at_ns,
                   int64_t mark_ns);
int mw_session_get(mw_window *w, uint32_t id, int64_t at_ns);
int mw_session_close_next(mw_window *w, int64_t watermark_ns, uint32_t most);
void mw_session_restored(mw_window *w, uint32_t id);
int mw_session_correction(mw_window *w);

/* window_save.c */
extern const mw_entry_codec mw_window_codec;

#endif
