/* replay.c: moonweir replay: captured events, or dead letters, through a flow's rules; and what two
 * flows would have decided otherwise. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/comparison.h"
#include "flow/flow.h"
#include "flow/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRAIN_SECONDS = 30 };

typedef struct outcome {
    mw_buffer text, json; /* what it says of the run */
    mw_totals totals;
} outcome;

/* Decisions go to a file for each source first: they come source by source in no order. */
typedef struct writer {
    struct writer *next;
    char *source;
    FILE *file;
} writer;

typedef struct writers {
    writer *first;
    int failed;
} writers;

static writer *writer_of(writers *all, const char *source)
{
    writer **at = &all->first;
    while (*at && strcmp((*at)->source, source) < 0) at = &(*at)->next;
    if (*at && strcmp((*at)->source, source) == 0) return *at;
    writer *w = calloc(1, sizeof *w);
    mw_assert(w != NULL && (w->source = strdup(source)) != NULL);
    w->file = tmpfile();
    if (!w->file) all->failed = errno;
    w->next = *at;
    return *at = w;
}

static void write_lines(void *self, const char *source, const char *lines, size_t len,
                        uint32_t events)
{
    writers *all = self;
    writer *w = writer_of(all, source);
    (void)events;
    if (w->file && fwrite(lines, 1, len, w->file) != len) all->failed = errno ? errno : EIO;
}

/* In order of the sources' names. */
static int finish_writers(writers *all, const char *path)
{
    char block[65536];
    size_t n;
    FILE *to = strcmp(path, "-") == 0 ? stdout : fopen(path, "wb");
    if (!to) all->failed = errno;
    for (writer *w = all->first, *next; w; w = next) {
        next = w->next;
        if (w->file) rewind(w->file);
        while (to && w->file && (n = fread(block, 1, sizeof block, w->file)) > 0)
            if (fwrite(block, 1, n, to) != n) all->failed = errno ? errno : EIO;
        if (w->file) fclose(w->file);
        free(w->source);
        free(w);
    }
    if (to && (to == stdout ? fflush(to) : fclose(to)) != 0) all->failed = errno;
    if (!all->failed) return 0;
    fprintf(stderr, "moonweir: the decisions cannot be written to '%s': %s\n", path,
            strerror(all->failed));
    return -1;
}

static void describe(outcome *o, const mw_flow *f, const mw_replay *r, double seconds)
{
    const mw_graph *g = mw_flow_graph(f);
    mw_totals t = o->totals = mw_flow_totals(f);
    mw_buffer_format(&o->text, "%s (version %s): %llu events in %.2f s (%.0f/s)\n", g->name,
                     g->version, (unsigned long long)t.in, seconds,
                     seconds > 0 ? (double)t.in / seconds : 0);
    mw_buffer_format(&o->json, "{\"flow\":\"%s\",\"version\":\"%s\",\"events\":%llu,\"sinks\":{",
                     g->name, g->version, (unsigned long long)t.in);
    for (uint32_t i = 1; i < mw_graph_plain_sinks(g) && i < MW_REPLAY_SINKS; i++) {
        unsigned long long n = (unsigned long long)atomic_load(&r->sent[i]);
        mw_buffer_format(&o->text, "  sink %s: %llu\n", g->sinks[i].name, n);
        mw_buffer_format(&o->json, "%s\"%s\":%llu", i > 1 ? "," : "", g->sinks[i].name, n);
    }
    unsigned long long dead = r->deliver ? t.dead : atomic_load(&r->sent[0]);
    unsigned long long replied = atomic_load(&r->replied), damaged = atomic_load(&r->damaged);
    mw_buffer_format(&o->text, "  replies: %llu, filtered: %llu, dead letters: %llu\n", replied,
                     (unsigned long long)t.filtered, dead);
    if (damaged)
        mw_buffer_format(&o->text, "  %llu records of the capture could not be read\n", damaged);
    unsigned long long unknown = atomic_load(&r->unknown);
    if (unknown)
        mw_buffer_format(&o->text, "  %llu records are of sources that the flow does not declare\n",
                         unknown);
    mw_buffer_format(&o->json,
                     "},\"replies\":%llu,\"filtered\":%llu,\"dead_letters\":%llu,\"damaged\":%llu,"
                     "\"unknown_source\":%llu}",
                     replied, (unsigned long long)t.filtered, dead, damaged, unknown);
}

