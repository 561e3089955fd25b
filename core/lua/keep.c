/* keep.c: see keep.h. */
#include "lua/keep.h"

#include "score/detector.h"
#include "event/json.h"
#include "state/timers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DUE_A_RUN = 10000 }; /* keys that a run closes or fires at most */

static mw_use *use_of(mw_view *v, uint32_t index)
{
    if (index >= v->use_count) {
        v->uses = realloc(v->uses, (index + 1) * sizeof *v->uses);
        mw_assert(v->uses != NULL);
        memset(v->uses + v->use_count, 0, (index + 1 - v->use_count) * sizeof *v->uses);
        v->use_count = index + 1;
    }
    return &v->uses[index];
}

void mw_view_use(mw_view *v, uint32_t index, uint32_t part, int32_t path)
{
    mw_assert(part < MW_USE_PARTS);
    use_of(v, index)->paths[part] = path;
}

void mw_view_attach(mw_view *v, uint32_t index, mw_keeper *k)
{
    mw_use *u = use_of(v, index);
    u->keeper = k;
    if (k->kind == MW_KEEPS_WINDOW) u->parts = mw_window_key_parts(k->window);
    else if (!u->parts) /* no declaration has said it */
        u->parts = 1;
}

void mw_view_key_parts(mw_view *v, uint32_t index, uint32_t parts)
{
    use_of(v, index)->parts = parts;
}

mw_value *mw_view_given(mw_view *v, uint32_t n)
{
    if (n >= v->given_room) {
        v->given_room = n + 16;
        v->given_values = realloc(v->given_values, v->given_room * sizeof *v->given_values);
        mw_assert(v->given_values != NULL);
    }
    return &v->given_values[n];
}

/* ---- keys ---- */

static int fault_of(mw_key_fault fault, uint32_t at)
{
    if (fault == MW_KEY_LONG) return MW_KEEP_KEY_LONG;
    return (int)((fault == MW_KEY_ABSENT ? MW_KEEP_KEY_ABSENT : MW_KEEP_KEY_ODD) + (at & 15));
}

/* The entries of rows to come are fetched from memory while those before them are worked on, a
 * group at a time: first in the index, a group later as entries. In groups, because the processor
 * waits for the address of each fetch, and where one follows the other closely it waits for many at
 * once.
 */
enum { GROUP = 16 };

