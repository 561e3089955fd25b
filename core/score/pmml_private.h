/* pmml_private.h: PMML as it is put as JSON: what its parts share. See format_pmml.c. */
#ifndef MW_PMML_PRIVATE_H
#define MW_PMML_PRIVATE_H

#include "base/buffer.h"
#include "base/status.h"
#include "score/xml.h"

#include <stdint.h>

enum {
    MW_PMML_FIELDS = 1 << 16,
    MW_PMML_CLASSES = 1 << 10,
    MW_PMML_DEEP = 1000 /* most */
};

/* A field: of the data, or derived from one of those. */
typedef struct mw_pmml_field {
    const mw_xml *element; /* DataField or DerivedField */
    uint32_t feature;      /* of the row, which it is of */
    mw_buffer ops;         /* what makes it of that (columns.h), as JSON, without the list's ends */
} mw_pmml_field;

/* A column: a field's number, or whether it has a value, or one of some. */
typedef struct mw_pmml_column {
    uint32_t field;
    const mw_xml *is; /* a Value, of a field of categories; an Array; NULL: the number */
    int or_missing;   /* missing where the field is; else a missing value is no value of it */
} mw_pmml_column;

/* A tree as it is put together. */
typedef struct mw_pmml_node {
    double threshold, left, right, feature, missing_left, strict, cover;
} mw_pmml_node;

/* How a tree is read. */
typedef struct mw_pmml_tree {
    int classes, votes; /* votes: a leaf is for one class */
    int last_counts;    /* of a node none of whose children is */
    enum {
        MW_PMML_NONE,
        MW_PMML_DEFAULT,
        MW_PMML_NULL, /* where a predicate is unknown */
        MW_PMML_LAST
    } missing;
} mw_pmml_tree;

/* Where a predicate leads: into a node; to a node's child of that name, and those behind it; to
 * what a node says itself; to nothing; or to what is left of a compound predicate. */
typedef struct mw_pmml_way {
    enum { MW_PMML_INTO, MW_PMML_CHILD, MW_PMML_SELF, MW_PMML_NOTHING, MW_PMML_REST } kind;
    const mw_pmml_tree *tree;
    const mw_xml *node, *child;
    const struct mw_pmml_rest *rest;
} mw_pmml_way;

typedef struct mw_pmml_ways {
    const mw_pmml_way *yes, *no, *unknown;
} mw_pmml_ways;

/* A compound predicate, from one of its parts on. */
typedef struct mw_pmml_rest {
    const mw_xml *part; /* NULL: it is over */
    enum { MW_PMML_AND, MW_PMML_OR, MW_PMML_XOR, MW_PMML_SURROGATE } how;
    int unknown, odd; /* some part was unknown; an odd number was true */
    mw_pmml_ways to;
} mw_pmml_rest;

/* The fields that are not missing where a node is reached, the last first. */
typedef struct mw_pmml_known {
    uint32_t field;
    const struct mw_pmml_known *before;
} mw_pmml_known;

typedef struct mw_pmml {
    mw_pmml_field *fields; /* those of the data first */
    uint32_t input_count, field_count, field_room;
    const mw_xml *target;
    const mw_xml *classes[MW_PMML_CLASSES]; /* Values of the target */
    uint32_t class_count, width;            /* values of a leaf */
    uint32_t outputs;                       /* of all trees */
    mw_pmml_column *columns;
    uint32_t column_count, column_room;
    mw_pmml_node *nodes; /* of the tree that is read */
    double *values;
    uint32_t node_count, node_room;
    uint64_t elements, all_nodes; /* of the file; of all trees so far */
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
/* pmml_transforms.c: reads the fields of the data, as the model wants them, and those that are
 * derived of them. */
int mw_pmml_read_fields(mw_pmml *t, const mw_xml *root, const mw_xml *model);

/* pmml_fields.c. -1: there is none, which is a fault, or is none. */
int mw_pmml_field_of(mw_pmml *t, const char *name);
int mw_pmml_find_field(const mw_pmml *t, const char *name);
/* Whether values are compared as float32. */
int mw_pmml_is_float(const mw_pmml *t, int column);
/* The number by which a row has a value: its place among the field's texts, or itself. NaN: none.
 */
double mw_pmml_code_of(const mw_xml *field, const char *value, size_t len);
void mw_pmml_put_features(mw_pmml *t);
int mw_pmml_put_columns(mw_pmml *t);
int mw_pmml_field_of(mw_pmml *t, const char *name);
/* The column of a field's number, or of whether it has a value. -1: it cannot be. */
int mw_pmml_column_of(mw_pmml *t, const char *name, const char *value);
/* Whether it has the value of a predicate, and missing where it is. */
int mw_pmml_column_equal(mw_pmml *t, const char *name, const mw_xml *p);
/* Whether the field has a value of an Array, and missing where it is. */
int mw_pmml_column_in(mw_pmml *t, const char *name, const mw_xml *values);
/* The column of a field as it is: missing where it is. */
int mw_pmml_plain_column(mw_pmml *t, uint32_t field);
/* The number of a value of the target; -1. */
int mw_pmml_class_of(mw_pmml *t, const char *value);
/* The model that an element holds; NULL: none of those that are supported. What else it holds. */
const mw_xml *mw_pmml_model_in(const mw_xml *e);
const char *mw_pmml_other_model(const mw_xml *e);

/* pmml_trees.c: the tree from one of its elements on, or a leaf; nodes' numbers, or -1. */
int64_t mw_pmml_add_way(mw_pmml *t, const struct mw_pmml_way *way, const struct mw_pmml_known *k,
                        int depth);
uint32_t mw_pmml_add_node(mw_pmml *t);
/* pmml_predicates.c: a predicate, and where it leads. */
int64_t mw_pmml_add_predicate(mw_pmml *t, const mw_xml *p, const mw_pmml_ways *to,
                              const struct mw_pmml_known *k, int depth);
int64_t mw_pmml_add_rest(mw_pmml *t, const struct mw_pmml_rest *rest, const struct mw_pmml_known *k,
                         int depth);
/* Whether a predicate is true where another is false, if neither's field is missing. */
int mw_pmml_is_contrary(mw_pmml *t, const mw_xml *p, const mw_xml *other);

/* Trees of one output, summed or averaged, with what they are scaled by; and those of
 * a whole model. */
int mw_pmml_put_ensemble(mw_pmml *t, const mw_xml *model, uint32_t output);
int mw_pmml_put_trees(mw_pmml *t, const mw_xml *model);
/* pmml_regressions.c: a regression; a chain of ensembles that ends with one. */
int mw_pmml_put_regression(mw_pmml *t, const mw_xml *model);
int mw_pmml_put_chain(mw_pmml *t, const mw_xml *segments);

#endif
