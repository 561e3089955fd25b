/* file_tail.h: one file of a file source: who it is, how far it is read, its next block.
 *
 * Plain files are read at a position, so that an unfinished frame is simply read again. Compressed
 * ones (gzip, zstd) are read through, and keep their unfinished frame; their positions count
 * decompressed bytes. Thread: its source's shard. */
#ifndef MW_FILE_TAIL_H
#define MW_FILE_TAIL_H

#include "base/buffer.h"
#include "base/inflate.h"
#include "sources/oversize.h"

#include <moonweir/plugin.h>
#include <stdint.h>

enum { MW_TAIL_IN = 65536 };

typedef struct mw_tail {
    struct mw_tail *next;
    mw_source *source;
    char *path;
    int fd;
    uint64_t device, inode;
    mw_partition *partition;
    mw_stream stream;
    uint64_t position; /* of the first byte that is not in a batch yet */
    size_t block;      /* bytes to read at a time; grows for a large frame */
    size_t block_normal;
    uint32_t fingerprint_len;
    uint64_t size;       /* at the last look */
    int at_end;          /* nothing more to read at the last look */
    int truncated;       /* it is begun anew when nothing of before is in flight: batches borrow the
                          * stream, and with it a csv header */
    int gone;            /* its path is another file's now, or nobody's */
    int ended;           /* will not be read again */
    uint32_t in_flight;  /* batches that borrow the stream */
    mw_inflate *inflate; /* NULL: plain */
    char *in;            /* compressed bytes */
    size_t in_at, in_len;
    mw_buffer rest; /* decompressed, not in a batch yet */
    mw_oversize oversize;
} mw_tail;

/* Opens the file and finds where to go on. `from_end`: begin at its end when no position is kept of
 * it. */
mw_status mw_tail_open(mw_tail **tail, mw_source *s, const char *path, size_t block, int from_end,
                       mw_error *error);
void mw_tail_close(mw_tail *t);
/* A batch of some tail is done; that tail. */
mw_tail *mw_tail_acknowledge(mw_batch *b);
/* Gives one batch (or one dead letter), if there is one. `final`: the file is complete, so what is
 * left is a frame. 1: something was given or there may be more at once; 0: at the end of what is
 * there. */
int mw_tail_read(mw_tail *t, int final);
/* Looks whether the file was truncated, and keeps its fingerprint up to date. For followed files.
 */
void mw_tail_check(mw_tail *t);

#endif
