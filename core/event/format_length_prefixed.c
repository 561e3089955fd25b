/* format_length_prefixed.c: frames of JSON, each behind its length in four bytes, big endian. */
#include "event/format.h"

#include <string.h>

static size_t length_at(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
}

static mw_status boundary(mw_stream *s, const char *text, size_t len, int final, size_t *whole,
                          mw_error *error)
{
    *whole = 0;
    while (len - *whole >= 4) {
        size_t frame = length_at(text + *whole);
        if (frame > s->limit)
            return mw_fail(error, MW_INVALID,
                           "a frame of %zu bytes, where at most %zu are allowed (`limit`): is this "
                           "length-prefixed?",
                           frame, s->limit);
        if (len - *whole - 4 < frame) break;
        *whole += 4 + frame;
    }
    if (final && *whole < len)
        return mw_fail(error, MW_INVALID, "the stream ends inside a frame: %zu bytes are left",
                       len - *whole);
    return MW_OK;
}

static void split(mw_batch *b)
{
    for (size_t at = 0; at + 4 <= b->len;) {
        size_t frame = length_at(b->block + at);
        mw_batch_add(b, b->block + at + 4, frame, b->block + at + 4, frame);
        at += 4 + frame;
    }
}

static void write_frame(mw_buffer *out, mw_config *config, const char *text, size_t len,
                        const char *raw, size_t raw_len)
{
    (void)config, (void)raw, (void)raw_len;
    unsigned char head[4] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8), (unsigned char)len};
    mw_buffer_append(out, head, 4);
    mw_buffer_append(out, text, len);
}

const mw_format mw_format_length_prefixed = {
    .name = "length-prefixed",
    .json = 1,
    .boundary = boundary,
    .split = split,
    .write = write_frame,
    .content_type = "application/octet-stream",
};
