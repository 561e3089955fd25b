/* golden.h: rows that ship beside a model, with the scores that it must give them. */
#ifndef MW_GOLDEN_H
#define MW_GOLDEN_H

#include "score/model.h"

/* Lines {"row": {…} or […], "score": number or list, "within": share (1e-6 where it is not given)}.
 * MW_INVALID: a line is none, or the model scores otherwise; the line is named. `text` is followed
 * by MW_MODEL_PADDING bytes. */
mw_status mw_golden_check(const mw_model *m, const char *text, size_t len, const char *name,
                          mw_error *error);

#endif
