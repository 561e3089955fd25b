/* json_masks.h: two bits for each byte of a document, found 32 or 16 bytes at a time, so that the
 * ends of strings and numbers are found by counting zeros.
 *
 * `stops`: bytes that end a plain run of string content (a quote, a backslash, a control, one
 * outside ASCII). `others`: bytes that are no digit. Behind the document's end both have a bit, so
 * that every search ends. The best variant that the processor has is chosen when it is asked for.
 * Any thread. */
#ifndef MW_JSON_MASKS_H
#define MW_JSON_MASKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MW_MASKED_BYTES = 8192, MW_MASK_WORDS = MW_MASKED_BYTES / 64 + 3 };

typedef struct mw_json_masks {
    uint64_t stops[MW_MASK_WORDS];
    uint64_t others[MW_MASK_WORDS];
} mw_json_masks;

/* len <= MW_MASKED_BYTES; 64 bytes behind the text must be readable. */
typedef void (*mw_json_masker)(const char *text, size_t len, mw_json_masks *m);
mw_json_masker mw_json_masker_best(void);

/* The first bit at or behind i. Loads at a byte, so that at least 57 bits are seen at once: a step
 * that depends on where in a word i lies would be mispredicted several times a document. Little
 * endian. */
static inline size_t mw_mask_next(const uint64_t *mask, size_t i)
{
    for (;; i = (i & ~(size_t)7) + 64) {
        uint64_t bits;
        memcpy(&bits, (const char *)mask + (i >> 3), sizeof bits);
        bits >>= i & 7;
        if (__builtin_expect(bits != 0, 1)) return i + (size_t)__builtin_ctzll(bits);
    }
}

#endif
