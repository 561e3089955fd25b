/* harness.h: runs a flow's mw.test fixtures, with no outside world: sources are not opened, and
 * what rules send is caught. Each fixture gets a flow of its own. Used by `moonweir test`. Thread:
 * the caller's. */
#ifndef MW_HARNESS_H
#define MW_HARNESS_H

#include "flow/graph.h"
#include "lua/files.h"
#include "base/buffer.h"

typedef struct mw_test_result {
    const char *name;
    int passed;
    const char *why; /* "file:line: message", where it failed */
} mw_test_result;

typedef struct mw_harness_options {
    const char *path;
    const mw_kinds *kinds;
    mw_files *files;     /* what was read already */
    mw_buffer *coverage; /* NULL, or where lcov's lines go; then a NUL, and a line for people */
    void (*tell)(void *self, const mw_test_result *r);
    void *self;
} mw_harness_options;

/* Runs all fixtures and tells each result. MW_CONFIG when the flow does not load. */
mw_status mw_harness_run(const mw_harness_options *o, mw_error *error);

#endif
