/* onnx_private.h: an ONNX file as it is put as JSON: what its parts share. See format_onnx.c. */
#ifndef MW_ONNX_PRIVATE_H
#define MW_ONNX_PRIVATE_H

#include "base/buffer.h"
#include "base/status.h"
#include "score/onnx.h"

#include <stdint.h>

typedef struct mw_onnx_column {
    uint32_t feature;
    mw_buffer ops; /* JSON, without its brackets */
    int is_text;   /* a text, which an encoder is to make a number of */
} mw_onnx_column;

typedef struct mw_onnx_translation {
    mw_onnx onnx;
    const mw_onnx_node *model;
    mw_onnx_column *columns;
    uint32_t count, room;
    struct mw_onnx_texts *texts; /* by feature; NULL: there are none */
    uint64_t work;               /* columns passed on, and texts compared, so far */
    int normalized;              /* a Normalizer makes shares of the scores */
    mw_buffer json;
    mw_error *error;
    mw_status status;
} mw_onnx_translation;

/* Note what is not supported, or wrong; the first counts. 0, so that a failing call can end in one
 * line. */
int mw_onnx_refuse(mw_onnx_translation *t, const char *what, mw_onnx_name name);
int mw_onnx_fault(mw_onnx_translation *t, const char *what);
/* A column more, of a feature. 0: there are too many. */
int mw_onnx_add_column(mw_onnx_translation *t, uint32_t feature);
int mw_onnx_is_softmax(const mw_onnx_translation *t);
/* The name of what comes of so many scores. */
const char *mw_onnx_output_of(mw_onnx_translation *t, size_t outputs);
/* onnx_columns.c: the columns that a tensor has; and these, and the features, as JSON. */
int mw_onnx_read_columns(mw_onnx_translation *t, mw_onnx_name tensor);
void mw_onnx_put_columns(mw_onnx_translation *t);
void mw_onnx_columns_close(mw_onnx_translation *t);
/* onnx_trees.c */
int mw_onnx_put_trees(mw_onnx_translation *t, int classifier);

#endif
