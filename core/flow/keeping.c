/* keeping.c: what a flow keeps by key, on a shard: windows, states and timers by name.
 *
 * A keeper belongs to the shard, not to a version: a version that declares it as it was goes on
 * with it, and one that is rolled back to finds it again, for keepers stay until two versions in a
 * row have not declared them. */
#include "base/clock.h"
#include "base/log.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "lua/keep.h"
#include "state/records.h"
#include "state/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY_LEAST = 1 << 16, /* a shard's part */
    RECORDS_A_ROUND = 4000, /* that are looked at to be let go of */
};

struct mw_keeping {
    mw_keeping *next;
    mw_keeper *keeper;
    unsigned used; /* number of the last version that declares it; 0: none works by it yet */
    int renews;    /* the store has nothing of it, or something else under its name */
};

static mw_keeping *find(const mw_shard *s, const mw_kept_declared *d)
{
    char name[300];
    snprintf(name, sizeof name, "%s/%s", d->sort, d->name);
    for (mw_keeping *k = s->keepers; k; k = k->next)
        if (strcmp(k->keeper->name, name) == 0 && strcmp(k->keeper->options, d->options) == 0)
            return k;
    return NULL;
}

/* A timer that sets itself has one key, and so one home. */
static void set_every(mw_shard *s, const mw_kept_declared *d, mw_keeper *k)
{
    static const char name[] = "every";
    const mw_value value = {.kind = MW_STRING, .text = name, .len = sizeof name - 1}, none = {0};
    const mw_value *values[] = {&value};
    mw_buffer scratch = {0};
    mw_key key;
    uint32_t at;
    mw_key_make(&key, values, 1, &scratch, &at);
    mw_buffer_close(&scratch);
    if (mw_key_shard(key.hash, s->flow->shards) != s->index) return;
    if (mw_entries_find(mw_timers_entries(k->timers), &key)) return;
    mw_timers_set(k->timers, &key, d->by_clock ? mw_clock_wall_ns() + d->every_ns : 1, &none);
}

/* Memory that a state may take is not a part of what it is: it may change with each version. */
static void set_limit(mw_shard *s, const mw_kept_declared *d, mw_keeper *k)
{
    const mw_flow *f = s->flow;
    if (k->kind != MW_KEEPS_RECORDS || !f->store) return;
    size_t bytes = d->memory / f->shards;
    if (d->memory && bytes < MEMORY_LEAST) bytes = MEMORY_LEAST;
    mw_records_limit(k->records, bytes,
                     bytes ? mw_cold_new(f->store, k->name, s->index, f->shards) : NULL);
}

static mw_status make(mw_shard *s, const mw_kept_declared *d, mw_keeping **made, mw_error *error)
{
    mw_keeper *keeper;
    mw_status status = mw_keeper_new(&keeper, d->sort, d->name, d->options, error);
    if (status != MW_OK) {
        mw_error why = *error;
        return mw_fail(error, status, "%s: %s '%s': %s", d->where, d->sort, d->name, why.message);
    }
    int found = 0;
    mw_store *store = s->flow->store;
    set_limit(s, d, keeper);
    if (store)
        status = mw_snapshot_restore(store, keeper, s->index, s->flow->shards, &found, error);
    if (status != MW_OK) {
        mw_keeper_free(keeper);
        return status;
    }
    if (store) mw_entries_track(mw_keeper_entries(keeper));
    mw_keeping *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    k->keeper = keeper;
    k->renews = !found;
    k->next = s->keepers;
    s->keepers = *made = k;
    return MW_OK;
}

mw_status mw_keeping_open(mw_shard *s, mw_version *v, mw_error *error)
{
    mw_status status = MW_OK;
    for (uint32_t i = 0; i < v->graph.keep_count && status == MW_OK; i++) {
        const mw_kept_declared *d = &v->graph.keeps[i];
        mw_keeping *k = find(s, d);
        if (!k) status = make(s, d, &k, error);
        if (status != MW_OK) break;
        if (d->every_ns) set_every(s, d, k->keeper);
        mw_view_attach(&v->rules[s->index].view, i, k->keeper);
    }
    return status;
}

/* It was not declared for a while, and the store may have something else under its name. */
static void renew(mw_keeping *k)
{
    mw_entries *t = mw_keeper_entries(k->keeper);
    uint32_t cursor = 0, id;
    while ((id = mw_entries_next(t, &cursor))) mw_entries_touch(t, id);
    k->renews = 1;
}

