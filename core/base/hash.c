/* hash.c: see hash.h. */
#include "base/hash.h"

enum { LANES = 4, STRIPE = LANES * 16 };

/* Long texts in lanes, so that multiplications need not wait for one another. */
static uint64_t fold_stripes(const unsigned char *p, size_t stripes, uint64_t h)
{
    uint64_t lanes[LANES] = {h, h ^ MW_HASH_K1, h ^ MW_HASH_K2, ~h};
    for (; stripes; stripes--, p += STRIPE)
        for (int i = 0; i < LANES; i++)
            lanes[i] = mw_hash_fold(mw_hash_load8(p + 16 * i) ^ MW_HASH_K1,
                                    mw_hash_load8(p + 16 * i + 8) ^ lanes[i]);
    return mw_hash_fold(lanes[0] ^ lanes[1], lanes[2] ^ MW_HASH_K2) ^ lanes[3];
}

uint64_t mw_hash_long(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t h = MW_HASH_K0 ^ len;
    size_t left = len;
    if (left > 2 * STRIPE) {
        size_t stripes = left / STRIPE - 1;
        h = fold_stripes(p, stripes, h);
        p += stripes * STRIPE, left -= stripes * STRIPE;
    }
    for (; left > 16; left -= 16, p += 16)
        h = mw_hash_fold(mw_hash_load8(p) ^ MW_HASH_K1, mw_hash_load8(p + 8) ^ h);
    return mw_hash_end(p, left, h, len);
}
