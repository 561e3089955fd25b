/* test.c: moonweir test: runs the flow's mw.test fixtures, with no outside world. */
#include "cli/builtins.h"
#include "cli/command.h"
#include "flow/harness.h"

#include <stdio.h>

typedef struct tally {
    unsigned passed, failed;
} tally;

static void tell(void *self, const mw_test_result *r)
{
    tally *t = self;
    if (r->passed) t->passed++;
    else
        t->failed++;
    printf("%s  %s\n", r->passed ? "ok  " : "FAIL", r->name);
    fflush(stdout);
    if (!r->passed) mw_command_complain(r->why ? r->why : "no reason");
}

int mw_command_test(int argc, char **argv)
{
    const char *path = NULL;
    const mw_argument known[] = {{0}};
    mw_error error = {0};
    tally t = {0};
    if (mw_command_arguments(argc, argv, known, "the flow's file", &path, 1) != 0)
        return MW_EXIT_WRONG;
    mw_files *files = mw_files_new();
    const mw_harness_options options = {
        .path = path, .kinds = &mw_builtins, .files = files, .tell = tell, .self = &t};
    mw_status status = mw_harness_run(&options, &error);
    mw_files_free(files);
    if (status != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    printf("%u passed, %u failed\n", t.passed, t.failed);
    return t.failed ? MW_EXIT_FAILED : MW_EXIT_DONE;
}
