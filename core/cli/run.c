/* run.c: moonweir run: a flow under a supervisor. */
#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/flow.h"
#include "flow/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRAIN_SECONDS = 30, PROBATION_SECONDS = 30, WATCHDOG_SECONDS = 10 };

typedef struct run {
    mw_flow_options options;
    mw_flow_extension extension;
} run;

static const char *human(double n, char *to, size_t room)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    int u = 0;
    for (; n >= 10000 && u < 4; u++) n /= 1000;
    snprintf(to, room, u ? "%.1f%s" : "%.0f%s", n, units[u]);
    return to;
}

static void summary(mw_flow *f, int64_t started_ns)
{
    mw_totals t = mw_flow_totals(f);
    double seconds = (double)(mw_clock_steady_ns() - started_ns) / 1e9;
    char rate[32], bytes[32];
    fprintf(stderr,
            "%s: in %llu, out %llu, filtered %llu, dead %llu in %.2f s (%s events/s, %sB/s)\n",
            mw_flow_graph(f)->name, (unsigned long long)t.in, (unsigned long long)t.out,
            (unsigned long long)t.filtered, (unsigned long long)t.dead, seconds,
            human(seconds > 0 ? (double)t.in / seconds : 0, rate, sizeof rate),
            human(seconds > 0 ? (double)t.bytes_in / seconds : 0, bytes, sizeof bytes));
}

static int run_flow(void *arg)
{
    run *r = arg;
    mw_flow *f;
    mw_error error = {0};
    int64_t started_ns = mw_clock_steady_ns();
    mw_status status = mw_flow_load(&f, &r->options, &mw_builtins, &error);
    if (status != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    for (uint32_t i = 0; i < mw_flow_graph(f)->warning_count; i++)
        mw_log(MW_WARN, "check", "%s", mw_flow_graph(f)->warnings[i]);
    status = mw_flow_run(f, &error);
    if (status != MW_OK) mw_command_complain(error.message);
    if (status != MW_CONFIG) summary(f, started_ns);
    mw_flow_free(f);
    if (status == MW_AGAIN && r->options.watchdog) return MW_RUN_AGAIN;
    return status == MW_OK ? MW_EXIT_DONE : status == MW_CONFIG ? MW_EXIT_WRONG : MW_EXIT_FAILED;
}

/* "30s", "500ms", "2m", or seconds. */
static int read_duration(const char *text, const char *option, int64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    double n = strtod(text, &end);
    for (size_t i = 0; end > text && n >= 0 && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ns = (int64_t)(n * units[i].ns);
            return 0;
        }
    fprintf(stderr, "moonweir: --%s wants a duration such as 30s, not '%s'\n", option, text);
    return -1;
}

int mw_command_run(int argc, char **argv)
{
    const char *path = NULL, *shards = NULL, *state = NULL, *admin = NULL, *drain = NULL,
               *level = NULL, *probation = NULL, *watchdog = NULL;
    int once = 0, alone = 0, quiet = 0, no_watch = 0;
    const mw_argument known[] = {{"shards", &shards, NULL},       {"state", &state, NULL},
                                 {"admin", &admin, NULL},         {"drain-timeout", &drain, NULL},
                                 {"log-level", &level, NULL},     {"once", NULL, &once},
                                 {"no-supervisor", NULL, &alone}, {"quiet", NULL, &quiet},
                                 {"no-watch", NULL, &no_watch},   {"probation", &probation, NULL},
                                 {"watchdog", &watchdog, NULL},   {0}};
    long shard_count = sysconf(_SC_NPROCESSORS_ONLN), drain_seconds = DRAIN_SECONDS;
    int64_t probation_ns = (int64_t)PROBATION_SECONDS * 1000000000;
    int64_t watchdog_ns = (int64_t)WATCHDOG_SECONDS * 1000000000;
    if (mw_command_arguments(argc, argv, known, "the flow's file", &path, 1) != 0)
        return MW_EXIT_WRONG;
    if (shard_count > MW_SHARDS_MAX) shard_count = MW_SHARDS_MAX;
    if (mw_command_number(shards, 1, MW_SHARDS_MAX, "shards", &shard_count) != 0)
        return MW_EXIT_WRONG;
    if (mw_command_number(drain, 0, 86400, "drain-timeout", &drain_seconds) != 0)
        return MW_EXIT_WRONG;
    if (probation && read_duration(probation, "probation", &probation_ns) != 0)
        return MW_EXIT_WRONG;
    if (watchdog && read_duration(watchdog, "watchdog", &watchdog_ns) != 0) return MW_EXIT_WRONG;
    int terminal = isatty(STDERR_FILENO);
    mw_log_level least = quiet ? MW_WARN : MW_INFO;
    if (level)
        least = strcmp(level, "debug") == 0   ? MW_DEBUG
                : strcmp(level, "warn") == 0  ? MW_WARN
                : strcmp(level, "error") == 0 ? MW_ERROR
                                              : MW_INFO;
    mw_log_open(!terminal, least);
    run r = {.options = {.path = path,
                         .state_folder = state,
                         .shards = (unsigned)shard_count,
                         .progress = terminal && !quiet,
                         .once = once,
                         .watch = !no_watch && !once,
                         .probation_ns = probation_ns,
                         .drain_timeout_ns = drain_seconds * 1000000000}};
    if (admin) {
        r.extension = mw_admin_extension(admin);
        r.options.extension = &r.extension;
    }
    if (alone) return run_flow(&r);
    r.options.watchdog = mw_watchdog_new();
    return mw_supervise(run_flow, &r, r.options.watchdog, watchdog_ns);
}