static int play(const char *path, const mw_flow_options *given, mw_replay *r, outcome *o)
{
    mw_flow_options options = *given;
    mw_error error = {0};
    mw_flow *f;
    options.path = path, options.replay = r;
    if (mw_flow_load(&f, &options, &mw_builtins, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    int64_t began_ns = mw_clock_steady_ns();
    mw_status status = mw_flow_run(f, &error);
    if (status != MW_OK) mw_command_complain(error.message);
    else
        describe(o, f, r, (double)(mw_clock_steady_ns() - began_ns) / 1e9);
    mw_flow_free(f);
    return status == MW_OK ? MW_EXIT_DONE : status == MW_CONFIG ? MW_EXIT_WRONG : MW_EXIT_FAILED;
}

static void print_reason(void *self, const char *name, uint64_t count)
{
    (void)self;
    printf("  %s: %llu\n", name, (unsigned long long)count);
}

static void print_example(void *self, const char *old, const char *new)
{
    (void)self;
    printf("  - %s\n  + %s\n", old, new);
}

static int print_comparison(const mw_comparison *c, const char *old, const outcome *was,
                            const outcome *is, int json)
{
    uint64_t events, differing;
    mw_error error;
    if (mw_comparison_counts(c, &events, &differing, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_FAILED;
    }
    if (json) {
        mw_buffer out = {0};
        mw_comparison_json(c, &out);
        printf("{\"new\":%.*s,\"old\":%.*s,\"comparison\":%.*s}\n", (int)is->json.len,
               is->json.bytes, (int)was->json.len, was->json.bytes, (int)out.len, out.bytes);
        mw_buffer_close(&out);
    } else {
        printf("%.*s", (int)is->text.len, is->text.bytes);
        printf("against %s: %llu of %llu decisions differ\n", old, (unsigned long long)differing,
               (unsigned long long)events);
        mw_comparison_each(c, print_reason, print_example, NULL);
    }
    return differing ? MW_EXIT_DIFFERS : MW_EXIT_DONE;
}

/* The old flow first, whose decisions are kept; then the new one against them. */
static int compare(const char *path, const char *old, const char *capture,
                   const mw_flow_options *options, int json)
{
    mw_comparison *c;
    mw_error error;
    outcome was = {0}, is = {0};
    if (mw_comparison_new(&c, &error) != MW_OK) return MW_EXIT_FAILED;
    const mw_decisions keep = {mw_comparison_keep, c}, against = {mw_comparison_hold_against, c};
    mw_replay first = {.capture = capture, .decisions = &keep},
              second = {.capture = capture, .decisions = &against};
    int code = play(old, options, &first, &was);
    if (code == MW_EXIT_DONE) code = play(path, options, &second, &is);
    if (code == MW_EXIT_DONE) code = print_comparison(c, old, &was, &is, json);
    mw_comparison_free(c);
    mw_buffer_close(&was.text), mw_buffer_close(&was.json);
    mw_buffer_close(&is.text), mw_buffer_close(&is.json);
    return code;
}

static int replay(const char *path, const char *capture, const char *decisions, int deliver,
                  const mw_flow_options *options, int json)
{
    writers all = {0};
    const mw_decisions to = {write_lines, &all};
    mw_replay r = {.capture = capture, .deliver = deliver, .decisions = decisions ? &to : NULL};
    outcome o = {0};
    int code = play(path, options, &r, &o);
    if (decisions && finish_writers(&all, decisions) != 0) code = MW_EXIT_FAILED;
    FILE *out = decisions && strcmp(decisions, "-") == 0 ? stderr : stdout;
    if (code == MW_EXIT_DONE)
        fprintf(out, json ? "%.*s\n" : "%.*s", (int)(json ? o.json.len : o.text.len),
                json ? o.json.bytes : o.text.bytes);
    mw_buffer_close(&o.text), mw_buffer_close(&o.json);
    return code;
}

int mw_command_replay(int argc, char **argv)
{
    const char *plain[2] = {0}, *old = NULL, *decisions = NULL, *shards = NULL, *state = NULL;
    int deliver = 0, json = 0;
    const mw_argument known[] = {{"against", &old, NULL},
                                 {"decisions", &decisions, NULL},
                                 {"shards", &shards, NULL},
                                 {"state", &state, NULL},
                                 {"deliver", NULL, &deliver},
                                 {"json", NULL, &json},
                                 {0}};
    if (mw_command_arguments(argc, argv, known, "the flow's file, or the capture", plain, 2) != 0)
        return MW_EXIT_WRONG;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    if (count > MW_SHARDS_MAX) count = MW_SHARDS_MAX;
    if (mw_command_number(shards, 1, MW_SHARDS_MAX, "shards", &count) != 0) return MW_EXIT_WRONG;
    if (old && (deliver || decisions)) {
        fprintf(stderr, "moonweir: --against compares; it goes with neither --deliver nor "
                        "--decisions\n");
        return MW_EXIT_WRONG;
    }
    mw_log_open(!isatty(STDERR_FILENO), MW_WARN);
    const mw_flow_options options = {.shards = (unsigned)count,
                                     .state_folder = state,
                                     .drain_timeout_ns = (int64_t)DRAIN_SECONDS * 1000000000};
    return old ? compare(plain[0], old, plain[1], &options, json)
               : replay(plain[0], plain[1], decisions, deliver, &options, json);
}
