/* text_index.c: see text_index.h. */
#include "score/text_index.h"

#include "base/hash.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

void mw_text_index_open(mw_text_index *x, uint32_t count)
{
    x->mask = 15;
    while (x->mask < (uint64_t)count * 2) x->mask = x->mask * 2 + 1;
    x->places = calloc(x->mask + 1ul, sizeof *x->places);
    mw_assert(x->places != NULL);
}

void mw_text_index_close(mw_text_index *x)
{
    free(x->places);
    x->places = NULL;
}

static uint32_t *place_of(const mw_text_index *x, char *const *texts, const char *text, size_t len)
{
    for (uint32_t at = (uint32_t)mw_hash(text, len);; at++) {
        uint32_t *place = &x->places[at & x->mask];
        if (!*place) return place;
        const char *other = texts[*place - 1];
        if (strncmp(other, text, len) == 0 && !other[len]) return place;
    }
}

int mw_text_index_add(mw_text_index *x, char *const *texts, uint32_t number)
{
    uint32_t *place = place_of(x, texts, texts[number], strlen(texts[number]));
    if (*place) return 0;
    *place = number + 1;
    return 1;
}

int64_t mw_text_index_find(const mw_text_index *x, char *const *texts, const char *text, size_t len)
{
    return (int64_t)*place_of(x, texts, text, len) - 1;
}
