/* redis_answer.h: a reply of Redis as values. A text is a MW_STRING, an error a MW_ESCAPED, an
 * integer a MW_NUMBER, nothing a MW_NULL. Any thread. */
#ifndef MW_REDIS_ANSWER_H
#define MW_REDIS_ANSWER_H

#include "event/answer.h"

struct redisReply;

/* What the reply says, in place of what was there. */
void mw_redis_answer(mw_answer *a, const struct redisReply *reply);

#endif