static mw_window *window_of(const mw_shard *s, const mw_keeping *k)
{
    if (k->keeper->kind != MW_KEEPS_WINDOW || k->used != s->version->number) return NULL;
    return k->keeper->window;
}

int mw_keeping_is_closing(const mw_shard *s)
{
    for (const mw_keeping *k = s->keepers; k; k = k->next)
        if (window_of(s, k) && mw_window_is_closing(window_of(s, k))) return 1;
    return 0;
}

void mw_keeping_hold(mw_shard *s, int held)
{
    s->held = held;
    for (mw_keeping *k = s->keepers; k; k = k->next)
        if (window_of(s, k)) mw_window_hold(window_of(s, k), held);
}

void mw_keeping_snapshot(mw_shard *s)
{
    mw_snapshot **end = &s->snapshots;
    while (*end) end = &(*end)->next;
    for (mw_keeping *k = s->keepers; k; k = k->next) {
        if (k->used != s->version->number) continue;
        *end = mw_snapshot_begin(k->keeper, s->index, k->renews);
        k->renews = 0;
        end = &(*end)->next;
    }
}

/* What the store has of a state that is not declared may go, and a rollback wants all of it. */
static void recall_others(mw_shard *s, const mw_version *v)
{
    for (mw_keeping *k = s->keepers; k; k = k->next)
        if (k->keeper->kind == MW_KEEPS_RECORDS && k->used && k->used != v->number)
            mw_records_recall(k->keeper->records);
}

void mw_keeping_swap(mw_shard *s, mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.keep_count; i++) {
        mw_keeping *k = find(s, &v->graph.keeps[i]);
        if (k->used && k->used + 1 < v->number) renew(k);
        k->used = v->number;
        if (k->keeper->kind == MW_KEEPS_WINDOW)
            mw_window_emit(k->keeper->window, v->graph.keeps[i].emits);
        set_limit(s, &v->graph.keeps[i], k->keeper);
        s->has_limits |= v->graph.keeps[i].memory > 0;
    }
    recall_others(s, v);
}

/* ---- larger than memory ---- */

static mw_records *limited(const mw_shard *s, const mw_keeping *k)
{
    if (k->keeper->kind != MW_KEEPS_RECORDS || k->used != s->version->number) return NULL;
    return k->keeper->records;
}

void mw_keeping_let_go_begin(mw_shard *s)
{
    for (mw_keeping *k = s->keepers; k; k = k->next)
        if (limited(s, k)) mw_records_sweep(limited(s, k));
}

int mw_keeping_let_go(mw_shard *s)
{
    int64_t now = s->watermark_ns == INT64_MAX ? s->kept_watermark_ns : s->watermark_ns;
    for (mw_keeping *k = s->keepers; k; k = k->next)
        if (limited(s, k) && mw_records_sweep_on(limited(s, k), now, RECORDS_A_ROUND)) return 1;
    return 0;
}

int mw_keeping_is_over(const mw_shard *s, unsigned times)
{
    for (const mw_keeping *k = s->keepers; k; k = k->next)
        if (limited(s, k) && mw_records_are_over(limited(s, k), times)) return 1;
    return 0;
}

static int is_being_taken(const mw_shard *s, const mw_keeper *k)
{
    const mw_snapshot *n = s->snapshots;
    while (n && n->keeper != k) n = n->next;
    return n != NULL;
}

void mw_keeping_sweep(mw_shard *s)
{
    for (mw_keeping **at = &s->keepers, *k; (k = *at);) {
        int new = !k->used; /* of a version that is being opened */
        if (new || k->used + 1 >= s->version->number || is_being_taken(s, k->keeper)) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        mw_keeper_free(k->keeper);
        free(k);
    }
}

void mw_keeping_free(mw_shard *s)
{
    for (mw_keeping *k = s->keepers, *next; k; k = next) {
        next = k->next;
        mw_keeper_free(k->keeper);
        free(k);
    }
    s->keepers = NULL;
}

int mw_keeping_import(mw_shard *s, const mw_moved *m)
{
    for (mw_keeping *k = s->keepers; k; k = k->next) {
        if (k->used != s->version->number || strcmp(k->keeper->name, m->name) != 0) continue;
        mw_keeper_import(k->keeper, &m->key, m->value, m->len);
        return 1;
    }
    return 0;
}
