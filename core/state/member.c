/* member.c: see member.h. */
#include "state/member.h"
#include "base/status.h"
#include "state/kept.h"

#include <stdlib.h>
#include <string.h>

enum { PROBES = 7, BITS_EACH = 10, CAPACITY_MAX = 1 << 26 };

/* While exact an open hash table of `room` words (0: empty); then bits, 64 a word. */
struct mw_member {
    uint32_t count, room, capacity, bloom;
    uint64_t words[];
};

static mw_member *new_member(uint32_t room, uint32_t capacity, uint32_t bloom)
{
    mw_member *m = calloc(1, sizeof *m + room * sizeof(uint64_t));
    mw_assert(m != NULL);
    m->room = room, m->capacity = capacity, m->bloom = bloom;
    return m;
}

static uint64_t *bit(const mw_member *m, uint64_t hash, uint32_t probe, uint64_t *mask)
{
    uint64_t step = (hash >> 32) | 1;
    uint64_t n = (hash + probe * step) & ((uint64_t)m->room * 64 - 1);
    *mask = 1ull << (n & 63);
    return (uint64_t *)&m->words[n >> 6];
}

int mw_member_has(const mw_member *m, uint64_t hash)
{
    uint64_t mask;
    if (!m) return 0;
    if (!hash) hash = 1;
    for (uint32_t probe = 0; m->bloom && probe < PROBES; probe++)
        if (!(*bit(m, hash, probe, &mask) & mask)) return 0;
    if (m->bloom) return 1;
    for (uint32_t i = (uint32_t)(hash >> 20) & (m->room - 1); m->words[i];
         i = (i + 1) & (m->room - 1))
        if (m->words[i] == hash) return 1;
    return 0;
}

static void insert(mw_member *m, uint64_t hash)
{
    uint64_t mask;
    m->count++;
    if (m->bloom) {
        for (uint32_t probe = 0; probe < PROBES; probe++) *bit(m, hash, probe, &mask) |= mask;
        return;
    }
    uint32_t i = (uint32_t)(hash >> 20) & (m->room - 1);
    while (m->words[i]) i = (i + 1) & (m->room - 1);
    m->words[i] = hash;
}

static uint32_t bloom_words(uint32_t capacity)
{
    uint32_t words = 64;
    while ((uint64_t)words * 64 < (uint64_t)capacity * BITS_EACH) words *= 2;
    return words;
}

static void widen(mw_member **m)
{
    mw_member *old = *m;
    int bloom = old->count > MW_MEMBER_EXACT;
    *m = new_member(bloom ? bloom_words(old->capacity) : old->room * 2, old->capacity,
                    (uint32_t)bloom);
    for (uint32_t i = 0; i < old->room; i++)
        if (old->words[i]) insert(*m, old->words[i]);
    free(old);
}

void mw_member_add(mw_member **m, uint32_t capacity, uint64_t hash)
{
    if (!hash) hash = 1;
    if (capacity > CAPACITY_MAX) capacity = CAPACITY_MAX;
    if (!*m) *m = new_member(4, capacity, 0);
    if (mw_member_has(*m, hash)) return;
    insert(*m, hash);
    if (!(*m)->bloom && ((*m)->count > (*m)->room / 4 * 3 || (*m)->count > MW_MEMBER_EXACT))
        widen(m);
}

void mw_member_free(mw_member *m)
{
    free(m);
}

size_t mw_member_bytes(const mw_member *m)
{
    return m ? sizeof *m + m->room * sizeof(uint64_t) : 0;
}

void mw_member_save(const mw_member *m, mw_buffer *out)
{
    uint32_t bytes = (uint32_t)mw_member_bytes(m);
    mw_buffer_append(out, &bytes, sizeof bytes);
    mw_buffer_append(out, m, bytes);
}

int mw_member_load(mw_member **m, const char **at, const char *end)
{
    uint32_t bytes;
    mw_member head;
    *m = NULL;
    if (!mw_load(&bytes, sizeof bytes, at, end)) return 0;
    if (!bytes) return 1;
    if ((size_t)(end - *at) < bytes || bytes < sizeof head) return 0;
    memcpy(&head, *at, sizeof head);
    if (!head.room || (head.room & (head.room - 1)) || mw_member_bytes(&head) != bytes) return 0;
    if (!head.bloom && head.count >= head.room) return 0;
    *m = malloc(bytes);
    mw_assert(*m != NULL);
    return mw_load(*m, bytes, at, end);
}
