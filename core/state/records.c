/* records.c: see records.h. */
#include "state/records.h"
#include "base/hash.h"
#include "base/status.h"
#include "state/due.h"

#include <stdlib.h>
#include <string.h>

/* An entry's payload. */
typedef struct record {
    mw_record_field *fields; /* room is the next power of two */
    uint32_t count, unused;
    int64_t until_ns; /* 0: for ever */
    int64_t item_ns;  /* of its item in the heap; 0: it has none */
} record;

typedef struct name {
    char *text;
    uint32_t len;
} name;

struct mw_records {
    mw_entries *entries;
    int64_t ttl_ns;
    mw_due due;
    name *names;
    uint32_t name_count;
};

static record *record_at(const mw_records *r, uint32_t id)
{
    return mw_entry_payload(mw_entries_at(r->entries, id));
}

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
    name *n = &r->names[r->name_count];
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
    const record *rec = payload;
    mw_buffer_append(out, &rec->until_ns, sizeof rec->until_ns);
    mw_buffer_append(out, &rec->count, sizeof rec->count);
    for (uint32_t i = 0; i < rec->count; i++) {
        const name *n = &r->names[rec->fields[i].name];
        mw_buffer_append(out, &n->len, sizeof n->len);
        mw_buffer_append(out, n->text, n->len);
        mw_kept_save(&rec->fields[i].value, out);
    }
}

static mw_record_field *append_field(record *rec, uint32_t number)
{
    if ((rec->count & (rec->count - 1)) == 0) {
        uint32_t room = rec->count ? rec->count * 2 : 1;
        rec->fields = realloc(rec->fields, room * sizeof *rec->fields);
        mw_assert(rec->fields != NULL);
    }
    rec->fields[rec->count] = (mw_record_field){.name = number};
    return &rec->fields[rec->count++];
}

static int load(void *self, void *payload, const char *bytes, size_t len)
{
    mw_records *r = self;
    record *rec = payload;
    const char *at = bytes, *end = bytes + len;
    uint32_t count;
    if (!mw_load(&rec->until_ns, sizeof rec->until_ns, &at, end) ||
        !mw_load(&count, sizeof count, &at, end))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name_len;
        if (!mw_load(&name_len, sizeof name_len, &at, end) || (size_t)(end - at) < name_len)
            return 0;
        mw_record_field *f = append_field(rec, name_number(r, at, name_len));
        at += name_len;
        if (!mw_kept_load(&f->value, &at, end)) return 0;
    }
    return at == end;
}

static void empty(record *rec)
{
    for (uint32_t i = 0; i < rec->count; i++) mw_kept_release(&rec->fields[i].value);
    free(rec->fields);
    rec->fields = NULL, rec->count = 0;
}

static void release(void *self, void *payload)
{
    (void)self;
    empty(payload);
}

static const mw_entry_codec codec = {.save = save, .load = load, .release = release};

mw_records *mw_records_new(int64_t ttl_ns)
{
    mw_records *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    r->ttl_ns = ttl_ns;
    r->entries = mw_entries_new(sizeof(record), &codec, r);
    return r;
}

void mw_records_free(mw_records *r)
{
    if (!r) return;
    mw_entries_free(r->entries);
    mw_due_close(&r->due);
    for (uint32_t i = 0; i < r->name_count; i++) free(r->names[i].text);
    free(r->names);
    free(r);
}

mw_entries *mw_records_entries(mw_records *r)
{
    return r->entries;
}

int64_t mw_records_due(const mw_records *r)
{
    return mw_due_next(&r->due);
}

/* ---- life ---- */

static int is_alive(const record *rec, int64_t now_ns)
{
    return rec->until_ns == 0 || rec->until_ns > now_ns;
}

/* One item a record: an item that comes too early is put back. */
static void live_until(mw_records *r, uint32_t id, record *rec, int64_t until_ns)
{
    rec->until_ns = until_ns;
    if (!until_ns || (rec->item_ns && rec->item_ns <= until_ns)) return;
    rec->item_ns = until_ns;
    mw_due_push(&r->due, until_ns, id);
}

