/* forest_kernels.c: see forest_kernels.h. */
#include "score/forest_kernels.h"

#define ALWAYS __attribute__((always_inline)) static inline

/* ---- any processor ---- */

ALWAYS uint32_t count_plain(const double *t, double value)
{
    uint32_t n = 0;
    for (int i = 0; i < MW_STEM; i++) n += t[i] <= value;
    return n;
}

#define RANK(NAME, TARGET, COUNT)                                                                  \
    TARGET static uint32_t NAME(const double *thresholds, const uint32_t *levels, uint32_t count,  \
                                double value)                                                      \
    {                                                                                              \
        uint32_t at = 0;                                                                           \
        while (count--) {                                                                          \
            at *= MW_STEM;                                                                         \
            at += COUNT(thresholds + levels[count] + at, value);                                   \
        }                                                                                          \
        return at;                                                                                 \
    }

/* The loops over rows are what compilers make vectors of. */
#define ROWS(NAME, TARGET, BLOCK, WORD, FIRST)                                                     \
    TARGET static void NAME(const BLOCK *b, uint32_t tests, const uint16_t *ranks,                 \
                            uint32_t *leaves)                                                      \
    {                                                                                              \
        WORD left[MW_BLOCK_ROWS];                                                                  \
        for (int r = 0; r < MW_BLOCK_ROWS; r++) left[r] = (WORD)-1;                                \
        for (uint32_t i = 0; i < tests; i++) {                                                     \
            const uint16_t *of = ranks + (uint32_t)b->slot[i] * MW_BLOCK_ROWS, rank = b->rank[i];  \
            WORD stay = b->stay[i];                                                                \
            for (int r = 0; r < MW_BLOCK_ROWS; r++)                                                \
                left[r] &= stay | (WORD)((WORD)(of[r] > rank) - 1);                                \
        }                                                                                          \
        for (int r = 0; r < MW_BLOCK_ROWS; r++) leaves[r] = (uint32_t)FIRST(left[r]);              \
    }

#ifdef __clang__
#define FAST
#else
#define FAST                                                                                       \
    __attribute__((optimize("O3"))) /* which vectors need, and what is built for size has not */
#endif
RANK(rank_plain, , count_plain)
ROWS(rows_32_plain, FAST, mw_block_32, uint32_t, __builtin_ctz)
ROWS(rows_64_plain, FAST, mw_block_64, uint64_t, __builtin_ctzll)

static const mw_kernels plain = {rank_plain, rows_32_plain, rows_64_plain, NULL, NULL, NULL};

#ifndef __x86_64__

const mw_kernels *mw_kernels_of(unsigned number)
{
    return number == 0 ? &plain : NULL;
}

#else
#include <immintrin.h>

/* ---- 256 bits ---- */

#define AVX2 __attribute__((target("avx2,bmi,popcnt")))

AVX2 ALWAYS uint32_t count_avx2(const double *t, double value)
{
    __m256d v = _mm256_set1_pd(value);
    __m256d a = _mm256_cmp_pd(_mm256_loadu_pd(t), v, _CMP_LE_OQ);
    __m256d b = _mm256_cmp_pd(_mm256_loadu_pd(t + 4), v, _CMP_LE_OQ);
    __m256d c = _mm256_cmp_pd(_mm256_loadu_pd(t + 8), v, _CMP_LE_OQ);
    __m256d d = _mm256_cmp_pd(_mm256_loadu_pd(t + 12), v, _CMP_LE_OQ);
    unsigned all = (unsigned)_mm256_movemask_pd(a) | (unsigned)_mm256_movemask_pd(b) << 4 |
                   (unsigned)_mm256_movemask_pd(c) << 8 | (unsigned)_mm256_movemask_pd(d) << 12;
    return (uint32_t)_mm_popcnt_u32(all);
}

RANK(rank_avx2, AVX2, count_avx2)
ROWS(rows_32_avx2, AVX2 FAST, mw_block_32, uint32_t, __builtin_ctz)
ROWS(rows_64_avx2, AVX2 FAST, mw_block_64, uint64_t, __builtin_ctzll)

static const mw_kernels avx2 = {rank_avx2, rows_32_avx2, rows_64_avx2, NULL, NULL, NULL};

/* ---- 512 bits ---- */

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi,popcnt")))

AVX512 ALWAYS uint32_t count_avx512(const double *t, double value)
{
    __m512d v = _mm512_set1_pd(value);
    unsigned low = _mm512_cmp_pd_mask(_mm512_loadu_pd(t), v, _CMP_LE_OQ);
    unsigned high = _mm512_cmp_pd_mask(_mm512_loadu_pd(t + 8), v, _CMP_LE_OQ);
    return (uint32_t)_mm_popcnt_u32(low | high << 8);
}

RANK(rank_avx512, AVX512, count_avx512)

AVX512 static void rows_32_avx512(const mw_block_32 *b, uint32_t tests, const uint16_t *ranks,
                                  uint32_t *leaves)
{
    __m512i low = _mm512_set1_epi32(-1), high = low;
    for (uint32_t i = 0; i < tests; i++) {
        __m512i of = _mm512_loadu_si512(ranks + (uint32_t)b->slot[i] * MW_BLOCK_ROWS);
        __m512i stay = _mm512_set1_epi32((int)b->stay[i]);
        __mmask32 right = _mm512_cmpgt_epu16_mask(of, _mm512_set1_epi16((short)b->rank[i]));
        low = _mm512_mask_and_epi32(low, (__mmask16)right, low, stay);
        high = _mm512_mask_and_epi32(high, (__mmask16)(right >> 16), high, stay);
    }
    uint32_t left[MW_BLOCK_ROWS];
    _mm512_storeu_si512(left, low);
    _mm512_storeu_si512(left + 16, high);
    for (int r = 0; r < MW_BLOCK_ROWS; r++) leaves[r] = (uint32_t)__builtin_ctz(left[r]);
}

