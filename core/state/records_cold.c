/* records_cold.c: records that are in the store alone, and the walk over all; see records.h. */
#include "base/log.h"
#include "base/status.h"
#include "state/records_private.h"

#include <stdlib.h>
#include <string.h>

/* A sweep ends when so much of the limit is in use; it looks at this many rows of the store at
 * least, where some records have a time to live. */
enum { LOW_EIGHTHS = 7, ROWS_A_SWEEP = 1024 };

uint64_t mw_records_cold(const mw_records *r)
{
    return r->cold ? r->cold->count : 0;
}

static size_t in_use(const mw_records *r)
{
    return mw_entries_used_bytes(r->entries) + r->held;
}

int mw_records_are_over(const mw_records *r, unsigned times)
{
    return r->cold && in_use(r) > r->limit * times;
}

void mw_records_leave(mw_records *r)
{
    r->cold->any = 1;
    r->cold->count++;
}

/* ---- asking ---- */

static void complain(const mw_key *key)
{
    mw_buffer text = {0};
    mw_key_json(key->kind, key->bytes, key->len, &text);
    mw_log(MW_ERROR, "state",
           "the record of %.*s in the state folder is damaged, and left out: put the folder back "
           "from a copy",
           (int)text.len, text.bytes);
    mw_buffer_close(&text);
}

static uint32_t load(mw_records *r, const mw_key *key)
{
    const mw_buffer *value = &r->cold->value;
    uint32_t id = mw_entries_restore(r->entries, key, value->bytes, value->len);
    if (!id) {
        complain(key);
        id = mw_entries_find(r->entries, key);
        mw_entries_touch(r->entries, id);
        mw_record_at(r, id)->until_ns = MW_RECORD_GONE;
    }
    mw_record_at(r, id)->loaded = ++r->loads;
    if (r->cold->count) r->cold->count--;
    return id;
}

static int64_t until_of_row(const mw_cold *c)
{
    int64_t until = MW_RECORD_GONE;
    if (c->value.len >= sizeof until) memcpy(&until, c->value.bytes, sizeof until);
    return until;
}

uint32_t mw_records_find(mw_records *r, const mw_key *key)
{
    uint32_t id = mw_entries_find(r->entries, key);
    if (!r->cold) return id;
    if (!id && r->cold->any && mw_cold_find(r->cold, key) &&
        until_of_row(r->cold) != MW_RECORD_GONE)
        id = load(r, key);
    if (id) mw_record_at(r, id)->used = 1;
    return id;
}

/* ---- the limit ---- */

void mw_records_recall(mw_records *r)
{
    mw_record_cursor c = {0};
    mw_key key;
    if (!r->cold || !r->cold->any) return;
    while (mw_cold_next(r->cold, c.row, c.row_len, &key)) {
        c.row_len = (uint32_t)r->cold->row.len;
        memcpy(c.row, r->cold->row.bytes, c.row_len);
        if (!mw_entries_find(r->entries, &key) && until_of_row(r->cold) != MW_RECORD_GONE)
            load(r, &key);
    }
    r->cold->any = 0, r->cold->count = 0;
}

void mw_records_limit(mw_records *r, size_t bytes, mw_cold *cold)
{
    uint32_t cursor = 0, id;
    r->limit = bytes;
    if (cold && r->cold) { /* it is another limit */
        mw_cold_free(cold);
        return;
    }
    if (!cold && !r->cold) return;
    if (cold) {
        mw_due_close(&r->due);
        r->due = (mw_due){0};
        r->cold = cold;
        while ((id = mw_entries_next(r->entries, &cursor))) mw_record_at(r, id)->item_ns = 0;
        return;
    }
    mw_records_recall(r);
    mw_cold_free(r->cold);
    r->cold = NULL;
    mw_records_restored(r);
}

/* ---- the sweep ---- */

void mw_records_sweep(mw_records *r)
{
    uint64_t count = mw_entries_count(r->entries);
    if (!r->cold) return;
    r->sweep.left = mw_records_are_over(r, 1) ? 2 * count : r->mortal ? count / 8 + 1 : 0;
    r->sweep.rows_left = r->mortal && r->cold->any ? ROWS_A_SWEEP + 2 * r->sweep.let_go : 0;
    r->sweep.let_go = 0;
}

