/* onnx.h: the parts of an ONNX file that models of trees and linear models have (onnx.proto3). */
#ifndef MW_ONNX_H
#define MW_ONNX_H

#include "base/status.h"
#include "score/protobuf.h"

#include <stddef.h>
#include <stdint.h>

enum { MW_ONNX_NODES = 256, MW_ONNX_EDGES = 64, MW_ONNX_INPUTS = 4096 };

typedef struct mw_onnx_name {
    const char *text; /* in the file, not ended */
    size_t len;
} mw_onnx_name;

typedef struct mw_onnx_node {
    mw_onnx_name op;
    mw_onnx_name inputs[MW_ONNX_EDGES], outputs[MW_ONNX_EDGES];
    uint32_t input_count, output_count;
    mw_proto attributes; /* the node's own message: its fields 5 are attributes */
} mw_onnx_node;

typedef struct mw_onnx_input {
    mw_onnx_name name;
    uint32_t columns; /* its last dimension */
    int is_text;
} mw_onnx_input;

typedef struct mw_onnx {
    mw_onnx_node *nodes;
    uint32_t node_count;
    mw_onnx_input *inputs;
    uint32_t input_count;
    mw_proto graph;
} mw_onnx;

/* The graph of a file; it points into the bytes. MW_INVALID, MW_LIMIT. */
mw_status mw_onnx_read(mw_onnx *o, const char *bytes, size_t len, mw_error *error);
void mw_onnx_close(mw_onnx *o);

int mw_onnx_is(mw_onnx_name name, const char *text);
int mw_onnx_same(mw_onnx_name a, mw_onnx_name b);
/* The node that makes a tensor; NULL: none does. */
const mw_onnx_node *mw_onnx_maker(const mw_onnx *o, mw_onnx_name tensor);

/* The numbers of a tensor that is a constant, to be freed. 0: it is none, or is not of numbers. */
int mw_onnx_constant(const mw_onnx *o, mw_onnx_name tensor, double **list, size_t *count);
/* Whether it is 1 everywhere. */
int mw_onnx_is_one(const mw_onnx *o, mw_onnx_name tensor);

/* Attributes of a node; lists are to be freed. 0 where there is none, or it is of another type. */
int mw_onnx_floats(const mw_onnx_node *n, const char *name, double **list, size_t *count);
int mw_onnx_ints(const mw_onnx_node *n, const char *name, int64_t **list, size_t *count);
/* The n-th of a list of texts; 0: there is none. */
int mw_onnx_names(const mw_onnx_node *n, const char *name, mw_onnx_name **list, size_t *count);
mw_onnx_name mw_onnx_text(const mw_onnx_node *n, const char *name, const char *fallback);
int64_t mw_onnx_int(const mw_onnx_node *n, const char *name, int64_t fallback);
double mw_onnx_float(const mw_onnx_node *n, const char *name, double fallback);

#endif
