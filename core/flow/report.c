/* report.c: what a reload did, which versions there were, and how the flow is: as JSON and as a
 * line of the log. See reload.h. */
#include "base/clock.h"
#include "base/log.h"
#include "flow/reload.h"

#include <string.h>

typedef struct names {
    const mw_declared *list;
    uint32_t count;
    const mw_fate *fates;
} names;

static const char *const fate_names[] = {"started", "kept", "changed", "replaced"};

static void add_text(mw_buffer *out, const char *name, const char *text)
{
    mw_buffer_format(out, "\"%s\":", name);
    mw_json_quote(out, text, strlen(text));
}

void mw_report_tell(mw_report_done done, void *self, const char *why)
{
    mw_buffer text = {0};
    if (!done) return;
    mw_buffer_text(&text, why ? "{\"accepted\":false," : "{\"accepted\":true");
    if (why) add_text(&text, "error", why);
    mw_buffer_text(&text, "}");
    done(self, !why, text.bytes, text.len);
    mw_buffer_close(&text);
}

static void add_fate(mw_buffer *out, names n, mw_fate fate, uint32_t from)
{
    int first = 1;
    mw_buffer_format(out, "\"%s\":[", fate_names[fate]);
    for (uint32_t i = from; i < n.count; i++) {
        if (n.fates[i] != fate) continue;
        if (!first) mw_buffer_text(out, ",");
        mw_json_quote(out, n.list[i].name, strlen(n.list[i].name));
        first = 0;
    }
    mw_buffer_text(out, "],");
}

static void add_fates(mw_buffer *out, const char *what, names is, names was, uint32_t from)
{
    int first = 1;
    uint32_t j;
    mw_buffer_format(out, ",\"%s\":{", what);
    for (mw_fate fate = MW_STARTED; fate <= MW_REPLACED; fate++) add_fate(out, is, fate, from);
    mw_buffer_text(out, "\"drained\":[");
    for (uint32_t i = from; i < was.count; i++) {
        if (mw_version_find(is.list, is.count, was.list[i].name, &j)) continue;
        if (!first) mw_buffer_text(out, ",");
        mw_json_quote(out, was.list[i].name, strlen(was.list[i].name));
        first = 0;
    }
    mw_buffer_text(out, "]}");
}

static names sources_of(const mw_version *v)
{
    return (names){v->graph.sources, v->graph.source_count, v->fates};
}

static names sinks_of(const mw_version *v)
{
    return (names){v->graph.sinks, v->graph.sink_count, v->fates + v->graph.source_count};
}

/* What is kept by key: the contents stay where the declaration is as it was. */
typedef enum keep_fate { KEEP_STARTED, KEEP_KEPT, KEEP_RESET, KEEP_FATES } keep_fate;

static const mw_kept_declared *same_name(const mw_graph *g, const mw_kept_declared *d)
{
    for (uint32_t i = 0; i < g->keep_count; i++)
        if (strcmp(g->keeps[i].name, d->name) == 0 && strcmp(g->keeps[i].sort, d->sort) == 0)
            return &g->keeps[i];
    return NULL;
}

static keep_fate fate_of_keep(const mw_graph *before, const mw_kept_declared *d)
{
    const mw_kept_declared *was = same_name(before, d);
    if (!was) return KEEP_STARTED;
    return strcmp(was->options, d->options) == 0 ? KEEP_KEPT : KEEP_RESET;
}

static void add_keep(mw_buffer *out, const mw_kept_declared *d, int *first)
{
    mw_buffer_format(out, "%s\"%s %s\"", *first ? "" : ",", d->sort, d->name);
    *first = 0;
}

static void add_keeps(mw_buffer *out, const mw_graph *is, const mw_graph *was)
{
    static const char *const names[] = {"started", "kept", "reset"};
    mw_buffer_text(out, ",\"states\":{");
    for (keep_fate fate = KEEP_STARTED; fate < KEEP_FATES; fate++) {
        int first = 1;
        mw_buffer_format(out, "\"%s\":[", names[fate]);
        for (uint32_t i = 0; i < is->keep_count; i++)
            if (fate_of_keep(was, &is->keeps[i]) == fate) add_keep(out, &is->keeps[i], &first);
        mw_buffer_text(out, "],");
    }
    int first = 1;
    mw_buffer_text(out, "\"dropped\":[");
    for (uint32_t i = 0; i < was->keep_count; i++)
        if (!same_name(is, &was->keeps[i])) add_keep(out, &was->keeps[i], &first);
    mw_buffer_text(out, "]}");
}

