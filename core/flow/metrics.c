/* metrics.c: what a flow has counted: totals, and all of it in Prometheus' text format (version
 * 0.0.4). */
#include "flow/flow_private.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t (*source_reader)(const mw_source_host *h);
typedef uint64_t (*sink_reader)(const mw_sink_host *h);
typedef uint64_t (*rule_reader)(const struct mw_rule_counters *c);

static uint64_t sum_sources(const mw_flow *f, uint32_t i, source_reader read)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < f->shards; s++)
        if (f->shard[s].sources) sum += read(&f->shard[s].sources[i]);
    return sum;
}

static uint64_t sum_sinks(const mw_flow *f, uint32_t i, sink_reader read)
{
    unsigned home = f->sink_homes[i];
    return f->shard[home].sinks ? read(&f->shard[home].sinks[i]) : 0;
}

static uint64_t sum_rules(const mw_flow *f, uint32_t i, rule_reader read)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < f->shards; s++)
        if (f->shard[s].rule_counters) sum += read(&f->shard[s].rule_counters[i]);
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

mw_totals mw_flow_totals(const mw_flow *f)
{
    mw_totals t = {0};
    if (!f->shard) return t;
    for (uint32_t i = 0; i < f->graph.source_count; i++) {
        t.in += sum_sources(f, i, source_events);
        t.bytes_in += sum_sources(f, i, source_bytes);
        t.lag_bytes += sum_sources(f, i, source_lag);
    }
    for (uint32_t i = 1; i < f->graph.sink_count; i++) {
        t.out += sum_sinks(f, i, sink_events);
        t.bytes_out += sum_sinks(f, i, sink_bytes);
    }
    for (uint32_t i = 0; i < f->graph.rule_count; i++) t.filtered += sum_rules(f, i, rule_filtered);
    t.dead = sum_sinks(f, 0, sink_events);
    return t;
}

static void head(mw_buffer *out, const char *name, const char *type, const char *help)
{
    mw_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sources(const mw_flow *f, mw_buffer *out, const char *name, const char *type,
                    const char *help, source_reader read)
{
    head(out, name, type, help);
    for (uint32_t i = 0; i < f->graph.source_count; i++)
        mw_buffer_format(out, "%s{source=\"%s\"} %llu\n", name, f->graph.sources[i].name,
                         (unsigned long long)sum_sources(f, i, read));
}

static void sinks(const mw_flow *f, mw_buffer *out, const char *name, const char *type,
                  const char *help, sink_reader read)
{
    head(out, name, type, help);
    for (uint32_t i = 0; i < f->graph.sink_count; i++)
        mw_buffer_format(out, "%s{sink=\"%s\"} %llu\n", name, f->graph.sinks[i].name,
                         (unsigned long long)sum_sinks(f, i, read));
}

static void rules(const mw_flow *f, mw_buffer *out, const char *name, const char *help,
                  rule_reader read)
{
    head(out, name, "counter", help);
    for (uint32_t i = 0; i < f->graph.rule_count; i++)
        mw_buffer_format(out, "%s{rule=\"%s\"} %llu\n", name, f->graph.rule_names[i],
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

void mw_flow_metrics(const mw_flow *f, mw_buffer *out)
{
    head(out, "moonweir_flow_info", "gauge", "The flow and its version.");
    mw_buffer_format(out, "moonweir_flow_info{flow=\"%s\",version=\"%s\"} 1\n", f->graph.name,
                     f->graph.version);
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
    one(out, "moonweir_checkpoints_total", "counter", "Checkpoints written.",
        (double)mw_counted(&f->checkpoints));
    one(out, "moonweir_checkpoint_failures_total", "counter",
        "Checkpoints that could not be written.", (double)mw_counted(&f->checkpoint_failures));
    double lua = 0;
    for (unsigned i = 0; f->shard && i < f->shards; i++)
        lua += (double)mw_counted(&f->shard[i].lua_bytes);
    one(out, "moonweir_lua_bytes", "gauge", "Memory of the Lua states.", lua);
    one(out, "moonweir_uptime_seconds", "gauge", "Time since the start.",
        (double)(mw_clock_steady_ns() - f->started_ns) / 1e9);
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
}
