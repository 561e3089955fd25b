/* kept.h: a JSON value that outlives its event: what `first`, `last`, `top` and `collect` hold. */
#ifndef MW_KEPT_H
#define MW_KEPT_H

#include "base/buffer.h"
#include "event/value.h"

/* Numbers lie in place; texts and JSON are owned. All zeros is an absent value. */
typedef struct mw_kept {
    uint32_t kind; /* mw_kind: STRING (plain), NUMBER, NULL, FALSE, TRUE, or INTEGER, OBJECT, ARRAY
                    * as their JSON; 0: nothing */
    uint32_t len;
    union {
        double number;
        char *text;
    };
} mw_kept;

/* Copies the value; what was there is released. */
void mw_kept_set(mw_kept *k, const mw_value *v);
void mw_kept_copy(mw_kept *k, const mw_kept *from);
void mw_kept_release(mw_kept *k);
void mw_kept_json(const mw_kept *k, mw_buffer *out);
/* The value again; its text is the kept one's. */
mw_value mw_kept_value(const mw_kept *k);
size_t mw_kept_bytes(const mw_kept *k);

void mw_kept_save(const mw_kept *k, mw_buffer *out);
/* Moves *at behind what it read; 0: damaged. */
int mw_kept_load(mw_kept *k, const char **at, const char *end);

/* Reads `len` bytes at *at; 0: there are not so many. For what is loaded from a checkpoint. */
int mw_load(void *to, size_t len, const char **at, const char *end);

#endif
