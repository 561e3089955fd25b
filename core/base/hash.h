/* hash.h: 64-bit hash of bytes, for keys, shapes and versions.
 *
 * The mixing step is the 64×64→128 bit multiply-and-fold of Wang Yi's wyhash (public domain;
 * github.com/wangyi-fudan/wyhash); the result is the same on every machine of one byte order,
 * because key groups are kept in checkpoints. Short texts, as keys are, are hashed in place. Any
 * thread. */
#ifndef MW_HASH_H
#define MW_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MW_HASH_K0 0xa0761d6478bd642full
#define MW_HASH_K1 0xe7037ed1a0b428dbull
#define MW_HASH_K2 0x8ebc6af09c88c6e3ull

static inline uint64_t mw_hash_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t mw_hash_load8(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* At most 8 bytes as the low ones of a word, by two reads that may overlap. */
static inline uint64_t mw_hash_load_some(const unsigned char *p, size_t len)
{
    uint32_t low, high;
    if (len >= 8) return mw_hash_load8(p);
    if (len >= 4) {
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + len - 4, sizeof high);
        return low | (uint64_t)high << (8 * (len - 4));
    }
    if (len == 0) return 0;
    return p[0] | (uint64_t)p[len >> 1] << (8 * (len >> 1)) |
           (uint64_t)p[len - 1] << (8 * (len - 1));
}

/* The last `left` bytes, 16 at most, of `len`. */
static inline uint64_t mw_hash_end(const unsigned char *p, size_t left, uint64_t h, size_t len)
{
    uint64_t a = mw_hash_load_some(p, left), b = 0;
    if (left > 8)
        b = mw_hash_load8(p + left - 8) >> (8 * (16 - left)); /* left - 8 bytes behind a */
    return mw_hash_fold(mw_hash_fold(a ^ MW_HASH_K1, b ^ h) ^ MW_HASH_K2, len ^ MW_HASH_K1);
}

uint64_t mw_hash_long(const void *bytes, size_t len);

static inline uint64_t mw_hash(const void *bytes, size_t len)
{
    return len > 16 ? mw_hash_long(bytes, len) : mw_hash_end(bytes, len, MW_HASH_K0 ^ len, len);
}

#endif
