/* capture.h: the files in which mw.capture keeps raw events: segments of records.
 *
 * A segment begins with MW_CAPTURE_MAGIC. A record is a head, a JSON object that says what the
 * bytes are (source, partition, position, time_ns; first, reject, meta where they are), and the
 * bytes as the source read them, one frame or several. A segment is named by its number, and may be
 * written over one that is kept no longer. A record is torn when its hash does not fit: reading
 * ends there, with the next segment. Numbers are little-endian, as everywhere this runs. */
#ifndef MW_CAPTURE_H
#define MW_CAPTURE_H

#include "base/hash.h"

#include <stdint.h>

#define MW_CAPTURE_MAGIC  "MWCAPT01"
#define MW_CAPTURE_SUFFIX ".mwcapture"
enum { MW_CAPTURE_MAGIC_BYTES = 8, MW_CAPTURE_RECORD = 0x4352574d };

typedef struct mw_capture_head {
    uint32_t magic; /* MW_CAPTURE_RECORD */
    uint32_t about_len, len;
    uint32_t segment; /* number of the segment: what an older one left behind it is not read */
    uint64_t hash;    /* of the JSON and the bytes: see mw_capture_hash */
} mw_capture_head;

static inline uint64_t mw_capture_hash(const void *about, size_t about_len, const void *bytes,
                                       size_t len)
{
    uint64_t parts[2] = {mw_hash(about, about_len), mw_hash(bytes, len)};
    return mw_hash(parts, sizeof parts);
}

#endif
