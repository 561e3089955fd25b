/* hash.c: see hash.h. */
#include "base/hash.h"

#include <string.h>

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load8(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* At most 8 bytes as the low ones of a word, by two reads that may overlap. */
static uint64_t load_some(const unsigned char *p, size_t len)
{
    uint32_t low, high;
    if (len >= 8) return load8(p);
    if (len >= 4) {
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + len - 4, sizeof high);
        return low | (uint64_t)high << (8 * (len - 4));
    }
    if (len == 0) return 0;
    return p[0] | (uint64_t)p[len >> 1] << (8 * (len >> 1)) |
           (uint64_t)p[len - 1] << (8 * (len - 1));
}

static const uint64_t k0 = 0xa0761d6478bd642f, k1 = 0xe7037ed1a0b428db, k2 = 0x8ebc6af09c88c6e3;

enum { LANES = 4, STRIPE = LANES * 16 };

/* Long texts in lanes, so that multiplications need not wait for one another. */
static uint64_t fold_stripes(const unsigned char *p, size_t stripes, uint64_t h)
{
    uint64_t lanes[LANES] = {h, h ^ k1, h ^ k2, ~h};
    for (; stripes; stripes--, p += STRIPE)
        for (int i = 0; i < LANES; i++)
            lanes[i] = fold(load8(p + 16 * i) ^ k1, load8(p + 16 * i + 8) ^ lanes[i]);
    return fold(lanes[0] ^ lanes[1], lanes[2] ^ k2) ^ lanes[3];
}

uint64_t mw_hash(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t h = k0 ^ len;
    size_t left = len;
    if (left > 2 * STRIPE) {
        size_t stripes = left / STRIPE - 1;
        h = fold_stripes(p, stripes, h);
        p += stripes * STRIPE, left -= stripes * STRIPE;
    }
    for (; left > 16; left -= 16, p += 16) h = fold(load8(p) ^ k1, load8(p + 8) ^ h);
    uint64_t a = load_some(p, left), b = 0;
    if (left > 8) b = load8(p + left - 8) >> (8 * (16 - left)); /* left - 8 bytes behind a */
    return fold(fold(a ^ k1, b ^ h) ^ k2, len ^ k1);
}
