/* protobuf.h: Protocol Buffers' wire format, read in place (protobuf.dev, "Encoding"). */
#ifndef MW_PROTOBUF_H
#define MW_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>

/* A message, or what a field of bytes holds. Begin with its bytes; `bad` is set where they are
 * none. */
typedef struct mw_proto {
    const unsigned char *at, *end;
    int bad;
} mw_proto;

/* One field: of its number, either a word (varints as they are, fixed ones by their bits), or
 * bytes. */
typedef struct mw_proto_field {
    uint32_t number;
    uint32_t type; /* 0 varint, 1 64 bits, 2 bytes, 5 32 bits */
    uint64_t word;
    mw_proto bytes;
} mw_proto_field;

mw_proto mw_proto_of(const void *bytes, size_t len);
/* The next field; 0: there is none, or what comes is damaged. */
int mw_proto_next(mw_proto *p, mw_proto_field *f);
/* The next number of a packed list: of floats, or varints. 0: it is over. */
int mw_proto_float(mw_proto *p, float *number);
int mw_proto_varint(mw_proto *p, uint64_t *word);

static inline size_t mw_proto_len(const mw_proto *p)
{
    return (size_t)(p->end - p->at);
}

#endif
