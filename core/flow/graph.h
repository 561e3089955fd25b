/* graph.h: what a flow declares, as C works with it. Made once from the JSON of
 * scripts/moonweir/graph.lua and not changed after: any thread may read it. Texts belong to the
 * graph. */
#ifndef MW_GRAPH_H
#define MW_GRAPH_H

#include "base/arena.h"
#include "base/status.h"
#include "event/config.h"

#include <moonweir/plugin.h>

typedef struct mw_declared {
    const char *name;
    const char *where; /* file:line */
    const mw_source_kind *source_kind;
    const mw_sink_kind *sink_kind;
    mw_config *config;
    const mw_format *format;
} mw_declared;

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

typedef struct mw_graph {
    mw_arena arena;
    const char *name;             /* of the flow */
    char version[20];             /* a hash of the flow's files, in hexadecimal */
    mw_declared *sources, *sinks; /* sinks[0] is that of the dead letters */
    uint32_t source_count, sink_count, rule_count, channel_count, chain_count, test_count,
        warning_count;
    const char **rule_names;
    const char **channel_names;
    mw_chain *chains;      /* those of the sources, then those of the channels */
    const char **warnings; /* "file:line: message" */
} mw_graph;

/* The kinds that there are; cli/builtins.c has the table. Ends with NULL. */
typedef struct mw_kinds {
    const mw_source_kind *const *sources;
    const mw_sink_kind *const *sinks;
} mw_kinds;

/* JSON of all kinds, their options and the formats, for Lua and for the docs' tests. */
void mw_kinds_json(const mw_kinds *kinds, mw_buffer *out);

mw_status mw_graph_read(mw_graph *g, const mw_kinds *kinds, const char *json, size_t len,
                        const char *flow_path, const char *state_folder, mw_error *error);
void mw_graph_close(mw_graph *g);

#endif
