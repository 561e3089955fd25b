/* columns.h: what an estimator sees of a row: each column a chain of operations on one feature, as
 * scalers, imputers and encoders are. */
#ifndef MW_COLUMNS_H
#define MW_COLUMNS_H

#include "base/status.h"
#include "event/value.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mw_columns mw_columns;

/* Reads [{"feature": 0, "ops": [["impute", 1.5], …]}, …]. MW_INVALID. */
mw_status mw_columns_read(mw_columns **columns, mw_value list, uint32_t features, mw_error *error);
void mw_columns_free(mw_columns *c);
uint32_t mw_columns_count(const mw_columns *c);
uint32_t mw_columns_feature(const mw_columns *c, uint32_t column);
void mw_columns_run(const mw_columns *c, const double *row, double *to);

#endif
