/* redis_answer.c: see redis_answer.h. */
#include "flow/redis_answer.h"

#include <hiredis/hiredis.h>

static void flatten(mw_answer *a, const redisReply *reply)
{
    int is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                  reply->type == REDIS_REPLY_ERROR;
    if (is_text) {
        mw_value *v = mw_answer_add(a, reply->type == REDIS_REPLY_ERROR ? MW_ESCAPED : MW_STRING);
        v->len = (uint32_t)reply->len;
        v->number = (double)a->texts.len;
        mw_buffer_append(&a->texts, reply->str, reply->len);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        mw_answer_add(a, MW_NUMBER)->number = (double)reply->integer;
    } else if (reply->type == REDIS_REPLY_ARRAY) {
        mw_answer_add(a, MW_ARRAY)->number = (double)reply->elements;
        for (size_t i = 0; i < reply->elements; i++) flatten(a, reply->element[i]);
    } else {
        mw_answer_add(a, MW_NULL);
    }
}

void mw_redis_answer(mw_answer *a, const redisReply *reply)
{
    mw_answer_clear(a);
    flatten(a, reply);
    mw_answer_point(a);
}
