/* far.c: calls to what is kept by keys of another shard; see keep.h. */
#include "base/clock.h"
#include "event/json.h"
#include "lua/keep.h"
#include "lua/park.h"
#include "score/detector.h"
#include "state/timers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void copy_values(mw_far *f, const mw_value *const *values, uint32_t count)
{
    f->value_count = count;
    f->values = calloc(count + 1, sizeof *f->values);
    mw_assert(f->values != NULL);
    for (uint32_t i = 0; i < count; i++) mw_kept_set(&f->values[i], values[i]);
}

static uint32_t count_inputs(const mw_use *u, uint32_t operation)
{
    switch (operation) {
    case MW_FAR_ADD:
        return mw_window_inputs(u->keeper->window);
    case MW_FAR_RECORD_COMPARE:
        return 2;
    case MW_FAR_RECORD_SET:
    case MW_FAR_RECORD_REPLACE:
    case MW_FAR_RECORD_PUSH:
    case MW_FAR_TIMER_AFTER:
    case MW_FAR_TIMER_AT:
    case MW_FAR_DETECT:
        return 1;
    default:
        return 0;
    }
}

static mw_far *make(mw_view *v, uint32_t index, uint32_t operation, uint32_t row, int given)
{
    const mw_value *values[MW_USE_PARTS];
    const mw_use *u = &v->uses[index];
    uint32_t at, inputs = count_inputs(u, operation);
    mw_far *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    for (uint32_t i = 0; i < u->parts + inputs; i++)
        values[i] =
            given ? mw_view_given(v, i) : &v->slots[(size_t)row * v->stride + (size_t)u->paths[i]];
    mw_key_make(&f->key, values, u->parts, &f->key_bytes, &at);
    if (f->key.bytes != f->key_bytes.bytes) {
        f->key_bytes.len = 0;
        mw_buffer_append(&f->key_bytes, f->key.bytes, f->key.len);
    }
    f->key.bytes = f->key_bytes.bytes ? f->key_bytes.bytes : "";
    copy_values(f, values + u->parts, inputs);
    f->operation = operation, f->index = index;
    f->at_ns = v->now != 0 ? v->now_ns : v->events[v->row].time_ns;
    return f;
}

uint32_t mw_view_call(mw_view *v, uint32_t index, uint32_t operation, uint32_t row, int given,
                      const char *name, uint32_t len, double by, double ttl_ns)
{
    mw_far *f = make(v, index, operation, row, given);
    mw_buffer_append(&f->name, name, len);
    f->by = by;
    f->ttl_ns = (int64_t)ttl_ns;
    v->asking = v->call(v->host, f);
    return v->asking->number;
}

uint32_t mw_view_call_detector(mw_view *v, uint32_t index, const mw_detector *d, uint32_t row,
                               int given)
{
    mw_far *f = make(v, index, MW_FAR_DETECT, row, given);
    f->detector = d;
    f->ttl_ns = -1;
    v->asking = v->call(v->host, f);
    return v->asking->number;
}

/* ---- on the key's shard ---- */

static void add(mw_far *f, mw_window *w, int64_t watermark_ns)
{
    mw_value values[MW_USE_PARTS];
    const mw_value *pointers[MW_USE_PARTS];
    for (uint32_t i = 0; i < f->value_count; i++)
        values[i] = mw_kept_value(&f->values[i]), pointers[i] = &values[i];
    f->status = mw_window_add(w, &f->key, 0, pointers, f->at_ns, watermark_ns);
    if (f->status == MW_WINDOW_NOT_NUMBER) {
        mw_buffer_format(&f->answer, "[%u]", mw_window_fault(w));
        return;
    }
    if (f->status == MW_WINDOW_LATE) return;
    mw_buffer_text(&f->answer, "[");
    mw_window_json(w, &f->answer);
    while (f->status == MW_WINDOW_CORRECTED && mw_window_correction(w)) {
        mw_buffer_text(&f->answer, ",");
        mw_window_closed_json(w, &f->answer);
    }
    mw_buffer_text(&f->answer, "]");
}

