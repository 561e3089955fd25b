/* inflate.h: decompression of streams (gzip, zlib, zstd), piece by piece, in bounded memory.
 *
 * Concatenated members and frames are one stream, as gzip and zstd files may be. Thread: one at a
 * time. */
#ifndef MW_INFLATE_H
#define MW_INFLATE_H

#include "base/status.h"

#include <stddef.h>

typedef struct mw_inflate mw_inflate;
typedef enum mw_compression { MW_PLAIN, MW_GZIP, MW_ZSTD } mw_compression;

/* What the first bytes of a stream say it is (4 are enough). */
mw_compression mw_compression_of(const char *bytes, size_t len);

mw_inflate *mw_inflate_new(mw_compression kind);
void mw_inflate_free(mw_inflate *i);
/* Takes from `in`, gives to `out`; says how much of each. MW_OK: call again with more of whatever
 * ran out. MW_INVALID: the stream is damaged; what was given is good. */
mw_status mw_inflate_run(mw_inflate *i, const char *in, size_t in_len, size_t *used, char *out,
                         size_t room, size_t *made, mw_error *error);
/* True when the stream may end here; at the end of the input, false means that it is truncated. */
int mw_inflate_is_whole(const mw_inflate *i);

#endif
