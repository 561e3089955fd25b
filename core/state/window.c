/* window.c: panes, adding and reading; see window.h. */
#include "event/json.h"
#include "state/window_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- panes ---- */

mw_more_panes **mw_window_more(const mw_window *w, const mw_ring *r, void *payload)
{
    (void)w;
    return (mw_more_panes **)((int64_t *)payload + r->offset - 1);
}

mw_pane *mw_window_ring(const mw_ring *r, void *payload)
{
    return (int64_t *)payload + r->offset;
}

mw_pane *mw_window_each(const mw_window *w, const mw_ring *r, void *payload, uint32_t *n)
{
    for (; *n < r->slots; *n += 1) {
        mw_pane *p = mw_window_ring(r, payload) + (size_t)*n * w->pane_words;
        if (p[MW_PANE_START]) {
            *n += 1;
            return p;
        }
    }
    mw_more_panes *more = *mw_window_more(w, r, payload);
    if (!more || *n - r->slots >= more->count) return NULL;
    return more->words + (size_t)((*n)++ - r->slots) * w->pane_words;
}

static int64_t floor_to(int64_t at, int64_t slide)
{
    int64_t q = at / slide;
    return (q - (at % slide < 0)) * slide;
}

/* Finds the pane of a time, and where it goes in the ring; of times near the last one without a
 * division. */
static void locate(mw_ring *r, int64_t at)
{
    if (at >= r->start && at - r->start < r->slide) return;
    r->start = floor_to(at, r->slide);
    int64_t slot = r->start / r->slide % r->slots;
    r->slot = (uint32_t)(slot < 0 ? slot + r->slots : slot);
}

static mw_pane *find_more(const mw_window *w, const mw_ring *r, void *payload, int64_t start)
{
    mw_more_panes *more = *mw_window_more(w, r, payload);
    for (uint32_t i = 0; more && i < more->count; i++) {
        mw_pane *p = more->words + (size_t)i * w->pane_words;
        if (mw_pane_start(p) == start) return p;
    }
    return NULL;
}

mw_pane *mw_window_find(const mw_window *w, const mw_ring *r, void *payload, int64_t start)
{
    uint32_t slot = r->slot;
    if (start != r->start) {
        int64_t n = start / r->slide % r->slots;
        slot = (uint32_t)(n < 0 ? n + r->slots : n);
    }
    mw_pane *p = mw_window_ring(r, payload) + (size_t)slot * w->pane_words;
    if (p[MW_PANE_START] == (start | 1)) return p;
    return p[MW_PANE_START] ? find_more(w, r, payload, start) : NULL;
}

static mw_pane *append_more(mw_window *w, mw_ring *r, void *payload)
{
    mw_more_panes **at = mw_window_more(w, r, payload), *more = *at;
    if (!more || more->count == more->room) {
        uint32_t room = more ? more->room * 2 : 2;
        more = realloc(more, sizeof *more + room * w->pane_words * sizeof(mw_pane));
        mw_assert(more != NULL);
        if (!*at) more->count = 0;
        more->room = room;
        *at = more;
    }
    return more->words + (size_t)more->count++ * w->pane_words;
}

/* What is kept of older panes holds no more. */
static void forget_older(const mw_ring *r, void *payload)
{
    if (r->older >= 0) ((int64_t *)payload)[r->older] = 0;
}

mw_pane *mw_window_make(mw_window *w, mw_ring *r, void *payload, int64_t start)
{
    mw_pane *p = mw_window_ring(r, payload);
    forget_older(r, payload);
    if (r->slide) { /* sessions have one slot */
        locate(r, start);
        p += (size_t)r->slot * w->pane_words;
    }
    if (p[MW_PANE_START]) p = append_more(w, r, payload);
    memset(p, 0, w->pane_words * sizeof *p);
    p[MW_PANE_START] = start | 1;
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        mw_aggregate_begin(&w->aggregates[i], mw_pane_cells(w, p) + w->aggregates[i].cell);
    return p;
}

/* A pane of the ring leaves its slot to one with the same place that had to stand aside: a slot is
 * never empty while there is one. */
