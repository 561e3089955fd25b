/* check.c: moonweir check: compiles a flow, declares it, and says what is wrong or looks wrong. */
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/flow.h"
#include "flow/guarantee.h"

#include <stdio.h>

/* Which guarantee each path has: rules choose their sinks as they run, so every source may lead to
 * every sink. */
static void print_guarantees(const mw_graph *g)
{
    for (uint32_t i = 0; i < g->source_count; i++) {
        const mw_declared *from = &g->sources[i];
        if (from->source_kind->passive) continue;
        for (uint32_t j = 1; j < mw_graph_plain_sinks(g); j++) {
            const mw_declared *to = &g->sinks[j];
            printf("  %s (%s) to %s (%s): %s\n", from->name, from->source_kind->name, to->name,
                   to->sink_kind->name, mw_guarantee_of(g, from, to));
        }
    }
}

int mw_command_check(int argc, char **argv)
{
    const char *path = NULL;
    const mw_argument known[] = {{0}};
    mw_error error = {0};
    mw_flow *f;
    if (mw_command_arguments(argc, argv, known, "the flow's file", &path, 1) != 0)
        return MW_EXIT_WRONG;
    mw_flow_options options = {.path = path, .shards = 1};
    if (mw_flow_load(&f, &options, &mw_builtins, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    const mw_graph *g = mw_flow_graph(f);
    for (uint32_t i = 0; i < g->warning_count; i++)
        fprintf(stderr, "warning: %s\n", g->warnings[i]);
    printf("%s: good (version %s: %u sources, %u rules, %u sinks, %u tests)\n", path, g->version,
           g->source_count - (g->keep_count > 0), g->rule_count, g->sink_count - 1, g->test_count);
    print_guarantees(g);
    mw_flow_free(f);
    return MW_EXIT_DONE;
}

/* moonweir kinds: every source, sink and format with its options, as JSON; what the reference is
 * checked against. */
int mw_command_kinds(int argc, char **argv)
{
    (void)argv;
    if (argc > 0) return MW_EXIT_WRONG;
    mw_buffer json = {0};
    mw_kinds_json(&mw_builtins, &json);
    printf("%.*s\n", (int)json.len, json.bytes);
    mw_buffer_close(&json);
    return MW_EXIT_DONE;
}
