/* harness.c: see harness.h. A stage of one: a shard without loop or thread, whose journal is read
 * by the fixture. */
#include "flow/harness.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "lua/keep.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

typedef struct harness {
    mw_version version;
    mw_rules rules;
    mw_tally tally;
    mw_source_host *sources;
    mw_keeper **keepers;
    int64_t watermark_ns;
    mw_batch *batch;
    mw_stream stream;
} harness;

static void open_sources(harness *h)
{
    const mw_graph *g = &h->version.graph;
    h->sources = calloc(g->source_count + 1, sizeof *h->sources);
    mw_assert(h->sources != NULL);
    for (uint32_t i = 0; i < g->source_count; i++)
        h->sources[i].source = (mw_source){.name = g->sources[i].name,
                                           .config = g->sources[i].config,
                                           .format = g->sources[i].format};
}

static void close_keepers(harness *h)
{
    for (uint32_t i = 0; h->keepers && i < h->version.graph.keep_count; i++)
        mw_keeper_free(h->keepers[i]);
    free(h->keepers);
    h->keepers = NULL;
}

/* Every fixture begins with nothing kept, and at no time. */
static mw_status open_keepers(harness *h, mw_error *error)
{
    const mw_graph *g = &h->version.graph;
    mw_status status = MW_OK;
    close_keepers(h);
    h->keepers = calloc(g->keep_count + 1, sizeof *h->keepers);
    mw_assert(h->keepers != NULL);
    for (uint32_t i = 0; i < g->keep_count && status == MW_OK; i++) {
        const mw_kept_declared *d = &g->keeps[i];
        status = mw_keeper_new(&h->keepers[i], d->sort, d->name, d->options, error);
        if (status != MW_OK) break;
        mw_view_attach(&h->rules.view, i, h->keepers[i]);
        if (d->sort[0] == 'w') mw_window_emit(h->keepers[i]->window, d->emits);
    }
    h->watermark_ns = INT64_MIN;
    for (uint32_t i = 0; i < g->source_count; i++)
        atomic_store(&h->sources[i].progress.high_ns, INT64_MIN);
    return status;
}

static void close_harness(harness *h)
{
    close_keepers(h);
    mw_stream_close(&h->stream);
    mw_batch_free(h->batch);
    free(h->sources);
    mw_rules_close(&h->rules);
    mw_graph_close(&h->version.graph);
}

/* push(source, text, raw): runs the source's rules over the events of the text, in JSON or, raw, in
 * the source's format; gives a list of { to = "sink", name =, text = } (to: sink, reply, dead; a
 * reply has status). */
static void push_line(lua_State *L, harness *h, const mw_send *line)
{
    const mw_view *v = &h->rules.view;
    const mw_event *e = &v->events[line->row];
    const char *to = mw_send_is_to(line, MW_TO_DEAD)    ? "dead"
                     : mw_send_is_to(line, MW_TO_REPLY) ? "reply"
                                                        : "sink";
    lua_createtable(L, 0, 4);
    lua_pushstring(L, to);
    lua_setfield(L, -2, "to");
    if (line->to < h->version.graph.sink_count) {
        lua_pushstring(L, h->version.graph.sinks[line->to].name);
        lua_setfield(L, -2, "name");
    }
    if (line->text) lua_pushlstring(L, line->text, line->len);
    else
        lua_pushlstring(L, e->text, e->len);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, (lua_Integer)line->http_status);
    lua_setfield(L, -2, "status");
}

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    (void)e, (void)kept;
    mw_buffer_text(out, b->meta);
}

static int fill_batch(harness *h, mw_source_host *source, const char *text, size_t len, int raw,
                      mw_error *error)
{
    mw_batch *b = h->batch;
    size_t whole = 0;
    mw_batch_reset(b, 4096);
    mw_batch_reserve(b, len);
    if (len) memcpy(b->block, text, len);
    memset(b->block + len, 0, MW_JSON_PADDING);
    mw_stream_close(&h->stream);
    mw_stream_init(&h->stream, raw ? source->source.format : mw_format_find("json"),
                   source->source.config, 16 << 20);
    b->stream = &h->stream, b->owner = source, b->first = 1, b->len = len;
    b->version = &h->version, b->source = (uint32_t)(source - h->sources);
    if (h->stream.format->boundary(&h->stream, b->block, len, 1, &whole, error) != MW_OK) return 0;
    b->len = whole;
    return 1;
}

/* How far the other sources that tell the time have come. */
static int64_t others_than(const harness *h, uint32_t index, int *timed)
{
    const mw_graph *g = &h->version.graph;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < g->source_count; i++) {
        int64_t high = atomic_load(&h->sources[i].progress.high_ns);
        *timed |= g->sources[i].time.path != NULL;
        if (i == index || !g->sources[i].time.path || high == INT64_MIN) continue;
        if (high - g->sources[i].time.lateness_ns < least)
            least = high - g->sources[i].time.lateness_ns;
    }
    return least;
}

/* What tells the time as on a single shard (time.c). */
static void tell_time(harness *h, uint32_t index, mw_batch *b)
{
    mw_view *v = &h->rules.view;
    const mw_declared *d = &h->version.graph.sources[index];
    int timed = 0;
    int64_t others = others_than(h, index, &timed);
    if (d->source_kind->passive) {
        for (uint32_t row = 0; row < v->given; row++)
            v->events[row].time_ns = b->time_ns,
            v->events[row].mark_ns = timed ? h->watermark_ns : b->time_ns;
    } else {
        mw_time_read_rows(&h->rules, b, &h->sources[index].progress);
    }
    if (timed && !d->time.path && others == INT64_MAX) others = h->watermark_ns;
    mw_view_time(v, h->watermark_ns, 1, others, b->time_ns);
}

