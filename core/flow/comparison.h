/* comparison.h: what two flows decided about the same captured events: the decisions of the first
 * are kept in a file, those of the second are held against them as they come.
 *
 * Thread: one at a time. */
#ifndef MW_COMPARISON_H
#define MW_COMPARISON_H

#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

typedef struct mw_comparison mw_comparison;

mw_status mw_comparison_new(mw_comparison **c, mw_error *error);
void mw_comparison_free(mw_comparison *c);
/* The two sides, as mw_decisions.take. */
void mw_comparison_keep(void *comparison, const char *source, const char *lines, size_t len,
                        uint32_t events);
void mw_comparison_hold_against(void *comparison, const char *source, const char *lines, size_t len,
                                uint32_t events);
/* Events that were compared, and that were decided otherwise. MW_IO when the file failed. */
mw_status mw_comparison_counts(const mw_comparison *c, uint64_t *events, uint64_t *differing,
                               mw_error *error);
/* Appends, as JSON, {"events", "differ", "by": {"rule NAME": n, "sink NAME": n, "reply": n,
 * "dead_letter": n}, "examples": [{"old": …, "new": …}]}. */
void mw_comparison_json(const mw_comparison *c, mw_buffer *out);
/* Calls for each reason, in order of name, and for each example. */
void mw_comparison_each(const mw_comparison *c,
                        void (*reason)(void *self, const char *name, uint64_t count),
                        void (*example)(void *self, const char *old, const char *new), void *self);

#endif