void mw_window_drop(mw_window *w, mw_ring *r, void *payload, mw_pane *p)
{
    size_t bytes = w->pane_words * sizeof *p;
    mw_more_panes **at = mw_window_more(w, r, payload), *more = *at;
    mw_pane *ring = mw_window_ring(r, payload);
    forget_older(r, payload);
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        mw_aggregate_release(&w->aggregates[i], mw_pane_cells(w, p) + w->aggregates[i].cell);
    if (p >= ring && p < ring + (size_t)r->slots * w->pane_words) {
        mw_pane *heir = NULL;
        for (uint32_t i = 0; more && i < more->count && !heir; i++) {
            mw_pane *other = more->words + (size_t)i * w->pane_words;
            int64_t apart = (mw_pane_start(other) - mw_pane_start(p)) / (r->slide ? r->slide : 1);
            if (!r->slide || apart % r->slots == 0) heir = other;
        }
        if (!heir) {
            memset(p, 0, bytes);
            return;
        }
        memcpy(p, heir, bytes);
        p = heir;
    }
    memmove(p, more->words + (size_t)(more->count - 1) * w->pane_words, bytes);
    if (--more->count == 0) free(more), *at = NULL;
}

int mw_window_due_changed(mw_window *w)
{
    int changed = w->due_changed;
    w->due_changed = 0;
    return changed;
}

int mw_window_is_empty(const mw_window *w, void *payload)
{
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t n = 0;
        if (mw_window_each(w, &w->rings[i], payload, &n)) return 0;
    }
    return 1;
}

/* ---- reading ---- */

void mw_window_add_values(mw_window *w, mw_pane *p, const mw_value *const *values, int64_t at_ns)
{
    static const mw_value none = {0};
    mw_cell *cells = mw_pane_cells(w, p);
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        const mw_aggregate *a = &w->aggregates[i];
        const mw_value *v = a->input < 0 ? &none : values[a->input];
        if (a->kind == MW_COUNT && a->input < 0) cells[a->cell].number++;
        else if (a->kind == MW_SUM && v->kind == MW_NUMBER)
            cells[a->cell].number += v->number;
        else
            mw_aggregate_add(a, cells + a->cell, v, at_ns);
    }
}

static inline void numbers_of(mw_window *w, uint32_t span, const mw_cell *cells, double span_s)
{
    double *out = w->numbers + (size_t)span * w->aggregate_count;
    if (w->plain) {
        for (uint32_t i = 0; i < w->aggregate_count; i++) out[i] = cells[i].number;
        return;
    }
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        const mw_aggregate *a = &w->aggregates[i];
        if (a->kind <= MW_SUM) out[i] = cells[a->cell].number;
        else if (a->kind < MW_SEEN)
            out[i] = mw_aggregate_number(a, cells + a->cell, span_s);
        else
            out[i] = NAN;
    }
}

static void begin_scratch(mw_window *w)
{
    memset(w->scratch, 0, w->cell_count * sizeof *w->scratch);
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        mw_aggregate_begin(&w->aggregates[i], w->scratch + w->aggregates[i].cell);
}

static inline void result_at(mw_window *w, uint32_t span, uint32_t id, int64_t pane, int64_t start,
                             int64_t finish)
{
    w->results[span] = (mw_window_result){.start_ns = start,
                                          .finish_ns = finish,
                                          .epoch = w->epoch,
                                          .pane = (double)pane,
                                          .id = id,
                                          .span = span};
}

int mw_window_fold_session(mw_window *w, uint32_t id, const mw_pane *p)
{
    int64_t last = p[MW_SESSION_LAST] & ~1ll, finish = last + w->gap_ns;
    result_at(w, 0, id, mw_pane_start(p), mw_pane_start(p), finish);
    numbers_of(w, 0, mw_pane_cells(w, p), (double)(last - mw_pane_start(p)) / 1e9);
    return 1;
}

/* Adds up a ring's panes from `from` to before `to`: without a call for each. */
static int add_panes(mw_window *w, const mw_ring *r, void *payload, int64_t from, int64_t to,
                     mw_cell *sum)
{
    const uint32_t words = w->pane_words, cells = w->cell_count;
    mw_more_panes *more = *mw_window_more(w, r, payload);
    int found = 0;
    for (uint32_t c = 0; c < cells; c++) sum[c].number = 0;
    for (int in_ring = 1; in_ring >= 0; in_ring--) {
        const mw_pane *p = in_ring ? mw_window_ring(r, payload) : more ? more->words : NULL;
        uint32_t count = in_ring ? r->slots : more ? more->count : 0;
        for (uint32_t i = 0; i < count; i++, p += words) {
            int64_t start = p[MW_PANE_START];
            if (!start || (start & ~1ll) < from || (start & ~1ll) >= to) continue;
            found = 1;
            for (uint32_t c = 0; c < cells; c++)
                sum[c].number += ((const mw_cell *)p)[1 + c].number;
        }
    }
    return found;
}

