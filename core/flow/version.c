/* version.c: the versions of a flow: loaded, given their places, counted, freed. */
#include "flow/flow_private.h"
#include "flow/guarantee.h"
#include "flow/replay.h"

#include <stdlib.h>
#include <string.h>

mw_status mw_graph_load(mw_graph *g, const char *path, const mw_kinds *kinds,
                        const char *kinds_json, mw_files *files, unsigned shards,
                        const char *state_folder, mw_error *error)
{
    const char *json;
    size_t len;
    mw_paths paths;
    mw_view view;
    mw_paths_init(&paths);
    mw_view_init(&view, &paths);
    view.shards = shards;
    mw_lua *l = mw_lua_new(&view);
    mw_status status = mw_lua_load(l, path, kinds_json, files, &json, &len, error);
    if (status == MW_OK) {
        mw_graph_read(g, kinds, json, len, path, state_folder);
        mw_files_version(files, g->version, sizeof g->version);
        status = mw_guarantee_check(g, error);
        if (status != MW_OK) mw_graph_close(g);
    }
    mw_lua_free(l);
    mw_view_close(&view);
    mw_paths_close(&paths);
    return status;
}

mw_status mw_version_load(mw_version **version, mw_flow *f, mw_files *files, mw_error *error)
{
    mw_version *v = calloc(1, sizeof *v);
    mw_assert(v != NULL);
    v->files = files;
    v->shards = f->shards;
    mw_status status = mw_graph_load(&v->graph, f->options.path, f->kinds, f->kinds_json.bytes,
                                     files, f->shards, f->options.state_folder, error);
    if (status != MW_OK) {
        free(v);
        return status;
    }
    if (f->options.replay) mw_replay_substitute(&v->graph, f->options.replay);
    v->rules = calloc(v->shards, sizeof *v->rules);
    v->sources = calloc((size_t)v->graph.source_count * v->shards + 1, sizeof *v->sources);
    v->first = calloc((size_t)v->graph.source_count * v->shards + 1, sizeof *v->first);
    v->sinks = calloc(v->graph.sink_count, sizeof *v->sinks);
    v->fates = calloc(v->graph.source_count + v->graph.sink_count, sizeof *v->fates);
    v->tallies = aligned_alloc(64, v->shards * sizeof *v->tallies);
    mw_assert(v->rules && v->sources && v->first && v->sinks && v->fates && v->tallies);
    memset(v->tallies, 0, v->shards * sizeof *v->tallies);
    *version = v;
    return MW_OK;
}

void mw_version_free_rules(mw_version *v)
{
    for (unsigned i = 0; v->rules && i < v->shards; i++) mw_rules_close(&v->rules[i]);
    free(v->rules);
    v->rules = NULL;
}

void mw_version_free(mw_version *v)
{
    if (!v) return;
    mw_version_free_rules(v);
    mw_graph_close(&v->graph);
    free(v->sources);
    free(v->first);
    free(v->sinks);
    free(v->fates);
    free(v->tallies);
    free(v);
}

/* ---- places ---- */

int mw_version_find(const mw_declared *list, uint32_t count, const char *name, uint32_t *index)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0) {
            *index = i;
            return 1;
        }
    return 0;
}

static mw_source_host *new_source(mw_version *v, mw_flow *f, uint32_t index, unsigned shard,
                                  int *shared)
{
    mw_source_host *h = calloc(1, sizeof *h);
    mw_assert(h != NULL);
    h->shard = &f->shard[shard];
    h->version = h->origin = v;
    h->index = index;
    h->shared = shared;
    atomic_fetch_add(&v->users, 1);
    return h;
}

/* All instances of a declaration have the same fate. */
static mw_fate fate_of_source(const mw_declared *was, const mw_declared *is)
{
    if (was->source_kind != is->source_kind) return MW_REPLACED;
    if (strcmp(was->options, is->options) == 0) return MW_KEPT;
    const mw_source_kind *kind = is->source_kind;
    return kind->can_change && kind->can_change(was->config, is->config) ? MW_CHANGED : MW_REPLACED;
}

