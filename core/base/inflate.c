/* inflate.c: see inflate.h. */
#include "base/inflate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct mw_inflate {
    mw_compression kind;
    int whole; /* between members */
    z_stream z;
    ZSTD_DStream *zstd;
};

mw_compression mw_compression_of(const char *bytes, size_t len)
{
    if (len >= 2 && memcmp(bytes, "\x1f\x8b", 2) == 0) return MW_GZIP;
    if (len >= 4 && memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0) return MW_ZSTD;
    return MW_PLAIN;
}

mw_inflate *mw_inflate_new(mw_compression kind)
{
    mw_inflate *i = calloc(1, sizeof *i);
    mw_assert(i != NULL);
    i->kind = kind;
    i->whole = 1;
    if (kind == MW_GZIP)
        mw_assert(inflateInit2(&i->z, 15 + 32) == Z_OK); /* gzip or zlib, by its head */
    if (kind == MW_ZSTD) {
        i->zstd = ZSTD_createDStream();
        mw_assert(i->zstd != NULL);
        ZSTD_DCtx_setParameter(i->zstd, ZSTD_d_windowLogMax, 24); /* 16 MiB: memory is bounded */
    }
    return i;
}

void mw_inflate_free(mw_inflate *i)
{
    if (!i) return;
    if (i->kind == MW_GZIP) inflateEnd(&i->z);
    if (i->zstd) ZSTD_freeDStream(i->zstd);
    free(i);
}

static mw_status run_gzip(mw_inflate *i, const char *in, size_t in_len, size_t *used, char *out,
                          size_t room, size_t *made, mw_error *error)
{
    i->z.next_in = (Bytef *)(uintptr_t)in, i->z.avail_in = (uInt)in_len;
    i->z.next_out = (Bytef *)out, i->z.avail_out = (uInt)room;
    mw_status status = MW_OK;
    while (i->z.avail_in && i->z.avail_out && status == MW_OK) {
        i->whole = 0;
        int rc = inflate(&i->z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END) {
            i->whole = 1;
            inflateReset(&i->z);
        } else if (rc != Z_OK) {
            status = mw_fail(error, MW_INVALID, "the gzip stream is damaged: %s",
                             i->z.msg ? i->z.msg : "no more can be had");
        }
    }
    *used = in_len - i->z.avail_in, *made = room - i->z.avail_out;
    return status;
}

static mw_status run_zstd(mw_inflate *i, const char *in, size_t in_len, size_t *used, char *out,
                          size_t room, size_t *made, mw_error *error)
{
    ZSTD_inBuffer from = {in, in_len, 0};
    ZSTD_outBuffer to = {out, room, 0};
    mw_status status = MW_OK;
    size_t left = 1;
    do {
        size_t before = from.pos + to.pos;
        left = ZSTD_decompressStream(i->zstd, &to, &from);
        if (ZSTD_isError(left))
            status = mw_fail(error, MW_INVALID, "the zstd stream is damaged: %s",
                             ZSTD_getErrorName(left));
        else if (from.pos + to.pos != before)
            i->whole = left == 0;
        if (from.pos + to.pos == before) break;
    } while (status == MW_OK && from.pos < from.size && to.pos < to.size);
    *used = from.pos, *made = to.pos;
    return status;
}

mw_status mw_inflate_run(mw_inflate *i, const char *in, size_t in_len, size_t *used, char *out,
                         size_t room, size_t *made, mw_error *error)
{
    *used = *made = 0;
    if (i->kind == MW_PLAIN) {
        size_t n = in_len < room ? in_len : room;
        memcpy(out, in, n);
        *used = *made = n;
        return MW_OK;
    }
    return i->kind == MW_GZIP ? run_gzip(i, in, in_len, used, out, room, made, error)
                              : run_zstd(i, in, in_len, used, out, room, made, error);
}

int mw_inflate_is_whole(const mw_inflate *i)
{
    return i->whole;
}
