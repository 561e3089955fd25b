/* window_close.c: closing windows as the watermark passes their end; see window.h.
 *
 * Each ring has lists of keys by pane, in order of time. A window that ends is closed by walking
 * the lists of the panes that it covers; a key that is on several is taken at its newest pane. When
 * the last window that covers a pane is over, and its lateness, the list goes, and with it the
 * panes. */
#include "state/window_private.h"

#include <stdlib.h>
#include <string.h>

/* Where a list with this start is, or would be: mostly near the end. */
static uint32_t place_of(const mw_ring *r, int64_t start)
{
    uint32_t i = r->list_count;
    while (i > 0 && r->lists[i - 1].start >= start) i--;
    return i;
}

mw_pane_list *mw_window_list(mw_ring *r, int64_t start)
{
    uint32_t at = place_of(r, start);
    if (at < r->list_count && r->lists[at].start == start) return &r->lists[at];
    if (r->list_count == r->list_room) {
        r->list_room = r->list_room ? r->list_room * 2 : 8;
        r->lists = realloc(r->lists, r->list_room * sizeof *r->lists);
        mw_assert(r->lists != NULL);
    }
    memmove(&r->lists[at + 1], &r->lists[at], (r->list_count - at) * sizeof *r->lists);
    r->lists[at] = (mw_pane_list){.start = start};
    r->list_count++;
    if (r->closing != MW_NOT_CLOSING && at <= r->at_list) r->at_list++;
    return &r->lists[at];
}

void mw_window_list_add(mw_ring *r, int64_t start, uint32_t id)
{
    mw_pane_list *l = mw_window_list(r, start);
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 16;
        l->ids = realloc(l->ids, l->room * sizeof *l->ids);
        mw_assert(l->ids != NULL);
    }
    l->ids[l->count++] = id;
}

void mw_window_list_forget(mw_ring *r, int64_t start, uint32_t id)
{
    mw_pane_list *l = mw_window_list(r, start);
    for (uint32_t i = l->count; i-- > 0;)
        if (l->ids[i] == id) {
            l->ids[i] = 0;
            return;
        }
}

/* ---- what is due ---- */

/* The end of the next window that holds anything and is not closed. */
static int64_t next_end(const mw_ring *r)
{
    for (uint32_t i = 0; i < r->list_count; i++) {
        int64_t start = r->lists[i].start;
        if (start + r->span <= r->closed_until) continue;
        int64_t first = start + r->slide, next = r->closed_until;
        if (next < first) return first;
        return first + ((next - first) / r->slide + 1) * r->slide;
    }
    return INT64_MAX;
}

static int64_t next_removal(const mw_window *w, const mw_ring *r)
{
    return r->list_count ? r->lists[0].start + r->span + w->lateness_ns : INT64_MAX;
}

int mw_window_is_closing(const mw_window *w)
{
    for (uint32_t i = 0; i < w->ring_count; i++)
        if (w->rings[i].closing != MW_NOT_CLOSING) return 1;
    return w->leaving_id != 0;
}

void mw_window_hold(mw_window *w, int held)
{
    w->held = held;
}

void mw_window_settle(mw_window *w)
{
    if (w->leaving_id) mw_session_leave(w);
}

int64_t mw_window_due(const mw_window *w)
{
    if (mw_window_is_closing(w)) return INT64_MIN;
    if (w->gap_ns) return mw_due_next(&w->due);
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < w->ring_count && !w->held; i++) {
        const mw_ring *r = &w->rings[i];
        int64_t end = w->emits ? next_end(r) : INT64_MAX, removal = next_removal(w, r);
        if (end < due) due = end;
        if (removal < due) due = removal;
    }
    return due;
}

/* ---- closing ---- */

int64_t mw_window_closed_until(const mw_window *w, const mw_ring *r, uint32_t id)
{
    if (!r->told) return r->closed_until;
    const mw_entry *e = mw_entries_at(w->entries, id);
    uint64_t hash = mw_key_rehash(e->key_kind, mw_entries_key(w->entries, e), e->key_len);
    int64_t told = r->told[mw_key_group(hash)];
    return told > r->closed_until ? told : r->closed_until;
}

