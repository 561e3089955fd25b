/* spool.h: records on disk, in the order they came: what a source has taken in and the flow has not
 * done with yet.
 *
 * A folder of segments, each a file that is appended to until it is large enough. A record has a
 * position, counted in bytes from the first that ever was, and a checksum. Whatever was written is
 * there after a crash of the process; what was synced, after a loss of power. Opening looks at the
 * last segment only: a record that was torn by a crash is cut off (nobody was told that it is
 * safe). A record that is damaged is skipped when it is read, and its segment kept aside. Memory
 * does not depend on how much is there. Thread: one at a time, but for the sync. */
#ifndef MW_SPOOL_H
#define MW_SPOOL_H

#include "base/buffer.h"
#include "base/status.h"

typedef struct mw_spool mw_spool;

/* Makes the folder where it is missing. `segment`: bytes at which a new one begins; `first`: the
 * position at which one without segments begins. */
mw_status mw_spool_open(mw_spool **s, const char *folder, size_t segment, uint64_t first,
                        mw_error *error);
void mw_spool_close(mw_spool *s);
/* Positions: of the first record that is there, and behind the last. */
uint64_t mw_spool_first(const mw_spool *s);
uint64_t mw_spool_end(const mw_spool *s);

/* Appends a record of two parts; on MW_IO nothing of it is there. */
mw_status mw_spool_append(mw_spool *s, const void *head, size_t head_len, const void *body,
                          size_t len, mw_error *error);
/* Descriptors that have to be synced (fsync: the folder's may be among them) so that all up to the
 * end is safe; the caller closes them. */
enum { MW_SPOOL_FDS = 8 };
size_t mw_spool_unsynced(mw_spool *s, int fds[MW_SPOOL_FDS]);
int mw_spool_is_unsynced(const mw_spool *s);

/* Reads the record at *position, and moves it behind; its bytes are good until the next call. 0:
 * there is none yet. -1: what was there is damaged, *position is behind it, and `error` says what
 * is lost of. */
int mw_spool_read(mw_spool *s, uint64_t *position, const char **bytes, size_t *len,
                  mw_error *error);
/* Lets go of segments all of which is before the position. */
void mw_spool_trim(mw_spool *s, uint64_t position);

/* Looks at every record of a folder, without changing anything. */
typedef struct mw_spool_report {
    uint64_t segments, records, bytes, damaged, torn_bytes;
    uint64_t end;   /* position behind the last whole record */
    mw_error first; /* damage */
} mw_spool_report;
mw_status mw_spool_verify(const char *folder, mw_spool_report *report, mw_error *error);

#endif
