/* files.h: what a flow is made of: its file and the modules it requires, as they were when they
 * were first read.
 *
 * A flow is loaded many times (once a shard, once for its fixtures), and again when it is rolled
 * back to: all of these must see the same bytes, whatever happens on disk meanwhile. Thread: any.
 */
#ifndef MW_FILES_H
#define MW_FILES_H

#include "base/buffer.h"
#include "base/status.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* What tells a file from what it was before: a rename puts another inode in its place, a write
 * another time or size. Zero when it is not there. */
typedef struct mw_mark {
    uint64_t device, inode, size;
    int64_t modified_ns;
} mw_mark;

enum { MW_FILE_PADDING = 64 };

typedef struct mw_file {
    char *path;
    char *text; /* NULL: it could not be read, for this reason */
    char *why;
    size_t len; /* and MW_FILE_PADDING zeros */
    mw_mark mark;
} mw_file;

typedef struct mw_files {
    pthread_mutex_t lock;
    mw_file **list; /* in the order in which they were first read */
    uint32_t count, room;
    struct mw_models *models; /* that states made of the files: see model.h; NULL: none yet */
} mw_files;

mw_files *mw_files_new(void);
void mw_files_free(mw_files *f);

mw_mark mw_mark_of(const char *path);
int mw_mark_same(const mw_mark *a, const mw_mark *b);

/* The file, read now if it was not before. Never NULL; good as long as the files. */
const mw_file *mw_files_get(mw_files *f, const char *path);
/* Adds the files of another, as they were read there. */
void mw_files_copy(mw_files *to, const mw_files *from);
/* Appends the message and, where it begins with the path of one of the files and a line, that line
 * with a caret below. */
void mw_files_explain(const mw_files *f, const char *message, mw_buffer *out);
/* A hash of all bytes, in the order in which they were first read, as 12 hexadecimal digits. */
void mw_files_version(const mw_files *f, char *to, size_t room);

#endif
