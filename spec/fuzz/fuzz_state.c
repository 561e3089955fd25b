/* fuzz_state.c: what a checkpoint says an entry holds: any bytes are loaded or refused, and what
 * was loaded can be added to, read, saved and freed. */
#include "state/keeper.h"
#include "state/records.h"
#include "state/timers.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const sorts[] = {"window", "window", "state", "timer"};
static const char *const options[] = {
    "{\"by\":[\"k\"],\"inputs\":[\"x\"],\"spans\":[{\"name\":\"a\",\"span\":6000000000,\"slide\":"
    "1000000000}],\"gap\":0,\"lateness\":0,"
    "\"keep\":[{\"name\":\"a\",\"kind\":\"distinct\",\"input\":0},{\"name\":\"b\",\"kind\":"
    "\"quantile\",\"input\":0,\"parameter\":0.5},"
    "{\"name\":\"c\",\"kind\":\"top\",\"input\":0,\"parameter\":3},{\"name\":\"d\",\"kind\":"
    "\"last\",\"input\":0},"
    "{\"name\":\"e\",\"kind\":\"collect\",\"input\":0,\"parameter\":3},{\"name\":\"f\",\"kind\":"
    "\"seen\",\"input\":0,\"parameter\":1000}]}",
    "{\"by\":[\"k\"],\"inputs\":[\"x\"],\"spans\":[],\"gap\":1000000000,\"lateness\":0,"
    "\"keep\":[{\"name\":\"a\",\"kind\":\"variance\",\"input\":0},{\"name\":\"d\",\"kind\":"
    "\"first\",\"input\":0}]}",
    "{\"ttl\":1000000000}", "{\"by_clock\":false}"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mw_error error;
    mw_keeper *k;
    if (size < 1) return 0;
    unsigned which = data[0] % 4;
    if (mw_keeper_new(&k, sorts[which], "k", options[which], &error) != MW_OK) abort();
    mw_key key = {.bytes = "key", .len = 3, .kind = MW_KEY_TEXT, .hash = 42};
    uint32_t id = mw_entries_restore(mw_keeper_entries(k), &key, (const char *)data + 1, size - 1);
    if (id && k->kind == MW_KEEPS_WINDOW) {
        mw_value x = {.kind = MW_NUMBER, .number = 1};
        const mw_value *values[] = {&x};
        mw_keeper_restored(k);
        mw_window_add(k->window, &key, 0, values, 1000000000, INT64_MIN / 4);
        mw_buffer out = {0};
        mw_window_json(k->window, &out);
        mw_entries_track(mw_keeper_entries(k));
        mw_entries_touch(mw_keeper_entries(k), id);
        mw_entries_cut(mw_keeper_entries(k));
        mw_entries_take(mw_keeper_entries(k), 10, &out);
        mw_buffer_close(&out);
    }
    mw_keeper_free(k);
    return 0;
}