static uint64_t hash_row(const mw_view *v, const mw_use *u, uint32_t row)
{
    const mw_value *slots = v->slots + (size_t)row * v->stride, *values[MW_USE_PARTS];
    if (u->parts == 1) return mw_json_hash(&slots[u->paths[0]]);
    for (uint32_t i = 0; i < u->parts; i++) values[i] = &slots[u->paths[i]];
    return mw_key_hash(values, u->parts);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static __attribute__((noinline)) void look_ahead(mw_view *v, mw_use *u, uint32_t row)
{
    const mw_entries *t = mw_keeper_entries(u->keeper);
    if (u->generation != v->generation || row < u->from || row != u->turn)
        u->generation = v->generation, u->from = u->hashed = u->fetched = row;
    for (uint32_t end = least(row + 3 * GROUP, v->given); u->hashed < end; u->hashed++) {
        uint64_t hash = hash_row(v, u, u->hashed);
        u->ahead[u->hashed % MW_USE_AHEAD].hash = hash;
        mw_entries_prefetch(t, hash);
    }
    for (uint32_t end = least(row + 2 * GROUP, u->hashed); u->fetched < end; u->fetched++)
        u->ahead[u->fetched % MW_USE_AHEAD].id =
            mw_entries_prefetch_entry(t, u->ahead[u->fetched % MW_USE_AHEAD].hash);
    u->turn = least(row + GROUP, u->hashed);
    if (u->hashed - u->from > MW_USE_AHEAD) u->from = u->hashed - MW_USE_AHEAD;
}

/* The hash of a row's key, and what its entry probably is. */
static uint64_t hash_ahead(mw_view *v, mw_use *u, uint32_t row, uint32_t *hint)
{
    if (u->generation != v->generation || row < u->from || row >= u->turn) {
        *hint = 0;
        if (row >= v->given) return hash_row(v, u, row); /* it came behind those of the run */
        look_ahead(v, u, row);
    }
    *hint = u->ahead[row % MW_USE_AHEAD].id;
    return u->ahead[row % MW_USE_AHEAD].hash;
}

static int is_elsewhere(const mw_view *v, uint64_t hash)
{
    return v->shards > 1 && mw_key_shard(hash, v->shards) != v->shard ? MW_KEEP_ELSEWHERE : 0;
}

/* 0, or why there is no key that this shard may use. */
static int make_key(mw_view *v, const mw_use *u, const mw_value *const *values, uint64_t hash,
                    mw_key *key)
{
    uint32_t at;
    if (!v->generation || !v->given || !u->keeper) return MW_KEEP_NO_RULE;
    const mw_value *first = values[0];
    if (u->parts == 1 && first->kind == MW_STRING && first->len <= MW_KEY_BYTES_MAX) {
        *key = (mw_key){.bytes = first->text, .len = first->len, .kind = MW_KEY_TEXT, .hash = hash};
        return is_elsewhere(v, hash);
    }
    mw_key_fault fault = mw_key_make_hashed(key, hash, values, u->parts, &v->key_bytes, &at);
    if (fault != MW_KEY_GOOD) return fault_of(fault, at);
    return is_elsewhere(v, hash);
}

static void values_of(mw_view *v, const mw_use *u, uint32_t row, int given, uint32_t count,
                      const mw_value **values)
{
    const mw_value *slots = v->slots + (size_t)row * v->stride;
    for (uint32_t i = 0; i < count; i++)
        values[i] = given ? mw_view_given(v, i) : &slots[u->paths[i]];
}

static int given_key(mw_view *v, uint32_t index, mw_key *key)
{
    const mw_value *values[MW_USE_PARTS];
    mw_use *u = use_of(v, index);
    values_of(v, u, 0, 1, u->parts, values);
    return make_key(v, u, values, mw_key_hash(values, u->parts), key);
}

static void show_key(mw_view *v, uint32_t kind, const char *bytes, uint32_t len)
{
    v->key = (mw_value){.kind = MW_STRING, .text = bytes, .len = len};
    if (kind == MW_KEY_TEXT) return;
    v->out.len = 0;
    mw_key_json(kind, bytes, len, &v->out);
    v->key.kind = MW_ARRAY;
}

static void show_entry_key(mw_view *v, mw_entries *t, uint32_t id)
{
    const mw_entry *e = mw_entries_at(t, id);
    show_key(v, e->key_kind, mw_entries_key(t, e), e->key_len);
}

/* Time as the rule that runs sees it. */
static int64_t now_of(const mw_view *v)
{
    return v->now != 0 ? v->now_ns : v->events[v->row].time_ns;
}

/* ---- windows ---- */

static void show_window(mw_view *v, mw_window *w)
{
    v->numbers = mw_window_numbers(w), v->results = mw_window_results(w);
}

static int64_t mark_of(const mw_view *v, uint32_t row)
{
    int64_t mark = v->events[row].mark_ns < v->others_ns ? v->events[row].mark_ns : v->others_ns;
    return v->by_row && mark > v->watermark_ns ? mark : v->watermark_ns;
}

int mw_view_add(mw_view *v, uint32_t index, uint32_t row, int given)
{
    const mw_value *values[MW_USE_PARTS];
    mw_key key;
    mw_use *u = use_of(v, index);
    if (!u->keeper) return MW_KEEP_NO_RULE;
    mw_window *w = u->keeper->window;
    values_of(v, u, row, given, u->parts + mw_window_inputs(w), values);
    uint32_t hint = 0;
    uint64_t hash = given ? mw_key_hash(values, u->parts) : hash_ahead(v, u, row, &hint);
    int fault = make_key(v, u, values, hash, &key);
    if (fault) return fault;
    show_window(v, w);
    int status = mw_window_add(w, &key, hint, values + u->parts, now_of(v), mark_of(v, row));
    if (status == MW_WINDOW_NOT_NUMBER) v->key.number = mw_window_fault(w);
    if (v->by_row && mw_window_due_changed(w)) {
        int64_t due = mw_window_due(w);
        if (due < v->due) v->due = due;
    }
    return status;
}

int mw_view_get(mw_view *v, uint32_t index)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (fault) return fault;
    mw_window *w = use_of(v, index)->keeper->window;
    show_window(v, w);
    return mw_window_get(w, &key, now_of(v));
}

