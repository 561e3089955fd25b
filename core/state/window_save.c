/* window_save.c: making a window of its declaration, and keeping it in checkpoints. */
#include "event/json.h"
#include "event/time.h"
#include "state/kept.h"
#include "state/window_private.h"

#include <stdlib.h>
#include <string.h>

enum { PANES_MOST = 1024 };

/* ---- declaration ---- */

static int64_t int_of(mw_value of, const char *name)
{
    mw_value v = mw_json_field(of, name);
    if (v.kind == MW_INTEGER) return strtoll(v.text, NULL, 10);
    return v.kind == MW_NUMBER ? (int64_t)v.number : 0;
}

static char *text_of(mw_value v)
{
    char *text = strndup(v.kind == MW_STRING ? v.text : "", v.kind == MW_STRING ? v.len : 0);
    mw_assert(text != NULL);
    return text;
}

static uint32_t length_of(mw_value list)
{
    return list.kind == MW_ARRAY ? (uint32_t)mw_json_length(list.text, list.len) : 0;
}

static mw_value nth(mw_value list, uint32_t n)
{
    return mw_json_member(list.text, list.len, NULL, 0, n + 1);
}

static void read_bounds(mw_aggregate *a, mw_value list)
{
    a->bound_count = length_of(list);
    a->bounds = calloc(a->bound_count + 1, sizeof *a->bounds);
    mw_assert(a->bounds != NULL);
    for (uint32_t i = 0; i < a->bound_count; i++) a->bounds[i] = nth(list, i).number;
}

static void read_aggregates(mw_window *w, mw_value keep)
{
    w->aggregate_count = length_of(keep);
    w->aggregates = calloc(w->aggregate_count + 1, sizeof *w->aggregates);
    mw_assert(w->aggregates != NULL);
    w->all_scalar = w->additive = w->plain = 1;
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        mw_value of = nth(keep, i), kind = mw_json_field(of, "kind");
        mw_aggregate *a = &w->aggregates[i];
        char name[16] = "";
        memcpy(name, kind.text, kind.len < sizeof name ? kind.len : sizeof name - 1);
        a->kind = mw_aggregate_find(name);
        mw_assert(a->kind < MW_AGGREGATES);
        a->name = text_of(mw_json_field(of, "name"));
        a->input = (int32_t)int_of(of, "input");
        mw_value parameter = mw_json_field(of, "parameter");
        a->parameter = parameter.kind == MW_NUMBER ? parameter.number : 0;
        if (a->kind == MW_HISTOGRAM) read_bounds(a, mw_json_field(of, "bounds"));
        a->cell = w->cell_count;
        w->cell_count += mw_aggregate_cells(a);
        w->all_scalar &= a->kind < MW_SEEN;
        w->additive &= a->kind <= MW_SUM || a->kind == MW_MEAN || a->kind == MW_RATE;
        w->plain &= a->kind == MW_SUM || (a->kind == MW_COUNT && a->input < 0);
        if (a->input >= 0) w->numeric[a->input] |= (uint8_t)mw_aggregate_is_numeric(a->kind);
    }
}

/* Rings one behind the other, each behind its pointer to more panes. A ring has room for what is
 * live as long as events come in order: the window, and one pane more. */
static uint32_t read_rings(mw_window *w, mw_value spans)
{
    uint32_t words = 0;
    w->ring_count = w->gap_ns ? 1 : length_of(spans);
    for (uint32_t i = 0; i < w->ring_count; i++) {
        mw_ring *r = &w->rings[i];
        r->slots = 1, r->older = -1;
        r->closed_until = INT64_MIN / 2;
        r->closing = MW_NOT_CLOSING;
        r->span = w->gap_ns;
        if (!w->gap_ns) {
            mw_value span = nth(spans, i);
            r->name = text_of(mw_json_field(span, "name"));
            r->span = int_of(span, "span"), r->slide = int_of(span, "slide");
            r->slots = (uint32_t)(r->span / r->slide) + 1;
            if (w->additive && r->slots > 3) r->older = (int32_t)words, words += 1 + w->cell_count;
        }
        r->span_s = (double)r->span / 1e9;
        r->offset = ++words;
        words += r->slots * w->pane_words;
    }
    return words;
}