static void record_json(mw_far *f, mw_records *r)
{
    uint32_t count, len;
    const mw_record_field *fields = mw_records_get(r, &f->key, f->at_ns, &count);
    f->status = fields != NULL;
    if (!fields) return;
    mw_buffer_text(&f->answer, "[{");
    for (uint32_t i = 0; i < count; i++) {
        const char *name = mw_records_name(r, fields[i].name, &len);
        if (f->operation == MW_FAR_RECORD_READ &&
            (len != f->name.len || memcmp(name, f->name.bytes, len) != 0))
            continue;
        if (f->answer.len > 2) mw_buffer_text(&f->answer, ",");
        mw_json_quote(&f->answer, name, len);
        mw_buffer_text(&f->answer, ":");
        mw_kept_json(&fields[i].value, &f->answer);
    }
    mw_buffer_text(&f->answer, "}]");
}

/* ---- changes ---- */

static void replace(mw_far *f, mw_records *r)
{
    mw_value all = mw_kept_value(&f->values[0]), name, value;
    mw_buffer plain = {0};
    size_t cursor = 0;
    mw_records_clear(r, &f->key, f->at_ns);
    while (all.kind == MW_OBJECT && mw_json_next(all.text, all.len, &cursor, &name, &value)) {
        plain.len = 0;
        mw_json_unescape(&plain, name.text, name.len);
        mw_records_set(r, &f->key, plain.bytes, (uint32_t)plain.len, &value, f->at_ns);
    }
    mw_buffer_close(&plain);
    f->status = 1;
}

static mw_value field_of(mw_far *f, mw_records *r)
{
    uint32_t count, len;
    const mw_record_field *fields = mw_records_get(r, &f->key, f->at_ns, &count);
    for (uint32_t i = 0; fields && i < count; i++) {
        const char *name = mw_records_name(r, fields[i].name, &len);
        if (len == f->name.len && memcmp(name, f->name.bytes, len) == 0)
            return mw_kept_value(&fields[i].value);
    }
    return (mw_value){0};
}