void mw_window_closed(mw_ring *r, int64_t until)
{
    r->closed_until = until;
    if (!r->told || until < r->told_most) return;
    free(r->told);
    r->told = NULL;
}

static int is_newest(const mw_window *w, const mw_ring *r, uint32_t id, int64_t start)
{
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    uint32_t n = 0;
    for (mw_pane *p; (p = mw_window_each(w, r, payload, &n));) {
        int64_t other = mw_pane_start(p);
        if (other > start && other < r->closing) return 0;
    }
    return 1;
}

/* The next key that the closing window has. 1: found, folded. 0: the window is closed. 2: enough.
 */
static int close_on(mw_window *w, uint32_t span, uint32_t *most)
{
    mw_ring *r = &w->rings[span];
    for (; r->at_list < r->list_count; r->at_list++, r->at_id = 0) {
        mw_pane_list *l = &r->lists[r->at_list];
        if (l->start >= r->closing) break;
        if (l->start + r->span < r->closing) continue;
        while (r->at_id < l->count) {
            uint32_t id = l->ids[r->at_id];
            if ((*most)-- == 0) return 2;
            r->at_id++;
            if (!id) continue;
            if (r->span != r->slide && !is_newest(w, r, id, l->start)) continue;
            if (r->told && mw_window_closed_until(w, r, id) >= r->closing) continue;
            mw_window_fold(w, span, id, r->closing - r->slide);
            w->results[0] = w->results[span];
            return 1;
        }
    }
    mw_window_closed(r, r->closing);
    r->closing = MW_NOT_CLOSING;
    return 0;
}

/* Removes the panes of the first list. 2: enough. */
static int remove_first(mw_window *w, mw_ring *r, uint32_t *most)
{
    mw_pane_list *l = &r->lists[0];
    while (l->count) {
        if ((*most)-- == 0) return 2;
        uint32_t id = l->ids[--l->count];
        if (!id) continue;
        void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
        mw_pane *p = mw_window_find(w, r, payload, l->start);
        mw_entries_touch(w->entries, id);
        if (p) mw_window_drop(w, r, payload, p);
        if (mw_window_is_empty(w, payload)) mw_entries_remove(w->entries, id);
    }
    free(l->ids);
    memmove(r->lists, r->lists + 1, --r->list_count * sizeof *r->lists);
    return 0;
}

/* The ring whose turn it is: that with the earliest due. */
static mw_ring *next_ring(mw_window *w, int64_t watermark_ns, int *removes)
{
    mw_ring *next = NULL;
    int64_t least = watermark_ns;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        mw_ring *r = &w->rings[i];
        int64_t end = w->emits ? next_end(r) : INT64_MAX, removal = next_removal(w, r);
        if (end <= least && (!next || end < least)) next = r, least = end, *removes = 0;
        if (removal <= least && (!next || removal < least)) next = r, least = removal, *removes = 1;
    }
    return next;
}

static int go_on(mw_window *w, uint32_t *most)
{
    for (uint32_t i = 0; i < w->ring_count; i++) {
        if (w->rings[i].closing == MW_NOT_CLOSING) continue;
        int found = close_on(w, i, most);
        if (found) return found;
    }
    return 0;
}

int mw_window_close_next(mw_window *w, int64_t watermark_ns, uint32_t most)
{
    const int at_end = watermark_ns == INT64_MAX;
    w->epoch++;
    if (at_end) watermark_ns--; /* what never is due stays so */
    if (w->gap_ns) return mw_session_close_next(w, watermark_ns, most);
    for (;;) {
        int removes, found = go_on(w, &most);
        if (found || w->held) return found;
        mw_ring *r = next_ring(w, watermark_ns, &removes);
        if (!r) break;
        if (removes) {
            if (remove_first(w, r, &most)) return 2;
        } else {
            r->closing = next_end(r), r->at_list = 0, r->at_id = 0;
        }
    }
    for (uint32_t i = 0; i < w->ring_count; i++) {
        mw_ring *r = &w->rings[i];
        if (watermark_ns > r->closed_until && !at_end)
            mw_window_closed(r, watermark_ns); /* at the end of all input more may come one day */
    }
    return 0;
}
