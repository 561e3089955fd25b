/* keeping.c: what a flow keeps by key, on a shard: windows, states and timers by name.
 *
 * A keeper belongs to the shard, not to a version: a version that declares it as it was goes on
 * with it, and one that is rolled back to finds it again, for keepers stay until two versions in a
 * row have not declared them. */
#include "base/clock.h"
#include "base/log.h"
#include "flow/flow_private.h"
#include "lua/keep.h"
#include "state/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void mw_keeping_swap(mw_shard *s, mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.keep_count; i++) {
        mw_keeping *k = find(s, &v->graph.keeps[i]);
        if (k->used && k->used + 1 < v->number) renew(k);
        k->used = v->number;
        if (k->keeper->kind == MW_KEEPS_WINDOW)
            mw_window_emit(k->keeper->window, v->graph.keeps[i].emits);
    }
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
