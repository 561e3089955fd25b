/* distinct.c: see distinct.h. */
#include "state/distinct.h"
#include "base/status.h"
#include "state/kept.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 12, REGISTERS = 1 << BITS, RANKS = 64 - BITS + 1 };

/* While exact: an open hash table of `room` words, 0 for empty (a hash of 0 counts as 1). */
struct mw_distinct {
    uint32_t count, room; /* room 0: estimated */
    union {
        uint64_t hashes[1];
        uint8_t registers[8];
    };
};

static size_t head_bytes(void)
{
    return offsetof(mw_distinct, hashes);
}

static mw_distinct *new_exact(uint32_t room)
{
    mw_distinct *d = calloc(1, head_bytes() + room * sizeof(uint64_t));
    mw_assert(d != NULL);
    d->room = room;
    return d;
}

static int insert(mw_distinct *d, uint64_t hash)
{
    uint32_t i = (uint32_t)(hash >> 20) & (d->room - 1);
    for (; d->hashes[i]; i = (i + 1) & (d->room - 1))
        if (d->hashes[i] == hash) return 0;
    d->hashes[i] = hash;
    d->count++;
    return 1;
}

static void estimate(mw_distinct *d, uint64_t hash)
{
    uint8_t *r = &d->registers[hash >> (64 - BITS)];
    uint64_t rest = hash << BITS;
    uint8_t rank = (uint8_t)(rest ? __builtin_clzll(rest) + 1 : RANKS);
    if (rank > *r) *r = rank;
}

static mw_distinct *new_estimated(void)
{
    mw_distinct *d = calloc(1, head_bytes() + REGISTERS);
    mw_assert(d != NULL);
    return d;
}

/* Twice the room, or estimated from here on. */
static void widen(mw_distinct **d)
{
    mw_distinct *old = *d;
    mw_distinct *wider =
        old->count > MW_DISTINCT_EXACT ? new_estimated() : new_exact(old->room * 2);
    for (uint32_t i = 0; i < old->room; i++) {
        if (!old->hashes[i]) continue;
        if (wider->room) insert(wider, old->hashes[i]);
        else
            estimate(wider, old->hashes[i]);
    }
    free(old);
    *d = wider;
}

void mw_distinct_add(mw_distinct **d, uint64_t hash)
{
    if (!hash) hash = 1;
    if (!*d) *d = new_exact(4);
    if (!(*d)->room) {
        estimate(*d, hash);
        return;
    }
    if (!insert(*d, hash)) return;
    if ((*d)->count > (*d)->room / 4 * 3 || (*d)->count > MW_DISTINCT_EXACT) widen(d);
}

void mw_distinct_merge(mw_distinct **into, const mw_distinct *from)
{
    if (!from) return;
    for (uint32_t i = 0; i < from->room; i++)
        if (from->hashes[i]) mw_distinct_add(into, from->hashes[i]);
    if (from->room) return;
    if (!*into) *into = new_exact(4);
    while ((*into)->room) {
        if ((*into)->count <= MW_DISTINCT_EXACT) (*into)->count = MW_DISTINCT_EXACT + 1;
        widen(into);
    }
    for (uint32_t i = 0; i < REGISTERS; i++)
        if (from->registers[i] > (*into)->registers[i]) (*into)->registers[i] = from->registers[i];
}

/* Ertl's sigma and tau: the corrections for registers that are empty, and full. */
static double sigma(double x)
{
    if (x == 1) return INFINITY;
    double y = 1, z = x, before;
    do {
        x *= x, before = z;
        z += x * y, y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    if (x == 0 || x == 1) return 0;
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x), before = z, y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

double mw_distinct_count(const mw_distinct *d)
{
    if (!d) return 0;
    if (d->room) return d->count;
    uint32_t ranks[RANKS + 1] = {0};
    for (uint32_t i = 0; i < REGISTERS; i++) ranks[d->registers[i]]++;
    const double m = REGISTERS;
    double z = m * tau(1 - ranks[RANKS] / m);
    for (int k = RANKS - 1; k >= 1; k--) z = 0.5 * (z + ranks[k]);
    z += m * sigma(ranks[0] / m);
    return floor(m * m / (2 * log(2)) / z + 0.5);
}

void mw_distinct_free(mw_distinct *d)
{
    free(d);
}

size_t mw_distinct_bytes(const mw_distinct *d)
{
    if (!d) return 0;
    return head_bytes() + (d->room ? d->room * sizeof(uint64_t) : REGISTERS);
}

void mw_distinct_save(const mw_distinct *d, mw_buffer *out)
{
    uint32_t bytes = (uint32_t)mw_distinct_bytes(d);
    mw_buffer_append(out, &bytes, sizeof bytes);
    mw_buffer_append(out, d, bytes);
}

int mw_distinct_load(mw_distinct **d, const char **at, const char *end)
{
    uint32_t bytes;
    *d = NULL;
    if (!mw_load(&bytes, sizeof bytes, at, end)) return 0;
    if (!bytes) return 1;
    mw_distinct head = {0};
    if ((size_t)(end - *at) < bytes || bytes < head_bytes()) return 0;
    memcpy(&head, *at, head_bytes());
    uint32_t room = head.room;
    if (room > 2 * MW_DISTINCT_EXACT || (room & (room - 1)) || (room && head.count >= room) ||
        mw_distinct_bytes(&head) != bytes)
        return 0;
    *d = malloc(bytes);
    mw_assert(*d != NULL);
    return mw_load(*d, bytes, at, end);
}