static uint32_t find_alive(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_entries_find(r->entries, key);
    return id && is_alive(record_at(r, id), now_ns) ? id : 0;
}

/* A record to be changed, alive from here on. */
static record *change(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_entries_add(r->entries, key);
    record *rec = record_at(r, id);
    mw_entries_touch(r->entries, id);
    if (!is_alive(rec, now_ns)) empty(rec), rec->until_ns = 0;
    if (r->ttl_ns) live_until(r, id, rec, now_ns + r->ttl_ns);
    return rec;
}

void mw_records_live(mw_records *r, const mw_key *key, int64_t ttl_ns, int64_t now_ns)
{
    uint32_t id = find_alive(r, key, now_ns);
    if (!id) return;
    mw_entries_touch(r->entries, id);
    live_until(r, id, record_at(r, id), ttl_ns ? now_ns + ttl_ns : 0);
}

int mw_records_expire(mw_records *r, int64_t now_ns, uint32_t most)
{
    while (mw_due_next(&r->due) <= now_ns) {
        if (most-- == 0) return 1;
        mw_due_item item = mw_due_pop(&r->due);
        record *rec = record_at(r, item.id);
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
        live_until(r, id, record_at(r, id), record_at(r, id)->until_ns);
}

/* ---- fields ---- */

const mw_record_field *mw_records_at(mw_records *r, uint32_t id, uint32_t *count)
{
    static const mw_record_field none[1];
    const record *rec = record_at(r, id);
    *count = rec->count;
    return rec->fields ? rec->fields : none;
}

const mw_record_field *mw_records_get(mw_records *r, const mw_key *key, int64_t now_ns,
                                      uint32_t *count)
{
    uint32_t id = find_alive(r, key, now_ns);
    return id ? mw_records_at(r, id, count) : NULL;
}

static mw_record_field *find_field(record *rec, uint32_t number)
{
    for (uint32_t i = 0; i < rec->count; i++)
        if (rec->fields[i].name == number) return &rec->fields[i];
    return NULL;
}

void mw_records_set(mw_records *r, const mw_key *key, const char *text, uint32_t len,
                    const mw_value *value, int64_t now_ns)
{
    record *rec = change(r, key, now_ns);
    uint32_t number = name_number(r, text, len);
    mw_record_field *f = find_field(rec, number);
    if (value->kind != MW_ABSENT) {
        mw_kept_set(f ? &f->value : &append_field(rec, number)->value, value);
    } else if (f) {
        mw_kept_release(&f->value);
        *f = rec->fields[rec->count - 1];
        if (--rec->count == 0) empty(rec);
        else if ((rec->count & (rec->count - 1)) == 0) { /* its room is what it counts again */
            rec->fields = realloc(rec->fields, rec->count * sizeof *rec->fields);
            mw_assert(rec->fields != NULL);
        }
    }
}

int mw_records_increment(mw_records *r, const mw_key *key, const char *text, uint32_t len,
                         double by, int64_t now_ns, double *sum)
{
    record *rec = change(r, key, now_ns);
    uint32_t number = name_number(r, text, len);
    mw_record_field *f = find_field(rec, number);
    if (!f) f = append_field(rec, number), f->value.kind = MW_NUMBER;
    if (f->value.kind != MW_NUMBER) return 0;
    *sum = f->value.number += by;
    return 1;
}

void mw_records_clear(mw_records *r, const mw_key *key, int64_t now_ns)
{
    empty(change(r, key, now_ns));
}

int mw_records_delete(mw_records *r, const mw_key *key, int64_t now_ns)
{
    uint32_t id = mw_entries_find(r->entries, key);
    if (!id) return 0;
    int alive = is_alive(record_at(r, id), now_ns);
    mw_entries_remove(r->entries, id);
    return alive;
}

uint32_t mw_records_next(mw_records *r, uint32_t *cursor, int64_t now_ns)
{
    uint32_t id;
    while ((id = mw_entries_next(r->entries, cursor)))
        if (is_alive(record_at(r, id), now_ns)) return id;
    return 0;
}
