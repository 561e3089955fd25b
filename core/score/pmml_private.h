/* pmml_private.h: PMML as it is put as JSON: what its parts share. See format_pmml.c. */
#ifndef MW_PMML_PRIVATE_H
#define MW_PMML_PRIVATE_H

#include "base/buffer.h"
#include "base/status.h"
#include "score/xml.h"

#include <stdint.h>

enum { MW_PMML_FIELDS = 1 << 16, MW_PMML_CLASSES = 1 << 10, MW_PMML_DEEP = 256 /* most */ };

/* A column: a field's number, or whether it is a value of it. */
typedef struct mw_pmml_column {
    uint32_t field;
    const mw_xml *is; /* a Value, of a field of categories; NULL: the number */
} mw_pmml_column;

/* A tree as it is put together. */
typedef struct mw_pmml_node {
    double threshold, left, right, feature, missing_left, strict, cover;
} mw_pmml_node;

typedef struct mw_pmml {
    const mw_xml **fields; /* DataFields of the features */
    uint32_t field_count;
    const mw_xml *target;
    const mw_xml *classes[MW_PMML_CLASSES]; /* Values of the target */
    uint32_t class_count, width;            /* values of a leaf */
    uint32_t outputs;                       /* of all trees */
    mw_pmml_column *columns;
    uint32_t column_count, column_room;
    int any_double;
    mw_pmml_node *nodes; /* of the tree that is read */
    double *values;
    uint32_t node_count, node_room;
    double base[MW_PMML_CLASSES];
    uint32_t trees;
    mw_buffer json;
    mw_error *error;
    mw_status status;
} mw_pmml;

/* Note what is not supported, or wrong; the first counts. 0, so that a failing call can end in one
 * line. */
int mw_pmml_refuse(mw_pmml *t, const char *what, const char *name);
int mw_pmml_fault(mw_pmml *t, const char *what, const char *name);
/* The column of a field's number, or of whether it has a value. -1: it cannot be. */
int mw_pmml_column_of(mw_pmml *t, const char *name, const char *value);
/* The column of the field that a column is of, as it is: missing where the field is. */
int mw_pmml_plain_column(mw_pmml *t, int column);
/* The number of a value of the target; -1. */
int mw_pmml_class_of(mw_pmml *t, const char *value);
/* The model that an element holds; NULL: none of those that are supported. What else it holds. */
const mw_xml *mw_pmml_model_in(const mw_xml *e);
const char *mw_pmml_other_model(const mw_xml *e);

/* pmml_trees.c: trees of one output, summed or averaged, with what they are scaled by; and those of
 * a whole model. */
int mw_pmml_put_ensemble(mw_pmml *t, const mw_xml *model, uint32_t output);
int mw_pmml_put_trees(mw_pmml *t, const mw_xml *model);
/* pmml_regressions.c: a regression; a chain of ensembles that ends with one. */
int mw_pmml_put_regression(mw_pmml *t, const mw_xml *model);
int mw_pmml_put_chain(mw_pmml *t, const mw_xml *segments);

#endif
