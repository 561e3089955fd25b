/* json_private.h: what the JSON files share: scalars, which both the scanner and the projector
 * read. A reader takes the position of a value's first byte and the document's end, and returns the
 * position behind the value, or NULL with `fault->what` and `fault->at` (here: filled by the caller
 * from *where) set. */
#ifndef MW_JSON_PRIVATE_H
#define MW_JSON_PRIVATE_H

#include "event/json.h"

#include <string.h>

typedef struct mw_json_reader {
    const char *end;   /* of the document */
    const char *where; /* of the fault */
    const char *what;
} mw_json_reader;

/* `p` is behind the opening quote; the result is the closing quote. *plain is 0 when there are
 * escapes. */
const char *mw_json_string_end(mw_json_reader *r, const char *p, int *plain);
/* `p` is at '-' or a digit. */
const char *mw_json_number_end(mw_json_reader *r, const char *p);
const char *mw_json_atom_end(mw_json_reader *r, const char *p, uint32_t *kind);
/* Fills the value of a number whose bytes are valid. */
void mw_json_number_read(mw_value *v, const char *text, size_t len);
/* Any value at p, validated, with its paths filled. `path` is the value's own path, `depth` how
 * deep it is. */
const char *mw_json_read_value(mw_json_reader *r, const char *p, const mw_paths *paths,
                               int32_t path, mw_value *values, int depth);

static inline const char *mw_json_fault_at(mw_json_reader *r, const char *where, const char *what)
{
    r->where = where, r->what = what;
    return NULL;
}

static inline const char *mw_json_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* mw_json_plain_run: the first byte that ends a plain run of string content: a quote, a backslash,
 * a control, or one outside ASCII. Looks at 32 bytes; returns 32 when there is none. */
#if defined(__x86_64__)
#include <emmintrin.h>
static inline unsigned plain_mask16(const char *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    /* signed: controls and all bytes from 0x80 up are less than 0x20 */
    stop = _mm_or_si128(stop, _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)));
    return (unsigned)_mm_movemask_epi8(stop);
}
static inline unsigned mw_json_plain_run(const char *p)
{
    unsigned mask = plain_mask16(p);
    if (__builtin_expect(mask != 0, 1)) return (unsigned)__builtin_ctz(mask);
    mask = plain_mask16(p + 16);
    return mask ? 16 + (unsigned)__builtin_ctz(mask) : 32;
}
#else
static inline unsigned mw_json_plain_run(const char *p)
{
    unsigned i = 0;
    while (i < 32 && p[i] != '"' && p[i] != '\\' && (unsigned char)p[i] >= 0x20 &&
           (unsigned char)p[i] < 0x80)
        i++;
    return i;
}
#endif

#endif
