/* rules.c: the rules of one version on one shard: a Lua state with its view, and what is kept for
 * each stage of a chain. */
#include "flow/flow_private.h"
#include "flow/watchdog.h"
#include "lua/keep.h"

#include <stdlib.h>
#include <string.h>

static int32_t learn_path(mw_paths *paths, const char *name)
{
    int32_t path = MW_PATH_ROOT;
    for (; *name; name += *name == '.') {
        size_t len = strcspn(name, ".");
        path = mw_paths_key(paths, path, name, len);
        mw_assert(path >= 0);
        name += len;
    }
    return path;
}

static void open_stages(mw_rules *r)
{
    const mw_graph *g = &r->version->graph;
    r->stage_orders = calloc(g->chain_count + 1, sizeof *r->stage_orders);
    r->key_paths = calloc(g->chain_count + 1, sizeof *r->key_paths);
    mw_assert(r->stage_orders && r->key_paths);
    for (uint32_t i = 0; i < g->chain_count; i++) {
        r->key_paths[i] = calloc(g->chains[i].count + 1, sizeof **r->key_paths);
        r->stage_orders[i] = calloc(g->chains[i].count + 1, sizeof **r->stage_orders);
        mw_assert(r->key_paths[i] && r->stage_orders[i]);
        for (uint32_t j = 0; j < g->chains[i].count; j++) {
            const mw_stage *stage = &g->chains[i].stages[j];
            int32_t *paths = r->key_paths[i][j] = calloc(stage->by_count + 1, sizeof *paths);
            size_t orders = i < g->source_count ? 1 : g->source_count;
            r->stage_orders[i][j] = calloc(orders * r->version->shards, sizeof(mw_stage_order));
            mw_assert(paths && r->stage_orders[i][j]);
            for (uint32_t k = 0; k < stage->by_count; k++)
                paths[k] = learn_path(&r->paths, stage->by[k]);
        }
    }
}

/* The keys of canaries, which decide for a share of them. */
static void open_trials(mw_rules *r)
{
    const mw_graph *g = &r->version->graph;
    for (uint32_t i = 0; i < g->rule_count; i++)
        for (uint32_t k = 0; k < g->trials[i].by_count; k++)
            mw_trials_key(r->view.trials, i, learn_path(&r->paths, g->trials[i].by[k]));
}

static void tell_alive(void *rules)
{
    const mw_rules *r = rules;
    if (r->shard) mw_watchdog_beat(r->shard->flow->options.watchdog, r->shard->index);
}

static void open_view(mw_rules *r)
{
    const mw_graph *g = &r->version->graph;
    mw_paths_init(&r->paths);
    mw_view_init(&r->view, &r->paths);
    r->view.shards = r->version->shards;
    r->view.host = r;
    r->view.route = mw_run_route;
    r->view.dead_letter = mw_dead_letter_of_row;
    r->view.meta = mw_meta_write;
    r->view.alive = tell_alive;
    r->view.key_of = mw_park_key, r->view.block = mw_park_block, r->view.defer = mw_park_defer;
    r->view.call = mw_park_call, r->view.spare = mw_park_spare;
    r->view.abandon = mw_park_abandon;
    if (g->store_count)
        r->view.asks = 1, r->view.ask = mw_stores_ask, r->view.cached = mw_stores_cached;
    r->view.counts = calloc(g->rule_count + 1, sizeof *r->view.counts);
    r->projectors = calloc(g->source_count + 1, sizeof *r->projectors);
    r->time_paths = calloc(g->source_count + 1, sizeof *r->time_paths);
    r->counters = calloc(g->rule_count + 1, sizeof *r->counters);
    r->kept = calloc(g->keep_count + 1, sizeof *r->kept);
    r->models = calloc(g->model_count + 1, sizeof *r->models);
    mw_assert(r->kept && r->models);
    r->list_counts = calloc(g->sink_count, sizeof *r->list_counts);
    r->lists = calloc(g->sink_count, sizeof *r->lists);
    mw_assert(r->time_paths != NULL);
    mw_assert(r->view.counts && r->projectors && r->counters && r->list_counts && r->lists);
    for (uint32_t i = 0; i < g->source_count; i++) {
        r->projectors[i] = mw_projector_new(&r->paths);
        r->time_paths[i] =
            g->sources[i].time.path ? learn_path(&r->paths, g->sources[i].time.path) : MW_PATH_ROOT;
    }
    r->view.trials = mw_trials_new(g->trials, g->rule_count);
    r->view.tried = mw_trials_tried(r->view.trials);
    r->view.compared = mw_trials_compared(r->view.trials);
}

mw_status mw_rules_open(mw_rules *r, mw_version *v, const char *path, const char *kinds,
                        mw_error *error)
{
    const char *graph;
    size_t len;
    r->version = v;
    open_view(r);
    r->lua = mw_lua_new(&r->view);
    mw_status status = mw_lua_load(r->lua, path, kinds, v->files, &graph, &len, error);
    if (status == MW_OK) status = mw_lua_build(r->lua, error);
    if (status != MW_OK) return status;
    mw_models_open(r);
    open_stages(r);
    open_trials(r);
    return MW_OK;
}

void mw_rules_close(mw_rules *r)
{
    if (!r->version) return;
    const mw_graph *g = &r->version->graph;
    for (uint32_t i = 0; i < g->source_count; i++) mw_projector_free(r->projectors[i]);
    for (uint32_t i = 0; r->key_paths && i < g->chain_count; i++) {
        for (uint32_t j = 0; j < g->chains[i].count; j++) {
            free(r->key_paths[i][j]);
            free(r->stage_orders[i][j]);
        }
        free(r->key_paths[i]);
        free(r->stage_orders[i]);
    }
    free(r->key_paths);
    free(r->stage_orders);
    free(r->projectors);
    free(r->time_paths);
    mw_buffer_close(&r->routed);
    mw_park_forget(r);
    free(r->list_counts);
    free(r->lists);
    mw_lua_free(r->lua);
    mw_trials_free(r->view.trials);
    mw_view_close(&r->view);
    free(r->view.counts);
    free(r->counters);
    free(r->kept);
    mw_models_close(r);
    mw_paths_close(&r->paths);
    *r = (mw_rules){0};
}

void mw_rules_publish(mw_rules *r)
{
    mw_trials_publish(r->view.trials);
    mw_models_publish(r);
    for (uint32_t i = 0; i < r->version->graph.rule_count; i++) {
        const mw_rule_count *from = &r->view.counts[i];
        struct mw_rule_counters *to = &r->counters[i];
        atomic_store_explicit(&to->events, (uint64_t)from->events, memory_order_relaxed);
        atomic_store_explicit(&to->filtered, (uint64_t)from->filtered, memory_order_relaxed);
        atomic_store_explicit(&to->failed, (uint64_t)from->failed, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < r->view.use_count && i < r->version->graph.keep_count; i++) {
        mw_keeper *k = r->view.uses[i].keeper;
        if (!k) continue;
        uint64_t late = k->kind == MW_KEEPS_WINDOW ? mw_window_late(k->window) : 0;
        atomic_store_explicit(&r->kept[i].keys, mw_keeper_keys(k), memory_order_relaxed);
        atomic_store_explicit(&r->kept[i].cold, mw_keeper_cold(k), memory_order_relaxed);
        atomic_store_explicit(&r->kept[i].bytes, mw_keeper_bytes(k), memory_order_relaxed);
        atomic_store_explicit(&r->kept[i].late, late, memory_order_relaxed);
    }
}
