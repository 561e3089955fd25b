/* sequencer.c: see sequencer.h. */
#include "flow/sequencer.h"

#include <stddef.h>

void mw_sequencer_push(mw_sequencer *s, mw_sequenced *item)
{
    mw_sequenced **at = &s->waiting;
    while (*at && (*at)->number < item->number) at = &(*at)->next;
    item->next = *at;
    *at = item;
}

mw_sequenced *mw_sequencer_pop(mw_sequencer *s)
{
    mw_sequenced *first = s->waiting;
    if (!first || first->number != s->next) return NULL;
    s->waiting = first->next;
    s->next++;
    return first;
}
