/* metrics.c: what a flow has counted: totals, and all of it in Prometheus' text format (version
 * 0.0.4). */
#include "base/clock.h"
#include "flow/reload.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t (*source_reader)(const mw_source_host *h);
typedef uint64_t (*sink_reader)(const mw_sink_host *h);
typedef uint64_t (*rule_reader)(const struct mw_rule_counters *c);

static uint64_t sum_sources(const mw_flow *f, uint32_t i, source_reader read)
{
    const mw_version *v = f->version;
    uint64_t sum = 0;
    for (unsigned s = 0; s < v->shards; s++)
        if (v->sources[i * v->shards + s]) sum += read(v->sources[i * v->shards + s]);
    return sum;
}

static uint64_t sum_sinks(const mw_flow *f, uint32_t i, sink_reader read)
{
    return f->version->sinks[i] ? read(f->version->sinks[i]) : 0;
}

static uint64_t sum_rules(const mw_flow *f, uint32_t i, rule_reader read)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < f->shards; s++)
        if (f->version->rules[s].counters) sum += read(&f->version->rules[s].counters[i]);
    return sum;
}

static uint64_t source_events(const mw_source_host *h)
{
    return mw_counted(&h->events);
}
static uint64_t source_bytes(const mw_source_host *h)
{
    return mw_counted(&h->bytes);
}
static uint64_t source_rejected(const mw_source_host *h)
{
    return mw_counted(&h->rejected);
}
static uint64_t source_dropped(const mw_source_host *h)
{
    return mw_counted(&h->dropped);
}
static uint64_t source_lag(const mw_source_host *h)
{
    return mw_counted(&h->lag);
}
static uint64_t sink_events(const mw_sink_host *h)
{
    return mw_counted(&h->events);
}
static uint64_t sink_bytes(const mw_sink_host *h)
{
    return mw_counted(&h->bytes);
}
static uint64_t sink_failed(const mw_sink_host *h)
{
    return mw_counted(&h->failed);
}
static uint64_t sink_retried(const mw_sink_host *h)
{
    return mw_counted(&h->retried);
}
static uint64_t sink_waiting(const mw_sink_host *h)
{
    return mw_counted(&h->waiting);
}
static uint64_t rule_events(const struct mw_rule_counters *c)
{
    return mw_counted(&c->events);
}
static uint64_t rule_filtered(const struct mw_rule_counters *c)
{
    return mw_counted(&c->filtered);
}
static uint64_t rule_failed(const struct mw_rule_counters *c)
{
    return mw_counted(&c->failed);
}

/* Of sinks that are leaving: no newer version has them. */
static void add_leaving(const mw_flow *f, mw_totals *t)
{
    for (const mw_version *newer = f->version, *v = newer->next; v; newer = v, v = v->next)
        for (uint32_t i = 1; i < mw_graph_plain_sinks(&v->graph); i++) {
            uint32_t j;
            if (mw_version_find(newer->graph.sinks, newer->graph.sink_count, v->graph.sinks[i].name,
                                &j) &&
                newer->sinks[j] == v->sinks[i])
                continue;
            t->out += mw_counted(&v->sinks[i]->events);
            t->bytes_out += mw_counted(&v->sinks[i]->bytes);
        }
}

mw_totals mw_flow_totals(const mw_flow *f)
{
    mw_totals t = f->gone;
    const mw_graph *g = &f->version->graph;
    if (!f->shard || !f->version->rules) return t;
    for (uint32_t i = 0; i < g->source_count; i++) {
        if (g->sources[i].source_kind->passive) continue;
        t.in += sum_sources(f, i, source_events);
        t.bytes_in += sum_sources(f, i, source_bytes);
        t.lag_bytes += sum_sources(f, i, source_lag);
    }
    for (uint32_t i = 1; i < mw_graph_plain_sinks(g); i++) {
        t.out += sum_sinks(f, i, sink_events);
        t.bytes_out += sum_sinks(f, i, sink_bytes);
    }
    for (uint32_t i = 0; i < g->rule_count; i++) t.filtered += sum_rules(f, i, rule_filtered);
    t.dead += sum_sinks(f, 0, sink_events);
    add_leaving(f, &t);
    return t;
}

void mw_stats_set(mw_stats *s, const char *name, double value)
{
    for (int i = 0; i < MW_STATS_MOST; i++) {
        const char *known = atomic_load(&s->names[i]);
        if (known && strcmp(known, name) != 0) continue;
        atomic_store(&s->values[i], value);
        if (!known) atomic_store(&s->names[i], name);
        return;
    }
}

static void stats_of(mw_buffer *out, const char *metric, const char *label, const char *name,
                     const mw_stats *s)
{
    for (int i = 0; i < MW_STATS_MOST; i++) {
        const char *stat = atomic_load(&s->names[i]);
        if (!stat) return;
        mw_buffer_format(out, "%s{%s=\"%s\",stat=\"%s\"} %.17g\n", metric, label, name, stat,
                         atomic_load(&s->values[i]));
    }
}

