/* protobuf.c: see protobuf.h. */
#include "score/protobuf.h"

#include <string.h>

mw_proto mw_proto_of(const void *bytes, size_t len)
{
    return (mw_proto){bytes, (const unsigned char *)bytes + len, 0};
}

static int fail(mw_proto *p)
{
    p->bad = 1;
    p->at = p->end;
    return 0;
}

int mw_proto_varint(mw_proto *p, uint64_t *word)
{
    *word = 0;
    if (p->at >= p->end) return 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p->at >= p->end) return fail(p);
        unsigned char byte = *p->at++;
        *word |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return 1;
    }
    return fail(p);
}

static int fixed(mw_proto *p, size_t bytes, uint64_t *word)
{
    *word = 0;
    if (mw_proto_len(p) < bytes) return fail(p);
    for (size_t i = 0; i < bytes; i++) *word |= (uint64_t)p->at[i] << (8 * i);
    p->at += bytes;
    return 1;
}

int mw_proto_float(mw_proto *p, float *number)
{
    uint64_t word;
    if (p->at >= p->end || !fixed(p, 4, &word)) return 0;
    uint32_t half = (uint32_t)word;
    memcpy(number, &half, sizeof half);
    return 1;
}

int mw_proto_next(mw_proto *p, mw_proto_field *f)
{
    uint64_t key, len;
    if (!mw_proto_varint(p, &key)) return 0;
    *f = (mw_proto_field){.number = (uint32_t)(key >> 3), .type = key & 7};
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX) return fail(p);
    switch (f->type) {
    case 0:
        return mw_proto_varint(p, &f->word) || fail(p);
    case 1:
        return fixed(p, 8, &f->word);
    case 5:
        return fixed(p, 4, &f->word);
    case 2:
        if (!mw_proto_varint(p, &len) || len > mw_proto_len(p)) return fail(p);
        f->bytes = mw_proto_of(p->at, len);
        p->at += len;
        return 1;
    default:
        return fail(p);
    }
}
