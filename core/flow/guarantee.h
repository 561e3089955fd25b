/* guarantee.h: what a flow promises on each of its paths, from a source to a sink, by the grades of
 * their kinds (plugin.h); and refusing what it cannot keep. Any thread. */
#ifndef MW_GUARANTEE_H
#define MW_GUARANTEE_H

#include "flow/graph.h"

/* MW_CONFIG with "file:line: message": the flow wishes to be exactly once, and some declaration
 * cannot. */
mw_status mw_guarantee_check(const mw_graph *g, mw_error *error);
/* Whether a sink is to be exactly once. */
int mw_guarantee_is_once(const mw_graph *g, const mw_declared *sink);
/* In words, of the path from a source to a sink. */
const char *mw_guarantee_of(const mw_graph *g, const mw_declared *source, const mw_declared *sink);
/* MW_CONFIG: the one may not become the other while it runs: sources and sinks of a flow that is
 * exactly once stay as they are, and disk buffers stay with their sources. */
mw_status mw_guarantee_can_become(const mw_graph *g, const mw_graph *other, mw_error *error);

#endif
