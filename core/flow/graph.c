/* graph.c: see graph.h. */
#include "flow/graph.h"
#include "event/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- kinds as JSON ---- */

static void options_json(const mw_option *o, mw_buffer *out)
{
    static const char *const types[] = {"text", "texts", "number", "count", "duration",
                                        "size", "bool",  "table",  "map"};
    mw_buffer_text(out, "[");
    for (int first = 1; o && o->name; o++, first = 0) {
        mw_buffer_format(out, "%s{\"name\":\"%s\",\"type\":\"%s\",\"doc\":", first ? "" : ",",
                         o->name, types[o->type]);
        mw_json_quote(out, o->doc ? o->doc : "", o->doc ? strlen(o->doc) : 0);
        if (o->fallback) {
            mw_buffer_text(out, ",\"fallback\":");
            mw_json_quote(out, o->fallback, strlen(o->fallback));
        }
        if (o->choices) mw_buffer_format(out, ",\"choices\":\"%s\"", o->choices);
        if (o->inside) {
            mw_buffer_text(out, ",\"inside\":");
            options_json(o->inside, out);
        }
        mw_buffer_text(out, "}");
    }
    mw_buffer_text(out, "]");
}

static void kind_json(const char *name, const char *format, const mw_option *options, int first,
                      mw_buffer *out)
{
    mw_buffer_format(out, "%s{\"name\":\"%s\"", first ? "" : ",", name);
    if (format) mw_buffer_format(out, ",\"format\":\"%s\"", format);
    mw_buffer_text(out, ",\"options\":");
    options_json(options, out);
    mw_buffer_text(out, "}");
}

void mw_kinds_json(const mw_kinds *kinds, mw_buffer *out)
{
    mw_buffer_text(out, "{\"sources\":[");
    for (size_t i = 0; kinds->sources[i]; i++)
        if (!kinds->sources[i]->hidden)
            kind_json(kinds->sources[i]->name, kinds->sources[i]->format,
                      kinds->sources[i]->options, i == 0, out);
    mw_buffer_text(out, "],\"sinks\":[");
    for (size_t i = 0; kinds->sinks[i]; i++)
        kind_json(kinds->sinks[i]->name, kinds->sinks[i]->format, kinds->sinks[i]->options, i == 0,
                  out);
    mw_buffer_text(out, "],\"capture\":");
    options_json(kinds->capture->options, out);
    mw_buffer_text(out, ",\"formats\":[");
    for (size_t i = 0; mw_format_name(i); i++)
        mw_buffer_format(out, "%s\"%s\"", i ? "," : "", mw_format_name(i));
    mw_buffer_text(out, "]}");
}

/* ---- the graph ---- */

static mw_value element(mw_value of, uint32_t index)
{
    return mw_json_member(of.text, of.len, NULL, 0, index + 1);
}

static uint32_t length(mw_value v)
{
    return v.kind == MW_ARRAY ? (uint32_t)mw_json_length(v.text, v.len) : 0;
}

static const char *text(mw_graph *g, mw_value v)
{
    if (v.kind != MW_STRING && v.kind != MW_ESCAPED) return NULL;
    mw_buffer plain = {0};
    mw_json_unescape(&plain, v.text, v.len);
    mw_buffer_append(&plain, "", 1);
    char *kept = mw_arena_copy(&g->arena, plain.bytes, plain.len);
    mw_buffer_close(&plain);
    return kept;
}

static const char **texts(mw_graph *g, mw_value list, const char *field, uint32_t *count)
{
    *count = length(list);
    const char **all = mw_arena_get(&g->arena, (*count + 1) * sizeof *all);
    for (uint32_t i = 0; i < *count; i++)
        all[i] = text(g, field ? mw_json_field(element(list, i), field) : element(list, i));
    return all;
}