/* The numbers of the window that ends with the pane `newest`, which may not be there: always the
 * sum of the older panes and then the newest, so that they are the same to the last bit whether the
 * former was kept or is added up anew. */
static int fold_sums(mw_window *w, uint32_t span, void *payload, int64_t start)
{
    mw_ring *r = &w->rings[span];
    const mw_pane *newest = mw_window_find(w, r, payload, start);
    int found = add_panes(w, r, payload, start + r->slide - r->span, start, w->scratch);
    for (uint32_t c = 0; newest && c < w->cell_count; c++)
        w->scratch[c].number += mw_pane_cells(w, newest)[c].number;
    numbers_of(w, span, w->scratch, r->span_s);
    return found || newest;
}

/* The same of the pane that was just added to, where the sum of the older ones is kept. */
static void fold_newest(mw_window *w, uint32_t span, uint32_t id, void *payload, const mw_pane *p)
{
    mw_ring *r = &w->rings[span];
    int64_t *older = (int64_t *)payload + r->older, start = r->start;
    mw_cell *cells = (mw_cell *)(older + 1);
    result_at(w, span, id, start, start + r->slide - r->span, start + r->slide);
    if (*older != (start | 1)) {
        add_panes(w, r, payload, start + r->slide - r->span, start, cells);
        *older = start | 1;
    }
    for (uint32_t c = 0; c < w->cell_count; c++)
        w->scratch[c].number = cells[c].number + mw_pane_cells(w, p)[c].number;
    numbers_of(w, span, w->scratch, r->span_s);
}

int mw_window_fold(mw_window *w, uint32_t span, uint32_t id, int64_t start)
{
    mw_ring *r = &w->rings[span];
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    int64_t from = start + r->slide - r->span;
    result_at(w, span, id, start, from, start + r->slide);
    if (r->span == r->slide) {
        mw_pane *p = mw_window_find(w, r, payload, start);
        if (p) numbers_of(w, span, mw_pane_cells(w, p), r->span_s);
        return p != NULL;
    }
    uint32_t n = 0, found = 0;
    if (w->additive) return fold_sums(w, span, payload, start);
    begin_scratch(w);
    for (mw_pane *p; (p = mw_window_each(w, r, payload, &n));) {
        if (mw_pane_start(p) < from || mw_pane_start(p) > start) continue;
        found = 1;
        for (uint32_t i = 0; i < w->aggregate_count; i++) {
            const mw_aggregate *a = &w->aggregates[i];
            if (a->kind < MW_SEEN)
                mw_aggregate_merge(a, w->scratch + a->cell, mw_pane_cells(w, p) + a->cell);
        }
    }
    numbers_of(w, span, w->scratch, r->span_s);
    return (int)found;
}

int mw_window_get(mw_window *w, const mw_key *key, int64_t at_ns)
{
    uint32_t id = mw_entries_find(w->entries, key);
    int found = 0;
    if (!id) return 0;
    if (w->gap_ns) return mw_session_get(w, id, at_ns);
    for (uint32_t i = 0; i < w->ring_count; i++) {
        locate(&w->rings[i], at_ns);
        found |= mw_window_fold(w, i, id, w->rings[i].start);
    }
    return found;
}

static int by_start(const void *a, const void *b)
{
    const mw_pane *const *x = a, *const *y = b;
    return **x < **y ? -1 : **x > **y;
}

int mw_window_read(mw_window *w, const mw_window_result *result, uint32_t aggregate, double *number,
                   mw_buffer *out)
{
    const mw_aggregate *a = &w->aggregates[aggregate];
    const mw_ring *r = &w->rings[result->span];
    if (result->epoch != w->epoch || !result->id) return 0;
    void *payload = mw_entry_payload(mw_entries_at(w->entries, result->id));
    mw_pane *panes[r->slots + 64];
    uint32_t n = 0, count = 0;
    double low = result->pane - (double)(r->slide ? r->span - r->slide : 0);
    for (mw_pane *p; count < r->slots + 64 && (p = mw_window_each(w, r, payload, &n));) {
        double start = (double)mw_pane_start(p);
        if (start >= low - 512 && start <= result->pane) panes[count++] = p;
    }
    qsort(panes, count, sizeof *panes, by_start);
    mw_cell cells[mw_aggregate_cells(a)];
    memset(cells, 0, sizeof cells);
    mw_aggregate_begin(a, cells);
    for (uint32_t i = 0; i < count; i++)
        mw_aggregate_merge(a, cells, mw_pane_cells(w, panes[i]) + a->cell);
    if (out) mw_aggregate_json(a, cells, out);
    else
        *number = mw_aggregate_number(a, cells, 0);
    mw_aggregate_release(a, cells);
    return 1;
}

