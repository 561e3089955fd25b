/* harness.h: runs a flow's mw.test fixtures, with no outside world: sources are not opened, and
 * what rules send is caught. Each fixture gets a flow of its own. Used by `moonweir test`. Thread:
 * the caller's. */
#ifndef MW_HARNESS_H
#define MW_HARNESS_H

#include "flow/graph.h"

typedef struct mw_test_result {
    const char *name;
    int passed;
    const char *why; /* "file:line: message", where it failed */
} mw_test_result;

/* Runs all fixtures and tells each result. MW_CONFIG when the flow does not load. */
mw_status mw_harness_run(const char *path, const mw_kinds *kinds,
                         void (*tell)(void *self, const mw_test_result *r), void *self,
                         mw_error *error);

#endif
