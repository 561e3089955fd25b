/* fuzz_moved.c: lines that `moonweir state … import` reads: any bytes are an entry that can be
 * taken in, and goes out as it came, or are refused with a message. */
#include "state/moved.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *options(void *self, const char *name)
{
    (void)self;
    if (strcmp(name, "state/s") == 0) return "{\"ttl\":1000000000}";
    if (strcmp(name, "timer/t") == 0) return "{\"by_clock\":false}";
    if (strcmp(name, "window/v") == 0)
        return "{\"by\":[\"k\"],\"inputs\":[\"x\"],\"spans\":[],\"gap\":1000000000,\"lateness\":0,"
               "\"keep\":[{\"name\":\"d\",\"kind\":\"first\",\"input\":0}]}";
    if (strcmp(name, "window/w") == 0)
        return "{\"by\":[\"k\"],\"inputs\":[\"x\"],\"spans\":[{\"name\":\"a\",\"span\":6000000000,"
               "\"slide\":1000000000}],\"gap\":0,\"lateness\":0,\"keep\":[{\"name\":\"n\",\"kind\":"
               "\"count\",\"input\":-1},{\"name\":\"t\",\"kind\":\"sum\",\"input\":0}]}";
    return NULL;
}

/* Twice, as a change of what is there. */
static void take_in(const mw_moved *m)
{
    mw_error error;
    mw_keeper *k;
    if (mw_moved_keeper(&k, m->name, options(NULL, m->name), &error) != MW_OK) abort();
    mw_entries *t = mw_keeper_entries(k);
    mw_entries_track(t);
    mw_keeper_import(k, &m->key, m->value, m->len);
    mw_keeper_import(k, &m->key, m->value, m->len);
    if (mw_entries_count(t) != 1) abort();
    mw_buffer out = {0};
    mw_entries_cut(t);
    mw_entries_take(t, 10, &out);
    if (k->kind == MW_KEEPS_WINDOW) {
        mw_value x = {.kind = MW_NUMBER, .number = 1};
        const mw_value *values[] = {&x};
        mw_window_add(k->window, &m->key, 0, values, 1000000000, INT64_MIN / 4);
        for (int i = 0; i < 100 && mw_window_close_next(k->window, 1000000000, 1000) == 1; i++) {
        }
    }
    mw_buffer_close(&out);
    mw_keeper_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mw_moved_reader reader = {0};
    mw_moved m;
    mw_error error = {0};
    mw_status status = mw_moved_read(&reader, (const char *)data, size, options, NULL, &m, &error);
    if (status == MW_OK) take_in(&m);
    else if (!error.message[0])
        abort();
    mw_moved_close(&reader);
    return 0;
}
