/* keeper.c: see keeper.h. */
#include "state/keeper.h"
#include "event/json.h"
#include "state/records.h"
#include "state/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t duration(mw_value options, const char *name)
{
    return (int64_t)mw_json_field(options, name).number;
}

mw_status mw_keeper_new(mw_keeper **keeper, const char *sort, const char *name, const char *options,
                        mw_error *error)
{
    mw_keeper *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    size_t len = strlen(options);
    mw_buffer text = {0};
    mw_buffer_append(&text, options, len);
    memset(mw_buffer_reserve(&text, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    mw_value all = mw_json_value(text.bytes, len);
    mw_status status = MW_OK;
    if (strcmp(sort, "window") == 0) {
        k->kind = MW_KEEPS_WINDOW;
        status = mw_window_new(&k->window, text.bytes, len, error);
    } else if (strcmp(sort, "state") == 0) {
        k->kind = MW_KEEPS_RECORDS;
        k->records = mw_records_new(duration(all, "ttl"));
    } else if (strcmp(sort, "detector") == 0) {
        static const mw_entry_codec plain;
        k->kind = MW_KEEPS_CELLS;
        k->cells = mw_entries_new((uint32_t)mw_json_field(all, "bytes").number, &plain, NULL);
    } else {
        k->kind = MW_KEEPS_TIMERS;
        k->timers = mw_timers_new(mw_json_field(all, "by_clock").kind == MW_TRUE);
    }
    mw_buffer_close(&text);
    mw_buffer full = {0};
    mw_buffer_format(&full, "%s/%s", sort, name);
    k->name = full.bytes;
    k->options = strdup(options);
    mw_assert(k->options != NULL);
    if (status != MW_OK) {
        mw_keeper_free(k);
        return status;
    }
    *keeper = k;
    return MW_OK;
}

void mw_keeper_free(mw_keeper *k)
{
    if (!k) return;
    switch (k->kind) {
    case MW_KEEPS_WINDOW:
        mw_window_free(k->window);
        break;
    case MW_KEEPS_RECORDS:
        mw_records_free(k->records);
        break;
    case MW_KEEPS_TIMERS:
        mw_timers_free(k->timers);
        break;
    case MW_KEEPS_CELLS:
        mw_entries_free(k->cells);
        break;
    }
    free(k->name);
    free(k->options);
    free(k);
}

mw_entries *mw_keeper_entries(mw_keeper *k)
{
    switch (k->kind) {
    case MW_KEEPS_WINDOW:
        return mw_window_entries(k->window);
    case MW_KEEPS_RECORDS:
        return mw_records_entries(k->records);
    case MW_KEEPS_TIMERS:
        return mw_timers_entries(k->timers);
    default:
        return k->cells;
    }
}

static int is_timers(const mw_keeper *k, int by_clock)
{
    return k->kind == MW_KEEPS_TIMERS && mw_timers_by_clock(k->timers) == by_clock;
}

int64_t mw_keeper_due(const mw_keeper *k)
{
    if (k->kind == MW_KEEPS_WINDOW) return mw_window_due(k->window);
    if (k->kind == MW_KEEPS_RECORDS) return mw_records_due(k->records);
    return is_timers(k, 0) ? mw_timers_due(k->timers) : INT64_MAX;
}

int64_t mw_keeper_due_by_clock(const mw_keeper *k)
{
    return is_timers(k, 1) ? mw_timers_due(k->timers) : INT64_MAX;
}

void mw_keeper_save(const mw_keeper *k, mw_buffer *out)
{
    if (k->kind == MW_KEEPS_WINDOW) mw_window_save(k->window, out);
}

void mw_keeper_load(mw_keeper *k, unsigned shard, unsigned shards, const char *bytes, size_t len)
{
    if (k->kind == MW_KEEPS_WINDOW) mw_window_load(k->window, shard, shards, bytes, len);
}

void mw_keeper_settle(mw_keeper *k)
{
    if (k->kind == MW_KEEPS_WINDOW) mw_window_settle(k->window);
    else if (k->kind == MW_KEEPS_TIMERS)
        mw_timers_settle(k->timers);
}

void mw_keeper_restored(mw_keeper *k)
{
    if (k->kind == MW_KEEPS_WINDOW) mw_window_restored(k->window);
    else if (k->kind == MW_KEEPS_RECORDS)
        mw_records_restored(k->records);
    else if (k->kind == MW_KEEPS_TIMERS)
        mw_timers_restored(k->timers);
}

void mw_keeper_import(mw_keeper *k, const mw_key *key, const char *value, size_t len)
{
    if (k->kind == MW_KEEPS_WINDOW) mw_window_import(k->window, key, value, len);
    else if (k->kind == MW_KEEPS_RECORDS)
        mw_records_import(k->records, key, value, len);
    else if (k->kind == MW_KEEPS_TIMERS)
        mw_timers_import(k->timers, key, value, len);
    else
        mw_entries_replace(k->cells, mw_entries_add(k->cells, key), value, len);
}

uint64_t mw_keeper_keys(mw_keeper *k)
{
    return mw_entries_count(mw_keeper_entries(k)) + mw_keeper_cold(k);
}

uint64_t mw_keeper_cold(const mw_keeper *k)
{
    return k->kind == MW_KEEPS_RECORDS ? mw_records_cold(k->records) : 0;
}

size_t mw_keeper_bytes(mw_keeper *k)
{
    if (k->kind == MW_KEEPS_RECORDS) return mw_records_bytes(k->records);
    return mw_entries_bytes(mw_keeper_entries(k));
}

int mw_keeper_leaves(mw_keeper *k)
{
    if (k->kind != MW_KEEPS_RECORDS || !mw_records_are_over(k->records, 1)) return 0;
    mw_records_leave(k->records);
    return 1;
}