/* As Lua compares: lists and objects are never the same. */
static int is_same(const mw_value *a, const mw_value *b)
{
    if (a->kind != b->kind || a->kind == MW_OBJECT || a->kind == MW_ARRAY) return 0;
    if (a->kind == MW_NUMBER) return a->number == b->number;
    if (a->kind != MW_STRING && a->kind != MW_INTEGER) return 1;
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static void compare(mw_far *f, mw_records *r)
{
    mw_value is = field_of(f, r), before = mw_kept_value(&f->values[0]);
    f->status = is_same(&is, &before);
    if (!f->status) return;
    mw_value after = mw_kept_value(&f->values[1]);
    mw_records_set(r, &f->key, f->name.bytes, (uint32_t)f->name.len, &after, f->at_ns);
}

/* The list is written anew, without the first so many. */
static void push(mw_far *f, mw_records *r)
{
    mw_value list = field_of(f, r), key, item;
    mw_buffer *out = &f->answer;
    size_t cursor = 0, count = 1, most = f->by > 0 ? (size_t)f->by : SIZE_MAX;
    mw_buffer_text(out, "[[");
    if (list.kind == MW_ARRAY) {
        count += mw_json_length(list.text, list.len);
        for (size_t i = 1; mw_json_next(list.text, list.len, &cursor, &key, &item); i++) {
            size_t quotes = item.kind == MW_STRING || item.kind == MW_ESCAPED;
            if (count - i >= most) continue;
            mw_buffer_append(out, item.text - quotes, item.len + 2 * quotes);
            mw_buffer_text(out, ",");
        }
    }
    mw_kept_json(&f->values[0], out);
    mw_buffer_text(out, "]");
    mw_value whole = {.kind = MW_ARRAY, .text = out->bytes + 1, .len = (uint32_t)out->len - 1};
    mw_records_set(r, &f->key, f->name.bytes, (uint32_t)f->name.len, &whole, f->at_ns);
    mw_buffer_text(out, "]");
    f->status = 1;
}

static void change_timer(mw_far *f, mw_timers *t)
{
    int64_t now_ns = mw_timers_by_clock(t) ? mw_clock_wall_ns() : f->at_ns;
    if (f->operation == MW_FAR_TIMER_CANCEL) {
        f->status = mw_timers_cancel(t, &f->key);
        return;
    }
    mw_value data = mw_kept_value(&f->values[0]);
    int64_t at_ns =
        f->operation == MW_FAR_TIMER_AFTER ? now_ns + (int64_t)f->by : (int64_t)(f->by * 1e9);
    mw_timers_set(t, &f->key, at_ns, &data);
    f->status = 1;
}

static void change_record(mw_far *f, mw_records *r)
{
    uint32_t len = (uint32_t)f->name.len;
    double sum = 0;
    if (f->operation == MW_FAR_RECORD_REPLACE) replace(f, r);
    else if (f->operation == MW_FAR_RECORD_COMPARE)
        compare(f, r);
    else if (f->operation == MW_FAR_RECORD_PUSH)
        push(f, r);
    else if (f->operation == MW_FAR_RECORD_DELETE) {
        f->status = mw_records_delete(r, &f->key, f->at_ns);
    } else if (f->operation == MW_FAR_RECORD_SET) {
        mw_value value = mw_kept_value(&f->values[0]);
        mw_records_set(r, &f->key, f->name.bytes, len, &value, f->at_ns);
        f->status = 1;
    } else if (f->operation == MW_FAR_RECORD_INCREMENT) {
        f->status = mw_records_increment(r, &f->key, f->name.bytes, len, f->by, f->at_ns, &sum);
        mw_buffer_text(&f->answer, "[");
        mw_json_number(&f->answer, sum);
        mw_buffer_text(&f->answer, "]");
    }
}

/* A value that is missing is no point. */
static void detect(mw_far *f, mw_entries *cells)
{
    mw_value value = mw_kept_value(&f->values[0]);
    double anomaly = 0, patience = NAN;
    int wanted = mw_detector_wants_value(f->detector);
    if (value.kind == MW_NUMBER || !wanted) {
        mw_entry *e = mw_entries_at(cells, mw_entries_change(cells, &f->key, 0));
        anomaly = mw_detector_point(f->detector, mw_entry_payload(e), wanted ? value.number : 0,
                                    (double)f->at_ns / 1e9);
        patience = mw_detector_patience(f->detector, mw_entry_payload(e));
    } else if (value.kind != MW_ABSENT && value.kind != MW_NULL) {
        anomaly = NAN;
    }
    f->status = 1;
    mw_buffer_text(&f->answer, "[");
    mw_json_number(&f->answer, anomaly);
    mw_buffer_text(&f->answer, ",");
    mw_json_number(&f->answer, patience);
    mw_buffer_text(&f->answer, "]");
}

void mw_far_do(mw_far *f, mw_keeper *k, int64_t watermark_ns)
{
    switch (f->operation) {
    case MW_FAR_ADD:
        add(f, k->window, watermark_ns);
        break;
    case MW_FAR_GET:
        f->status = mw_window_get(k->window, &f->key, f->at_ns);
        if (!f->status) break;
        mw_buffer_text(&f->answer, "[");
        mw_window_json(k->window, &f->answer);
        mw_buffer_text(&f->answer, "]");
        break;
    case MW_FAR_RECORD_GET:
    case MW_FAR_RECORD_READ:
        record_json(f, k->records);
        break;
    case MW_FAR_TIMER_AFTER:
    case MW_FAR_TIMER_AT:
    case MW_FAR_TIMER_CANCEL:
        change_timer(f, k->timers);
        break;
    case MW_FAR_DETECT:
        detect(f, k->cells);
        break;
    default:
        change_record(f, k->records);
        int done = f->status || f->operation == MW_FAR_RECORD_LIVE;
        if (done && f->ttl_ns >= 0) mw_records_live(k->records, &f->key, f->ttl_ns, f->at_ns);
    }
}

void mw_far_free(mw_far *f)
{
    for (uint32_t i = 0; i < f->value_count; i++) mw_kept_release(&f->values[i]);
    free(f->values);
    mw_buffer_close(&f->key_bytes);
    mw_buffer_close(&f->name);
    mw_buffer_close(&f->answer);
    free(f);
}