mw_status mw_window_new(mw_window **window, const char *json, size_t len, mw_error *error)
{
    mw_value of = mw_json_value(json, len), spans = mw_json_field(of, "spans");
    mw_window *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->key_parts = length_of(mw_json_field(of, "by"));
    w->input_count = length_of(mw_json_field(of, "inputs"));
    w->numeric = calloc(w->input_count + 1, 1);
    w->gap_ns = int_of(of, "gap"), w->lateness_ns = int_of(of, "lateness");
    w->emits = mw_json_field(of, "emits").kind == MW_TRUE;
    read_aggregates(w, mw_json_field(of, "keep"));
    w->head = w->gap_ns ? MW_SESSION_HEAD : 1;
    w->pane_words = w->head + w->cell_count;
    if (length_of(spans) > MW_SPANS_MAX) {
        mw_window_free(w);
        return mw_fail(error, MW_CONFIG, "a window has at most %d spans", MW_SPANS_MAX);
    }
    uint32_t words = read_rings(w, spans);
    if (words > PANES_MOST * 2) {
        mw_window_free(w);
        return mw_fail(error, MW_CONFIG,
                       "a key would need %u KiB: choose a longer 'slide', fewer spans, or smaller "
                       "histograms",
                       words / 128);
    }
    const mw_ring *first = &w->rings[0];
    w->is_simple = w->plain && !w->gap_ns && w->ring_count == 1 &&
                   (first->span == first->slide || first->older >= 0);
    size_t numbers = (size_t)w->ring_count * w->aggregate_count + 1;
    w->scratch = calloc(w->cell_count + 1, sizeof *w->scratch);
    w->numbers = calloc(numbers, sizeof *w->numbers);
    w->seen = calloc(numbers, sizeof *w->seen);
    mw_assert(w->numeric && w->scratch && w->numbers && w->seen);
    w->entries = mw_entries_new(words * 8, &mw_window_codec, w);
    *window = w;
    return MW_OK;
}

void mw_window_free(mw_window *w)
{
    if (!w) return;
    mw_entries_free(w->entries);
    for (uint32_t i = 0; i < w->ring_count; i++) {
        for (uint32_t k = 0; k < w->rings[i].list_count; k++) free(w->rings[i].lists[k].ids);
        free(w->rings[i].lists);
        free(w->rings[i].told);
        free(w->rings[i].name);
    }
    for (uint32_t i = 0; i < w->aggregate_count; i++) {
        free(w->aggregates[i].bounds);
        free(w->aggregates[i].name);
    }
    mw_due_close(&w->due);
    free(w->aggregates);
    free(w->numeric);
    free(w->scratch);
    free(w->numbers);
    free(w->seen);
    free(w);
}

/* ---- checkpoints ---- */

static void save(void *self, const void *payload, mw_buffer *out)
{
    const mw_window *w = self;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t n = 0, count = 0;
        while (mw_window_each(w, &w->rings[i], (void *)payload, &n)) count++;
        mw_buffer_append(out, &count, sizeof count);
        n = 0;
        for (mw_pane *p; (p = mw_window_each(w, &w->rings[i], (void *)payload, &n));) {
            mw_buffer_append(out, p, w->head * sizeof *p);
            for (uint32_t k = 0; k < w->aggregate_count; k++)
                mw_aggregate_save(&w->aggregates[k], mw_pane_cells(w, p) + w->aggregates[k].cell,
                                  out);
        }
    }
}

static int load(void *self, void *payload, const char *bytes, size_t len)
{
    mw_window *w = self;
    const char *at = bytes, *end = bytes + len;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t count;
        if (!mw_load(&count, sizeof count, &at, end)) return 0;
        for (uint32_t n = 0; n < count; n++) {
            mw_pane head[MW_SESSION_HEAD];
            if (!mw_load(head, w->head * sizeof *head, &at, end)) return 0;
            for (uint32_t k = 0; k < w->head; k++)
                if (head[k] > MW_TIME_MOST / 10 * 11 || head[k] < -MW_TIME_MOST / 10 * 11) return 0;
            mw_pane *p = mw_window_make(w, &w->rings[i], payload, head[MW_PANE_START] & ~1ll);
            memcpy(p, head, w->head * sizeof *head);
            p[MW_PANE_START] |= 1;
            for (uint32_t k = 0; k < w->aggregate_count; k++)
                if (!mw_aggregate_load(&w->aggregates[k],
                                       mw_pane_cells(w, p) + w->aggregates[k].cell, &at, end))
                    return 0;
        }
    }
    return at == end;
}

