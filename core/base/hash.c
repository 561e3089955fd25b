/* hash.c: see hash.h. */
#include "base/hash.h"

#include <string.h>

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const unsigned char *p, size_t len)
{
    uint64_t word = 0;
    memcpy(&word, p, len);
    return word;
}

static const uint64_t k0 = 0xa0761d6478bd642f, k1 = 0xe7037ed1a0b428db, k2 = 0x8ebc6af09c88c6e3;

enum { LANES = 4, STRIPE = LANES * 16 };

/* Long texts in lanes, so that multiplications need not wait for one another. */
static uint64_t fold_stripes(const unsigned char *p, size_t stripes, uint64_t h)
{
    uint64_t lanes[LANES] = {h, h ^ k1, h ^ k2, ~h};
    for (; stripes; stripes--, p += STRIPE)
        for (int i = 0; i < LANES; i++)
            lanes[i] = fold(load(p + 16 * i, 8) ^ k1, load(p + 16 * i + 8, 8) ^ lanes[i]);
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
    for (; left > 16; left -= 16, p += 16) h = fold(load(p, 8) ^ k1, load(p + 8, 8) ^ h);
    uint64_t a = load(p, left < 8 ? left : 8), b = left > 8 ? load(p + 8, left - 8) : 0;
    return fold(fold(a ^ k1, b ^ h) ^ k2, len ^ k1);
}