/* ---- adding ---- */

/* Whether the values were seen in the window before, into `seen`, by aggregate. */
static void look_back(mw_window *w, uint32_t span, void *payload, int64_t start,
                      const mw_value *const *values)
{
    const mw_ring *r = &w->rings[span];
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        const mw_aggregate *a = &w->aggregates[i];
        if (a->kind != MW_SEEN) continue;
        const mw_value *v = values[a->input];
        double *seen = &w->seen[(size_t)span * w->aggregate_count + i];
        uint32_t n = 0;
        *seen = v->kind == MW_ABSENT || v->kind == MW_NULL ? NAN : 0;
        if (*seen != 0) continue;
        uint64_t hash = mw_json_hash(v);
        for (mw_pane *p; (p = mw_window_each(w, r, payload, &n)) && *seen == 0;)
            if (mw_pane_start(p) > start - r->span && mw_pane_start(p) <= start)
                *seen = mw_aggregate_has(a, mw_pane_cells(w, p) + a->cell, hash);
    }
}

static void put_seen(mw_window *w, uint32_t span)
{
    size_t from = (size_t)span * w->aggregate_count;
    for (uint32_t i = 0; i < w->aggregate_count; i++)
        if (w->aggregates[i].kind == MW_SEEN) w->numbers[from + i] = w->seen[from + i];
}

/* The newest pane of the window that ends next, of those that hold the pane r->start; where all are
 * over, of the last. */
static int64_t next_to_end(mw_ring *r, int64_t mark_ns)
{
    int64_t last = r->start + r->span - r->slide;
    if (r->start + r->slide > mark_ns) return r->start;
    if (mark_ns < r->mark_pane || mark_ns - r->mark_pane >= r->slide)
        r->mark_pane = floor_to(mark_ns, r->slide);
    return r->mark_pane < last ? r->mark_pane : last;
}

/* The pane r->start of an entry, made where there is none. */
static mw_pane *pane_of(mw_window *w, mw_ring *r, uint32_t id, void *payload)
{
    mw_pane *p = mw_window_find(w, r, payload, r->start);
    if (p) return p;
    uint32_t lists = r->list_count;
    p = mw_window_make(w, r, payload, r->start);
    mw_window_list_add(r, r->start, id);
    w->due_changed |= r->list_count != lists;
    return p;
}

static int add_to(mw_window *w, uint32_t span, uint32_t id, const mw_value *const *values,
                  int64_t at_ns, int64_t mark_ns)
{
    mw_ring *r = &w->rings[span];
    int64_t read = next_to_end(r, mark_ns);
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    mw_pane *p = pane_of(w, r, id, payload);
    if (!w->all_scalar) look_back(w, span, payload, read, values);
    mw_window_add_values(w, p, values, at_ns);
    if (read != r->start) {
        forget_older(r, payload);
        mw_window_fold(w, span, id, read);
    } else if (r->span == r->slide) {
        result_at(w, span, id, read, read, read + r->slide);
        numbers_of(w, span, mw_pane_cells(w, p), r->span_s);
    } else if (r->older >= 0) {
        fold_newest(w, span, id, payload, p);
    } else {
        mw_window_fold(w, span, id, read);
    }
    if (!w->all_scalar) put_seen(w, span);
    return w->emits && w->lateness_ns && r->start + r->slide <= mw_window_closed_until(w, r, id);
}

static int is_over(const mw_window *w, const mw_ring *r, int64_t mark_ns)
{
    return r->start + r->span + w->lateness_ns <= mark_ns;
}

static int check(mw_window *w, const mw_value *const *values)
{
    for (uint32_t i = 0; i < w->input_count; i++) {
        uint32_t kind = values[i]->kind;
        if (!w->numeric[i] || kind == MW_NUMBER || kind == MW_ABSENT || kind == MW_NULL ||
            kind == MW_INTEGER)
            continue;
        w->fault = i;
        return 0;
    }
    return 1;
}

