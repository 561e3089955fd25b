/* guarantee.c: see guarantee.h. */
#include "flow/guarantee.h"

#include <string.h>

static int is_waived(const mw_declared *sink)
{
    return strcmp(mw_config_text(sink->config, "delivery", ""), "at-least-once") == 0;
}

int mw_guarantee_is_once(const mw_graph *g, const mw_declared *sink)
{
    return g->exactly_once && sink->sink_kind->grade == MW_SINK_ONCE && !is_waived(sink);
}

static int is_buffered(const mw_declared *source)
{
    return mw_config_int(source->config, "buffer.size", 0) > 0;
}

const char *mw_guarantee_of(const mw_graph *g, const mw_declared *source, const mw_declared *sink)
{
    if (mw_guarantee_is_once(g, sink))
        return is_buffered(source) ? "exactly once, from when it is in the buffer" : "exactly once";
    if (g->exactly_once && sink->sink_kind->grade == MW_SINK_KEYED)
        return "at least once; what comes again has the same Idempotency-Key";
    if (is_buffered(source))
        return "at least once; it is acknowledged when it is in the buffer on disk";
    switch (source->source_kind->grade) {
    case MW_SOURCE_REPLAYS:
        return "at least once";
    case MW_SOURCE_ANSWERS:
        return "at least once, where what was not acknowledged is sent again";
    default:
        return "at least once, but what is in flight when the router dies is lost";
    }
}

static mw_status check_source(const mw_declared *d, mw_error *error)
{
    const mw_source_kind *kind = d->source_kind;
    if (kind->passive || kind->grade == MW_SOURCE_REPLAYS || is_buffered(d)) return MW_OK;
    return mw_fail(
        error, MW_CONFIG,
        "%s: the flow cannot be exactly once: source '%s' (%s) cannot give again what it "
        "has given; read from a file or from Kafka, or leave out delivery = "
        "\"exactly-once\"",
        d->where, d->name, kind->name);
}

static mw_status check_sink(const mw_declared *d, mw_error *error)
{
    if (d->sink_kind->grade != MW_SINK_REPEATS || is_waived(d)) return MW_OK;
    return mw_fail(error, MW_CONFIG,
                   "%s: the flow cannot be exactly once: sink '%s' (%s) cannot take back what it "
                   "has written, and nothing tells what comes again; where that may be, say so "
                   "with delivery = \"at-least-once\" on the sink",
                   d->where, d->name, d->sink_kind->name);
}

/* All that one transaction covers must be in one world. */
static mw_status check_together(const mw_graph *g, const mw_declared *d, mw_error *error)
{
    for (uint32_t i = 1; i < mw_graph_plain_sinks(g); i++) {
        const mw_declared *first = &g->sinks[i];
        if (first == d) return MW_OK;
        if (first->sink_kind != d->sink_kind || !mw_guarantee_is_once(g, first)) continue;
        mw_error why;
        if (d->sink_kind->together(first->config, d->config, &why) == MW_OK) return MW_OK;
        return mw_fail(error, MW_CONFIG,
                       "%s: the flow cannot be exactly once: what sinks '%s' and '%s' write has to "
                       "become visible at once, and %s",
                       d->where, first->name, d->name, why.message);
    }
    return MW_OK;
}

mw_status mw_guarantee_check(const mw_graph *g, mw_error *error)
{
    mw_status status = MW_OK;
    if (!g->exactly_once) return MW_OK;
    for (uint32_t i = 0; i < g->source_count && status == MW_OK; i++)
        status = check_source(&g->sources[i], error);
    for (uint32_t i = 1; i < mw_graph_plain_sinks(g) && status == MW_OK; i++) {
        const mw_declared *d = &g->sinks[i];
        status = check_sink(d, error);
        if (status == MW_OK && d->sink_kind->together && mw_guarantee_is_once(g, d))
            status = check_together(g, d, error);
    }
    return status;
}

static const mw_declared *same(const mw_declared *list, uint32_t count, const mw_declared *d)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].name, d->name) == 0 && list[i].source_kind == d->source_kind &&
            list[i].sink_kind == d->sink_kind && strcmp(list[i].options, d->options) == 0)
            return &list[i];
    return NULL;
}

static mw_status check_change(const mw_declared *list, uint32_t count, const mw_declared *others,
                              uint32_t other_count, const char *sort, mw_error *error)
{
    const mw_declared *changed = NULL;
    for (uint32_t i = 0; i < other_count && !changed; i++)
        if (!same(list, count, &others[i])) changed = &others[i];
    for (uint32_t i = 0; i < count && !changed; i++)
        if (!same(others, other_count, &list[i])) changed = &list[i];
    if (!changed) return MW_OK;
    return mw_fail(error, MW_CONFIG,
                   "%s: %s '%s' is new, changed or removed: the flow is exactly once, and its "
                   "sources and sinks change with a restart only",
                   changed->where ? changed->where : "?", sort, changed->name);
}

/* What is in a buffer has to be read by the source that took it in. */
static mw_status check_buffers(const mw_graph *g, const mw_graph *other, mw_error *error)
{
    for (uint32_t i = 0; i < g->source_count; i++) {
        const mw_declared *d = &g->sources[i];
        int found = 0;
        if (!is_buffered(d)) continue;
        for (uint32_t j = 0; j < other->source_count; j++)
            found |= is_buffered(&other->sources[j]) &&
                     strcmp(other->sources[j].name, d->name) == 0 &&
                     other->sources[j].source_kind == d->source_kind;
        if (!found)
            return mw_fail(error, MW_CONFIG,
                           "%s: the source '%s' with its 'buffer' is new, changed or removed: that "
                           "takes a restart, before which the buffer should be empty (its lag in "
                           "the metrics) where it goes",
                           d->where, d->name);
    }
    return MW_OK;
}

mw_status mw_guarantee_can_become(const mw_graph *g, const mw_graph *other, mw_error *error)
{
    mw_status status = check_buffers(g, other, error);
    if (status == MW_OK) status = check_buffers(other, g, error);
    if (status != MW_OK) return status;
    if (!g->exactly_once && !other->exactly_once) return MW_OK;
    if (g->exactly_once != other->exactly_once)
        return mw_fail(error, MW_CONFIG, "the flow's 'delivery' changes with a restart only");
    status = check_change(g->sources, g->source_count, other->sources, other->source_count,
                          "source", error);
    if (status == MW_OK)
        status =
            check_change(g->sinks, g->sink_count, other->sinks, other->sink_count, "sink", error);
    return status;
}
