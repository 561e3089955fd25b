/* check.c: moonweir check: compiles a flow, declares it, and says what is wrong or looks wrong. */
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/flow.h"
#include "flow/guarantee.h"
#include "state/spool.h"
#include "state/store.h"

#include <glob.h>
#include <stdio.h>
#include <unistd.h>

/* Which guarantee each path has: rules choose their sinks as they run, so every source may lead to
 * every sink. */
static void print_guarantees(const mw_graph *g)
{
    for (uint32_t i = 0; i < g->source_count; i++) {
        const mw_declared *from = &g->sources[i];
        if (from->source_kind->hidden) continue;
        for (uint32_t j = 1; j < mw_graph_plain_sinks(g); j++) {
            const mw_declared *to = &g->sinks[j];
            printf("  %s (%s) to %s (%s): %s\n", from->name, from->source_kind->name, to->name,
                   to->sink_kind->name, mw_guarantee_of(g, from, to));
        }
    }
}

/* ---- the state on disk ---- */

typedef struct findings {
    int bad;
} findings;

static void check_store(const char *folder, findings *f)
{
    mw_error error;
    uint64_t rows;
    char path[4200];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (access(path, F_OK) != 0) {
        printf("%s: there is no state\n", folder);
    } else if (mw_store_verify(folder, &rows, &error) == MW_OK) {
        printf("%s: %llu records: good\n", path, (unsigned long long)rows);
    } else {
        printf("%s\n", error.message);
        f->bad = 1;
    }
}

static void check_spool(const char *folder, findings *f)
{
    mw_spool_report r;
    mw_error error;
    if (mw_spool_verify(folder, &r, &error) != MW_OK) {
        printf("%s\n", error.message);
        f->bad = 1;
        return;
    }
    printf("%s: %llu segments, %llu records, %llu bytes, %llu damaged", folder,
           (unsigned long long)r.segments, (unsigned long long)r.records,
           (unsigned long long)r.bytes, (unsigned long long)r.damaged);
    if (r.torn_bytes)
        printf("; %llu bytes at the end are torn, and will be cut off",
               (unsigned long long)r.torn_bytes);
    printf("\n");
    if (r.damaged) printf("  the first: %s\n", r.first.message);
    f->bad |= r.damaged > 0;
}

static void check_buffers(const char *folder, findings *f)
{
    char pattern[4200];
    glob_t found = {0};
    snprintf(pattern, sizeof pattern, "%s/buffers/*/*", folder);
    if (glob(pattern, GLOB_ONLYDIR, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) check_spool(found.gl_pathv[i], f);
    globfree(&found);
}

static int check_state(const char *folder)
{
    findings f = {0};
    check_store(folder, &f);
    check_buffers(folder, &f);
    return f.bad ? MW_EXIT_FAILED : MW_EXIT_DONE;
}

int mw_command_check(int argc, char **argv)
{
    const char *path = NULL, *state = NULL;
    const mw_argument known[] = {{"state", &state, NULL}, {0}};
    mw_error error = {0};
    mw_flow *f;
    if (mw_command_arguments(argc, argv, known, NULL, &path, 1) != 0) return MW_EXIT_WRONG;
    if (!path && state) return check_state(state);
    if (!path) {
        mw_command_complain("check wants the flow's file, or --state DIR");
        return MW_EXIT_WRONG;
    }
    mw_flow_options options = {.path = path, .shards = 1};
    if (mw_flow_load(&f, &options, &mw_builtins, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    const mw_graph *g = mw_flow_graph(f);
    unsigned sources = 0;
    for (uint32_t i = 0; i < g->source_count; i++) sources += !g->sources[i].source_kind->hidden;
    for (uint32_t i = 0; i < g->warning_count; i++)
        fprintf(stderr, "warning: %s\n", g->warnings[i]);
    printf("%s: good (version %s: %u sources, %u rules, %u sinks, %u tests)\n", path, g->version,
           sources, g->rule_count, g->sink_count - 1, g->test_count);
    print_guarantees(g);
    int code = state ? check_state(state) : MW_EXIT_DONE;
    mw_flow_free(f);
    return code;
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
