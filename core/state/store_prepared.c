/* store_prepared.c: a checkpoint in two steps. What it would write is kept as one text of steps, in
 * rows of some size under "prepared/", with its number and a record under "prepared"; to promote it
 * is to take the steps and to remove the rows in one transaction. */
#include "base/hash.h"
#include "state/store_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_BYTES = 1 << 20 };
static const char head_key[] = "prepared", row_prefix[] = "prepared/";

/* What "prepared" holds, and behind it the record. */
typedef struct head {
    uint64_t number, len, hash; /* of the steps */
} head;

typedef struct step {
    uint32_t kind, key_len;
    uint64_t len;
} step;

void mw_store_record(mw_store_writer *w, char kind, const char *key, size_t key_len,
                     const void *value, size_t len)
{
    const step s = {(uint32_t)kind, (uint32_t)key_len, len};
    mw_buffer_append(&w->steps, (const char *)&s, sizeof s);
    mw_buffer_append(&w->steps, key, key_len);
    if (len) mw_buffer_append(&w->steps, value, len);
}

mw_store_writer *mw_store_prepare(mw_store *s, uint64_t number, const char *record, size_t len)
{
    mw_store_writer *w = mw_store_begin(s);
    const head h = {.number = number};
    mw_store_drop(w, row_prefix, sizeof row_prefix - 1); /* of one that could not be written */
    w->aside = 1;
    mw_buffer_append(&w->steps, (const char *)&h, sizeof h);
    const uint64_t record_len = len;
    mw_buffer_append(&w->steps, (const char *)&record_len, sizeof record_len);
    if (len) mw_buffer_append(&w->steps, record, len);
    return w;
}

void mw_store_set_aside(mw_store_writer *w)
{
    head h;
    uint64_t record_len;
    char key[32];
    const char *at = w->steps.bytes;
    memcpy(&h, at, sizeof h);
    memcpy(&record_len, at + sizeof h, sizeof record_len);
    const char *record = at + sizeof h + sizeof record_len, *steps = record + record_len;
    h.len = w->steps.len - (size_t)(steps - at);
    h.hash = mw_hash(steps, h.len);
    w->aside = 0;
    for (size_t from = 0, n = 0; from < h.len; from += ROW_BYTES, n++) {
        size_t some = h.len - from < ROW_BYTES ? h.len - from : ROW_BYTES;
        int key_len = snprintf(key, sizeof key, "%s%08zx", row_prefix, n);
        mw_store_add(w, key, (size_t)key_len, steps + from, some);
    }
    mw_buffer all = {0};
    mw_buffer_append(&all, (const char *)&h, sizeof h);
    mw_buffer_append(&all, record, record_len);
    mw_store_add(w, head_key, sizeof head_key - 1, all.bytes, all.len);
    mw_buffer_close(&all);
    mw_buffer_close(&w->steps);
}

static int find_head(mw_store *s, head *h, mw_buffer *record)
{
    mw_buffer all = {0};
    int found = mw_store_find(s, head_key, sizeof head_key - 1, &all) && all.len >= sizeof *h;
    if (found) {
        memcpy(h, all.bytes, sizeof *h);
        if (record) mw_buffer_append(record, all.bytes + sizeof *h, all.len - sizeof *h);
    }
    mw_buffer_close(&all);
    return found;
}

int mw_store_prepared(mw_store *s, uint64_t *number, mw_buffer *record)
{
    head h;
    if (!find_head(s, &h, record)) return 0;
    *number = h.number;
    return 1;
}

static int add_row(void *self, const char *key, size_t key_len, const char *value, size_t len)
{
    (void)key, (void)key_len;
    mw_buffer_append(self, value, len);
    return 1;
}

static void remove_rows(mw_store_writer *w)
{
    mw_store_remove(w, head_key, sizeof head_key - 1);
    mw_store_drop(w, row_prefix, sizeof row_prefix - 1);
}

static void take_steps(mw_store_writer *w, const mw_buffer *steps)
{
    step s;
    for (size_t at = 0; at + sizeof s <= steps->len; at += s.key_len + s.len) {
        memcpy(&s, steps->bytes + at, sizeof s);
        at += sizeof s;
        const char *key = steps->bytes + at;
        if (s.kind == MW_STORE_ADD) mw_store_add(w, key, s.key_len, key + s.key_len, s.len);
        else if (s.kind == MW_STORE_REMOVE)
            mw_store_remove(w, key, s.key_len);
        else
            mw_store_drop(w, key, s.key_len);
    }
}

mw_status mw_store_promote(mw_store *s, mw_error *error)
{
    head h;
    mw_buffer steps = {0};
    if (!find_head(s, &h, NULL)) return MW_OK;
    mw_store_each(s, row_prefix, sizeof row_prefix - 1, add_row, &steps);
    mw_status status = MW_OK;
    if (steps.len != h.len || mw_hash(steps.bytes, h.len) != h.hash) {
        status = mw_fail(error, MW_INVALID,
                         "checkpoint %llu, which was prepared, is damaged: put the state folder "
                         "back from a copy, or choose another with --state DIR to begin with "
                         "nothing",
                         (unsigned long long)h.number);
    } else {
        mw_store_writer *w = mw_store_begin(s);
        take_steps(w, &steps);
        remove_rows(w);
        status = mw_store_end(w, error);
    }
    mw_buffer_close(&steps);
    return status;
}

mw_status mw_store_discard(mw_store *s, mw_error *error)
{
    mw_store_writer *w = mw_store_begin(s);
    remove_rows(w);
    return mw_store_end(w, error);
}
