/* redis_answer.c: see redis_answer.h. */
#include "net/redis_answer.h"
#include "base/status.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

mw_value *mw_answer_add(mw_answer *a, uint32_t kind)
{
    if (a->count == a->room) {
        a->room = a->room ? a->room * 2 : 8;
        a->values = realloc(a->values, a->room * sizeof *a->values);
        mw_assert(a->values != NULL);
    }
    mw_value *v = &a->values[a->count++];
    *v = (mw_value){.kind = kind};
    return v;
}

/* Texts move while they are collected: until then a value has its place among them. */
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

static void point(mw_answer *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (a->values[i].kind == MW_STRING || a->values[i].kind == MW_ESCAPED)
            a->values[i].text = a->texts.bytes + (size_t)a->values[i].number;
}

void mw_answer_set(mw_answer *a, const redisReply *reply)
{
    mw_answer_clear(a);
    flatten(a, reply);
    point(a);
}

void mw_answer_copy(mw_answer *to, const mw_answer *from)
{
    mw_answer_clear(to);
    for (uint32_t i = 0; i < from->count; i++) *mw_answer_add(to, 0) = from->values[i];
    mw_buffer_append(&to->texts, from->texts.bytes, from->texts.len);
    point(to);
}

void mw_answer_clear(mw_answer *a)
{
    a->count = 0;
    a->texts.len = 0;
}

void mw_answer_close(mw_answer *a)
{
    free(a->values);
    mw_buffer_close(&a->texts);
    *a = (mw_answer){0};
}