/* push(source, text, raw, time, meta, flush) */
static int host_push(lua_State *L)
{
    harness *h = lua_touserdata(L, lua_upvalueindex(1));
    mw_rules *r = &h->rules;
    uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    mw_error error = {0};
    int n = 0;
    if (index >= h->version.graph.source_count) return luaL_error(L, "there is no such source");
    if (!fill_batch(h, &h->sources[index], text, len, lua_toboolean(L, 3), &error))
        return luaL_error(L, "%s", error.message);
    mw_batch *b = h->batch;
    const char *meta = luaL_optstring(L, 5, "");
    b->time_ns = (int64_t)(luaL_checknumber(L, 4) * 1e9);
    if (meta[0]) {
        b->meta = mw_arena_copy(&b->arena, meta, strlen(meta) + 1);
        b->write_meta = write_meta;
    }
    b->stream->format->split(b);
    mw_view_begin(&r->view, b, &b->arena, b->events, b->count);
    mw_prepare_project(r, index);
    if (lua_toboolean(L, 6) && h->watermark_ns != INT64_MAX) {
        r->view.final_ns = h->watermark_ns;
        h->watermark_ns = INT64_MAX;
    }
    tell_time(h, index, b);
    if (h->version.graph.chains[index].count) mw_lua_run(r->lua, index, 0);
    if (r->view.watermark_ns > h->watermark_ns) h->watermark_ns = r->view.watermark_ns;
    lua_createtable(L, (int)r->view.send_count, 0);
    for (uint32_t i = 0; i < r->view.send_count; i++) {
        if (r->view.sends[i].to == MW_TO_NOBODY || mw_send_is_to(&r->view.sends[i], MW_TO_CHANNEL))
            continue;
        push_line(L, h, &r->view.sends[i]);
        lua_rawseti(L, -2, ++n);
    }
    r->view.given = 0, r->view.count = 0;
    return 1;
}

/* Puts a function of a module of the runtime on the stack. */
static void push_module(lua_State *L, const char *module, const char *function)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, function);
    lua_remove(L, -2);
}

static void start_coverage(harness *h)
{
    lua_State *L = mw_lua_raw(h->rules.lua);
    push_module(L, "moonweir.coverage", "start");
    lua_call(L, 0, 0);
}

static void report_coverage(harness *h, mw_buffer *out)
{
    lua_State *L = mw_lua_raw(h->rules.lua);
    size_t len;
    push_module(L, "moonweir.coverage", "report");
    lua_call(L, 0, 2);
    const char *lines = lua_tolstring(L, -2, &len);
    mw_buffer_append(out, lines, len);
    mw_buffer_append(out, "", 1);
    lines = lua_tolstring(L, -1, &len);
    mw_buffer_append(out, lines, len + 1);
}

/* test.run(i, push) -> ok, name, why */
static void run_fixture(harness *h, uint32_t index, mw_test_result *r)
{
    lua_State *L = mw_lua_raw(h->rules.lua);
    push_module(L, "moonweir.test", "run");
    lua_pushinteger(L, (lua_Integer)index);
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, host_push, 1);
    lua_call(L, 2, 3);
    r->passed = lua_toboolean(L, -3);
    r->name = lua_tostring(L, -2);
    r->why = lua_tostring(L, -1);
}

static mw_status load(harness *h, const mw_harness_options *o, mw_error *error)
{
    mw_buffer kinds = {0};
    mw_kinds_json(o->kinds, &kinds);
    mw_buffer_append(&kinds, "", 1);
    h->version.shards = 1;
    h->version.files = o->files;
    h->version.tallies = &h->tally;
    h->batch = mw_batch_new(4096);
    mw_status status =
        mw_graph_load(&h->version.graph, o->path, o->kinds, kinds.bytes, o->files, 1, ".", error);
    if (status == MW_OK) {
        open_sources(h);
        status = mw_rules_open(&h->rules, &h->version, o->path, kinds.bytes, error);
        h->rules.view.route = NULL;
        h->rules.view.ask = NULL, h->rules.view.asks = 0; /* the runtime answers by itself */
    }
    if (status == MW_OK) status = open_keepers(h, error);
    mw_buffer_close(&kinds);
    return status;
}

mw_status mw_harness_run(const mw_harness_options *o, mw_error *error)
{
    harness *h = calloc(1, sizeof *h);
    mw_assert(h != NULL);
    mw_status status = load(h, o, error);
    if (status == MW_OK && o->coverage) {
        start_coverage(h);
        status = mw_lua_again(h->rules.lua, error); /* so that loading is seen, too */
    }
    for (uint32_t i = 0; status == MW_OK && i < h->version.graph.test_count; i++) {
        mw_test_result r = {0};
        if (i) status = mw_lua_again(h->rules.lua, error);
        if (status == MW_OK) status = open_keepers(h, error);
        if (status != MW_OK) break;
        run_fixture(h, i, &r);
        o->tell(o->self, &r);
        lua_settop(mw_lua_raw(h->rules.lua), 0);
    }
    if (status == MW_OK && o->coverage) report_coverage(h, o->coverage);
    close_harness(h);
    free(h);
    return status;
}
