/* top.c: see top.h. */
#include "state/top.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

enum { COUNTERS_LEAST = 64, COUNTERS_MOST = 1 << 16 };

typedef struct counter {
    uint64_t hash, count, error;
    mw_kept value;
} counter;

struct mw_top {
    uint32_t k, used, room, allocated;
    counter *counters;
};

static mw_top *new_top(uint32_t k)
{
    mw_top *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    t->k = k;
    t->room = k * 8 < COUNTERS_LEAST ? COUNTERS_LEAST : k * 8;
    return t;
}

static counter *find(mw_top *t, uint64_t hash)
{
    for (uint32_t i = 0; i < t->used; i++)
        if (t->counters[i].hash == hash) return &t->counters[i];
    return NULL;
}

static counter *append(mw_top *t)
{
    if (t->used == t->allocated) {
        t->allocated = t->allocated ? t->allocated * 2 : 4;
        t->counters = realloc(t->counters, t->allocated * sizeof *t->counters);
        mw_assert(t->counters != NULL);
    }
    t->counters[t->used] = (counter){0};
    return &t->counters[t->used++];
}

static counter *least_of(mw_top *t)
{
    counter *least = &t->counters[0];
    for (uint32_t i = 1; i < t->used; i++)
        if (t->counters[i].count < least->count) least = &t->counters[i];
    return least;
}

void mw_top_add(mw_top **top, uint32_t k, const mw_value *value, uint64_t hash)
{
    if (!*top) *top = new_top(k);
    mw_top *t = *top;
    counter *c = find(t, hash);
    if (!c) {
        c = t->used < t->room ? append(t) : least_of(t);
        c->hash = hash, c->error = c->count;
        mw_kept_set(&c->value, value);
    }
    c->count++;
}

static int larger_first(const void *a, const void *b)
{
    const counter *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* A value that one side does not know may have come as often there as its least (Agarwal et al.,
 * "Mergeable summaries", PODS 2012). */
void mw_top_merge(mw_top **into, const mw_top *from)
{
    if (!from) return;
    if (!*into) *into = new_top(from->k);
    mw_top *t = *into;
    uint64_t here = t->used == t->room ? least_of(t)->count : 0,
             there = from->used == from->room ? least_of((mw_top *)from)->count : 0;
    uint32_t before = t->used;
    for (uint32_t i = 0; i < before; i++) {
        counter *c = &t->counters[i];
        const counter *same = find((mw_top *)from, c->hash);
        c->count += same ? same->count : there, c->error += same ? same->error : there;
    }
    for (uint32_t i = 0; i < from->used; i++) {
        const counter *other = &from->counters[i];
        int known = 0;
        for (uint32_t j = 0; j < before && !known; j++) known = t->counters[j].hash == other->hash;
        if (known) continue;
        counter *c = append(t);
        c->hash = other->hash, c->count = other->count + here, c->error = other->error + here;
        mw_kept_copy(&c->value, &other->value);
    }
    if (t->used) qsort(t->counters, t->used, sizeof *t->counters, larger_first);
    while (t->used > t->room) mw_kept_release(&t->counters[--t->used].value);
}

void mw_top_json(const mw_top *t, mw_buffer *out)
{
    mw_buffer_text(out, "[");
    uint32_t n = t ? t->used : 0;
    counter *sorted = malloc((n + 1) * sizeof *sorted);
    mw_assert(sorted != NULL);
    if (n) memcpy(sorted, t->counters, n * sizeof *sorted);
    if (n) qsort(sorted, n, sizeof *sorted, larger_first);
    for (uint32_t i = 0; i < n && i < t->k; i++) {
        mw_buffer_text(out, i ? ",{\"value\":" : "{\"value\":");
        mw_kept_json(&sorted[i].value, out);
        mw_buffer_format(out, ",\"count\":%llu,\"error\":%llu}",
                         (unsigned long long)sorted[i].count, (unsigned long long)sorted[i].error);
    }
    free(sorted);
    mw_buffer_text(out, "]");
}

void mw_top_free(mw_top *t)
{
    if (!t) return;
    for (uint32_t i = 0; i < t->used; i++) mw_kept_release(&t->counters[i].value);
    free(t->counters);
    free(t);
}

size_t mw_top_bytes(const mw_top *t)
{
    if (!t) return 0;
    size_t bytes = sizeof *t + t->allocated * sizeof *t->counters;
    for (uint32_t i = 0; i < t->used; i++) bytes += mw_kept_bytes(&t->counters[i].value);
    return bytes;
}

void mw_top_save(const mw_top *t, mw_buffer *out)
{
    uint32_t head[2] = {t ? t->k : 0, t ? t->used : 0};
    mw_buffer_append(out, head, sizeof head);
    for (uint32_t i = 0; i < head[1]; i++) {
        mw_buffer_append(out, &t->counters[i], 3 * sizeof(uint64_t));
        mw_kept_save(&t->counters[i].value, out);
    }
}

int mw_top_load(mw_top **t, const char **at, const char *end)
{
    uint32_t head[2];
    *t = NULL;
    if (!mw_load(head, sizeof head, at, end)) return 0;
    if (!head[0]) return 1;
    if (head[0] > COUNTERS_MOST / 8) return 0;
    *t = new_top(head[0]);
    if (head[1] > (*t)->room) return 0;
    for (uint32_t i = 0; i < head[1]; i++) {
        counter *c = append(*t);
        if (!mw_load(c, 3 * sizeof(uint64_t), at, end) || !mw_kept_load(&c->value, at, end))
            return 0;
    }
    return 1;
}
