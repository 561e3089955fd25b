/* graph.h: what a flow declares, as C works with it. Made once from the JSON of
 * scripts/moonweir/graph.lua and not changed after: any thread may read it. Texts belong to the
 * graph. */
#ifndef MW_GRAPH_H
#define MW_GRAPH_H

#include "base/arena.h"
#include "base/status.h"
#include "event/config.h"
#include "event/time.h"
#include "lua/trial.h"

#include <moonweir/plugin.h>

typedef struct mw_declared {
    const char *name;
    const char *where; /* file:line */
    const mw_source_kind *source_kind;
    const mw_sink_kind *sink_kind;
    mw_config *config;
    const mw_format *format;
    const char *options;      /* as JSON: equal texts are equal options */
    const uint32_t *captures; /* of a source: numbers of the sinks that keep what it gives */
    uint32_t capture_count;
    int replies; /* of a source, in a replay: somebody would have been answered */
    struct {
        const char *path; /* of the field; NULL: what comes happens when it comes */
        mw_time_format format;
        int64_t lateness_ns, idle_ns;
    } time; /* of a source's events */
} mw_declared;

/* What is kept by key: a window, a state, or timers. */
typedef struct mw_kept_declared {
    const char *name, *sort, *where;
    const char *options; /* as JSON: equal texts keep the same */
    int emits;           /* a window tells when it closes */
    size_t memory;       /* bytes of a state's records, on all shards; 0: any */
    int64_t every_ns;    /* a timer that sets itself: its period */
    int by_clock;
} mw_kept_declared;

/* What is asked outside: mw.shared. */
typedef struct mw_store_declared {
    const char *name, *where, *url;
    const char *options; /* of the connection, as JSON */
    int64_t timeout_ns;
    size_t cache; /* bytes a shard; 0: none */
} mw_store_declared;

/* What a new version of the flow may not do while it is watched. */
typedef struct mw_probation {
    int64_t time_ns; /* -1: the flow does not say */
    double errors;   /* share of failed events, more than before */
    double time;     /* of rules for an event, times that of before */
    uint64_t events; /* that are waited for */
} mw_probation;

/* A run of rules that can run on one shard. */
typedef struct mw_stage {
    const char **by; /* fields of the key, by_count of them */
    uint32_t by_count;
    int by_function;
    uint32_t rules;
} mw_stage;

typedef struct mw_chain {
    mw_stage *stages;
    uint32_t count;
} mw_chain;

/* A model that rules score with, and, where there is one, the challenger beside it. */
typedef struct mw_model_declared {
    const char *name, *version, *challenger; /* versions; challenger: "" where there is none */
} mw_model_declared;

typedef struct mw_graph {
    mw_arena arena;
    const char *name;             /* of the flow */
    char version[20];             /* a hash of the flow's files (mw_files_version) */
    mw_declared *sources, *sinks; /* sinks[0] is that of the dead letters; the last are captures */
    uint32_t source_count, sink_count, capture_count, rule_count, channel_count, chain_count,
        test_count, warning_count;
    const char **rule_names;
    mw_trial *trials;      /* by rule */
    int64_t checkpoint_ns; /* between two checkpoints of what is kept */
    int exactly_once;
    mw_probation probation;
    const char **channel_names;
    mw_kept_declared *keeps;
    mw_model_declared *models;
    mw_store_declared *stores;
    uint32_t keep_count, store_count, model_count;
    mw_chain *chains;      /* those of the sources, then those of the channels */
    const char **warnings; /* "file:line: message" */
} mw_graph;

/* The kinds that there are; cli/builtins.c has the table. Ends with NULL. */
typedef struct mw_kinds {
    const mw_source_kind *const *sources;
    const mw_sink_kind *const *sinks;
    const mw_sink_kind *capture; /* what mw.capture declares */
} mw_kinds;

/* JSON of all kinds, their options and the formats, for Lua and for the docs' tests. */
void mw_kinds_json(const mw_kinds *kinds, mw_buffer *out);

void mw_graph_read(mw_graph *g, const mw_kinds *kinds, const char *json, size_t len,
                   const char *flow_path, const char *state_folder);
/* Sinks that the flow declares as such, the dead letters included. */
static inline uint32_t mw_graph_plain_sinks(const mw_graph *g)
{
    return g->sink_count - g->capture_count;
}
void mw_graph_close(mw_graph *g);

#endif
