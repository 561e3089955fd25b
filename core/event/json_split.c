/* json_split.c: an array of objects cut into its elements, without validating them: each is
 * validated later, on its own.
 *
 * Brackets outside strings are found 64 bytes at a time: quotes are told from escaped ones, a
 * prefix sum of them (by xor) says what is inside a string, and the depth changes only at the
 * brackets that are left (the first stage of simdjson, Langdale and Lemire, "Parsing gigabytes of
 * JSON per second", VLDB Journal 2019, section 3.1, reduced to brackets). What stands between
 * elements is checked byte by byte, so that elements which are valid make an array which is. */
#include "event/json_private.h"

typedef struct block {
    uint64_t quotes, slashes, opens, closes;
} block;

#if defined(__x86_64__)
static inline uint64_t equal16(__m128i bytes, char c)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
}

static block read_block(const char *p)
{
    block b = {0};
    for (unsigned i = 0; i < 64; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20)); /* '[' and '{' are alike so */
        b.quotes |= equal16(bytes, '"') << i;
        b.slashes |= equal16(bytes, '\\') << i;
        b.opens |= equal16(folded, '{') << i;
        b.closes |= equal16(folded, '}') << i;
    }
    return b;
}
#else
static block read_block(const char *p)
{
    block b = {0};
    for (unsigned i = 0; i < 64; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if (p[i] == '"') b.quotes |= bit;
        if (p[i] == '\\') b.slashes |= bit;
        if ((p[i] | 0x20) == '{') b.opens |= bit;
        if ((p[i] | 0x20) == '}') b.closes |= bit;
    }
    return b;
}
#endif

/* Quotes behind an odd number of backslashes are content. `odd`: the block before ended so. */
static uint64_t drop_escaped(block b, int *odd)
{
    if (!b.slashes && !*odd) return b.quotes;
    uint64_t real = b.quotes;
    int escaped = *odd;
    for (unsigned i = 0; i < 64; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if (escaped) real &= ~bit, escaped = 0;
        else if (b.slashes & bit)
            escaped = 1;
    }
    *odd = escaped;
    return real;
}

static uint64_t prefix_xor(uint64_t bits)
{
    for (unsigned shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
    return bits;
}

/* Between elements: white space and one comma. The start of the next, or NULL; at the array's end
 * *last is set. */
static const char *next_element(const char *p, const char *end, int first, int *last)
{
    p = mw_json_space(p, end);
    if (p < end && *p == ']') {
        *last = mw_json_space(p + 1, end) == end;
        return NULL;
    }
    if (!first) {
        if (p >= end || *p != ',') return NULL;
        p = mw_json_space(p + 1, end);
    }
    return p < end && (*p == '{' || *p == '[') ? p : NULL;
}

int mw_json_split(const char *text, size_t len, mw_json_element found, void *self)
{
    const char *end = text + len, *p = mw_json_space(text, end), *start;
    int last = 0, odd = 0;
    int64_t depth = 0;
    uint64_t inside = 0; /* all ones: the block before ended inside a string */
    if (p == end || *p != '[') return 0;
    start = next_element(p + 1, end, 1, &last);
    if (!start) return last;
    for (size_t at = (size_t)(start - text); at < len; at += 64) {
        block b = read_block(text + at);
        uint64_t strings = prefix_xor(drop_escaped(b, &odd)) ^ inside;
        inside = (uint64_t)((int64_t)strings >> 63);
        uint64_t brackets = (b.opens | b.closes) & ~strings;
        if (len - at < 64) brackets &= ((uint64_t)1 << (len - at)) - 1;
        for (; brackets; brackets &= brackets - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(brackets);
            const char *here = text + at + bit;
            if (!start) return last && mw_json_space(here + 1, end) == end;
            depth += b.opens >> bit & 1 ? 1 : -1;
            if (depth) continue;
            found(self, start, (size_t)(here + 1 - start));
            start = next_element(here + 1, end, 0, &last);
            if (!start && !last) return 0;
        }
    }
    return last;
}
