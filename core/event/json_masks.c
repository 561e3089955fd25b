/* json_masks.c: see json_masks.h. */
#include "event/json_masks.h"

static void finish(size_t len, mw_json_masks *m)
{
    size_t word = len >> 6;
    uint64_t behind = ~(uint64_t)0 << (len & 63);
    m->stops[word] |= behind, m->others[word] |= behind;
    m->stops[word + 1] = m->others[word + 1] = ~(uint64_t)0;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* '0'..'9' moved to the lowest ten signed bytes, so that one comparison finds what is no digit. */
#define MOVED   (char)(-128 - '0')
#define HIGHEST (-119)

static inline uint64_t stops16(__m128i b)
{
    __m128i stop =
        _mm_or_si128(_mm_cmpeq_epi8(b, _mm_set1_epi8('"')), _mm_cmpeq_epi8(b, _mm_set1_epi8('\\')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(stop, _mm_cmplt_epi8(b, _mm_set1_epi8(0x20))));
}

static inline uint64_t others16(__m128i b)
{
    return (uint32_t)_mm_movemask_epi8(
        _mm_cmpgt_epi8(_mm_add_epi8(b, _mm_set1_epi8(MOVED)), _mm_set1_epi8(HIGHEST)));
}

static void mask_sse2(const char *text, size_t len, mw_json_masks *m)
{
    for (size_t at = 0; at <= len; at += 64) {
        uint64_t stops = 0, others = 0;
        for (unsigned i = 0; i < 64; i += 16) {
            __m128i b = _mm_loadu_si128((const __m128i *)(text + at + i));
            stops |= stops16(b) << i, others |= others16(b) << i;
        }
        m->stops[at >> 6] = stops, m->others[at >> 6] = others;
    }
    finish(len, m);
}

__attribute__((target("avx2"))) static inline uint64_t stops32(__m256i b)
{
    __m256i stop = _mm256_or_si256(_mm256_cmpeq_epi8(b, _mm256_set1_epi8('"')),
                                   _mm256_cmpeq_epi8(b, _mm256_set1_epi8('\\')));
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_or_si256(stop, _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), b)));
}

__attribute__((target("avx2"))) static inline uint64_t others32(__m256i b)
{
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpgt_epi8(_mm256_add_epi8(b, _mm256_set1_epi8(MOVED)), _mm256_set1_epi8(HIGHEST)));
}

__attribute__((target("avx2"))) static void mask_avx2(const char *text, size_t len,
                                                      mw_json_masks *m)
{
    for (size_t at = 0; at <= len; at += 64) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(text + at));
        __m256i high = _mm256_loadu_si256((const __m256i *)(text + at + 32));
        m->stops[at >> 6] = stops32(low) | stops32(high) << 32;
        m->others[at >> 6] = others32(low) | others32(high) << 32;
    }
    finish(len, m);
}

mw_json_masker mw_json_masker_best(void)
{
    return __builtin_cpu_supports("avx2") ? mask_avx2 : mask_sse2;
}

#else

static void mask_plain(const char *text, size_t len, mw_json_masks *m)
{
    for (size_t at = 0; at <= len; at += 64) {
        uint64_t stops = 0, others = 0;
        for (unsigned i = 0; i < 64; i++) {
            unsigned char c = (unsigned char)text[at + i];
            stops |= (uint64_t)(c == '"' || c == '\\' || c < 0x20 || c >= 0x80) << i;
            others |= (uint64_t)(c < '0' || c > '9') << i;
        }
        m->stops[at >> 6] = stops, m->others[at >> 6] = others;
    }
    finish(len, m);
}

mw_json_masker mw_json_masker_best(void)
{
    return mask_plain;
}

#endif
