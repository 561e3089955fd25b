/* far.c: calls to what is kept by keys of another shard; see keep.h. */
#include "event/json.h"
#include "lua/keep.h"
#include "lua/park.h"

#include <stdlib.h>
#include <string.h>

static void copy_values(mw_far *f, const mw_value *const *values, uint32_t count)
{
    f->value_count = count;
    f->values = calloc(count + 1, sizeof *f->values);
    mw_assert(f->values != NULL);
    for (uint32_t i = 0; i < count; i++) mw_kept_set(&f->values[i], values[i]);
}

uint32_t mw_view_call(mw_view *v, uint32_t index, uint32_t operation, uint32_t row, int given,
                      const char *name, uint32_t len, double by)
{
    const mw_value *values[MW_USE_PARTS];
    const mw_use *u = &v->uses[index];
    uint32_t at, inputs = operation == MW_FAR_ADD          ? mw_window_inputs(u->keeper->window)
                          : operation == MW_FAR_RECORD_SET ? 1
                                                           : 0;
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
    mw_buffer_append(&f->name, name, len);
    f->operation = operation, f->index = index, f->by = by;
    f->at_ns = v->now != 0 ? v->now_ns : v->events[v->row].time_ns;
    v->asking = v->call(v->host, f);
    v->asked = v->asking->number;
    return v->asked;
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

static void change_record(mw_far *f, mw_records *r)
{
    uint32_t len = (uint32_t)f->name.len;
    double sum = 0;
    if (f->operation == MW_FAR_RECORD_DELETE) {
        f->status = mw_records_delete(r, &f->key, f->at_ns);
    } else if (f->operation == MW_FAR_RECORD_SET) {
        mw_value value = mw_kept_value(&f->values[0]);
        mw_records_set(r, &f->key, f->name.bytes, len, &value, f->at_ns);
        f->status = 1;
    } else {
        f->status = mw_records_increment(r, &f->key, f->name.bytes, len, f->by, f->at_ns, &sum);
        mw_buffer_text(&f->answer, "[");
        mw_json_number(&f->answer, sum);
        mw_buffer_text(&f->answer, "]");
    }
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
    default:
        change_record(f, k->records);
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
