/* capture_reader.h: reads captured events back, in the order in which they were kept: the segments
 * of a folder, one segment, or a file of dead letters (a JSON object a line). Thread: one at a
 * time. */
#ifndef MW_CAPTURE_READER_H
#define MW_CAPTURE_READER_H

#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

/* What was read; texts are good until the next read. */
typedef struct mw_captured {
    const char *source, *partition; /* partition: NULL where there is none */
    const char *reject;             /* or NULL: the bytes are no frame, for this reason */
    const char *meta;               /* members of an object, each behind a comma; or "" */
    const char *bytes;
    size_t len;
    uint64_t position;
    int64_t time_ns;
    int first;   /* it begins its stream */
    int is_json; /* the bytes are one event as JSON, whatever the source's format */
} mw_captured;

typedef struct mw_capture_reader mw_capture_reader;

/* MW_IO or MW_INVALID, with what and where, when it cannot be read or is no capture. */
mw_status mw_capture_reader_open(mw_capture_reader **r, const char *path, mw_error *error);
void mw_capture_reader_close(mw_capture_reader *r);
/* MW_OK, MW_END, or MW_INVALID for a record that is damaged: reading may go on behind it. */
mw_status mw_capture_reader_next(mw_capture_reader *r, mw_captured *c, mw_error *error);

#endif
