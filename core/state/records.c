/* records.c: see records.h. */
#include "state/records_private.h"
#include "base/hash.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static int find_name(const mw_records *r, const char *text, uint32_t len, uint32_t *number)
{
    for (*number = 0; *number < r->name_count; *number += 1)
        if (r->names[*number].len == len && memcmp(r->names[*number].text, text, len) == 0)
            return 1;
    return 0;
}

static uint32_t name_number(mw_records *r, const char *text, uint32_t len)
{
    uint32_t number;
    if (find_name(r, text, len, &number)) return number;
    r->names = realloc(r->names, (r->name_count + 1) * sizeof *r->names);
    mw_assert(r->names != NULL);
    mw_record_name *n = &r->names[r->name_count];
    n->text = malloc(len + 1);
    mw_assert(n->text != NULL);
    memcpy(n->text, text, len);
    n->text[len] = 0, n->len = len;
    return r->name_count++;
}

const char *mw_records_name(const mw_records *r, uint32_t number, uint32_t *len)
{
    *len = r->names[number].len;
    return r->names[number].text;
}

/* ---- checkpoints ---- */

static void save(void *self, const void *payload, mw_buffer *out)
{
    const mw_records *r = self;
    const mw_record_payload *rec = payload;
    mw_buffer_append(out, &rec->until_ns, sizeof rec->until_ns);
    mw_buffer_append(out, &rec->count, sizeof rec->count);
    for (uint32_t i = 0; i < rec->count; i++) {
        const mw_record_name *n = &r->names[rec->fields[i].name];
        mw_buffer_append(out, &n->len, sizeof n->len);
        mw_buffer_append(out, n->text, n->len);
        mw_kept_save(&rec->fields[i].value, out);
    }
}

static uint32_t room_for(uint32_t count)
{
    uint32_t room = count ? 1 : 0;
    while (room < count) room *= 2;
    return room;
}

static void set_room(mw_records *r, mw_record_payload *rec, uint32_t from, uint32_t to)
{
    if (from == to) return;
    rec->fields = realloc(rec->fields, to * sizeof *rec->fields);
    mw_assert(rec->fields != NULL);
    r->held += to * sizeof *rec->fields - from * sizeof *rec->fields;
}

static mw_record_field *append_field(mw_records *r, mw_record_payload *rec, uint32_t number)
{
    set_room(r, rec, room_for(rec->count), room_for(rec->count + 1));
    rec->fields[rec->count] = (mw_record_field){.name = number};
    return &rec->fields[rec->count++];
}

static int load(void *self, void *payload, const char *bytes, size_t len)
{
    mw_records *r = self;
    mw_record_payload *rec = payload;
    const char *at = bytes, *end = bytes + len;
    uint32_t count;
    if (!mw_load(&rec->until_ns, sizeof rec->until_ns, &at, end) ||
        !mw_load(&count, sizeof count, &at, end))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name_len;
        if (!mw_load(&name_len, sizeof name_len, &at, end) || (size_t)(end - at) < name_len)
            return 0;
        mw_record_field *f = append_field(r, rec, name_number(r, at, name_len));
        at += name_len;
        if (!mw_kept_load(&f->value, &at, end)) return 0;
        r->held += mw_kept_bytes(&f->value);
    }
    if (rec->until_ns) r->mortal = 1;
    return at == end;
}

static void empty(mw_records *r, mw_record_payload *rec)
{
    r->held -= room_for(rec->count) * sizeof *rec->fields;
    for (uint32_t i = 0; i < rec->count; i++) {
        r->held -= mw_kept_bytes(&rec->fields[i].value);
        mw_kept_release(&rec->fields[i].value);
    }
    free(rec->fields);
    rec->fields = NULL, rec->count = 0;
}

static void release(void *self, void *payload)
{
    empty(self, payload);
}

const mw_entry_codec mw_records_codec = {.save = save, .load = load, .release = release};

mw_records *mw_records_new(int64_t ttl_ns)
{
    mw_records *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    r->ttl_ns = ttl_ns;
    r->entries = mw_entries_new(sizeof(mw_record_payload), &mw_records_codec, r);
    return r;
}

void mw_records_free(mw_records *r)
{
    if (!r) return;
    empty(r, &r->shown);
    mw_entries_free(r->entries);
    mw_due_close(&r->due);
    mw_cold_free(r->cold);
    mw_buffer_close(&r->sweep.row);
    for (uint32_t i = 0; i < r->name_count; i++) free(r->names[i].text);
    free(r->names);
    free(r);
}

mw_entries *mw_records_entries(mw_records *r)
{
    return r->entries;
}

size_t mw_records_bytes(const mw_records *r)
{
    return mw_entries_bytes(r->entries) + r->held;
}

int64_t mw_records_due(const mw_records *r)
{
    return mw_due_next(&r->due);
}

/* ---- life ---- */

int mw_record_is_alive(const mw_record_payload *rec, int64_t now_ns)
{
    return rec->until_ns == 0 || rec->until_ns > now_ns;
}

/* One item a record: an item that comes too early is put back. */
static void live_until(mw_records *r, uint32_t id, mw_record_payload *rec, int64_t until_ns)
{
    rec->until_ns = until_ns;
    if (until_ns) r->mortal = 1;
    if (r->cold) return; /* the sweep finds it */
    if (!until_ns || (rec->item_ns && rec->item_ns <= until_ns)) return;
    rec->item_ns = until_ns;
    mw_due_push(&r->due, until_ns, id);
}

