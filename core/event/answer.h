/* answer.h: what was answered from outside (a reply of Redis), as a list of values in preorder.
 *
 * A text is a MW_STRING, an error a MW_ESCAPED, an integer a MW_NUMBER, nothing a MW_NULL; a list
 * is a MW_ARRAY whose number says how many values (lists among them) follow. Any thread. */
#ifndef MW_ANSWER_H
#define MW_ANSWER_H

#include "base/buffer.h"
#include "event/value.h"

typedef struct mw_answer {
    mw_value *values;
    uint32_t count, room;
    mw_buffer texts; /* of the values */
} mw_answer;

/* Room for one more value, which is cleared. */
mw_value *mw_answer_add(mw_answer *a, uint32_t kind);
/* Texts move while they are collected: until mw_answer_point a value's number is where its text
 * begins in `texts`. */
void mw_answer_point(mw_answer *a);
void mw_answer_copy(mw_answer *to, const mw_answer *from);
/* Empties it; its memory stays. */
void mw_answer_clear(mw_answer *a);
void mw_answer_close(mw_answer *a);

#endif