static uint64_t most_of(const mw_flow *f, int hold)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < f->shards; i++) {
        uint64_t ns = mw_counted(hold ? &f->shard[i].hold_ns : &f->shard[i].swap_ns);
        if (ns > most) most = ns;
    }
    return most;
}

void mw_report_write(mw_reload *r, const mw_version *v, const mw_version *before)
{
    mw_flow *f = r->flow;
    mw_buffer *out = &r->report;
    out->len = 0;
    mw_buffer_text(out, "{\"accepted\":true,");
    add_text(out, "version", v->graph.version);
    mw_buffer_format(out, ",\"number\":%u,", v->number);
    add_text(out, "before", before->graph.version);
    mw_buffer_text(out, ",");
    add_text(out, "reason", r->reason);
    mw_buffer_format(out, ",\"tests\":%u,\"load_ms\":%.3f,\"swap_us\":[", r->tests,
                     (double)(r->loaded_ns - r->began_ns) / 1e6);
    for (unsigned i = 0; i < f->shards; i++)
        mw_buffer_format(out, "%s%.1f", i ? "," : "",
                         (double)mw_counted(&f->shard[i].swap_ns) / 1e3);
    mw_buffer_text(out, "],\"hold_us\":[");
    for (unsigned i = 0; i < f->shards; i++)
        mw_buffer_format(out, "%s%.1f", i ? "," : "",
                         (double)mw_counted(&f->shard[i].hold_ns) / 1e3);
    mw_buffer_text(out, "]");
    add_fates(out, "sources", sources_of(v), sources_of(before), 0);
    add_fates(out, "sinks", sinks_of(v), sinks_of(before), 1);
    add_keeps(out, &v->graph, &before->graph);
    mw_buffer_format(out, ",\"reset\":[\"variables of the flow's files\"],\"pause_us\":%.1f}",
                     (double)most_of(f, 1) / 1e3);
}

/* "2 kept, 1 started" */
static void count_fates(mw_buffer *out, const char *what, names is, names was, uint32_t from)
{
    unsigned counts[MW_REPLACED + 1] = {0}, removed = 0;
    uint32_t j;
    for (uint32_t i = from; i < is.count; i++) counts[is.fates[i]]++;
    for (uint32_t i = from; i < was.count; i++)
        removed += !mw_version_find(is.list, is.count, was.list[i].name, &j);
    mw_buffer_format(out, "; %s: %u kept", what, counts[MW_KEPT]);
    if (counts[MW_STARTED]) mw_buffer_format(out, ", %u started", counts[MW_STARTED]);
    if (counts[MW_CHANGED]) mw_buffer_format(out, ", %u changed in place", counts[MW_CHANGED]);
    if (counts[MW_REPLACED]) mw_buffer_format(out, ", %u replaced", counts[MW_REPLACED]);
    if (removed) mw_buffer_format(out, ", %u drained", removed);
}

void mw_report_log(mw_reload *r, const mw_version *v, const mw_version *before)
{
    mw_buffer line = {0};
    mw_buffer_format(&line, "version %s is live (%s; %u tests, loaded in %.1f ms)",
                     v->graph.version, r->reason, r->tests,
                     (double)(r->loaded_ns - r->began_ns) / 1e6);
    count_fates(&line, "sources", sources_of(v), sources_of(before), 0);
    count_fates(&line, "sinks", sinks_of(v), sinks_of(before), 1);
    mw_buffer_format(&line, "; swapped in %.0f us, events waited %.0f us",
                     (double)most_of(r->flow, 0) / 1e3, (double)most_of(r->flow, 1) / 1e3);
    mw_log(MW_INFO, "reload", "%.*s", (int)line.len, line.bytes);
    mw_buffer_close(&line);
}