static void head(mw_buffer *out, const char *name, const char *type, const char *help)
{
    mw_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sources(const mw_flow *f, mw_buffer *out, const char *name, const char *type,
                    const char *help, source_reader read)
{
    head(out, name, type, help);
    for (uint32_t i = 0; i < f->version->graph.source_count; i++)
        if (!f->version->graph.sources[i].source_kind->passive)
            mw_buffer_format(out, "%s{source=\"%s\"} %llu\n", name,
                             f->version->graph.sources[i].name,
                             (unsigned long long)sum_sources(f, i, read));
}

static void sinks(const mw_flow *f, mw_buffer *out, const char *name, const char *type,
                  const char *help, sink_reader read)
{
    head(out, name, type, help);
    for (uint32_t i = 0; i < f->version->graph.sink_count; i++)
        mw_buffer_format(out, "%s{sink=\"%s\"} %llu\n", name, f->version->graph.sinks[i].name,
                         (unsigned long long)sum_sinks(f, i, read));
}

static void stats(const mw_flow *f, mw_buffer *out)
{
    const mw_version *v = f->version;
    head(out, "moonweir_source_stat", "gauge", "What a kind of source tells of itself.");
    for (uint32_t i = 0; i < v->graph.source_count * v->shards; i++)
        if (v->sources[i])
            stats_of(out, "moonweir_source_stat", "source", v->graph.sources[i / v->shards].name,
                     &v->sources[i]->stats);
    head(out, "moonweir_sink_stat", "gauge", "What a kind of sink tells of itself.");
    for (uint32_t i = 0; i < v->graph.sink_count; i++)
        stats_of(out, "moonweir_sink_stat", "sink", v->graph.sinks[i].name, &v->sinks[i]->stats);
}

static void rules(const mw_flow *f, mw_buffer *out, const char *name, const char *help,
                  rule_reader read)
{
    head(out, name, "counter", help);
    for (uint32_t i = 0; i < f->version->graph.rule_count; i++)
        mw_buffer_format(out, "%s{rule=\"%s\"} %llu\n", name, f->version->graph.rule_names[i],
                         (unsigned long long)sum_rules(f, i, read));
}

static void one(mw_buffer *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    mw_buffer_format(out, "%s %.17g\n", name, value);
}

static double resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void trials(const mw_flow *f, mw_buffer *out)
{
    const mw_graph *g = &f->version->graph;
    uint64_t compared, differs[MW_DIFFERENCES];
    head(out, "moonweir_trial_events_total", "counter",
         "Events on which a rule on trial was compared.");
    for (uint32_t i = 0; i < g->rule_count; i++) {
        if (!g->trials[i].on) continue;
        mw_version_trial(f->version, i, &compared, differs);
        mw_buffer_format(out, "moonweir_trial_events_total{rule=\"%s\"} %llu\n", g->rule_names[i],
                         (unsigned long long)compared);
    }
    head(out, "moonweir_trial_differences_total", "counter",
         "Events on which it would have decided otherwise, by kind.");
    for (uint32_t i = 0; i < g->rule_count; i++) {
        if (!g->trials[i].on) continue;
        mw_version_trial(f->version, i, &compared, differs);
        for (unsigned k = 0; k < MW_DIFFERENCES; k++)
            mw_buffer_format(
                out, "moonweir_trial_differences_total{rule=\"%s\",kind=\"%s\"} %llu\n",
                g->rule_names[i], mw_difference_name(k), (unsigned long long)differs[k]);
    }
}

static void versions(const mw_flow *f, mw_buffer *out)
{
    const mw_reload *r = f->reload;
    head(out, "moonweir_version_events_total", "counter",
         "Events that a version has decided; versions of before while something of them is in "
         "flight.");
    for (const mw_version *v = f->version; v; v = v->next) {
        uint64_t decided = 0;
        for (unsigned i = 0; i < v->shards; i++) decided += mw_counted(&v->tallies[i].decided);
        mw_buffer_format(out, "moonweir_version_events_total{version=\"%s\",number=\"%u\"} %llu\n",
                         v->graph.version, v->number, (unsigned long long)decided);
    }
    head(out, "moonweir_reloads_total", "counter", "Reloads, by how they came out.");
    mw_buffer_format(out, "moonweir_reloads_total{result=\"accepted\"} %llu\n",
                     (unsigned long long)mw_counted(&r->accepted));
    mw_buffer_format(out, "moonweir_reloads_total{result=\"refused\"} %llu\n",
                     (unsigned long long)mw_counted(&r->refused));
    mw_buffer_format(out, "moonweir_reloads_total{result=\"rolled_back\"} %llu\n",
                     (unsigned long long)mw_counted(&r->rolled_back));
    one(out, "moonweir_reload_refused", "gauge",
        "1 when what is on disk was refused, and an older version goes on.", r->refusal[0] != 0);
    trials(f, out);
}

typedef uint64_t (*kept_reader)(const struct mw_kept_counters *c);

static uint64_t kept_keys(const struct mw_kept_counters *c)
{
    return mw_counted(&c->keys);
}
static uint64_t kept_cold(const struct mw_kept_counters *c)
{
    return mw_counted(&c->cold);
}
static uint64_t kept_bytes(const struct mw_kept_counters *c)
{
    return mw_counted(&c->bytes);
}
static uint64_t kept_late(const struct mw_kept_counters *c)
{
    return mw_counted(&c->late);
}

/* What is kept by key; `only`: of this sort, NULL: all. */
static void kept(const mw_flow *f, mw_buffer *out, const char *name, const char *type,
                 const char *help, const char *only, kept_reader read)
{
    const mw_graph *g = &f->version->graph;
    head(out, name, type, help);
    for (uint32_t i = 0; i < g->keep_count; i++) {
        uint64_t sum = 0;
        if (only && strcmp(g->keeps[i].sort, only) != 0) continue;
        for (unsigned s = 0; s < f->version->shards; s++)
            if (f->version->rules[s].kept) sum += read(&f->version->rules[s].kept[i]);
        mw_buffer_format(out, "%s{sort=\"%s\",name=\"%s\"} %llu\n", name, g->keeps[i].sort,
                         g->keeps[i].name, (unsigned long long)sum);
    }
}

static void state(const mw_flow *f, mw_buffer *out)
{
    kept(f, out, "moonweir_state_keys", "gauge", "Keys of windows, states and timers.", NULL,
         kept_keys);
    kept(f, out, "moonweir_state_cold_keys", "gauge",
         "Of those, records that are in the state folder alone, about.", "state", kept_cold);
    kept(f, out, "moonweir_state_bytes", "gauge", "Memory of their keys and of what lies in place.",
         NULL, kept_bytes);
    kept(f, out, "moonweir_window_late_events_total", "counter",
         "Additions that came too late for their window, as long as it has been declared.",
         "window", kept_late);
    one(out, "moonweir_checkpoint_seconds", "gauge",
        "What the last checkpoint of states took, until it was written.",
        (double)f->cut.took_ns / 1e9);
    int known = f->cut.watermark != INT64_MIN && f->cut.watermark != INT64_MAX;
    if (known)
        one(out, "moonweir_watermark_seconds", "gauge",
            "How far event time had come at the last cut, in seconds since 1970.",
            (double)f->cut.watermark / 1e9);
}

void mw_flow_metrics(const mw_flow *f, mw_buffer *out)
{
    head(out, "moonweir_flow_info", "gauge", "The flow and its version.");
    mw_buffer_format(out, "moonweir_flow_info{flow=\"%s\",version=\"%s\"} 1\n",
                     f->version->graph.name, f->version->graph.version);
    sources(f, out, "moonweir_source_events_total", "counter",
            "Events whose consequences are all safe.", source_events);
    sources(f, out, "moonweir_source_bytes_total", "counter", "Bytes read.", source_bytes);
    sources(f, out, "moonweir_source_rejected_total", "counter",
            "Pieces of input that were no frame.", source_rejected);
    sources(f, out, "moonweir_source_dropped_total", "counter",
            "Events lost before they were read (udp only).", source_dropped);
    sources(f, out, "moonweir_source_lag_bytes", "gauge", "Bytes that are there and not read yet.",
            source_lag);
    rules(f, out, "moonweir_rule_events_total", "Events that the rule saw.", rule_events);
    rules(f, out, "moonweir_rule_filtered_total",
          "Events that the rule returned from without sending.", rule_filtered);
    rules(f, out, "moonweir_rule_failed_total",
          "Events on which the rule failed; they are in the dead letters.", rule_failed);
    sinks(f, out, "moonweir_sink_events_total", "counter", "Events delivered.", sink_events);
    sinks(f, out, "moonweir_sink_bytes_total", "counter", "Bytes written.", sink_bytes);
    sinks(f, out, "moonweir_sink_failed_total", "counter",
          "Events that can never be delivered; they are in the dead letters.", sink_failed);
    sinks(f, out, "moonweir_sink_retries_total", "counter", "Tries that failed and were repeated.",
          sink_retried);
    sinks(f, out, "moonweir_sink_queue_bytes", "gauge", "Bytes that wait.", sink_waiting);
    stats(f, out);
    one(out, "moonweir_checkpoints_total", "counter", "Checkpoints written.",
        (double)mw_counted(&f->checkpoints));
    one(out, "moonweir_checkpoint_failures_total", "counter",
        "Checkpoints that could not be written.", (double)mw_counted(&f->checkpoint_failures));
    if (f->version->graph.keep_count) state(f, out);
    if (f->version->graph.model_count) mw_models_metrics(f, out);
    versions(f, out);
    double lua = 0;
    for (unsigned i = 0; f->shard && i < f->shards; i++)
        lua += (double)mw_counted(&f->shard[i].lua_bytes);
    one(out, "moonweir_lua_bytes", "gauge", "Memory of the Lua states.", lua);
    one(out, "moonweir_uptime_seconds", "gauge", "Time since the start.",
        (double)(mw_clock_steady_ns() - f->started_ns) / 1e9);
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
}
