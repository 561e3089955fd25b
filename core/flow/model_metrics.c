/* model_metrics.c: what models have scored, and how their challengers differ. See flow_private.h.
 */
#include "flow/flow_private.h"
#include "lua/model.h"

#include <stdlib.h>
#include <string.h>

static void publish(mw_counter *to, double from)
{
    atomic_store_explicit(to, (uint64_t)from, memory_order_relaxed);
}

void mw_models_open(mw_rules *r)
{
    for (uint32_t i = 0; i < r->version->graph.model_count; i++) {
        struct mw_model_counters *to = &r->models[i];
        to->drift = 2 * i < r->view.scorer_count ? r->view.scorers[2 * i].drift : NULL;
        if (!to->drift) continue;
        to->drifted = calloc(to->drift->bins, sizeof *to->drifted);
        mw_assert(to->drifted != NULL);
    }
}

void mw_models_close(mw_rules *r)
{
    for (uint32_t i = 0; r->models && i < r->version->graph.model_count; i++)
        free(r->models[i].drifted);
    free(r->models);
}

/* A model's scorer is the first of two, its challenger's the second. */
void mw_models_publish(mw_rules *r)
{
    for (uint32_t i = 0; i < r->version->graph.model_count; i++) {
        struct mw_model_counters *to = &r->models[i];
        if (2 * i >= r->view.scorer_count) return;
        const mw_scorer *s = &r->view.scorers[2 * i];
        uint64_t bits;
        memcpy(&bits, &s->apart, sizeof bits);
        publish(&to->scored, s->scored), publish(&to->compared, s->compared);
        publish(&to->failed, s->failed), publish(&to->disagreed, s->disagreed);
        atomic_store_explicit(&to->apart_bits, bits, memory_order_relaxed);
        for (uint32_t b = 0; to->drift && b < to->drift->bins; b++)
            atomic_store_explicit(&to->drifted[b], s->drifted[b], memory_order_relaxed);
    }
}

typedef double (*reader)(const struct mw_model_counters *c);

static double scored(const struct mw_model_counters *c)
{
    return (double)mw_counted(&c->scored);
}
static double compared(const struct mw_model_counters *c)
{
    return (double)mw_counted(&c->compared);
}
static double failed(const struct mw_model_counters *c)
{
    return (double)mw_counted(&c->failed);
}
static double disagreed(const struct mw_model_counters *c)
{
    return (double)mw_counted(&c->disagreed);
}
static double apart(const struct mw_model_counters *c)
{
    uint64_t bits = mw_counted(&c->apart_bits);
    double sum;
    memcpy(&sum, &bits, sizeof sum);
    return sum;
}

static void all(const mw_flow *f, mw_buffer *out, const char *name, const char *help, reader read)
{
    const mw_graph *g = &f->version->graph;
    mw_buffer_format(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (uint32_t i = 0; i < g->model_count; i++) {
        double sum = 0;
        if (read != scored && !*g->models[i].challenger) continue;
        for (unsigned s = 0; s < f->version->shards; s++)
            if (f->version->rules[s].models) sum += read(&f->version->rules[s].models[i]);
        mw_buffer_format(out, "%s{model=\"%s\"} %.17g\n", name, g->models[i].name, sum);
    }
}

/* Of all shards together. */
static void drift_of(const mw_flow *f, mw_buffer *out, const char *metric, uint32_t model)
{
    const mw_version *v = f->version;
    const mw_drift *d = v->rules[0].models ? v->rules[0].models[model].drift : NULL;
    if (!d) return;
    uint64_t *counts = calloc(d->bins, sizeof *counts);
    mw_assert(counts != NULL);
    for (unsigned s = 0; s < v->shards; s++)
        for (uint32_t b = 0; v->rules[s].models && v->rules[s].models[model].drifted && b < d->bins;
             b++)
            counts[b] += mw_counted(&v->rules[s].models[model].drifted[b]);
    for (uint32_t i = 0; i < d->count; i++)
        mw_buffer_format(out, "%s{model=\"%s\",of=\"%s\"} %.17g\n", metric,
                         v->graph.models[model].name,
                         d->histograms[i].feature < 0 ? "score" : d->histograms[i].name,
                         mw_drift_index(&d->histograms[i], counts));
    free(counts);
}

void mw_models_metrics(const mw_flow *f, mw_buffer *out)
{
    const mw_graph *g = &f->version->graph;
    static const char info[] = "moonweir_model_info";
    mw_buffer_format(out, "# HELP %s Models, by the hashes of their files.\n# TYPE %s gauge\n",
                     info, info);
    for (uint32_t i = 0; i < g->model_count; i++)
        mw_buffer_format(out, "%s{model=\"%s\",version=\"%s\",challenger=\"%s\"} 1\n", info,
                         g->models[i].name, g->models[i].version, g->models[i].challenger);
    all(f, out, "moonweir_model_scores_total", "Scores that the model has given.", scored);
    all(f, out, "moonweir_model_compared_total", "Scores that its challenger has given, too.",
        compared);
    all(f, out, "moonweir_model_challenger_failed_total",
        "Events that its challenger could not score.", failed);
    all(f, out, "moonweir_model_difference_total", "By how much the two scores differed, added up.",
        apart);
    all(f, out, "moonweir_model_disagreements_total",
        "Scores on another side of a half (of several outputs: with another greatest).", disagreed);
    static const char drift[] = "moonweir_model_drift";
    mw_buffer_format(out,
                     "# HELP %s Population stability index, beside the training's histogram.\n"
                     "# TYPE %s gauge\n",
                     drift, drift);
    for (uint32_t i = 0; i < g->model_count; i++) drift_of(f, out, drift, i);
}
