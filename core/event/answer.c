/* answer.c: see answer.h. */
#include "event/answer.h"
#include "base/status.h"

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

void mw_answer_point(mw_answer *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (a->values[i].kind == MW_STRING || a->values[i].kind == MW_ESCAPED)
            a->values[i].text = a->texts.bytes + (size_t)a->values[i].number;
}

void mw_answer_copy(mw_answer *to, const mw_answer *from)
{
    mw_answer_clear(to);
    for (uint32_t i = 0; i < from->count; i++) *mw_answer_add(to, 0) = from->values[i];
    mw_buffer_append(&to->texts, from->texts.bytes, from->texts.len);
    mw_answer_point(to);
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
