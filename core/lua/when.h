/* when.h: an index of the conditions under which rules want an event, so that a thousand rules cost
 * what the few cost that match.
 *
 * A rule's condition is a conjunction: each of some fields equals one of some values. Every rule is
 * filed under the values of one of its fields (the one that tells the most rules of the group
 * apart); an event looks up its values of those fields and checks the rest of each candidate's
 * condition. This is the counting-free variant of predicate indexing (Yan and Garcia-Molina, "Index
 * structures for selective dissemination of information", TODS 1994, the key method). Thread: the
 * shard's. */
#ifndef MW_WHEN_H
#define MW_WHEN_H

#include "event/value.h"

#include <stddef.h>

typedef struct mw_when mw_when;

mw_when *mw_when_new(void);
void mw_when_free(mw_when *w);
/* Says that rule `rule` (given in ascending order) wants `path` to be one of the values added so;
 * the values of one path are alternatives, paths are conjunctive. `kind` is MW_STRING (text),
 * MW_NUMBER, MW_TRUE or MW_FALSE. */
void mw_when_add(mw_when *w, uint32_t rule, int32_t path, uint32_t kind, double number,
                 const char *text, size_t len);
/* Builds the index; nothing is added after. */
void mw_when_build(mw_when *w);
/* Number of rules added: the largest number of matches. */
size_t mw_when_rules(const mw_when *w);
/* `values` are the event's slots. Fills `matched` (room for all rules) in ascending order; returns
 * how many. */
uint32_t mw_when_match(const mw_when *w, const mw_value *values, uint32_t *matched);

#endif