static void release(void *self, void *payload)
{
    const mw_window *w = self;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t n = 0;
        for (mw_pane *p; (p = mw_window_each(w, &w->rings[i], payload, &n));)
            for (uint32_t k = 0; k < w->aggregate_count; k++)
                mw_aggregate_release(&w->aggregates[k],
                                     mw_pane_cells(w, p) + w->aggregates[k].cell);
        free(*mw_window_more(w, &w->rings[i], payload));
    }
}

const mw_entry_codec mw_window_codec = {.save = save, .load = load, .release = release};

void mw_window_save(const mw_window *w, mw_buffer *out)
{
    for (uint32_t i = 0; i < w->ring_count; i++) {
        const mw_ring *r = &w->rings[i];
        mw_buffer_append(out, &r->closed_until, sizeof r->closed_until);
    }
}

void mw_window_load(mw_window *w, unsigned shard, unsigned shards, const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len;
    for (uint32_t i = 0; i < w->ring_count; i++) {
        int64_t until;
        if (!mw_load(&until, sizeof until, &at, end)) return;
        mw_ring *r = &w->rings[i];
        const int first = !r->told;
        if (first) r->told = malloc(MW_KEY_GROUPS * sizeof *r->told);
        mw_assert(r->told != NULL);
        for (unsigned g = 0; g < MW_KEY_GROUPS; g++)
            if (first || mw_key_shard(g, shards) == shard) r->told[g] = until;
    }
}

/* Shards may have been at different windows: what one of them has not closed is not closed. */
static void told_of_all(mw_ring *r)
{
    int64_t least = INT64_MAX;
    r->told_most = INT64_MIN;
    for (unsigned g = 0; g < MW_KEY_GROUPS; g++) {
        if (r->told[g] < least) least = r->told[g];
        if (r->told[g] > r->told_most) r->told_most = r->told[g];
    }
    mw_window_closed(r, least);
}

/* Which panes an entry has: their rings and starts. */
static void note_panes(const mw_window *w, uint32_t id, mw_buffer *out)
{
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t n = 0;
        for (mw_pane *p; (p = mw_window_each(w, &w->rings[i], payload, &n));) {
            const int64_t one[2] = {i, mw_pane_start(p)};
            mw_buffer_append(out, one, sizeof one);
        }
    }
}

static int has_pane(const mw_buffer *panes, const int64_t one[2])
{
    for (size_t at = 0; at < panes->len; at += 2 * sizeof *one)
        if (memcmp(panes->bytes + at, one, 2 * sizeof *one) == 0) return 1;
    return 0;
}

/* Lists have each pane of an entry once: what is new is added, what is gone forgotten. */
void mw_window_import(mw_window *w, const mw_key *key, const char *value, size_t len)
{
    mw_buffer before = {0}, after = {0};
    uint32_t id = mw_entries_add(w->entries, key);
    int64_t one[2];
    w->epoch++;
    if (w->leaving_id == id) w->leaving_id = 0;
    note_panes(w, id, &before);
    mw_entries_replace(w->entries, id, value, len);
    w->due_changed = 1;
    if (w->gap_ns) mw_session_restored(w, id);
    else
        note_panes(w, id, &after);
    for (size_t at = 0; at < after.len; at += sizeof one) {
        memcpy(one, after.bytes + at, sizeof one);
        if (!has_pane(&before, one)) mw_window_list_add(&w->rings[one[0]], one[1], id);
    }
    for (size_t at = 0; !w->gap_ns && at < before.len; at += sizeof one) {
        memcpy(one, before.bytes + at, sizeof one);
        if (!has_pane(&after, one)) mw_window_list_forget(&w->rings[one[0]], one[1], id);
    }
    mw_buffer_close(&before);
    mw_buffer_close(&after);
}

void mw_window_restored(mw_window *w)
{
    uint32_t cursor = 0, id;
    for (uint32_t i = 0; i < w->ring_count; i++)
        if (w->rings[i].told) told_of_all(&w->rings[i]);
    while ((id = mw_entries_next(w->entries, &cursor))) {
        if (w->gap_ns) mw_session_restored(w, id);
        for (uint32_t i = 0; !w->gap_ns && i < w->ring_count; i++) {
            uint32_t n = 0;
            void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
            for (mw_pane *p; (p = mw_window_each(w, &w->rings[i], payload, &n));)
                mw_window_list_add(&w->rings[i], mw_pane_start(p), id);
        }
    }
}
