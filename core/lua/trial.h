/* trial.h: rules on trial. A shadow runs beside the rules that decide, a canary decides for a share
 * of the keys; in both cases what the one and the others did with an event is compared, and
 * differences are counted by kind and kept as samples.
 *
 * Thread: the shard's, but for the counts and the samples, which any may read. */
#ifndef MW_TRIAL_H
#define MW_TRIAL_H

#include "base/buffer.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct mw_trial {
    int on;          /* 0: an ordinary rule */
    int32_t against; /* number of the rule it is compared with; -1: all that decide */
    double share;    /* of the keys, for which it decides; 0: it is a shadow */
    const char **by; /* fields of that key */
    uint32_t by_count;
} mw_trial;

/* How two decisions differ: one failed and the other did not; other sinks (or another order of
 * them); another answer; the same, with other contents. */
enum { MW_DIFFERS_ERROR, MW_DIFFERS_SINK, MW_DIFFERS_REPLY, MW_DIFFERS_FIELDS, MW_DIFFERENCES };

typedef struct mw_trials mw_trials;

/* NULL when no rule is on trial. `trials` is one a rule, borrowed. */
mw_trials *mw_trials_new(const mw_trial *trials, uint32_t rules);
void mw_trials_free(mw_trials *t);
/* Adds a field's path to the key of a canary. */
void mw_trials_key(mw_trials *t, uint32_t rule, int32_t path);
/* One number a rule, which its driver sets to the row it ran over. NULL for NULL. */
int32_t *mw_trials_tried(mw_trials *t);

/* One number a rule: on how many events it was compared; its driver counts those where nobody sent
 * anything, as there is nothing to compare. NULL for NULL. */
double *mw_trials_compared(mw_trials *t);
/* Lets other threads see that number. */
void mw_trials_publish(mw_trials *t);

/* What was compared and how often it differed. Any thread. */
void mw_trials_counts(const mw_trials *t, uint32_t rule, uint64_t *compared,
                      uint64_t differs[MW_DIFFERENCES]);
/* Appends the samples of a rule, JSON objects, each behind a comma where it is not the first. */
void mw_trials_samples(mw_trials *t, uint32_t rule, int *first, mw_buffer *out);
const char *mw_difference_name(unsigned kind);

#endif
