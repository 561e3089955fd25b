/* file_output.h: one output file of a file sink: appended to, rotated, synced.
 *
 * Text is collected and written at a flush in one go, so that bytes of two events never mix. A
 * write that fails (a full disk) keeps what is left and is tried again. A file that ends in half a
 * line because the machine or the process died in the middle of a write is mended when it is
 * opened: what is cut off was never acknowledged. Thread: its sink's shard. */
#ifndef MW_FILE_OUTPUT_H
#define MW_FILE_OUTPUT_H

#include "base/buffer.h"

#include <moonweir/plugin.h>
#include <stdint.h>

typedef struct mw_rotation {
    uint64_t size; /* 0: never by size */
    int64_t age_ns;
    int64_t keep; /* rotated files that stay; -1: all */
} mw_rotation;

typedef struct mw_output {
    struct mw_output *next;
    mw_sink *sink;
    char *path;
    int fd;
    uint64_t size;     /* of the file as it is on disk */
    int64_t opened_ns; /* steady */
    int64_t used_ns;
    mw_buffer pending;
    int unsynced;
    uint64_t device, inode;
    /* exactly once (file_marks.h) */
    uint64_t marked; /* size that the last checkpoint has */
    int rotations;   /* since */
} mw_output;

/* Opens for appending; makes the folders that are missing, and mends the end. */
mw_status mw_output_open(mw_output **o, mw_sink *k, const char *path, mw_error *error);
void mw_output_close(mw_output *o);
/* Writes what is pending. MW_IO: some is left, see `error`. */
mw_status mw_output_write(mw_output *o, mw_error *error);
/* Exactly once, with the checkpoint that is being prepared: how long it is now. Rotated files that
 * are too many go when the checkpoint before does not need them. */
void mw_output_mark(mw_output *o, const mw_rotation *r);
/* Renames PATH to PATH.1 (PATH.1 to PATH.2, …) and begins PATH anew, when a limit is met. */
mw_status mw_output_rotate(mw_output *o, const mw_rotation *r, int64_t now_ns, mw_error *error);

#endif
