/* rows.h: a row of features out of a JSON object. */
#ifndef MW_ROWS_H
#define MW_ROWS_H

#include "event/value.h"
#include "score/model.h"

/* What a value is as a feature: a number, true and false 1 and 0, null and absent NaN, a text its
 * category's code. MW_INVALID: it is none of these. */
mw_status mw_row_set(const mw_model *m, uint32_t feature, const mw_value *v, double *row,
                     mw_error *error);
/* Reads a whole row: an object whose members are features by name (a name with dots also is a way
 * into inner objects; members that are no feature are passed over; features that are not there are
 * NaN), or a list of all features in the model's order. `text` is followed by MW_JSON_PADDING
 * bytes. Python's NaN and Infinity are read. */
mw_status mw_row_read(const mw_model *m, const char *text, size_t len, double *row,
                      mw_error *error);

#endif
