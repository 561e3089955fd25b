/* when.c: see when.h. */
#include "lua/when.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct test {
    uint32_t rule;
    int32_t path;
    uint64_t hash; /* of kind and value: 64 bits of it stand for the value */
} test;

typedef struct filed {
    uint64_t hash;
    int32_t path;
    uint32_t rule;
} filed;

struct mw_when {
    test *tests; /* by rule, then path */
    size_t count, room;
    uint32_t *starts; /* first test of the n-th rule; one more at the end */
    uint32_t *rules;  /* numbers */
    size_t rule_count;
    filed *table; /* open addressing; rule is an index into rules; a free place has path -1 */
    size_t mask;
    int32_t *paths; /* those that are looked up */
    size_t path_count;
};

mw_when *mw_when_new(void)
{
    mw_when *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    return w;
}

void mw_when_free(mw_when *w)
{
    if (!w) return;
    free(w->tests);
    free(w->starts);
    free(w->rules);
    free(w->table);
    free(w->paths);
    free(w);
}

static uint64_t hash_value(int32_t path, uint32_t kind, double number, const char *text, size_t len)
{
    uint64_t h = kind == MW_STRING ? mw_hash(text, len) : 0;
    if (kind == MW_NUMBER) number = number == 0 ? 0 : number, h = mw_hash(&number, sizeof number);
    uint64_t parts[3] = {h, kind, (uint64_t)path};
    return mw_hash(parts, sizeof parts);
}

void mw_when_add(mw_when *w, uint32_t rule, int32_t path, uint32_t kind, double number,
                 const char *text, size_t len)
{
    if (w->count == w->room) {
        w->room = w->room ? w->room * 2 : 64;
        w->tests = realloc(w->tests, w->room * sizeof *w->tests);
        mw_assert(w->tests != NULL);
    }
    w->tests[w->count++] =
        (test){.rule = rule, .path = path, .hash = hash_value(path, kind, number, text, len)};
}

static int by_rule_and_path(const void *a, const void *b)
{
    const test *x = a, *y = b;
    if (x->rule != y->rule) return x->rule < y->rule ? -1 : 1;
    return x->path < y->path ? -1 : x->path > y->path;
}

static int by_path_and_hash(const void *a, const void *b)
{
    const test *x = a, *y = b;
    if (x->path != y->path) return x->path < y->path ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* How many different values the group's rules name for a path. */
static size_t distinct(const mw_when *w, const test *sorted, int32_t path)
{
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++)
        if (sorted[i].path == path &&
            (i == 0 || sorted[i - 1].path != path || sorted[i - 1].hash != sorted[i].hash))
            n++;
    return n;
}

static void file(mw_when *w, const test *t, uint32_t rule)
{
    size_t at = t->hash & w->mask;
    while (w->table[at].path != -1) at = (at + 1) & w->mask;
    w->table[at] = (filed){.hash = t->hash, .path = t->path, .rule = rule};
    for (size_t i = 0; i < w->path_count; i++)
        if (w->paths[i] == t->path) return;
    w->paths[w->path_count++] = t->path;
}

static void list_rules(mw_when *w)
{
    w->starts = calloc(w->count + 1, sizeof *w->starts);
    w->rules = calloc(w->count + 1, sizeof *w->rules);
    w->paths = calloc(w->count + 1, sizeof *w->paths);
    size_t room = 64;
    while (room < w->count * 2 + 1) room *= 2;
    w->table = calloc(room, sizeof *w->table);
    mw_assert(w->starts && w->rules && w->paths && w->table);
    w->mask = room - 1;
    for (size_t i = 0; i < room; i++) w->table[i].path = -1;
    for (size_t i = 0; i < w->count; i++) {
        if (i && w->tests[i].rule == w->tests[i - 1].rule) continue;
        w->starts[w->rule_count] = (uint32_t)i;
        w->rules[w->rule_count++] = w->tests[i].rule;
    }
    w->starts[w->rule_count] = (uint32_t)w->count;
}

void mw_when_build(mw_when *w)
{
    qsort(w->tests, w->count, sizeof *w->tests, by_rule_and_path);
    test *sorted = malloc((w->count + 1) * sizeof *sorted);
    mw_assert(sorted != NULL);
    if (w->count) memcpy(sorted, w->tests, w->count * sizeof *sorted);
    qsort(sorted, w->count, sizeof *sorted, by_path_and_hash);
    list_rules(w);
    for (uint32_t r = 0; r < w->rule_count; r++) {
        int32_t best = -1;
        size_t most = 0;
        for (uint32_t i = w->starts[r]; i < w->starts[r + 1]; i++) {
            if (i > w->starts[r] && w->tests[i].path == w->tests[i - 1].path) continue;
            size_t n = distinct(w, sorted, w->tests[i].path);
            if (n > most) most = n, best = w->tests[i].path;
        }
        for (uint32_t i = w->starts[r]; i < w->starts[r + 1]; i++)
            if (w->tests[i].path == best) file(w, &w->tests[i], r);
    }
    free(sorted);
}

size_t mw_when_rules(const mw_when *w)
{
    return w->rule_count;
}

/* 0 for what no condition can name. */
static uint64_t hash_of(int32_t path, const mw_value *v)
{
    switch (v->kind) {
    case MW_STRING:
        return hash_value(path, MW_STRING, 0, v->text, v->len);
    case MW_ESCAPED: {
        mw_buffer plain = {0};
        mw_json_unescape(&plain, v->text, v->len);
        uint64_t h = hash_value(path, MW_STRING, 0, plain.bytes, plain.len);
        mw_buffer_close(&plain);
        return h;
    }
    case MW_NUMBER:
        return hash_value(path, MW_NUMBER, v->number, NULL, 0);
    case MW_TRUE:
    case MW_FALSE:
        return hash_value(path, v->kind, 0, NULL, 0);
    default:
        return 0;
    }
}

static int holds(const mw_when *w, uint32_t rule, const mw_value *values)
{
    for (uint32_t i = w->starts[rule], end = w->starts[rule + 1]; i < end;) {
        int32_t path = w->tests[i].path;
        uint64_t h = hash_of(path, &values[path]);
        int found = 0;
        for (; i < end && w->tests[i].path == path; i++) found |= w->tests[i].hash == h;
        if (!found) return 0;
    }
    return 1;
}

uint32_t mw_when_match(const mw_when *w, const mw_value *values, uint32_t *matched)
{
    uint32_t count = 0;
    for (size_t p = 0; p < w->path_count; p++) {
        int32_t path = w->paths[p];
        uint64_t h = hash_of(path, &values[path]);
        if (!h) continue;
        for (size_t at = h & w->mask; w->table[at].path != -1; at = (at + 1) & w->mask) {
            const filed *f = &w->table[at];
            if (f->hash != h || f->path != path || !holds(w, f->rule, values)) continue;
            uint32_t number = w->rules[f->rule], i = count++;
            for (; i > 0 && matched[i - 1] > number; i--) matched[i] = matched[i - 1];
            matched[i] = number;
        }
    }
    return count;
}