int mw_view_correction(mw_view *v, uint32_t index)
{
    mw_window *w = use_of(v, index)->keeper->window;
    show_window(v, w);
    return mw_window_correction(w);
}

int mw_view_more(mw_view *v, uint32_t index, uint32_t id, double epoch, double pane, uint32_t span,
                 uint32_t aggregate, int json)
{
    mw_window_result r = {.id = id, .epoch = epoch, .pane = pane, .span = span};
    v->out.len = 0;
    return mw_window_read(use_of(v, index)->keeper->window, &r, aggregate, &v->key.number,
                          json ? &v->out : NULL);
}

void mw_view_result_key(mw_view *v, uint32_t index)
{
    mw_window *w = use_of(v, index)->keeper->window;
    show_entry_key(v, mw_window_entries(w), mw_window_results(w)[0].id);
}

/* ---- records ---- */

int mw_view_record_get(mw_view *v, uint32_t index)
{
    mw_key key;
    uint32_t count;
    int fault = given_key(v, index, &key);
    if (fault) return -1 - fault;
    mw_use *u = use_of(v, index);
    u->fields = (const char *)mw_records_get(u->keeper->records, &key, now_of(v), &count);
    return u->fields ? (int)count : -1;
}

void mw_view_record_field(mw_view *v, uint32_t index, uint32_t n)
{
    mw_use *u = use_of(v, index);
    const mw_record_field *f = (const mw_record_field *)u->fields + n;
    v->key.kind = MW_STRING;
    v->key.text = mw_records_name(u->keeper->records, f->name, &v->key.len);
    v->found = mw_kept_value(&f->value);
}

int mw_view_record_read(mw_view *v, uint32_t index, const char *name, uint32_t len)
{
    mw_key key;
    uint32_t count, name_len;
    int fault = given_key(v, index, &key);
    if (fault) return -1 - fault;
    mw_records *r = use_of(v, index)->keeper->records;
    const mw_record_field *f = mw_records_get(r, &key, now_of(v), &count);
    v->found.kind = MW_ABSENT;
    if (!f) return 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *other = mw_records_name(r, f[i].name, &name_len);
        if (name_len == len && memcmp(other, name, len) == 0) v->found = mw_kept_value(&f[i].value);
    }
    return 1;
}

int mw_view_record_set(mw_view *v, uint32_t index, const char *name, uint32_t len)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (!fault)
        mw_records_set(use_of(v, index)->keeper->records, &key, name, len,
                       mw_view_given(v, use_of(v, index)->parts), now_of(v));
    return fault;
}

int mw_view_record_increment(mw_view *v, uint32_t index, const char *name, uint32_t len, double by)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (fault) return fault;
    return mw_records_increment(use_of(v, index)->keeper->records, &key, name, len, by, now_of(v),
                                &v->key.number)
               ? 0
               : -1;
}

int mw_view_record_clear(mw_view *v, uint32_t index)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (!fault) mw_records_clear(use_of(v, index)->keeper->records, &key, now_of(v));
    return fault;
}

int mw_view_record_delete(mw_view *v, uint32_t index)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (fault) return -1 - fault;
    return mw_records_delete(use_of(v, index)->keeper->records, &key, now_of(v));
}

