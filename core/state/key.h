/* key.h: what states and windows are kept by: the value of one field, or of several.
 *
 * A key has a canonical form of kind and bytes, so that equal values are equal keys however they
 * were written: an escaped text and a plain one, 1 and 1.0. Its hash decides on which shard it
 * lives (design: key groups) and is the same on every machine of one byte order. */
#ifndef MW_KEY_H
#define MW_KEY_H

#include "base/buffer.h"
#include "event/value.h"

#include <stdint.h>

enum { MW_KEY_GROUPS = 256, MW_KEY_BYTES_MAX = 400 };

typedef enum mw_key_kind {
    MW_KEY_TEXT = 1,
    MW_KEY_NUMBER,  /* a double */
    MW_KEY_INTEGER, /* digits that a double cannot hold */
    MW_KEY_TRUE,
    MW_KEY_FALSE,
    MW_KEY_LIST, /* of the above, each as kind (1 byte), length (4), bytes */
} mw_key_kind;

typedef struct mw_key {
    const char *bytes;
    uint32_t len;
    uint32_t kind;
    uint64_t hash;
} mw_key;

typedef enum mw_key_fault {
    MW_KEY_GOOD,
    MW_KEY_ABSENT, /* a value is missing or null */
    MW_KEY_ODD,    /* a value is an object or a list */
    MW_KEY_LONG,   /* more than MW_KEY_BYTES_MAX */
} mw_key_fault;

/* The hash of some values as a key: of anything, absent ones too. */
uint64_t mw_key_hash(const mw_value *const *values, uint32_t count);
/* The key that the values make. Its bytes are those of the value where that is a plain text, else
 * in `scratch`, whose contents are replaced. `at` is the value that is at fault. */
mw_key_fault mw_key_make(mw_key *k, const mw_value *const *values, uint32_t count,
                         mw_buffer *scratch, uint32_t *at);
/* The same where the hash is known. */
mw_key_fault mw_key_make_hashed(mw_key *k, uint64_t hash, const mw_value *const *values,
                                uint32_t count, mw_buffer *scratch, uint32_t *at);
/* Appends the key as JSON: a value, or a list of them. */
void mw_key_json(uint32_t kind, const char *bytes, uint32_t len, mw_buffer *out);
/* The hash of a key that is one text. */
uint64_t mw_key_of_text(const char *text, size_t len);
/* Whether bytes are the canonical form of some key: those of an import may be any. */
int mw_key_is_sound(uint32_t kind, const char *bytes, uint32_t len);
/* The hash of a key again, from its canonical form, which is sound. */
uint64_t mw_key_rehash(uint32_t kind, const char *bytes, uint32_t len);

static inline unsigned mw_key_group(uint64_t hash)
{
    return (unsigned)(hash % MW_KEY_GROUPS);
}
static inline unsigned mw_key_shard(uint64_t hash, unsigned shards)
{
    return mw_key_group(hash) * shards / MW_KEY_GROUPS;
}

#endif
