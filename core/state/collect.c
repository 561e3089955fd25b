/* collect.c: see collect.h. */
#include "state/collect.h"
#include "base/status.h"

#include <stdlib.h>

enum { MOST = 1 << 20 };

/* A ring once it is full: the oldest is at `first`. */
struct mw_collect {
    uint32_t most, count, first, room;
    mw_kept *values;
};

static mw_kept *next_place(mw_collect **collect, uint32_t most)
{
    mw_collect *c = *collect;
    if (!c) {
        c = *collect = calloc(1, sizeof *c);
        mw_assert(c != NULL);
        c->most = most;
    }
    if (c->count == c->most) {
        mw_kept *oldest = &c->values[c->first];
        c->first = (c->first + 1) % c->most;
        return oldest;
    }
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 4;
        if (c->room > c->most) c->room = c->most;
        c->values = realloc(c->values, c->room * sizeof *c->values);
        mw_assert(c->values != NULL);
    }
    c->values[c->count] = (mw_kept){0};
    return &c->values[c->count++];
}

static const mw_kept *nth(const mw_collect *c, uint32_t n)
{
    return &c->values[(c->first + n) % c->count];
}

void mw_collect_add(mw_collect **c, uint32_t most, const mw_value *value)
{
    mw_kept_set(next_place(c, most), value);
}

void mw_collect_merge(mw_collect **into, const mw_collect *from)
{
    for (uint32_t i = 0; from && i < from->count; i++)
        mw_kept_copy(next_place(into, from->most), nth(from, i));
}

void mw_collect_json(const mw_collect *c, mw_buffer *out)
{
    mw_buffer_text(out, "[");
    for (uint32_t i = 0; c && i < c->count; i++) {
        if (i) mw_buffer_text(out, ",");
        mw_kept_json(nth(c, i), out);
    }
    mw_buffer_text(out, "]");
}

void mw_collect_free(mw_collect *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < c->count; i++) mw_kept_release(&c->values[i]);
    free(c->values);
    free(c);
}

size_t mw_collect_bytes(const mw_collect *c)
{
    if (!c) return 0;
    size_t bytes = sizeof *c + c->room * sizeof *c->values;
    for (uint32_t i = 0; i < c->count; i++) bytes += mw_kept_bytes(&c->values[i]);
    return bytes;
}

void mw_collect_save(const mw_collect *c, mw_buffer *out)
{
    uint32_t head[2] = {c ? c->most : 0, c ? c->count : 0};
    mw_buffer_append(out, head, sizeof head);
    for (uint32_t i = 0; i < head[1]; i++) mw_kept_save(nth(c, i), out);
}

int mw_collect_load(mw_collect **c, const char **at, const char *end)
{
    uint32_t head[2];
    *c = NULL;
    if (!mw_load(head, sizeof head, at, end)) return 0;
    if (head[0] > MOST || head[1] > head[0]) return 0;
    for (uint32_t i = 0; i < head[1]; i++)
        if (!mw_kept_load(next_place(c, head[0]), at, end)) return 0;
    return 1;
}