int mw_view_record_live(mw_view *v, uint32_t index, double ttl_ns)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (!fault)
        mw_records_live(use_of(v, index)->keeper->records, &key, (int64_t)ttl_ns, now_of(v));
    return fault;
}

int mw_view_record_next(mw_view *v, uint32_t index, mw_record_cursor *cursor)
{
    mw_use *u = use_of(v, index);
    uint32_t count;
    mw_key key;
    if (!v->given || !u->keeper) return 0;
    u->fields = (const char *)mw_records_next(u->keeper->records, cursor, now_of(v), &key, &count);
    if (!u->fields) return 0;
    show_key(v, key.kind, key.bytes, key.len);
    v->found.number = count;
    return 1;
}

/* ---- detectors ---- */

int mw_view_detect(mw_view *v, uint32_t index, const mw_detector *d, uint32_t row, int given)
{
    const mw_value *values[MW_USE_PARTS];
    mw_key key;
    mw_use *u = use_of(v, index);
    values_of(v, u, row, given, u->parts + 1, values);
    int fault = make_key(v, u, values, mw_key_hash(values, u->parts), &key);
    if (fault) return fault;
    const mw_value *value = values[u->parts];
    v->key.number = 0, v->found.number = NAN;
    int wanted = mw_detector_wants_value(d);
    if (wanted && (value->kind == MW_ABSENT || value->kind == MW_NULL)) return 0;
    if (wanted && value->kind != MW_NUMBER) return MW_KEEP_NOT_NUMBER;
    mw_entries *cells = u->keeper->cells;
    mw_entry *e = mw_entries_at(cells, mw_entries_change(cells, &key, 0));
    v->key.number = mw_detector_point(d, mw_entry_payload(e), wanted ? value->number : 0,
                                      (double)now_of(v) / 1e9);
    v->found.number = mw_detector_patience(d, mw_entry_payload(e));
    return 0;
}

/* ---- timers ---- */

int mw_view_timer_set(mw_view *v, uint32_t index, double after_ns, double at_s)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (fault) return fault;
    mw_timers *t = use_of(v, index)->keeper->timers;
    int64_t now = mw_timers_by_clock(t) ? v->clock_ns : now_of(v);
    int64_t at = after_ns >= 0 ? now + (int64_t)after_ns : (int64_t)(at_s * 1e9);
    mw_timers_set(t, &key, at, mw_view_given(v, use_of(v, index)->parts));
    if (v->by_row && !mw_timers_by_clock(t) && at < v->due) v->due = at;
    return 0;
}

/* How far time has come, for what stays when all ends. */
static int64_t reached(const mw_view *v)
{
    return v->watermark_ns == INT64_MAX ? v->final_ns : v->watermark_ns;
}

int mw_view_timer_beat(mw_view *v, uint32_t index, double period_ns)
{
    int clock = mw_timers_by_clock(use_of(v, index)->keeper->timers);
    int64_t now = clock ? v->clock_ns : reached(v), period = (int64_t)period_ns;
    if (now < v->now_ns) now = v->now_ns;
    return mw_view_timer_set(v, index, -1, (double)(now / period + 1) * period_ns / 1e9);
}

int mw_view_timer_cancel(mw_view *v, uint32_t index)
{
    mw_key key;
    int fault = given_key(v, index, &key);
    if (fault) return -1 - fault;
    return mw_timers_cancel(use_of(v, index)->keeper->timers, &key);
}

int mw_view_timer_overdue(mw_view *v, uint32_t index)
{
    mw_key key;
    mw_value data;
    if (given_key(v, index, &key) != 0) return 0;
    mw_timers *t = use_of(v, index)->keeper->timers;
    uint32_t id = mw_entries_find(mw_timers_entries(t), &key);
    int64_t at = id ? mw_timers_look(t, id, &data) : INT64_MAX;
    if (at > now_of(v)) return 0;
    v->found.number = data.number, v->key.number = (double)at / 1e9;
    return mw_timers_cancel(t, &key);
}

