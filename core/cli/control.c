/* control.c: the commands that speak to a running router over its admin address: reload, rollback,
 * versions, status, drain. */
#include "base/buffer.h"
#include "cli/command.h"
#include "cli/router.h"
#include "event/json.h"

#include <stdio.h>
#include <string.h>

typedef struct call {
    const char *path;
    int post;
    void (*print)(const mw_buffer *answer);
} call;

/* ---- answers for people ---- */

static mw_value root(const mw_buffer *answer)
{
    return mw_json_value(answer->bytes, answer->len);
}

/* A text without its escapes; good until the next call. */
static const char *text(mw_value v)
{
    static char plain[4096];
    mw_buffer out = {0};
    if (v.kind == MW_STRING || v.kind == MW_ESCAPED) mw_json_unescape(&out, v.text, v.len);
    snprintf(plain, sizeof plain, "%.*s", (int)out.len, out.bytes ? out.bytes : "");
    mw_buffer_close(&out);
    return plain;
}

static void print_names(const char *what, mw_value of)
{
    size_t cursor = 0;
    mw_value key, list;
    printf("  %s:", what);
    while (of.kind == MW_OBJECT && mw_json_next(of.text, of.len, &cursor, &key, &list)) {
        size_t at = 0;
        mw_value none, name;
        for (int first = 1; mw_json_next(list.text, list.len, &at, &none, &name); first = 0) {
            if (first) printf(" %.*s", (int)key.len, key.text);
            printf(" %s", text(name));
        }
        if (at > 1 && mw_json_field(of, "drained").kind != MW_ABSENT) printf(";");
    }
    printf("\n");
}

static void print_report(const mw_buffer *answer)
{
    mw_value all = root(answer);
    if (mw_json_field(all, "accepted").kind != MW_TRUE) {
        fprintf(stderr, "moonweir: %s\n", text(mw_json_field(all, "error")));
        return;
    }
    if (mw_json_field(all, "unchanged").kind == MW_TRUE) {
        printf("nothing has changed: version %s goes on\n", text(mw_json_field(all, "version")));
        return;
    }
    printf("version %s is live", text(mw_json_field(all, "version")));
    printf(", after %s", text(mw_json_field(all, "before")));
    printf(" (%.0f tests passed, loaded in %.1f ms)\n", mw_json_field(all, "tests").number,
           mw_json_field(all, "load_ms").number);
    print_names("sources", mw_json_field(all, "sources"));
    print_names("sinks", mw_json_field(all, "sinks"));
    mw_value swap = mw_json_field(all, "swap_us"), hold = mw_json_field(all, "hold_us");
    printf("  swapped in %.*s us by shard; events waited %.*s us\n", (int)swap.len, swap.text,
           (int)hold.len, hold.text);
}

static void print_versions(const mw_buffer *answer)
{
    mw_value all = root(answer), key, v;
    size_t cursor = 0;
    printf("%-4s %-13s %-25s %-10s %s\n", "no", "version", "time", "author", "verdict");
    while (mw_json_next(all.text, all.len, &cursor, &key, &v)) {
        double number = mw_json_field(v, "number").number;
        char label[16] = "-";
        if (number > 0) snprintf(label, sizeof label, "%.0f", number);
        printf("%-4s ", label);
        printf("%-13s ", text(mw_json_field(v, "version")));
        printf("%-25s ", text(mw_json_field(v, "time")));
        printf("%-10s ", text(mw_json_field(v, "author")));
        printf("%s\n", text(mw_json_field(v, "verdict")));
    }
}

static void print_trials(mw_value trials)
{
    mw_value key, trial;
    size_t cursor = 0;
    while (trials.kind == MW_ARRAY &&
           mw_json_next(trials.text, trials.len, &cursor, &key, &trial)) {
        mw_value differs = mw_json_field(trial, "differs"),
                 samples = mw_json_field(trial, "samples");
        printf("  on trial: %s", text(mw_json_field(trial, "rule")));
        printf(" compared on %.0f events; differs %.*s\n", mw_json_field(trial, "compared").number,
               (int)differs.len, differs.text);
        mw_value none, sample;
        size_t at = 0;
        for (int n = 0; n < 3 && mw_json_next(samples.text, samples.len, &at, &none, &sample); n++)
            printf("    %.*s\n", (int)sample.len, sample.text);
    }
}

static void print_status(const mw_buffer *answer)
{
    mw_value all = root(answer), reloads = mw_json_field(all, "reloads");
    printf("%s: ", text(mw_json_field(all, "flow")));
    printf("%s, ", text(mw_json_field(all, "phase")));
    printf("version %s (number %.0f%s), %.0f shards, up %.0f s\n",
           text(mw_json_field(all, "version")), mw_json_field(all, "number").number,
           mw_json_field(all, "probation").kind == MW_TRUE ? ", on probation" : "",
           mw_json_field(all, "shards").number, mw_json_field(all, "uptime_s").number);
    printf("  in %.0f, out %.0f, filtered %.0f, dead %.0f, lag %.0f bytes\n",
           mw_json_field(all, "in").number, mw_json_field(all, "out").number,
           mw_json_field(all, "filtered").number, mw_json_field(all, "dead").number,
           mw_json_field(all, "lag_bytes").number);
    printf("  reloads: %.0f accepted, %.0f refused, %.0f rolled back\n",
           mw_json_field(reloads, "accepted").number, mw_json_field(reloads, "refused").number,
           mw_json_field(reloads, "rolled_back").number);
    print_trials(mw_json_field(all, "trials"));
    if (mw_json_field(all, "refused").kind != MW_ABSENT) {
        printf("  the last reload was refused\n");
        fflush(stdout);
        fprintf(stderr, "moonweir: %s\n", text(mw_json_field(all, "refused")));
    }
}

static int command(int argc, char **argv, const call *c)
{
    const char *address = NULL;
    int json = 0;
    const mw_argument known[] = {{"json", NULL, &json}, {0}};
    mw_buffer answer = {0};
    if (mw_command_arguments(argc, argv, known, "the router's admin address", &address, 1) != 0)
        return MW_EXIT_WRONG;
    const mw_buffer nothing = {0};
    mw_error error;
    long status = 0;
    if (mw_router_ask(address, c->path, c->post ? &nothing : NULL, &answer, &status, &error) !=
        MW_OK)
        mw_command_complain(error.message);
    else if (json)
        printf("%.*s\n", (int)answer.len, answer.bytes);
    else
        c->print(&answer);
    mw_buffer_close(&answer);
    return status >= 200 && status < 300 ? MW_EXIT_DONE : MW_EXIT_FAILED;
}

static void print_nothing(const mw_buffer *answer)
{
    (void)answer;
    printf("draining\n");
}

int mw_command_reload(int argc, char **argv)
{
    return command(argc, argv, &(call){"/reload", 1, print_report});
}

int mw_command_rollback(int argc, char **argv)
{
    return command(argc, argv, &(call){"/rollback", 1, print_report});
}

int mw_command_versions(int argc, char **argv)
{
    return command(argc, argv, &(call){"/versions", 0, print_versions});
}

int mw_command_status(int argc, char **argv)
{
    return command(argc, argv, &(call){"/status", 0, print_status});
}

int mw_command_drain(int argc, char **argv)
{
    return command(argc, argv, &(call){"/drain", 1, print_nothing});
}
