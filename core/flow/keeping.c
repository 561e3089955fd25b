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
    unsigned used; /* number of the last version that declares it */
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
    mw_keeping *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    k->keeper = keeper;
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
        k->used = v->number;
        if (d->every_ns) set_every(s, d, k->keeper);
        mw_view_attach(&v->rules[s->index].view, i, k->keeper);
    }
    return status;
}

void mw_keeping_swap(mw_shard *s, mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.keep_count; i++) {
        mw_keeping *k = find(s, &v->graph.keeps[i]);
        k->used = v->number;
        if (k->keeper->kind == MW_KEEPS_WINDOW)
            mw_window_emit(k->keeper->window, v->graph.keeps[i].emits);
    }
}

void mw_keeping_sweep(mw_shard *s)
{
    for (mw_keeping **at = &s->keepers, *k; (k = *at);) {
        if (k->used + 1 >= s->version->number) {
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