/* ---- what is due ---- */

void mw_view_time(mw_view *v, int64_t watermark_ns, int by_row, int64_t others_ns, int64_t clock_ns)
{
    v->watermark_ns = watermark_ns, v->by_row = by_row, v->others_ns = others_ns;
    v->clock_ns = clock_ns;
    v->due_left = DUE_A_RUN;
    v->now = 0;
    v->due = mw_view_due(v);
    if ((v->due < INT64_MAX && v->due <= watermark_ns) || mw_view_due_by_clock(v) <= clock_ns)
        v->due = INT64_MIN;
    else if (!by_row)
        v->due = INT64_MAX;
}

/* At the end of all input windows end, and nothing else does. */
static int64_t due_of(const mw_view *v, const mw_use *u)
{
    if (!u->keeper) return INT64_MAX;
    int64_t due = mw_keeper_due(u->keeper);
    int stays = v->watermark_ns == INT64_MAX && u->keeper->kind != MW_KEEPS_WINDOW;
    return stays && due > v->final_ns ? INT64_MAX : due;
}

int64_t mw_view_due(const mw_view *v)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < v->use_count; i++) {
        int64_t due = due_of(v, &v->uses[i]);
        if (due < least) least = due;
    }
    return least;
}

int64_t mw_view_due_by_clock(const mw_view *v)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < v->use_count; i++) {
        if (!v->uses[i].keeper) continue;
        int64_t due = mw_keeper_due_by_clock(v->uses[i].keeper);
        if (due < least) least = due;
    }
    return least;
}

int mw_view_has_more(const mw_view *v)
{
    return v->due_left == 0 && v->use_count;
}

/* What is due first, by whichever of the two times; -1: nothing. */
static int32_t first_due(const mw_view *v)
{
    int32_t first = -1;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < v->use_count; i++) {
        if (!v->uses[i].keeper) continue;
        int64_t due = due_of(v, &v->uses[i]), clock = mw_keeper_due_by_clock(v->uses[i].keeper);
        if (due < INT64_MAX && due <= v->watermark_ns && (due < least || first < 0))
            first = (int32_t)i, least = due;
        if (clock <= v->clock_ns && (clock < least || first < 0)) first = (int32_t)i, least = clock;
    }
    return first;
}

/* 1: Lua has something to do. */
static int go_on(mw_view *v, uint32_t index)
{
    mw_keeper *k = v->uses[index].keeper;
    if (k->kind == MW_KEEPS_RECORDS) {
        mw_records_expire(k->records, reached(v), 1000);
        return 0;
    }
    if (k->kind == MW_KEEPS_TIMERS) {
        int clock = mw_timers_by_clock(k->timers);
        uint32_t id = mw_timers_fire(k->timers, clock ? v->clock_ns : reached(v));
        if (!id) return 0;
        show_entry_key(v, mw_timers_entries(k->timers), id);
        v->now_ns = mw_timers_at(k->timers, id, &v->found);
        v->now = (double)v->now_ns / 1e9;
        return 1;
    }
    if (mw_window_close_next(k->window, v->watermark_ns, v->due_left + 1000) != 1) return 0;
    show_window(v, k->window);
    v->now_ns = v->results[0].finish_ns;
    v->now = (double)v->now_ns / 1e9;
    return 1;
}

int32_t mw_view_next_due(mw_view *v, uint32_t row)
{
    int32_t index;
    if (v->by_row) v->watermark_ns = mark_of(v, row);
    while (v->due_left > 0 && (index = first_due(v)) >= 0) {
        v->due_left--;
        if (go_on(v, (uint32_t)index)) return index;
    }
    for (uint32_t i = 0; i < v->use_count && !v->due_left; i++)
        if (v->uses[i].keeper) mw_keeper_settle(v->uses[i].keeper);
    v->now = 0;
    v->due = v->by_row && v->due_left ? mw_view_due(v) : INT64_MAX;
    return -1;
}
