/* session.c: windows that end when nothing came for a while; see window.h.
 *
 * An event belongs to the session that it lies in or within the gap of; where it lies between two
 * they become one. A session has one item in the heap, for when it ends as far as was known then:
 * an item that comes too early is put back. */
#include "event/json.h"
#include "state/window_private.h"

enum { CLOSED_BIT = 1 }; /* in the lowest bit of the last event's time */

static int64_t last_of(const mw_pane *p)
{
    return p[MW_SESSION_LAST] & ~1ll;
}

static int is_closed(const mw_pane *p)
{
    return (int)(p[MW_SESSION_LAST] & CLOSED_BIT);
}

static void set_last(mw_pane *p, int64_t at, int closed)
{
    p[MW_SESSION_LAST] = (at & ~1ll) | closed;
}

static void *payload_of(mw_window *w, uint32_t id)
{
    return mw_entry_payload(mw_entries_at(w->entries, id));
}

static mw_pane *session_near(mw_window *w, void *payload, int64_t at, const mw_pane *but)
{
    uint32_t n = 0;
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload, &n));)
        if (p != but && at >= mw_pane_start(p) - w->gap_ns && at <= last_of(p) + w->gap_ns)
            return p;
    return NULL;
}

static void extend(mw_pane *p, int64_t at)
{
    if (at < mw_pane_start(p)) p[MW_PANE_START] = at | 1;
    if (at > last_of(p)) set_last(p, at, is_closed(p));
}

/* Puts every other session that `p` reaches now into it. The other may be where `p` would move to,
 * so `p` is found again by its start. */
static mw_pane *absorb(mw_window *w, void *payload, mw_pane *p)
{
    for (;;) {
        mw_pane *other = session_near(w, payload, mw_pane_start(p), p);
        if (!other) other = session_near(w, payload, last_of(p), p);
        if (!other) return p;
        for (uint32_t i = 0; i < w->aggregate_count; i++) {
            const mw_aggregate *a = &w->aggregates[i];
            mw_aggregate_merge(a, mw_pane_cells(w, p) + a->cell, mw_pane_cells(w, other) + a->cell);
        }
        int closed = is_closed(p) | is_closed(other);
        extend(p, mw_pane_start(other));
        extend(p, last_of(other));
        set_last(p, last_of(p), closed);
        int64_t start = p[MW_PANE_START];
        mw_window_drop(w, &w->rings[0], payload, other);
        uint32_t n = 0;
        while ((p = mw_window_each(w, &w->rings[0], payload, &n)) && p[MW_PANE_START] != start) {
        }
    }
}

/* Where the session would end that an event at `at` belongs to. */
static int64_t end_with(mw_window *w, uint32_t id, int64_t at)
{
    int64_t last = at;
    uint32_t n = 0;
    if (!id) return at + w->gap_ns;
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload_of(w, id), &n));)
        if (at >= mw_pane_start(p) - w->gap_ns && at <= last_of(p) + w->gap_ns && last_of(p) > last)
            last = last_of(p);
    return last + w->gap_ns;
}

static int was_seen(mw_window *w, const mw_aggregate *a, void *payload, const mw_pane *p,
                    const mw_value *v)
{
    (void)payload;
    return p && mw_aggregate_has(a, mw_pane_cells(w, p) + a->cell, mw_json_hash(v));
}

int mw_session_add(mw_window *w, const mw_key *key, const mw_value *const *values, int64_t at_ns,
                   int64_t mark_ns)
{
    int64_t at = at_ns & ~1ll;
    uint32_t id = mw_entries_find(w->entries, key);
    w->corrected_id = 0;
    if (end_with(w, id, at) + w->lateness_ns <= mark_ns) {
        w->late++;
        return MW_WINDOW_LATE;
    }
    if (!id) id = mw_entries_add(w->entries, key);
    mw_entries_touch(w->entries, id);
    void *payload = payload_of(w, id);
    mw_pane *p = session_near(w, payload, at, NULL);
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        if (w->aggregates[i].kind == MW_SEEN)
            w->seen[i] = was_seen(w, &w->aggregates[i], payload, p, values[w->aggregates[i].input]);
    if (!p) {
        p = mw_window_make(w, &w->rings[0], payload, at);
        set_last(p, at, 0);
        p[MW_SESSION_ITEM] = at + w->gap_ns;
        mw_due_push(&w->due, p[MW_SESSION_ITEM], id);
        w->due_changed = 1;
    }
    extend(p, at);
    p = absorb(w, payload, p);
    mw_window_add_values(w, p, values, at_ns);
    int corrects = is_closed(p) && last_of(p) + w->gap_ns <= mark_ns;
    if (is_closed(p) && !corrects) set_last(p, last_of(p), 0);
    mw_window_fold_session(w, id, p);
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        if (w->aggregates[i].kind == MW_SEEN) w->numbers[i] = w->seen[i];
    if (!corrects || !w->emits) return MW_WINDOW_ADDED;
    w->corrected_id = id, w->corrected_start[0] = p[MW_PANE_START];
    return MW_WINDOW_CORRECTED;
}