AVX512 static void rows_64_avx512(const mw_block_64 *b, uint32_t tests, const uint16_t *ranks,
                                  uint32_t *leaves)
{
    __m512i a = _mm512_set1_epi64(-1), c = a, d = a, e = a;
    for (uint32_t i = 0; i < tests; i++) {
        __m512i of = _mm512_loadu_si512(ranks + (uint32_t)b->slot[i] * MW_BLOCK_ROWS);
        __m512i stay = _mm512_set1_epi64((long long)b->stay[i]);
        __mmask32 right = _mm512_cmpgt_epu16_mask(of, _mm512_set1_epi16((short)b->rank[i]));
        a = _mm512_mask_and_epi64(a, (__mmask8)right, a, stay);
        c = _mm512_mask_and_epi64(c, (__mmask8)(right >> 8), c, stay);
        d = _mm512_mask_and_epi64(d, (__mmask8)(right >> 16), d, stay);
        e = _mm512_mask_and_epi64(e, (__mmask8)(right >> 24), e, stay);
    }
    uint64_t left[MW_BLOCK_ROWS];
    _mm512_storeu_si512(left, a);
    _mm512_storeu_si512(left + 8, c);
    _mm512_storeu_si512(left + 16, d);
    _mm512_storeu_si512(left + 24, e);
    for (int r = 0; r < MW_BLOCK_ROWS; r++) leaves[r] = (uint32_t)__builtin_ctzll(left[r]);
}

/* All tests of a tree at once: a row's ranks are a table in two registers. */
AVX512 static void row_32_avx512(const mw_block_32 *b, uint32_t trees, const uint16_t *ranks,
                                 uint32_t *leaves)
{
    __m512i low = _mm512_loadu_si512(ranks), high = _mm512_loadu_si512(ranks + 32);
    __m512i all = _mm512_set1_epi32(-1);
    for (uint32_t t = 0; t < trees; t++, b++) {
        __m512i of = _mm512_permutex2var_epi16(low, _mm512_loadu_si512(b->slot), high);
        __mmask32 right = _mm512_cmpgt_epu16_mask(of, _mm512_loadu_si512(b->rank));
        __m512i x = _mm512_mask_loadu_epi32(all, (__mmask16)right, b->stay);
        __m512i y = _mm512_mask_loadu_epi32(all, (__mmask16)(right >> 16), b->stay + 16);
        leaves[t] =
            (uint32_t)__builtin_ctz((unsigned)_mm512_reduce_and_epi32(_mm512_and_si512(x, y)));
    }
}

AVX512 static void row_64_avx512(const mw_block_64 *b, uint32_t trees, const uint16_t *ranks,
                                 uint32_t *leaves)
{
    __m512i low = _mm512_loadu_si512(ranks), high = _mm512_loadu_si512(ranks + 32);
    __m512i all = _mm512_set1_epi64(-1);
    for (uint32_t t = 0; t < trees; t++, b++) {
        __m512i left = all;
        for (int half = 0; half < 2; half++) {
            __m512i of =
                _mm512_permutex2var_epi16(low, _mm512_loadu_si512(b->slot + 32 * half), high);
            __mmask32 right = _mm512_cmpgt_epu16_mask(of, _mm512_loadu_si512(b->rank + 32 * half));
            for (int i = 0; i < 4; i++)
                left = _mm512_and_si512(left,
                                        _mm512_mask_loadu_epi64(all, (__mmask8)(right >> (8 * i)),
                                                                b->stay + 32 * half + 8 * i));
        }
        leaves[t] = (uint32_t)__builtin_ctzll((unsigned long long)_mm512_reduce_and_epi64(left));
    }
}

AVX512 static void row_heap_avx512(const mw_heap *h, uint32_t trees, const uint16_t *ranks,
                                   uint32_t *leaves)
{
    __m512i low = _mm512_loadu_si512(ranks), high = _mm512_loadu_si512(ranks + 32);
    for (uint32_t t = 0; t < trees; t++, h++) {
        __m512i a = _mm512_permutex2var_epi16(low, _mm512_loadu_si512(h->slot), high);
        __m512i b = _mm512_permutex2var_epi16(low, _mm512_loadu_si512(h->slot + 32), high);
        uint64_t right = _mm512_cmpgt_epu16_mask(a, _mm512_loadu_si512(h->rank)) |
                         (uint64_t)_mm512_cmpgt_epu16_mask(b, _mm512_loadu_si512(h->rank + 32))
                             << 32;
        uint32_t at = 1;
        for (int depth = 0; depth < 6; depth++) at = 2 * at + (right >> at & 1);
        leaves[t] = h->leaf[at - 64];
    }
}

static const mw_kernels avx512 = {rank_avx512,   rows_32_avx512,  rows_64_avx512,
                                  row_32_avx512, row_heap_avx512, row_64_avx512};

const mw_kernels *mw_kernels_of(unsigned number)
{
    int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
    int has_avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512dq");
    if (number == 1) return has_avx2 ? &avx2 : NULL;
    if (number == 2) return has_avx512 ? &avx512 : NULL;
    return number == 0 ? &plain : NULL;
}

#endif

const mw_kernels *mw_kernels_best(void)
{
    const mw_kernels *best = NULL;
    for (unsigned number = 3; number-- > 0 && !best;) best = mw_kernels_of(number);
    return best;
}