void mw_flow_versions(const mw_flow *f, mw_buffer *out)
{
    const mw_reload *r = f->reload;
    mw_buffer_text(out, "[");
    for (unsigned i = 0; i < r->record_count; i++) {
        const mw_version_record *v = &r->records[i];
        mw_buffer_format(out, "%s{\"number\":%u,", i ? "," : "", v->number);
        add_text(out, "version", v->hash);
        mw_buffer_text(out, ",");
        char stamp[MW_STAMP_BYTES];
        add_text(out, "time", mw_clock_stamp(v->time_ns, stamp));
        mw_buffer_text(out, ",");
        add_text(out, "file", f->options.path);
        mw_buffer_text(out, ",");
        add_text(out, "author", v->author);
        mw_buffer_text(out, ",");
        int watched = v->number == f->version->number && v->number && r->probation.on;
        add_text(out, "verdict", watched ? "live, on probation" : v->verdict);
        mw_buffer_text(out, "}");
    }
    mw_buffer_text(out, "]");
}

/* ---- status ---- */

static void add_trials(const mw_flow *f, mw_buffer *out)
{
    const mw_version *v = f->version;
    int first = 1;
    mw_buffer_text(out, ",\"trials\":[");
    for (uint32_t i = 0; i < v->graph.rule_count; i++) {
        uint64_t compared = 0, differs[MW_DIFFERENCES] = {0};
        if (!v->graph.trials[i].on) continue;
        mw_buffer_text(out, first ? "{" : ",{");
        add_text(out, "rule", v->graph.rule_names[i]);
        mw_version_trial(v, i, &compared, differs);
        mw_buffer_format(out, ",\"share\":%g,\"compared\":%llu,\"differs\":{",
                         v->graph.trials[i].share, (unsigned long long)compared);
        for (unsigned k = 0; k < MW_DIFFERENCES; k++)
            mw_buffer_format(out, "%s\"%s\":%llu", k ? "," : "", mw_difference_name(k),
                             (unsigned long long)differs[k]);
        mw_buffer_text(out, "},\"samples\":[");
        int none = 1;
        for (unsigned s = 0; s < v->shards; s++)
            mw_trials_samples(v->rules[s].view.trials, i, &none, out);
        mw_buffer_text(out, "]}");
        first = 0;
    }
    mw_buffer_text(out, "]");
}

void mw_flow_status(const mw_flow *f, mw_buffer *out)
{
    static const char *const phases[] = {"starting", "running", "draining", "stopping"};
    const mw_reload *r = f->reload;
    mw_totals t = mw_flow_totals(f);
    mw_buffer_text(out, "{");
    add_text(out, "flow", f->version->graph.name);
    mw_buffer_text(out, ",");
    add_text(out, "phase", phases[f->phase]);
    mw_buffer_text(out, ",");
    add_text(out, "version", f->version->graph.version);
    mw_buffer_format(out, ",\"number\":%u,\"shards\":%u,\"uptime_s\":%.1f,\"probation\":%s",
                     f->version->number, f->shards,
                     (double)(mw_clock_steady_ns() - f->started_ns) / 1e9,
                     r->probation.on ? "true" : "false");
    mw_buffer_format(
        out, ",\"in\":%llu,\"out\":%llu,\"filtered\":%llu,\"dead\":%llu,\"lag_bytes\":%llu",
        (unsigned long long)t.in, (unsigned long long)t.out, (unsigned long long)t.filtered,
        (unsigned long long)t.dead, (unsigned long long)t.lag_bytes);
    mw_buffer_format(out, ",\"reloads\":{\"accepted\":%llu,\"refused\":%llu,\"rolled_back\":%llu}",
                     (unsigned long long)mw_counted(&r->accepted),
                     (unsigned long long)mw_counted(&r->refused),
                     (unsigned long long)mw_counted(&r->rolled_back));
    if (r->refusal[0]) {
        mw_buffer_text(out, ",");
        add_text(out, "refused", r->refusal);
    }
    if (r->report.len) {
        mw_buffer_text(out, ",\"last_reload\":");
        mw_buffer_append(out, r->report.bytes, r->report.len);
    }
    add_trials(f, out);
    mw_buffer_text(out, "}");
}