/* The way of nearly all events where a window is one span of counts and sums: into the newest pane.
 * It does what mw_window_add does, without what cannot matter there. 0: it is not so. */
static int add_plainly(mw_window *w, const mw_key *key, uint32_t hint,
                       const mw_value *const *values, int64_t at_ns, int64_t mark_ns)
{
    mw_ring *r = &w->rings[0];
    locate(r, at_ns);
    if (r->start + r->slide <= mark_ns || r->start + r->slide <= r->closed_until || r->told)
        return 0;
    uint32_t id = mw_entries_change(w->entries, key, hint);
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    mw_pane *p = mw_window_ring(r, payload) + (size_t)r->slot * w->pane_words;
    if (p[MW_PANE_START] != (r->start | 1)) p = pane_of(w, r, id, payload);
    mw_cell *cells = mw_pane_cells(w, p);
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        int32_t input = w->aggregates[i].input;
        cells[i].number += input < 0                          ? 1
                           : values[input]->kind == MW_NUMBER ? values[input]->number
                                                              : 0;
    }
    if (r->older >= 0) {
        fold_newest(w, 0, id, payload, p);
    } else {
        result_at(w, 0, id, r->start, r->start + r->slide - r->span, r->start + r->slide);
        numbers_of(w, 0, cells, r->span_s);
    }
    return 1;
}

int mw_window_add(mw_window *w, const mw_key *key, uint32_t hint, const mw_value *const *values,
                  int64_t at_ns, int64_t mark_ns)
{
    int status = MW_WINDOW_LATE;
    uint32_t id = 0;
    if (!check(w, values)) return MW_WINDOW_NOT_NUMBER;
    if (w->gap_ns) return mw_session_add(w, key, values, at_ns, mark_ns);
    w->corrected_id = 0;
    if (w->is_simple && add_plainly(w, key, hint, values, at_ns, mark_ns)) return MW_WINDOW_ADDED;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        mw_ring *r = &w->rings[i];
        locate(r, at_ns);
        if (is_over(w, r, mark_ns)) {
            for (uint32_t k = 0; k < w->aggregate_count; k++)
                w->numbers[i * w->aggregate_count + k] = NAN;
            w->results[i].id = 0;
            continue;
        }
        if (!id) {
            id = mw_entries_change(w->entries, key, hint);
            status = MW_WINDOW_ADDED;
        }
        if (!add_to(w, i, id, values, at_ns, mark_ns)) continue;
        if (!w->corrected_id)
            for (uint32_t k = 0; k < w->ring_count; k++) w->corrected_next[k] = INT64_MAX;
        w->corrected_id = id, w->corrected_mark = mark_ns;
        w->corrected_start[i] = r->start, w->corrected_next[i] = r->start + r->slide;
        status = MW_WINDOW_CORRECTED;
    }
    w->late += status == MW_WINDOW_LATE;
    return status;
}

uint64_t mw_window_late(const mw_window *w)
{
    return w->late;
}

int mw_window_correction(mw_window *w)
{
    if (w->gap_ns) return mw_session_correction(w);
    for (uint32_t i = 0; w->corrected_id && i < w->ring_count; i++) {
        mw_ring *r = &w->rings[i];
        int64_t closed_until = mw_window_closed_until(w, r, w->corrected_id);
        while (w->corrected_next[i] <= closed_until &&
               w->corrected_next[i] <= w->corrected_start[i] + r->span) {
            int64_t end = w->corrected_next[i];
            w->corrected_next[i] += r->slide;
            if (end + w->lateness_ns <= w->corrected_mark) continue;
            mw_window_fold(w, i, w->corrected_id, end - r->slide);
            w->results[i].correction = 1;
            if (i) w->results[0] = w->results[i];
            return 1;
        }
        w->corrected_next[i] = INT64_MAX;
    }
    w->corrected_id = 0;
    return 0;
}

uint32_t mw_window_fault(const mw_window *w)
{
    return w->fault;
}

double *mw_window_numbers(mw_window *w)
{
    return w->numbers;
}

mw_window_result *mw_window_results(mw_window *w)
{
    return w->results;
}

mw_entries *mw_window_entries(mw_window *w)
{
    return w->entries;
}

void mw_window_emit(mw_window *w, int emits)
{
    w->emits = emits;
}

uint32_t mw_window_key_parts(const mw_window *w)
{
    return w->key_parts;
}

uint32_t mw_window_inputs(const mw_window *w)
{
    return w->input_count;
}
