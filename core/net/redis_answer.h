/* redis_answer.h: a reply of Redis as a list of values, in preorder.
 *
 * A text is a MW_STRING, an error a MW_ESCAPED, an integer a MW_NUMBER, nothing a MW_NULL; a list
 * is a MW_ARRAY whose number says how many values (lists among them) follow. Any thread. */
#ifndef MW_REDIS_ANSWER_H
#define MW_REDIS_ANSWER_H

#include "base/buffer.h"
#include "event/value.h"

struct redisReply;

typedef struct mw_answer {
    mw_value *values;
    uint32_t count, room;
    mw_buffer texts; /* of the values */
} mw_answer;

/* Room for one more value, which is cleared. Texts of earlier ones stay where they are. */
mw_value *mw_answer_add(mw_answer *a, uint32_t kind);
/* What the reply says, in place of what was there. */
void mw_answer_set(mw_answer *a, const struct redisReply *reply);
void mw_answer_copy(mw_answer *to, const mw_answer *from);
/* Empties it; its memory stays. */
void mw_answer_clear(mw_answer *a);
void mw_answer_close(mw_answer *a);

#endif
