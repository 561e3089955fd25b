/* oversize.c: see oversize.h. */
#include "sources/oversize.h"

#include <stdio.h>
#include <string.h>

enum { PART_BYTES = 1 << 20 };

void mw_oversize_begin(mw_oversize *o, uint64_t position)
{
    *o = (mw_oversize){.inside = 1, .from = position};
}

size_t mw_oversize_pass(mw_oversize *o, mw_source *s, mw_partition *p, mw_stream *stream,
                        uint64_t position, const char *bytes, size_t len, int final,
                        uint32_t *given)
{
    const char *newline = len ? memchr(bytes, '\n', len) : NULL;
    size_t n = newline ? (size_t)(newline - bytes) + 1 : len;
    char why[200];
    *given = 0;
    for (size_t at = 0; at < n;) {
        size_t part = n - at < PART_BYTES ? n - at : PART_BYTES;
        int last = at + part == n && (newline || final);
        o->parts++;
        if (last)
            snprintf(why, sizeof why,
                     "part %u, the last, of a frame of %llu bytes, more than the %zu that `limit` "
                     "allows; it begins at byte %llu",
                     o->parts, (unsigned long long)(position + n - o->from), stream->limit,
                     (unsigned long long)o->from);
        else
            snprintf(why, sizeof why,
                     "part %u of a frame larger than the %zu bytes that `limit` allows; it begins "
                     "at byte %llu",
                     o->parts, stream->limit, (unsigned long long)o->from);
        ++*given;
        mw_source_reject(s, p, stream, position + at, position + at + part, bytes + at, part, why);
        at += part;
    }
    o->inside = !(newline || final);
    return n;
}
