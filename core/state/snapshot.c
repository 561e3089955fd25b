/* snapshot.c: see snapshot.h. Rows: "o/NAME" the declaration, "h/NAME\0SHARD" what is kept besides,
 * "k/NAME\0" group, kind of key, key: an entry. */
#include "state/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- taking ---- */

mw_snapshot *mw_snapshot_begin(mw_keeper *k, unsigned shard, int renews)
{
    mw_snapshot *s = calloc(1, sizeof *s);
    mw_assert(s != NULL);
    s->keeper = k, s->shard = shard, s->renews = renews;
    s->name = strdup(k->name), s->options = strdup(k->options);
    mw_assert(s->name && s->options);
    mw_keeper_save(k, &s->head);
    mw_entries_cut(mw_keeper_entries(k));
    return s;
}

int mw_snapshot_take(mw_snapshot *s, uint32_t most)
{
    if (!s->keeper) return 0;
    if (mw_entries_take(mw_keeper_entries(s->keeper), most, &s->records)) return 1;
    s->keeper = NULL;
    return 0;
}

void mw_snapshot_free(mw_snapshot *s)
{
    free(s->name);
    free(s->options);
    mw_buffer_close(&s->head);
    mw_buffer_close(&s->records);
    free(s);
}

/* ---- writing ---- */

/* A record and the first bytes of its key in the store, which decide nearly every comparison. */
typedef struct row {
    uint64_t prefix;
    const mw_entry_record *record;
    uint32_t order; /* of two for one key the later counts */
} row;

/* All rows of a keeper, those of one key group one behind the other. */
typedef struct rows {
    row *all;
    uint32_t from[MW_KEY_GROUPS + 1]; /* where each group begins */
} rows;

static uint64_t prefix_of(const mw_entry_record *r)
{
    unsigned char bytes[8] = {(unsigned char)mw_key_group(r->hash), r->key_kind};
    memcpy(bytes + 2, r->key, r->key_len < 6 ? r->key_len : 6);
    uint64_t prefix = 0;
    for (int i = 0; i < 8; i++) prefix = prefix << 8 | bytes[i];
    return prefix;
}