static void place_source(mw_version *v, mw_flow *f, mw_version *old, uint32_t i)
{
    const mw_declared *d = &v->graph.sources[i];
    uint32_t j = 0;
    int known = old && mw_version_find(old->graph.sources, old->graph.source_count, d->name, &j);
    mw_fate fate = known ? fate_of_source(&old->graph.sources[j], d) : MW_STARTED;
    int *shared = mw_arena_get(&v->graph.arena, sizeof *shared);
    *shared = 0;
    v->fates[i] = fate;
    for (unsigned s = 0; s < v->shards; s++) {
        mw_source_host *was = known ? old->sources[j * v->shards + s] : NULL;
        mw_source_host **place = &v->sources[i * v->shards + s];
        int everywhere = d->source_kind->every_shard, here = everywhere;
        if (fate == MW_STARTED) here |= (f->options.replay ? 0 : i % v->shards) == s;
        else if (old->graph.sources[j].source_kind->every_shard)
            here |= s == 0;
        else
            here |= was != NULL;
        if (fate == MW_KEPT || fate == MW_CHANGED) *place = was;
        else if (here)
            *place = new_source(v, f, i, s, shared);
    }
}

static void place_sink(mw_version *v, mw_flow *f, mw_version *old, uint32_t i)
{
    const mw_declared *d = &v->graph.sinks[i];
    uint32_t j = 0;
    int known = old && mw_version_find(old->graph.sinks, old->graph.sink_count, d->name, &j);
    const mw_declared *was = known ? &old->graph.sinks[j] : NULL;
    v->fates[v->graph.source_count + i] = !known ? MW_STARTED : MW_REPLACED;
    if (known && was->sink_kind == d->sink_kind && strcmp(was->options, d->options) == 0) {
        v->fates[v->graph.source_count + i] = MW_KEPT;
        v->sinks[i] = old->sinks[j];
        return;
    }
    mw_sink_host *h = calloc(1, sizeof *h);
    mw_assert(h != NULL);
    unsigned home = d->sink_kind->commit ? 0 : i % f->shards; /* transactions are of one shard */
    h->shard = known ? old->sinks[j]->shard : &f->shard[home];
    h->version = h->origin = v;
    h->index = i;
    h->awaits = known ? old->sinks[j] : NULL;
    atomic_fetch_add(&v->users, 1);
    v->sinks[i] = h;
}

void mw_version_place(mw_version *v, mw_flow *f, mw_version *old)
{
    for (uint32_t i = 0; i < v->graph.sink_count; i++) place_sink(v, f, old, i);
    for (uint32_t i = 0; i < v->graph.source_count; i++) place_source(v, f, old, i);
}

/* ---- counting ---- */

int mw_version_is_empty(const mw_version *v)
{
    uint64_t given = 0, returned = 0;
    for (unsigned i = 0; i < v->shards; i++)
        returned += atomic_load_explicit(&v->tallies[i].returned, memory_order_acquire);
    for (unsigned i = 0; i < v->shards; i++) given += mw_counted(&v->tallies[i].given);
    return given == returned;
}

int mw_version_is_decided(const mw_version *v)
{
    uint64_t begun = 0, ended = 0;
    for (unsigned i = 0; i < v->shards; i++)
        ended += atomic_load_explicit(&v->tallies[i].ended, memory_order_acquire);
    for (unsigned i = 0; i < v->shards; i++) begun += mw_counted(&v->tallies[i].begun);
    return begun == ended;
}

void mw_version_trial(const mw_version *v, uint32_t rule, uint64_t *compared,
                      uint64_t differs[MW_DIFFERENCES])
{
    *compared = 0;
    for (int k = 0; k < MW_DIFFERENCES; k++) differs[k] = 0;
    for (unsigned i = 0; i < v->shards; i++) {
        uint64_t some, kinds[MW_DIFFERENCES];
        mw_trials_counts(v->rules[i].view.trials, rule, &some, kinds);
        *compared += some;
        for (int k = 0; k < MW_DIFFERENCES; k++) differs[k] += kinds[k];
    }
}
