/* window_json.c: what windows hold as JSON; see window.h. */
#include "event/json.h"
#include "state/window_private.h"

int mw_window_key(const mw_window *w, const mw_window_result *r, mw_buffer *out)
{
    if (r->epoch != w->epoch || !r->id) return 0;
    const mw_entry *e = mw_entries_at(w->entries, r->id);
    mw_key_json(e->key_kind, mw_entries_key(w->entries, e), e->key_len, out);
    return 1;
}

static void add_number(mw_buffer *out, const char *name, double number)
{
    if (number != number) return;
    mw_buffer_format(out, ",\"%s\":", name);
    mw_json_number(out, number);
}

static void add_aggregate(mw_window *w, const mw_window_result *r, uint32_t i, mw_buffer *out)
{
    const mw_aggregate *a = &w->aggregates[i];
    double number = w->numbers[r->span * w->aggregate_count + i];
    int is_number = a->kind <= MW_QUANTILE;
    if (a->kind == MW_SEEN) {
        if (number == number)
            mw_buffer_format(out, ",\"%s\":%s", a->name, number != 0 ? "true" : "false");
    } else if (a->kind < MW_SCALARS) {
        add_number(out, a->name, number);
    } else if (is_number) {
        if (mw_window_read(w, r, i, &number, NULL)) add_number(out, a->name, number);
    } else {
        mw_buffer_format(out, ",\"%s\":", a->name);
        if (!mw_window_read(w, r, i, NULL, out)) mw_buffer_text(out, "null");
    }
}

static void result_json(mw_window *w, const mw_window_result *r, mw_buffer *out)
{
    mw_buffer_text(out, "{\"start\":");
    mw_json_number(out, (double)r->start_ns / 1e9);
    add_number(out, "finish", (double)r->finish_ns / 1e9);
    for (uint32_t i = 0; i < w->aggregate_count; i++) add_aggregate(w, r, i, out);
    mw_buffer_text(out, "}");
}

void mw_window_json(mw_window *w, mw_buffer *out)
{
    if (w->ring_count == 1) {
        result_json(w, &w->results[0], out);
        return;
    }
    for (uint32_t i = 0; i < w->ring_count; i++) {
        mw_buffer_format(out, "%c\"%s\":", i ? ',' : '{', w->rings[i].name);
        result_json(w, &w->results[i], out);
    }
    mw_buffer_text(out, "}");
}

void mw_window_closed_json(mw_window *w, mw_buffer *out)
{
    result_json(w, &w->results[0], out);
    out->len--;
    mw_buffer_text(out, ",\"key\":");
    mw_window_key(w, &w->results[0], out);
    if (w->ring_count > 1)
        mw_buffer_format(out, ",\"span\":\"%s\"", w->rings[w->results[0].span].name);
    if (w->results[0].correction) mw_buffer_text(out, ",\"correction\":true");
    mw_buffer_text(out, "}");
}

void mw_window_entry_json(mw_window *w, uint32_t id, mw_buffer *out)
{
    void *payload = mw_entry_payload(mw_entries_at(w->entries, id));
    int first = 1;
    mw_buffer_text(out, "[");
    for (uint32_t i = 0; i < w->ring_count; i++) {
        uint32_t n = 0;
        for (mw_pane *p; (p = mw_window_each(w, &w->rings[i], payload, &n)); first = 0) {
            if (w->gap_ns) mw_window_fold_session(w, id, p);
            else
                mw_window_fold(w, i, id, mw_pane_start(p));
            if (!first) mw_buffer_text(out, ",");
            result_json(w, &w->results[i], out);
        }
    }
    mw_buffer_text(out, "]");
}