static int compare_keys(const row *a, const row *b)
{
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    size_t n = a->record->key_len, m = b->record->key_len;
    int order = memcmp(a->record->key, b->record->key, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

static int by_key(const void *a, const void *b)
{
    const row *x = a, *y = b;
    int order = compare_keys(x, y);
    return order ? order : x->order < y->order ? -1 : 1;
}

typedef void (*each_record)(rows *r, const mw_entry_record *record);

static void walk(rows *r, const mw_snapshot *list, const char *name, each_record each)
{
    for (const mw_snapshot *s = list; s; s = s->next) {
        if (strcmp(s->name, name) != 0) continue;
        for (size_t at = 0; at < s->records.len;) {
            const mw_entry_record *record = (const mw_entry_record *)(s->records.bytes + at);
            each(r, record);
            at += record->bytes;
        }
    }
}

static void count(rows *r, const mw_entry_record *record)
{
    r->from[mw_key_group(record->hash) + 1]++;
}

static void place(rows *r, const mw_entry_record *record)
{
    uint32_t at = r->from[mw_key_group(record->hash)]++;
    r->all[at] = (row){prefix_of(record), record, at};
}

/* Sorts in two steps: by group, reading records as they lie, and then each group, whose rows fit
 * into the cache. */
static void sort_rows(rows *r, const mw_snapshot *list, const char *name)
{
    memset(r->from, 0, sizeof r->from);
    walk(r, list, name, count);
    for (int i = 0; i < MW_KEY_GROUPS; i++) r->from[i + 1] += r->from[i];
    r->all = malloc((r->from[MW_KEY_GROUPS] + 1) * sizeof *r->all);
    mw_assert(r->all != NULL);
    walk(r, list, name, place);
    memmove(r->from + 1, r->from, MW_KEY_GROUPS * sizeof *r->from);
    r->from[0] = 0;
}

static void name_key(mw_buffer *key, char sort, const char *name)
{
    key->len = 0;
    mw_buffer_format(key, "%c/%s", sort, name);
    mw_buffer_append(key, "", 1);
}

static void write_group(mw_store_writer *w, mw_buffer *key, row *list, size_t count)
{
    enum { AHEAD = 8 };
    const size_t head = key->len;
    qsort(list, count, sizeof *list, by_key);
    for (size_t i = 0; i < count; i++) {
        const mw_entry_record *r = list[i].record;
        if (i + AHEAD < count) __builtin_prefetch(list[i + AHEAD].record);
        if (i + 1 < count && compare_keys(&list[i], &list[i + 1]) == 0) continue;
        const char two[2] = {(char)mw_key_group(r->hash), (char)r->key_kind};
        key->len = head;
        mw_buffer_append(key, two, 2);
        mw_buffer_append(key, r->key, r->key_len);
        if (r->removed) mw_store_remove(w, key->bytes, key->len);
        else
            mw_store_add(w, key->bytes, key->len, r->key + r->key_len, r->value_len);
    }
    key->len = head;
}

/* The rows of one keeper, in the order of their keys, as LMDB likes them best. */
static void write_entries(mw_store_writer *w, const mw_snapshot *list, const char *name)
{
    rows r;
    mw_buffer key = {0};
    sort_rows(&r, list, name);
    name_key(&key, 'k', name);
    for (int i = 0; i < MW_KEY_GROUPS; i++)
        write_group(w, &key, r.all + r.from[i], r.from[i + 1] - r.from[i]);
    mw_buffer_close(&key);
    free(r.all);
}

static int is_first(const mw_snapshot *list, const mw_snapshot *s)
{
    const mw_snapshot *other = list;
    while (strcmp(other->name, s->name) != 0) other = other->next;
    return other == s;
}

static void write_heads(mw_store_writer *w, const mw_snapshot *s)
{
    mw_buffer key = {0};
    name_key(&key, 'o', s->name);
    mw_store_add(w, key.bytes, key.len, s->options, strlen(s->options));
    name_key(&key, 'h', s->name);
    mw_buffer_format(&key, "%u", s->shard);
    mw_store_add(w, key.bytes, key.len, s->head.bytes ? s->head.bytes : "", s->head.len);
    mw_buffer_close(&key);
}

static void drop_old(mw_store_writer *w, const mw_snapshot *s)
{
    mw_buffer key = {0};
    name_key(&key, 'h', s->name);
    mw_store_drop(w, key.bytes, key.len);
    name_key(&key, 'k', s->name);
    if (s->renews) mw_store_drop(w, key.bytes, key.len);
    mw_buffer_close(&key);
}

void mw_snapshot_add(mw_store_writer *w, const mw_snapshot *list, const mw_record *rows,
                     size_t count)
{
    for (const mw_snapshot *s = list; s; s = s->next)
        if (s->renews || is_first(list, s)) drop_old(w, s);
    for (const mw_snapshot *s = list; s; s = s->next) {
        write_heads(w, s);
        if (is_first(list, s)) write_entries(w, list, s->name);
    }
    for (size_t i = 0; i < count; i++) {
        const mw_record *r = &rows[i];
        if (r->value) mw_store_add(w, r->key, strlen(r->key), r->value, r->len);
        else
            mw_store_remove(w, r->key, strlen(r->key));
    }
}

mw_status mw_snapshot_write(mw_store *store, const mw_snapshot *list, const mw_record *rows,
                            size_t count, mw_error *error)
{
    mw_store_writer *w = mw_store_begin(store);
    mw_snapshot_add(w, list, rows, count);
    return mw_store_end(w, error);
}

/* ---- restoring ---- */

typedef struct restoring {
    mw_keeper *keeper;
    unsigned shard, shards;
    size_t head;
    unsigned heads; /* shards that saved it */
    int damaged;
} restoring;

static int restore_entry(void *self, const char *row_key, size_t key_len, const char *value,
                         size_t len)
{
    restoring *r = self;
    if (key_len < r->head + 2) return 1;
    unsigned group = (unsigned char)row_key[r->head];
    if (group * r->shards / MW_KEY_GROUPS != r->shard || mw_keeper_leaves(r->keeper)) return 1;
    mw_key key = {.bytes = row_key + r->head + 2,
                  .len = (uint32_t)(key_len - r->head - 2),
                  .kind = (unsigned char)row_key[r->head + 1]};
    key.hash = mw_key_rehash(key.kind, key.bytes, key.len);
    if (mw_key_group(key.hash) != group ||
        !mw_entries_restore(mw_keeper_entries(r->keeper), &key, value, len))
        r->damaged++;
    return 1;
}

static int count_head(void *self, const char *key, size_t key_len, const char *value, size_t len)
{
    (void)key, (void)key_len, (void)value, (void)len;
    ((restoring *)self)->heads++;
    return 1;
}

/* The number of the shard is the end of the key. */
static int restore_head(void *self, const char *key, size_t key_len, const char *value, size_t len)
{
    restoring *r = self;
    unsigned shard = 0;
    for (size_t i = r->head; i < key_len; i++) shard = shard * 10 + (unsigned)(key[i] - '0');
    mw_keeper_load(r->keeper, shard, r->heads, value, len);
    return 1;
}

mw_status mw_snapshot_restore(mw_store *store, mw_keeper *k, unsigned shard, unsigned shards,
                              int *found, mw_error *error)
{
    mw_buffer key = {0}, options = {0};
    restoring r = {.keeper = k, .shard = shard, .shards = shards};
    name_key(&key, 'o', k->name);
    *found = mw_store_find(store, key.bytes, key.len, &options) &&
             options.len == strlen(k->options) &&
             memcmp(options.bytes, k->options, options.len) == 0;
    if (*found) {
        name_key(&key, 'k', k->name);
        r.head = key.len;
        mw_store_each(store, key.bytes, key.len, restore_entry, &r);
        name_key(&key, 'h', k->name);
        r.head = key.len;
        mw_store_each(store, key.bytes, key.len, count_head, &r);
        mw_store_each(store, key.bytes, key.len, restore_head, &r);
        mw_keeper_restored(k);
    }
    mw_buffer_close(&key);
    mw_buffer_close(&options);
    if (r.damaged)
        return mw_fail(
            error, MW_INVALID,
            "%d records of '%s' in the state folder are damaged: put the folder back from "
            "a copy, or choose another with --state DIR to begin with nothing",
            r.damaged, k->name);
    return MW_OK;
}
