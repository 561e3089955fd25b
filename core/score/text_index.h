/* text_index.h: which of a list of texts is one, by hash. The texts are borrowed, and stay. */
#ifndef MW_TEXT_INDEX_H
#define MW_TEXT_INDEX_H

#include <stddef.h>
#include <stdint.h>

typedef struct mw_text_index {
    uint32_t *places, mask; /* a text's number + 1; 0: none */
} mw_text_index;

/* Room for so many texts. */
void mw_text_index_open(mw_text_index *x, uint32_t count);
void mw_text_index_close(mw_text_index *x);
/* Adds a text by its number. 0: one that is equal is there already. */
int mw_text_index_add(mw_text_index *x, char *const *texts, uint32_t number);
/* -1: it is none of them. */
int64_t mw_text_index_find(const mw_text_index *x, char *const *texts, const char *text,
                           size_t len);

#endif
