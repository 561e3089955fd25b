/* timers.c: see timers.h. */
#include "state/timers.h"
#include "base/status.h"
#include "state/due.h"

#include <stdlib.h>

typedef struct timer {
    int64_t at_ns, item_ns; /* item_ns: of its item in the heap */
    mw_kept data;
} timer;

struct mw_timers {
    mw_entries *entries;
    mw_due due;
    int by_clock;
    uint32_t firing;
    int64_t firing_at; /* when it fires: it may be set anew meanwhile */
};

static timer *timer_at(const mw_timers *t, uint32_t id)
{
    return mw_entry_payload(mw_entries_at(t->entries, id));
}

static void save(void *self, const void *payload, mw_buffer *out)
{
    const timer *one = payload;
    (void)self;
    mw_buffer_append(out, &one->at_ns, sizeof one->at_ns);
    mw_kept_save(&one->data, out);
}

static int load(void *self, void *payload, const char *bytes, size_t len)
{
    timer *one = payload;
    const char *at = bytes, *end = bytes + len;
    (void)self;
    return mw_load(&one->at_ns, sizeof one->at_ns, &at, end) &&
           mw_kept_load(&one->data, &at, end) && at == end;
}

static void release(void *self, void *payload)
{
    (void)self;
    mw_kept_release(&((timer *)payload)->data);
}

static const mw_entry_codec codec = {.save = save, .load = load, .release = release};

mw_timers *mw_timers_new(int by_clock)
{
    mw_timers *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    t->by_clock = by_clock;
    t->entries = mw_entries_new(sizeof(timer), &codec, t);
    return t;
}

void mw_timers_free(mw_timers *t)
{
    if (!t) return;
    mw_entries_free(t->entries);
    mw_due_close(&t->due);
    free(t);
}

mw_entries *mw_timers_entries(mw_timers *t)
{
    return t->entries;
}

int mw_timers_by_clock(const mw_timers *t)
{
    return t->by_clock;
}

/* An item that is too early is put back when it comes; one that is too late needs an earlier one.
 */
static void await(mw_timers *t, uint32_t id, timer *one)
{
    if (one->item_ns && one->item_ns <= one->at_ns) return;
    one->item_ns = one->at_ns;
    mw_due_push(&t->due, one->at_ns, id);
}

void mw_timers_set(mw_timers *t, const mw_key *key, int64_t at_ns, const mw_value *data)
{
    uint32_t id = mw_entries_add(t->entries, key);
    timer *one = timer_at(t, id);
    mw_entries_touch(t->entries, id);
    if (id == t->firing) t->firing = 0; /* it was set anew by what it fired */
    if (!at_ns) at_ns = 1;
    one->at_ns = at_ns;
    mw_kept_set(&one->data, data);
    await(t, id, one);
}

int mw_timers_cancel(mw_timers *t, const mw_key *key)
{
    uint32_t id = mw_entries_find(t->entries, key);
    if (!id) return 0;
    if (id == t->firing) t->firing = 0;
    mw_entries_remove(t->entries, id);
    return 1;
}

int64_t mw_timers_due(const mw_timers *t)
{
    return t->firing ? INT64_MIN : mw_due_next(&t->due);
}

void mw_timers_settle(mw_timers *t)
{
    if (t->firing) mw_entries_remove(t->entries, t->firing);
    t->firing = 0;
}

uint32_t mw_timers_fire(mw_timers *t, int64_t now_ns)
{
    mw_timers_settle(t);
    while (mw_due_next(&t->due) <= now_ns) {
        mw_due_item item = mw_due_pop(&t->due);
        timer *one = timer_at(t, item.id);
        if (!mw_entries_at(t->entries, item.id)->key_kind || one->item_ns != item.at_ns) continue;
        one->item_ns = 0;
        if (one->at_ns > now_ns) {
            await(t, item.id, one);
            continue;
        }
        t->firing = item.id, t->firing_at = one->at_ns;
        return item.id;
    }
    return 0;
}

int64_t mw_timers_look(const mw_timers *t, uint32_t id, mw_value *data)
{
    *data = mw_kept_value(&timer_at(t, id)->data);
    return timer_at(t, id)->at_ns;
}

int64_t mw_timers_at(mw_timers *t, uint32_t id, mw_value *data)
{
    *data = mw_kept_value(&timer_at(t, id)->data);
    return t->firing_at;
}

void mw_timers_restored(mw_timers *t)
{
    uint32_t cursor = 0, id;
    while ((id = mw_entries_next(t->entries, &cursor))) await(t, id, timer_at(t, id));
}

void mw_timers_import(mw_timers *t, const mw_key *key, const char *value, size_t len)
{
    uint32_t id = mw_entries_add(t->entries, key);
    if (id == t->firing) t->firing = 0;
    mw_entries_replace(t->entries, id, value, len);
    await(t, id, timer_at(t, id));
}
