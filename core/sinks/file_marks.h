/* file_marks.h: how long a file sink's files were at the last checkpoint, where the flow is exactly
 * once.
 *
 * Each file has a record under the hash of its path: which file it is, and its length. At a start
 * files are cut to it, for what is behind it comes again; where a file was rotated since, that is
 * undone. A flow that is not exactly once forgets the records, which would soon be wrong. Thread:
 * the sink's shard. */
#ifndef MW_FILE_MARKS_H
#define MW_FILE_MARKS_H

#include <moonweir/plugin.h>
#include <stdint.h>

typedef struct mw_file_mark {
    uint64_t device, inode, length;
} mw_file_mark;

/* In open: files become what they were, or records go. MW_IO: a file cannot be cut. */
mw_status mw_file_marks_restore(mw_sink *k, mw_error *error);
/* Whether the file at this path has a record. */
int mw_file_marks_has(mw_sink *k, const char *path);
/* Notes a file that is written to for the first time, at once. */
mw_status mw_file_marks_begin(mw_sink *k, const char *path, const mw_file_mark *m, mw_error *error);
/* Notes a file with the checkpoint that is being prepared. */
void mw_file_marks_keep(mw_sink *k, const char *path, const mw_file_mark *m);

#endif
