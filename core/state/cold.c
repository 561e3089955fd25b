/* cold.c: see cold.h. Rows are as snapshot.c writes them. */
#include "state/cold.h"
#include "base/status.h"

#include <stdlib.h>

mw_cold *mw_cold_new(mw_store *store, const char *name, unsigned shard, unsigned shards)
{
    mw_cold *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->reader = mw_store_reader_new(store);
    c->shard = shard, c->shards = shards;
    mw_buffer_format(&c->row, "k/%s", name);
    mw_buffer_append(&c->row, "", 1);
    c->head = c->row.len;
    return c;
}

void mw_cold_free(mw_cold *c)
{
    if (!c) return;
    mw_store_reader_free(c->reader);
    mw_buffer_close(&c->row);
    mw_buffer_close(&c->value);
    free(c);
}

static void add_group(mw_buffer *row, unsigned group)
{
    char byte = (char)group;
    mw_buffer_append(row, &byte, 1);
}

int mw_cold_find(mw_cold *c, const mw_key *key)
{
    char kind = (char)key->kind;
    c->row.len = c->head;
    add_group(&c->row, mw_key_group(key->hash));
    mw_buffer_append(&c->row, &kind, 1);
    mw_buffer_append(&c->row, key->bytes, key->len);
    return mw_store_reader_find(c->reader, c->row.bytes, c->row.len, &c->value);
}

/* The groups of a shard lie one behind the other. */
int mw_cold_next(mw_cold *c, const char *after, size_t len, mw_key *key)
{
    mw_buffer *row = &c->row;
    row->len = c->head;
    if (len == 0) {
        add_group(row, (c->shard * MW_KEY_GROUPS + c->shards - 1) / c->shards);
    } else {
        row->len = 0;
        mw_buffer_append(row, after, len);
        mw_buffer_append(row, "", 1); /* the least that is more */
    }
    if (!mw_store_reader_seek(c->reader, row, c->head, &c->value) || row->len < c->head + 2)
        return 0;
    unsigned group = (unsigned char)row->bytes[c->head];
    if (group * c->shards / MW_KEY_GROUPS != c->shard) return 0;
    *key = (mw_key){.bytes = row->bytes + c->head + 2,
                    .len = (uint32_t)(row->len - c->head - 2),
                    .kind = (unsigned char)row->bytes[c->head + 1]};
    key->hash = mw_key_rehash(key->kind, key->bytes, key->len);
    return 1;
}