static uint32_t find_alive(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_records_find(r, key);
    return id && mw_record_is_alive(mw_record_at(r, id), now_ns) ? id : 0;
}

/* A record to be changed, alive from here on. */
static mw_record_payload *change(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_records_find(r, key);
    if (!id) id = mw_entries_add(r->entries, key);
    mw_record_payload *rec = mw_record_at(r, id);
    mw_entries_touch(r->entries, id);
    if (!mw_record_is_alive(rec, now_ns)) empty(r, rec), rec->until_ns = 0;
    if (r->ttl_ns) live_until(r, id, rec, now_ns + r->ttl_ns);
    return rec;
}

void mw_records_live(mw_records *r, const mw_key *key, int64_t ttl_ns, int64_t now_ns)
{
    uint32_t id = find_alive(r, key, now_ns);
    if (!id) return;
    mw_entries_touch(r->entries, id);
    live_until(r, id, mw_record_at(r, id), ttl_ns ? now_ns + ttl_ns : 0);
}

int mw_records_expire(mw_records *r, int64_t now_ns, uint32_t most)
{
    while (mw_due_next(&r->due) <= now_ns) {
        if (most-- == 0) return 1;
        mw_due_item item = mw_due_pop(&r->due);
        mw_record_payload *rec = mw_record_at(r, item.id);
        if (!mw_entries_at(r->entries, item.id)->key_kind || rec->item_ns != item.at_ns) continue;
        rec->item_ns = 0;
        if (!rec->until_ns) continue;
        if (rec->until_ns > now_ns) live_until(r, item.id, rec, rec->until_ns);
        else
            mw_entries_remove(r->entries, item.id);
    }
    return 0;
}

void mw_records_restored(mw_records *r)
{
    uint32_t cursor = 0, id;
    while ((id = mw_entries_next(r->entries, &cursor)))
        live_until(r, id, mw_record_at(r, id), mw_record_at(r, id)->until_ns);
}

void mw_records_import(mw_records *r, const mw_key *key, const char *value, size_t len)
{
    uint32_t id = mw_records_find(r, key);
    if (!id) id = mw_entries_add(r->entries, key);
    mw_entries_replace(r->entries, id, value, len);
    live_until(r, id, mw_record_at(r, id), mw_record_at(r, id)->until_ns);
}

/* ---- fields ---- */

const mw_record_field *mw_records_at(mw_records *r, uint32_t id, uint32_t *count)
{
    static const mw_record_field none[1];
    const mw_record_payload *rec = mw_record_at(r, id);
    *count = rec->count;
    return rec->fields ? rec->fields : none;
}

const mw_record_field *mw_records_get(mw_records *r, const mw_key *key, int64_t now_ns,
                                      uint32_t *count)
{
    uint32_t id = find_alive(r, key, now_ns);
    return id ? mw_records_at(r, id, count) : NULL;
}

static mw_record_field *find_field(mw_record_payload *rec, uint32_t number)
{
    for (uint32_t i = 0; i < rec->count; i++)
        if (rec->fields[i].name == number) return &rec->fields[i];
    return NULL;
}

void mw_records_set(mw_records *r, const mw_key *key, const char *text, uint32_t len,
                    const mw_value *value, int64_t now_ns)
{
    mw_record_payload *rec = change(r, key, now_ns);
    uint32_t number = name_number(r, text, len);
    mw_record_field *f = find_field(rec, number);
    if (f) r->held -= mw_kept_bytes(&f->value);
    if (value->kind != MW_ABSENT) {
        if (!f) f = append_field(r, rec, number);
        mw_kept_set(&f->value, value);
        r->held += mw_kept_bytes(&f->value);
    } else if (f) {
        mw_kept_release(&f->value);
        *f = rec->fields[rec->count - 1];
        if (rec->count == 1) {
            rec->fields[0].value = (mw_kept){0};
            empty(r, rec);
        } else {
            rec->count--;
            set_room(r, rec, room_for(rec->count + 1), room_for(rec->count));
        }
    }
}

int mw_records_increment(mw_records *r, const mw_key *key, const char *text, uint32_t len,
                         double by, int64_t now_ns, double *sum)
{
    mw_record_payload *rec = change(r, key, now_ns);
    uint32_t number = name_number(r, text, len);
    mw_record_field *f = find_field(rec, number);
    if (!f) f = append_field(r, rec, number), f->value.kind = MW_NUMBER;
    if (f->value.kind != MW_NUMBER) return 0;
    *sum = f->value.number += by;
    return 1;
}

void mw_records_clear(mw_records *r, const mw_key *key, int64_t now_ns)
{
    empty(r, change(r, key, now_ns));
}

int mw_records_delete(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_records_find(r, key);
    if (!id) return 0;
    mw_record_payload *rec = mw_record_at(r, id);
    int alive = mw_record_is_alive(rec, now_ns);
    if (r->cold) {
        mw_entries_touch(r->entries, id);
        empty(r, rec);
        rec->until_ns = MW_RECORD_GONE;
    } else {
        mw_entries_remove(r->entries, id);
    }
    return alive;
}
