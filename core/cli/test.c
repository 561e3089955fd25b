/* test.c: moonweir test: runs the flow's mw.test fixtures, with no outside world. */
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/harness.h"
#include "flow/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct tally {
    unsigned passed, failed;
    const char *format; /* "text", "tap" or "junit" */
    mw_buffer cases;    /* of junit, whose head has the totals */
} tally;

/* ---- formats ---- */

static void tell_text(const mw_test_result *r)
{
    printf("%s  %s\n", r->passed ? "ok  " : "FAIL", r->name);
    fflush(stdout);
    if (!r->passed) mw_command_complain(r->why ? r->why : "no reason");
}

static void tell_tap(const tally *t, const mw_test_result *r)
{
    unsigned number = t->passed + t->failed;
    printf("%sok %u - %s\n", r->passed ? "" : "not ", number, r->name);
    if (r->passed || !r->why) return;
    printf("  ---\n  message: |\n");
    for (const char *line = r->why, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        printf("    %.*s\n", (int)(end - line), line);
    }
    printf("  ...\n");
}

static void add_xml(mw_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&') mw_buffer_text(out, "&amp;");
        else if (*text == '<')
            mw_buffer_text(out, "&lt;");
        else if (*text == '>')
            mw_buffer_text(out, "&gt;");
        else if (*text == '"')
            mw_buffer_text(out, "&quot;");
        else if ((unsigned char)*text < 32 && *text != '\n' && *text != '\t')
            mw_buffer_text(out, " ");
        else
            mw_buffer_append(out, text, 1);
    }
}

static void tell_junit(tally *t, const mw_test_result *r)
{
    mw_buffer_text(&t->cases, "  <testcase classname=\"moonweir\" name=\"");
    add_xml(&t->cases, r->name);
    mw_buffer_text(&t->cases, r->passed ? "\"/>\n" : "\">\n    <failure message=\"");
    if (r->passed) return;
    add_xml(&t->cases, r->why ? r->why : "no reason");
    mw_buffer_text(&t->cases, "\"/>\n  </testcase>\n");
}

static void tell(void *self, const mw_test_result *r)
{
    tally *t = self;
    if (r->passed) t->passed++;
    else
        t->failed++;
    if (strcmp(t->format, "tap") == 0) tell_tap(t, r);
    else if (strcmp(t->format, "junit") == 0)
        tell_junit(t, r);
    else
        tell_text(r);
}

static void finish(tally *t, const char *path)
{
    if (strcmp(t->format, "tap") == 0) {
        printf("1..%u\n", t->passed + t->failed);
    } else if (strcmp(t->format, "junit") == 0) {
        mw_buffer name = {0};
        add_xml(&name, path);
        printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<testsuite name=\"%.*s\" tests=\"%u\" failures=\"%u\">\n%.*s</testsuite>\n",
               (int)name.len, name.bytes, t->passed + t->failed, t->failed, (int)t->cases.len,
               t->cases.len ? t->cases.bytes : "");
        mw_buffer_close(&name);
    } else {
        printf("%u passed, %u failed\n", t->passed, t->failed);
    }
    mw_buffer_close(&t->cases);
    fflush(stdout);
}

static int write_coverage(const mw_buffer *coverage, const char *path, FILE *to)
{
    size_t len = strlen(coverage->bytes);
    FILE *f = fopen(path, "wb");
    int good = f && fwrite(coverage->bytes, 1, len, f) == len;
    if (f) good &= fclose(f) == 0;
    if (!good)
        fprintf(stderr, "moonweir: the coverage cannot be written to '%s': %s\n", path,
                strerror(errno));
    else
        fprintf(to, "%s\n", coverage->bytes + len + 1);
    return good;
}

static int run_once(const char *path, const char *format, const char *coverage, mw_files *files)
{
    mw_error error = {0};
    tally t = {.format = format};
    mw_buffer lines = {0};
    const mw_harness_options options = {.path = path,
                                        .kinds = &mw_builtins,
                                        .files = files,
                                        .coverage = coverage ? &lines : NULL,
                                        .tell = tell,
                                        .self = &t};
    if (strcmp(format, "tap") == 0) printf("TAP version 13\n");
    if (mw_harness_run(&options, &error) != MW_OK) {
        mw_command_complain(error.message);
        mw_buffer_close(&t.cases);
        mw_buffer_close(&lines);
        return MW_EXIT_WRONG;
    }
    finish(&t, path);
    int good =
        !coverage || write_coverage(&lines, coverage, strcmp(format, "text") ? stderr : stdout);
    mw_buffer_close(&lines);
    return t.failed || !good ? MW_EXIT_FAILED : MW_EXIT_DONE;
}

/* ---- again and again ---- */

static void on_change(void *self)
{
    uv_stop(self);
}

_Noreturn static void run_for_ever(const char *path, const char *format, const char *coverage)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    mw_watch *watch = mw_watch_new(&loop, on_change, &loop);
    for (;;) {
        mw_files *files = mw_files_new();
        run_once(path, format, coverage, files);
        mw_watch_files(watch, files);
        mw_files_free(files);
        uv_run(&loop, UV_RUN_DEFAULT);
        printf("\n");
    }
}

int mw_command_test(int argc, char **argv)
{
    const char *path = NULL, *format = "text", *coverage = NULL;
    int watch = 0;
    const mw_argument known[] = {
        {"format", &format, NULL}, {"coverage", &coverage, NULL}, {"watch", NULL, &watch}, {0}};
    if (mw_command_arguments(argc, argv, known, "the flow's file", &path, 1) != 0)
        return MW_EXIT_WRONG;
    if (strcmp(format, "text") != 0 && strcmp(format, "tap") != 0 && strcmp(format, "junit") != 0) {
        fprintf(stderr, "moonweir: --format is text, tap or junit, not '%s'\n", format);
        return MW_EXIT_WRONG;
    }
    if (watch) run_for_ever(path, format, coverage);
    mw_files *files = mw_files_new();
    int code = run_once(path, format, coverage, files);
    mw_files_free(files);
    return code;
}