static void look_at_entry(mw_records *r, uint32_t id, int64_t now_ns)
{
    mw_record_payload *rec = mw_record_at(r, id);
    if (!mw_entries_is_clean(r->entries, id)) return;
    if (!mw_record_is_alive(rec, now_ns)) {
        mw_entries_remove(r->entries, id);
    } else if (in_use(r) <= r->limit / 8 * LOW_EIGHTHS) {
        if (!r->mortal) r->sweep.left = 0;
    } else if (rec->used) {
        rec->used = 0;
    } else {
        mw_entries_forget(r->entries, id);
        mw_records_leave(r);
        r->sweep.let_go++;
    }
}

/* 0: that was the last row; the next sweep begins anew. */
static int look_at_row(mw_records *r, int64_t now_ns)
{
    mw_buffer *row = &r->sweep.row;
    mw_key key;
    int found = mw_cold_next(r->cold, row->bytes, row->len, &key);
    row->len = 0;
    if (!found) return 0;
    mw_buffer_append(row, r->cold->row.bytes, r->cold->row.len);
    int64_t until = until_of_row(r->cold);
    if (until == 0 || until == MW_RECORD_GONE || until > now_ns ||
        mw_entries_find(r->entries, &key))
        return 1;
    mw_entries_remove(r->entries, load(r, &key));
    return 1;
}

int mw_records_sweep_on(mw_records *r, int64_t now_ns, uint32_t most)
{
    for (; r->cold && r->sweep.left && most; most--) {
        uint32_t id = mw_entries_next(r->entries, &r->sweep.hand);
        r->sweep.left--;
        if (!id) r->sweep.hand = 0;
        else
            look_at_entry(r, id, now_ns);
    }
    for (; r->cold && r->sweep.rows_left && most; most--) {
        r->sweep.rows_left--;
        if (!look_at_row(r, now_ns)) r->sweep.rows_left = 0;
    }
    return r->cold && (r->sweep.left || r->sweep.rows_left);
}

/* ---- the walk: what is in memory, then rows that are not ---- */

static const mw_record_field *next_in_memory(mw_records *r, mw_record_cursor *c, int64_t now_ns,
                                             mw_key *key, uint32_t *count)
{
    uint32_t id;
    while ((id = mw_entries_next(r->entries, &c->id))) {
        const mw_record_payload *rec = mw_record_at(r, id);
        if (!mw_record_is_alive(rec, now_ns) || rec->loaded > c->loads) continue;
        const mw_entry *e = mw_entries_at(r->entries, id);
        *key = (mw_key){
            .bytes = mw_entries_key(r->entries, e), .len = e->key_len, .kind = e->key_kind};
        return mw_records_at(r, id, count);
    }
    return NULL;
}

/* What was read into memory since the walk began was left out there. */
static const mw_record_field *next_in_store(mw_records *r, mw_record_cursor *c, int64_t now_ns,
                                            mw_key *key, uint32_t *count)
{
    while (mw_cold_next(r->cold, c->row, c->row_len, key)) {
        c->row_len = (uint32_t)r->cold->row.len;
        memcpy(c->row, r->cold->row.bytes, c->row_len);
        uint32_t id = mw_entries_find(r->entries, key);
        const mw_record_payload *rec = id ? mw_record_at(r, id) : &r->shown;
        if (id && rec->loaded <= c->loads) continue;
        if (!id) {
            mw_records_codec.release(r, &r->shown);
            r->shown = (mw_record_payload){0};
            if (!mw_records_codec.load(r, &r->shown, r->cold->value.bytes, r->cold->value.len)) {
                complain(key);
                continue;
            }
        }
        if (!mw_record_is_alive(rec, now_ns)) continue;
        *count = rec->count;
        key->bytes = c->row + (key->bytes - r->cold->row.bytes);
        static const mw_record_field none[1];
        return rec->fields ? rec->fields : none;
    }
    return NULL;
}

const mw_record_field *mw_records_next(mw_records *r, mw_record_cursor *c, int64_t now_ns,
                                       mw_key *key, uint32_t *count)
{
    if (!c->in_store && !c->id) c->loads = r->loads;
    if (!c->in_store) {
        const mw_record_field *fields = next_in_memory(r, c, now_ns, key, count);
        if (fields) return fields;
        c->in_store = 1;
    }
    return r->cold && r->cold->any ? next_in_store(r, c, now_ns, key, count) : NULL;
}