int mw_session_correction(mw_window *w)
{
    uint32_t n = 0, id = w->corrected_id;
    w->corrected_id = 0;
    if (!id) return 0;
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload_of(w, id), &n));) {
        if (p[MW_PANE_START] != w->corrected_start[0]) continue;
        mw_window_fold_session(w, id, p);
        w->results[0].correction = 1;
        return 1;
    }
    return 0;
}

int mw_session_get(mw_window *w, uint32_t id, int64_t at_ns)
{
    uint32_t n = 0;
    mw_pane *best = NULL;
    void *payload = payload_of(w, id);
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload, &n));)
        if (!best || mw_pane_start(p) > mw_pane_start(best)) best = p;
    mw_pane *near = session_near(w, payload, at_ns, NULL);
    if (near) best = near;
    return best ? mw_window_fold_session(w, id, best) : 0;
}

/* ---- closing ---- */

void mw_session_leave(mw_window *w)
{
    uint32_t id = w->leaving_id, n = 0;
    w->leaving_id = 0;
    if (!id) return;
    void *payload = payload_of(w, id);
    mw_entries_touch(w->entries, id);
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload, &n));)
        if (p[MW_PANE_START] == w->leaving_start) {
            mw_window_drop(w, &w->rings[0], payload, p);
            break;
        }
    if (mw_window_is_empty(w, payload)) mw_entries_remove(w->entries, id);
}

/* The session whose item this is; NULL: it became part of another, or is gone. */
static mw_pane *session_of(mw_window *w, const mw_due_item *item)
{
    uint32_t n = 0;
    if (!mw_entries_at(w->entries, item->id)->key_kind) return NULL;
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload_of(w, item->id), &n));)
        if (p[MW_SESSION_ITEM] == item->at_ns) return p;
    return NULL;
}

static void put_back(mw_window *w, uint32_t id, mw_pane *p, int64_t at)
{
    mw_entries_touch(w->entries, id);
    p[MW_SESSION_ITEM] = at;
    mw_due_push(&w->due, at, id);
}

int mw_session_close_next(mw_window *w, int64_t watermark_ns, uint32_t most)
{
    mw_session_leave(w);
    while (mw_due_next(&w->due) <= watermark_ns) {
        if (most-- == 0) return 2;
        mw_due_item item = mw_due_pop(&w->due);
        mw_pane *p = session_of(w, &item);
        if (!p) continue;
        int64_t end = last_of(p) + w->gap_ns, over = end + w->lateness_ns;
        int closes = end <= watermark_ns && !is_closed(p);
        if (end > watermark_ns) {
            put_back(w, item.id, p, end);
            continue;
        }
        if (over > watermark_ns) {
            put_back(w, item.id, p, over);
            set_last(p, last_of(p), 1);
        } else {
            w->leaving_id = item.id, w->leaving_start = p[MW_PANE_START];
        }
        if (closes && w->emits) return mw_window_fold_session(w, item.id, p);
        mw_session_leave(w);
    }
    return 0;
}

void mw_session_restored(mw_window *w, uint32_t id)
{
    uint32_t n = 0;
    for (mw_pane *p; (p = mw_window_each(w, &w->rings[0], payload_of(w, id), &n));) {
        p[MW_SESSION_ITEM] = last_of(p) + w->gap_ns + (is_closed(p) ? w->lateness_ns : 0);
        mw_due_push(&w->due, p[MW_SESSION_ITEM], id);
    }
}