static const char *plain_text(mw_graph *g, const char *bytes, size_t len)
{
    char *copy = mw_arena_get(&g->arena, len + 1);
    if (len) memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

static void read_time(mw_graph *g, mw_declared *d)
{
    const char *path = mw_config_text(d->config, "time", NULL),
               *format = mw_config_text(d->config, "time_format", NULL);
    d->time.path = path ? plain_text(g, path, strlen(path)) : NULL;
    d->time.lateness_ns = mw_config_int(d->config, "lateness", 0);
    d->time.idle_ns = mw_config_int(d->config, "idle", 10000000000);
    mw_time_format_find(&d->time.format, format ? plain_text(g, format, strlen(format)) : NULL);
}

static void read_keeps(mw_graph *g, mw_value list)
{
    g->keep_count = length(list);
    g->keeps = mw_arena_get(&g->arena, (g->keep_count + 1) * sizeof *g->keeps);
    for (uint32_t i = 0; i < g->keep_count; i++) {
        mw_value v = element(list, i), options = mw_json_field(v, "options");
        g->keeps[i] =
            (mw_kept_declared){.name = text(g, mw_json_field(v, "name")),
                               .sort = text(g, mw_json_field(v, "sort")),
                               .where = text(g, mw_json_field(v, "where")),
                               .options = plain_text(g, options.text, options.len),
                               .emits = mw_json_field(v, "emits").kind == MW_TRUE,
                               .memory = (size_t)mw_json_field(v, "memory").number,
                               .every_ns = (int64_t)mw_json_field(v, "every").number,
                               .by_clock = mw_json_field(options, "by_clock").kind == MW_TRUE};
    }
}

static void read_models(mw_graph *g, mw_value list)
{
    g->model_count = length(list);
    g->models = mw_arena_get(&g->arena, (g->model_count + 1) * sizeof *g->models);
    for (uint32_t i = 0; i < g->model_count; i++) {
        mw_value v = element(list, i);
        const char *challenger = text(g, mw_json_field(v, "challenger"));
        g->models[i] = (mw_model_declared){.name = text(g, mw_json_field(v, "name")),
                                           .version = text(g, mw_json_field(v, "version")),
                                           .challenger = challenger ? challenger : ""};
    }
}

static void read_stores(mw_graph *g, mw_value list)
{
    g->store_count = length(list);
    g->stores = mw_arena_get(&g->arena, (g->store_count + 1) * sizeof *g->stores);
    for (uint32_t i = 0; i < g->store_count; i++) {
        mw_value v = element(list, i), options = mw_json_field(v, "connection");
        g->stores[i] =
            (mw_store_declared){.name = text(g, mw_json_field(v, "name")),
                                .where = text(g, mw_json_field(v, "where")),
                                .url = text(g, mw_json_field(options, "url")),
                                .timeout_ns = (int64_t)mw_json_field(options, "timeout").number,
                                .cache = (size_t)mw_json_field(options, "cache").number,
                                .options = plain_text(g, options.text, options.len)};
    }
}

static void read_declared(mw_graph *g, mw_declared *d, mw_value v, const mw_kinds *kinds, int sink)
{
    mw_value options = mw_json_field(v, "options");
    const char *kind = text(g, mw_json_field(v, "kind"));
    *d = (mw_declared){.name = text(g, mw_json_field(v, "name")),
                       .where = text(g, mw_json_field(v, "where"))};
    d->config = mw_config_new(options.text, options.len);
    d->options = plain_text(g, options.text, options.len);
    d->format = mw_format_find(mw_config_text(d->config, "format", "ndjson"));
    if (!sink) read_time(g, d);
    for (size_t i = 0; sink && kinds->sinks[i]; i++)
        if (strcmp(kinds->sinks[i]->name, kind) == 0) d->sink_kind = kinds->sinks[i];
    for (size_t i = 0; !sink && kinds->sources[i]; i++)
        if (strcmp(kinds->sources[i]->name, kind) == 0) d->source_kind = kinds->sources[i];
    mw_assert(d->format && (d->source_kind || d->sink_kind)); /* Lua checked the names */
}

static void read_dead_letters(mw_graph *g, mw_value dead, const mw_kinds *kinds,
                              const char *state_folder)
{
    mw_buffer json = {0}, path = {0};
    mw_value options = mw_json_field(dead, "options");
    if (options.kind == MW_OBJECT) {
        mw_buffer_append(&json, options.text, options.len);
    } else {
        mw_buffer_format(&path, "%s/dead-letters.ndjson", state_folder);
        mw_buffer_text(&json, "{\"path\":");
        mw_json_quote(&json, path.bytes, path.len);
        mw_buffer_text(&json, ",\"format\":\"ndjson\"}");
    }
    g->sinks[0] =
        (mw_declared){.name = "dead-letters", .where = text(g, mw_json_field(dead, "where"))};
    g->sinks[0].config = mw_config_new(json.bytes, json.len);
    g->sinks[0].options = plain_text(g, json.bytes, json.len);
    g->sinks[0].format = mw_format_find("ndjson");
    for (size_t i = 0; kinds->sinks[i]; i++)
        if (strcmp(kinds->sinks[i]->name, "file") == 0) g->sinks[0].sink_kind = kinds->sinks[i];
    mw_assert(g->sinks[0].sink_kind != NULL);
    mw_buffer_close(&json);
    mw_buffer_close(&path);
}

static void read_chains(mw_graph *g, mw_value list)
{
    g->chain_count = length(list);
    g->chains = mw_arena_get(&g->arena, (g->chain_count + 1) * sizeof *g->chains);
    for (uint32_t i = 0; i < g->chain_count; i++) {
        mw_value chain = element(list, i);
        mw_chain *c = &g->chains[i];
        c->count = length(chain);
        c->stages = mw_arena_get(&g->arena, (c->count + 1) * sizeof *c->stages);
        for (uint32_t j = 0; j < c->count; j++) {
            mw_value stage = element(chain, j);
            mw_stage *s = &c->stages[j];
            s->by = texts(g, mw_json_field(stage, "by"), NULL, &s->by_count);
            s->by_function = mw_json_field(stage, "by_function").kind == MW_TRUE;
            s->rules = (uint32_t)mw_json_field(stage, "rules").number;
        }
    }
}

/* A capture is a sink, which is given what its sources read, before any rule. */
static void read_captures(mw_graph *g, mw_value list, const mw_kinds *kinds,
                          const char *state_folder)
{
    uint32_t first = g->sink_count - g->capture_count;
    for (uint32_t i = 0; i < g->capture_count; i++) {
        mw_value v = element(list, i), from = mw_json_field(v, "sources"),
                 options = mw_json_field(v, "options");
        mw_declared *d = &g->sinks[first + i];
        mw_buffer json = {0}, path = {0};
        *d = (mw_declared){.name = text(g, mw_json_field(v, "name")),
                           .where = text(g, mw_json_field(v, "where"))};
        mw_buffer_append(&json, options.text, options.len);
        if (mw_json_field(options, "path").kind == MW_ABSENT) {
            mw_buffer_format(&path, "%s/captures/%s", state_folder, d->name);
            json.len--;
            mw_buffer_text(&json, ",\"path\":");
            mw_json_quote(&json, path.bytes, path.len);
            mw_buffer_text(&json, "}");
        }
        d->config = mw_config_new(json.bytes, json.len);
        d->options = plain_text(g, json.bytes, json.len);
        d->format = mw_format_find("ndjson");
        d->sink_kind = kinds->capture;
        for (uint32_t j = 0; j < length(from); j++) {
            mw_declared *source = &g->sources[(uint32_t)element(from, j).number];
            uint32_t *all = mw_arena_get(&g->arena, (source->capture_count + 1) * sizeof *all);
            for (uint32_t k = 0; k < source->capture_count; k++) all[k] = source->captures[k];
            all[source->capture_count++] = first + i;
            source->captures = all;
        }
        mw_buffer_close(&json);
        mw_buffer_close(&path);
    }
}

static void read_trials(mw_graph *g, mw_value rules)
{
    g->trials = mw_arena_get(&g->arena, (g->rule_count + 1) * sizeof *g->trials);
    for (uint32_t i = 0; i < g->rule_count; i++) {
        mw_value trial = mw_json_field(element(rules, i), "trial");
        g->trials[i] = (mw_trial){.on = trial.kind == MW_OBJECT,
                                  .against = (int32_t)mw_json_field(trial, "against").number,
                                  .share = mw_json_field(trial, "share").number};
        g->trials[i].by = texts(g, mw_json_field(trial, "by"), NULL, &g->trials[i].by_count);
    }
}

static void read_probation(mw_graph *g, mw_value flow)
{
    mw_value time = mw_json_field(flow, "probation"), rollback = mw_json_field(flow, "rollback");
    mw_value errors = mw_json_field(rollback, "errors"), factor = mw_json_field(rollback, "time"),
             events = mw_json_field(rollback, "events");
    g->probation = (mw_probation){
        .time_ns = time.kind == MW_NUMBER ? (int64_t)time.number : -1,
        .errors = errors.kind == MW_NUMBER ? errors.number : 0.01,
        .time = factor.kind == MW_NUMBER ? factor.number : 3,
        .events = events.kind == MW_NUMBER ? (uint64_t)events.number : 100,
    };
}

static const char *flow_name(mw_graph *g, mw_value flow, const char *path)
{
    const char *name = text(g, mw_json_field(flow, "name"));
    if (name) return name;
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t len = strlen(base);
    if (len > 4 && strcmp(base + len - 4, ".lua") == 0) len -= 4;
    char *copy = mw_arena_get(&g->arena, len + 1);
    memcpy(copy, base, len), copy[len] = 0;
    return copy;
}

void mw_graph_read(mw_graph *g, const mw_kinds *kinds, const char *json, size_t len,
                   const char *flow_path, const char *state_folder)
{
    *g = (mw_graph){0};
    mw_arena_init(&g->arena, 8192);
    mw_value all = mw_json_value(json, len), list;
    g->name = flow_name(g, mw_json_field(all, "flow"), flow_path);
    list = mw_json_field(all, "sources");
    g->source_count = length(list);
    g->sources = mw_arena_get(&g->arena, (g->source_count + 1) * sizeof *g->sources);
    for (uint32_t i = 0; i < g->source_count; i++)
        read_declared(g, &g->sources[i], element(list, i), kinds, 0);
    list = mw_json_field(all, "sinks");
    g->capture_count = length(mw_json_field(all, "captures"));
    g->sink_count = length(list) + 1 + g->capture_count;
    g->sinks = mw_arena_get(&g->arena, g->sink_count * sizeof *g->sinks);
    read_dead_letters(g, mw_json_field(all, "dead"), kinds, state_folder);
    for (uint32_t i = 1; i < mw_graph_plain_sinks(g); i++)
        read_declared(g, &g->sinks[i], element(list, i - 1), kinds, 1);
    read_captures(g, mw_json_field(all, "captures"), kinds, state_folder);
    read_keeps(g, mw_json_field(all, "keeps"));
    read_models(g, mw_json_field(all, "models"));
    read_stores(g, mw_json_field(all, "stores"));
    g->rule_names = texts(g, mw_json_field(all, "rules"), "name", &g->rule_count);
    read_trials(g, mw_json_field(all, "rules"));
    read_probation(g, mw_json_field(all, "flow"));
    mw_value checkpoint = mw_json_field(mw_json_field(all, "flow"), "checkpoint");
    g->checkpoint_ns = checkpoint.kind == MW_NUMBER ? (int64_t)checkpoint.number : 1000000000;
    const char *delivery = text(g, mw_json_field(mw_json_field(all, "flow"), "delivery"));
    g->exactly_once = delivery && strcmp(delivery, "exactly-once") == 0;
    g->channel_names = texts(g, mw_json_field(all, "channels"), "name", &g->channel_count);
    g->test_count = (uint32_t)mw_json_field(all, "tests").number;
    read_chains(g, mw_json_field(all, "chains"));
    list = mw_json_field(all, "warnings");
    g->warning_count = length(list);
    g->warnings = mw_arena_get(&g->arena, (g->warning_count + 1) * sizeof *g->warnings);
    for (uint32_t i = 0; i < g->warning_count; i++) {
        mw_buffer line = {0};
        const char *where = text(g, mw_json_field(element(list, i), "where")),
                   *message = text(g, mw_json_field(element(list, i), "message"));
        mw_buffer_format(&line, "%s: %s", where ? where : "?", message ? message : "?");
        mw_buffer_append(&line, "", 1);
        g->warnings[i] = mw_arena_copy(&g->arena, line.bytes, line.len);
        mw_buffer_close(&line);
    }
}

void mw_graph_close(mw_graph *g)
{
    for (uint32_t i = 0; i < g->source_count; i++) mw_config_free(g->sources[i].config);
    for (uint32_t i = 0; i < g->sink_count; i++) mw_config_free(g->sinks[i].config);
    mw_arena_close(&g->arena);
}
