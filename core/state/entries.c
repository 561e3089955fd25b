/* entries.c: see entries.h. */
#include "state/entries.h"
#include "base/status.h"
#include "state/chunks.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES = 1 << 16,
    UNIT = 8, /* what sizes and numbers count in */
    PAGE_UNITS = PAGE_BYTES / UNIT,
    PAGE_BITS = 13,
    CHUNK_FROM = 64, /* pages, and segments: from then on they are cut from chunks, for large TLB
                      * entries */
    SEGMENT_SLOTS = 512,
    SEGMENT_MOST = SEGMENT_SLOTS / 8 * 6,
    INDEX_BYTES = 12,    /* an entry, about */
    FETCHED_BYTES = 448, /* of an entry that will be looked at soon, at most */
    LINE = 64,           /* of the cache */
};

/* A slot: number of the entry below, tag above. 0: empty. */
typedef struct segment {
    uint16_t depth, is_alone; /* alone: of malloc, not of a chunk */
    uint32_t used;
    uint64_t slots[SEGMENT_SLOTS];
} segment;

/* Pages of one size. Free entries are a list through their payloads. */
typedef struct size_class {
    uint32_t free_id;
    uint32_t page, next; /* the page that is being filled, and how far */
} size_class;

typedef struct id_list {
    uint32_t *ids;
    size_t count, room, taken;
} id_list;

struct mw_entries {
    segment **directory;
    char **pages;
    uint32_t depth, page_count, page_room;
    uint8_t list; /* on which changes go */
    uint8_t tracked;
    uint32_t payload_bytes;
    uint64_t count;
    size_t bytes, used_bytes;
    size_class *classes; /* by size in units */
    uint32_t class_count;
    uint32_t *page_units; /* by page: size of its entries; 0: of a chunk that is not used yet */
    char *chunk;
    uint32_t chunk_left; /* pages */
    mw_chunks *chunks;   /* NULL: it never needed one */
    segment *segments;   /* of a chunk, not used yet */
    uint32_t segment_count, segments_left;
    const mw_entry_codec *codec;
    void *self;
    id_list changed[2];
    mw_buffer removed[2]; /* records of entries that are gone */
    mw_buffer recorded;   /* of the cut, and changed since */
};

static const mw_entry_codec plain = {0};

static char *take_chunk(mw_entries *t)
{
    if (!t->chunks) t->chunks = mw_chunks_new();
    return mw_chunks_take(t->chunks);
}

static segment *new_segment(mw_entries *t, uint32_t depth)
{
    segment *s;
    t->bytes += sizeof *s;
    if (t->segment_count++ < CHUNK_FROM) {
        s = calloc(1, sizeof *s);
        mw_assert(s != NULL);
        s->is_alone = 1;
    } else {
        if (!t->segments_left) {
            t->segments = (segment *)take_chunk(t);
            t->segments_left = MW_CHUNK_BYTES / sizeof *s;
        }
        s = &t->segments[--t->segments_left];
        memset(s, 0, sizeof *s);
    }
    s->depth = (uint16_t)depth;
    return s;
}

mw_entries *mw_entries_new(uint32_t payload_bytes, const mw_entry_codec *codec, void *self)
{
    mw_entries *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    t->payload_bytes = (payload_bytes + UNIT - 1) / UNIT * UNIT;
    t->codec = codec ? codec : &plain, t->self = self;
    t->class_count = (uint32_t)(sizeof(mw_entry) + t->payload_bytes + MW_KEY_BYTES_MAX) / UNIT + 1;
    mw_assert(t->class_count < PAGE_UNITS / 2);
    t->classes = calloc(t->class_count, sizeof *t->classes);
    t->directory = calloc(1, sizeof *t->directory);
    mw_assert(t->classes && t->directory);
    t->directory[0] = new_segment(t, 0);
    return t;
}

void mw_entries_track(mw_entries *t)
{
    t->tracked = 1;
}

static char *page_of(const mw_entries *t, uint32_t id)
{
    return t->pages[id >> PAGE_BITS];
}

mw_entry *mw_entries_at(const mw_entries *t, uint32_t id)
{
    return (mw_entry *)(page_of(t, id) + (size_t)(id & (PAGE_UNITS - 1)) * UNIT);
}

const char *mw_entries_key(const mw_entries *t, const mw_entry *e)
{
    return e->payload + t->payload_bytes;
}

static uint32_t units_for(const mw_entries *t, uint32_t key_len)
{
    return (uint32_t)(sizeof(mw_entry) + t->payload_bytes + key_len + UNIT - 1) / UNIT;
}

/* ---- pages ---- */

static char *new_page(mw_entries *t)
{
    char *page;
    t->bytes += PAGE_BYTES;
    if (t->page_count < CHUNK_FROM) {
        page = malloc(PAGE_BYTES);
        mw_assert(page != NULL);
        return page;
    }
    if (!t->chunk_left) {
        t->chunk = take_chunk(t);
        t->chunk_left = MW_CHUNK_BYTES / PAGE_BYTES;
    }
    page = t->chunk + (size_t)--t->chunk_left * PAGE_BYTES;
    return page;
}

/* Page 0 does not exist, so that no entry has the number 0. */
static uint32_t add_page(mw_entries *t, uint32_t units)
{
    if (t->page_count + 2 > t->page_room) {
        t->page_room = t->page_room ? t->page_room * 2 : 16;
        t->pages = realloc(t->pages, t->page_room * sizeof *t->pages);
        t->page_units = realloc(t->page_units, t->page_room * sizeof *t->page_units);
        mw_assert(t->pages && t->page_units);
    }
    uint32_t page = ++t->page_count;
    mw_assert(page < 1u << (32 - PAGE_BITS));
    t->pages[page] = new_page(t);
    t->page_units[page] = units;
    return page;
}

static uint32_t new_entry(mw_entries *t, uint32_t units)
{
    size_class *c = &t->classes[units];
    uint32_t id = c->free_id;
    if (id) {
        memcpy(&c->free_id, mw_entries_at(t, id)->payload, sizeof c->free_id);
        return id;
    }
    if (!c->page || c->next + units > PAGE_UNITS) c->page = add_page(t, units), c->next = 0;
    id = c->page << PAGE_BITS | c->next;
    c->next += units;
    return id;
}

/* ---- the index ---- */

static segment **place_of(const mw_entries *t, uint32_t tag)
{
    return &t->directory[t->depth ? tag >> (32 - t->depth) : 0];
}

static uint32_t slot_tag(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}

static uint32_t first_slot(uint32_t tag)
{
    return tag & (SEGMENT_SLOTS - 1);
}

static void put(segment *s, uint64_t slot)
{
    uint32_t i = first_slot(slot_tag(slot));
    while (s->slots[i]) i = (i + 1) & (SEGMENT_SLOTS - 1);
    s->slots[i] = slot;
    s->used++;
}

static void double_directory(mw_entries *t)
{
    size_t count = (size_t)1 << t->depth;
    segment **wider = malloc(2 * count * sizeof *wider);
    mw_assert(wider != NULL && t->depth < 22);
    for (size_t i = 0; i < count; i++) wider[2 * i] = wider[2 * i + 1] = t->directory[i];
    free(t->directory);
    t->directory = wider;
    t->depth++;
}

/* Those with the next bit of their tag set move into a new segment. */
static void split(mw_entries *t, uint32_t tag)
{
    segment *old = *place_of(t, tag);
    if (old->depth == t->depth) double_directory(t);
    segment *other = new_segment(t, old->depth + 1u);
    uint64_t slots[SEGMENT_SLOTS];
    memcpy(slots, old->slots, sizeof slots);
    memset(old->slots, 0, sizeof old->slots);
    old->used = 0;
    for (uint32_t i = 0; i < SEGMENT_SLOTS; i++)
        if (slots[i]) put(slot_tag(slots[i]) >> (31 - old->depth) & 1 ? other : old, slots[i]);
    size_t span = (size_t)1 << (t->depth - old->depth);
    segment **first = t->directory + (place_of(t, tag) - t->directory) / span * span;
    for (size_t i = span / 2; i < span; i++) first[i] = other;
    old->depth++;
}

static void take_out(segment *s, uint32_t i)
{
    for (uint32_t j = i;;) {
        s->slots[i] = 0;
        do {
            j = (j + 1) & (SEGMENT_SLOTS - 1);
            if (!s->slots[j]) {
                s->used--;
                return;
            }
        } while (((j - first_slot(slot_tag(s->slots[j]))) & (SEGMENT_SLOTS - 1)) <
                 ((j - i) & (SEGMENT_SLOTS - 1)));
        s->slots[i] = s->slots[j];
        i = j;
    }
}

/* Short keys, as most are, by two reads each that may overlap. */
static inline int same_bytes(const char *a, const char *b, uint32_t len)
{
    uint64_t x[2], y[2];
    if (len < 8 || len > 16) return memcmp(a, b, len) == 0;
    memcpy(&x[0], a, 8), memcpy(&x[1], a + len - 8, 8);
    memcpy(&y[0], b, 8), memcpy(&y[1], b + len - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline int is_key(const mw_entries *t, const mw_entry *e, const mw_key *key)
{
    return e->key_len == key->len && e->key_kind == key->kind &&
           same_bytes(mw_entries_key(t, e), key->bytes, key->len);
}

uint32_t mw_entries_find(const mw_entries *t, const mw_key *key)
{
    uint32_t tag = (uint32_t)(key->hash >> 32);
    const segment *s = *place_of(t, tag);
    for (uint32_t i = first_slot(tag); s->slots[i]; i = (i + 1) & (SEGMENT_SLOTS - 1))
        if (slot_tag(s->slots[i]) == tag && is_key(t, mw_entries_at(t, (uint32_t)s->slots[i]), key))
            return (uint32_t)s->slots[i];
    return 0;
}

uint32_t mw_entries_add(mw_entries *t, const mw_key *key)
{
    uint32_t id = mw_entries_find(t, key), tag = (uint32_t)(key->hash >> 32);
    if (id) return id;
    while ((*place_of(t, tag))->used >= SEGMENT_MOST) split(t, tag);
    id = new_entry(t, units_for(t, key->len));
    mw_entry *e = mw_entries_at(t, id);
    *e = (mw_entry){.tag = tag, .key_len = (uint16_t)key->len, .key_kind = (uint8_t)key->kind};
    memset(e->payload, 0, t->payload_bytes);
    memcpy(e->payload + t->payload_bytes, key->bytes, key->len);
    put(*place_of(t, tag), (uint64_t)tag << 32 | id);
    t->count++;
    t->used_bytes += (size_t)units_for(t, key->len) * UNIT;
    return id;
}

void mw_entries_prefetch(const mw_entries *t, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    __builtin_prefetch(&(*place_of(t, tag))->slots[first_slot(tag)]);
}

/* All lines that the entry lies in, or the first ones: what is not fetched is waited for. Inline,
 * since the compiler would leave out the call of a function that only prefetches. */
static inline __attribute__((always_inline)) void prefetch_lines(const mw_entries *t, uint32_t id)
{
    const char *e = (const char *)mw_entries_at(t, id);
    uint32_t bytes = t->page_units[id >> PAGE_BITS] * UNIT;
    const char *end = e + (bytes < FETCHED_BYTES ? bytes : FETCHED_BYTES);
    for (const char *at = e - (uintptr_t)e % LINE; at < end; at += LINE) __builtin_prefetch(at);
}

uint32_t mw_entries_prefetch_entry(const mw_entries *t, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    const segment *s = *place_of(t, tag);
    for (uint32_t i = first_slot(tag); s->slots[i]; i = (i + 1) & (SEGMENT_SLOTS - 1)) {
        if (slot_tag(s->slots[i]) != tag) continue;
        prefetch_lines(t, (uint32_t)s->slots[i]);
        return (uint32_t)s->slots[i];
    }
    return 0;
}

/* ---- changes ---- */

static void record(mw_entries *t, const mw_entry *e, int removed, mw_buffer *out)
{
    size_t from = out->len;
    const char *key = mw_entries_key(t, e);
    mw_entry_record r = {.hash = mw_key_rehash(e->key_kind, key, e->key_len),
                         .key_len = e->key_len,
                         .key_kind = e->key_kind,
                         .removed = (uint8_t)removed};
    size_t head = offsetof(mw_entry_record, key);
    mw_buffer_reserve(out, head);
    out->len += head;
    mw_buffer_append(out, key, e->key_len);
    if (!removed) {
        size_t value = out->len;
        if (t->codec->save) t->codec->save(t->self, e->payload, out);
        else
            mw_buffer_append(out, e->payload, t->payload_bytes);
        r.value_len = (uint32_t)(out->len - value);
    }
    static const char zeros[UNIT];
    mw_buffer_append(out, zeros, (UNIT - (out->len - from) % UNIT) % UNIT);
    r.bytes = (uint32_t)(out->len - from);
    memcpy(out->bytes + from, &r, head);
}

enum { RECORDED = 4 };

static void list_add(id_list *l, uint32_t id)
{
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 256;
        l->ids = realloc(l->ids, l->room * sizeof *l->ids);
        mw_assert(l->ids != NULL);
    }
    l->ids[l->count++] = id;
}

static uint8_t bit_of(int list)
{
    return (uint8_t)(1 << list);
}

void mw_entries_touch_slow(mw_entries *t, uint32_t id, mw_entry *e)
{
    if (!t->tracked) return;
    if (e->changed & bit_of(!t->list)) {
        record(t, e, 0, &t->recorded);
        e->changed = RECORDED;
    }
    e->changed |= bit_of(t->list);
    list_add(&t->changed[t->list], id);
}

void mw_entries_touch(mw_entries *t, uint32_t id)
{
    mw_entry *e = mw_entries_at(t, id);
    if (!(e->changed & bit_of(t->list))) mw_entries_touch_slow(t, id, e);
}

static void take_away(mw_entries *t, uint32_t id, mw_entry *e)
{
    segment *s = *place_of(t, e->tag);
    uint32_t i = first_slot(e->tag), units = units_for(t, e->key_len);
    while ((uint32_t)s->slots[i] != id) i = (i + 1) & (SEGMENT_SLOTS - 1);
    take_out(s, i);
    if (t->codec->release) t->codec->release(t->self, e->payload);
    size_class *c = &t->classes[units];
    e->changed = 0, e->key_kind = 0;
    memcpy(e->payload, &c->free_id, sizeof c->free_id);
    c->free_id = id;
    t->count--;
    t->used_bytes -= (size_t)units * UNIT;
}

uint32_t mw_entries_change(mw_entries *t, const mw_key *key, uint32_t hint)
{
    mw_entry *e = hint ? mw_entries_at(t, hint) : NULL;
    if (!e || e->tag != (uint32_t)(key->hash >> 32) || !is_key(t, e, key)) {
        hint = mw_entries_add(t, key);
        e = mw_entries_at(t, hint);
    }
    if (!(e->changed & bit_of(t->list))) mw_entries_touch_slow(t, hint, e);
    return hint;
}

void mw_entries_remove(mw_entries *t, uint32_t id)
{
    mw_entry *e = mw_entries_at(t, id);
    if (e->changed & bit_of(!t->list)) {
        record(t, e, 0, &t->recorded);
        e->changed |= RECORDED;
    }
    if (e->changed & RECORDED) record(t, e, 1, &t->removed[t->list]);
    take_away(t, id, e);
}

int mw_entries_is_clean(const mw_entries *t, uint32_t id)
{
    return mw_entries_at(t, id)->changed == RECORDED;
}

void mw_entries_forget(mw_entries *t, uint32_t id)
{
    take_away(t, id, mw_entries_at(t, id));
}

void mw_entries_cut(mw_entries *t)
{
    t->list = !t->list;
}

int mw_entries_take(mw_entries *t, uint32_t most, mw_buffer *out)
{
    int list = !t->list;
    id_list *l = &t->changed[list];
    mw_buffer *removed = &t->removed[list];
    mw_buffer_append(out, removed->bytes, removed->len);
    mw_buffer_close(removed);
    mw_buffer_append(out, t->recorded.bytes, t->recorded.len);
    t->recorded.len = 0;
    for (; l->taken < l->count && most > 0; l->taken++) {
        mw_entry *e = mw_entries_at(t, l->ids[l->taken]);
        if (l->taken + 8 < l->count) __builtin_prefetch(mw_entries_at(t, l->ids[l->taken + 8]));
        if (!(e->changed & bit_of(list))) continue; /* recorded before it was changed, or gone */
        record(t, e, 0, out);
        e->changed = (uint8_t)((e->changed & ~bit_of(list)) | RECORDED);
        most--;
    }
    if (l->taken < l->count) return 1;
    mw_buffer_close(&t->recorded);
    free(l->ids);
    *l = (id_list){0};
    return 0;
}

static int load(mw_entries *t, void *payload, const char *value, size_t len)
{
    if (t->codec->load) return t->codec->load(t->self, payload, value, len);
    if (len != t->payload_bytes) return 0;
    memcpy(payload, value, len);
    return 1;
}

uint32_t mw_entries_restore(mw_entries *t, const mw_key *key, const char *value, size_t len)
{
    uint32_t id = mw_entries_add(t, key);
    mw_entry *e = mw_entries_at(t, id);
    e->changed = RECORDED;
    return load(t, e->payload, value, len) ? id : 0;
}

int mw_entries_replace(mw_entries *t, uint32_t id, const char *value, size_t len)
{
    mw_entry *e = mw_entries_at(t, id);
    mw_entries_touch(t, id);
    if (t->codec->release) t->codec->release(t->self, e->payload);
    memset(e->payload, 0, t->payload_bytes);
    return load(t, e->payload, value, len);
}

/* ---- the whole ---- */

uint64_t mw_entries_count(const mw_entries *t)
{
    return t->count;
}

size_t mw_entries_bytes(const mw_entries *t)
{
    return t->bytes;
}

size_t mw_entries_used_bytes(const mw_entries *t)
{
    return t->used_bytes + t->count * INDEX_BYTES;
}

/* An entry that was removed has no kind of key. The page being filled ends where it is filled to.
 */
uint32_t mw_entries_next(const mw_entries *t, uint32_t *cursor)
{
    uint32_t id = *cursor ? *cursor : 1 << PAGE_BITS;
    for (uint32_t page = id >> PAGE_BITS; page <= t->page_count; page++) {
        uint32_t units = t->page_units[page], unit = id & (PAGE_UNITS - 1);
        const size_class *c = &t->classes[units];
        uint32_t end = c->page == page ? c->next : PAGE_UNITS / units * units;
        for (; unit < end; unit += units) {
            id = page << PAGE_BITS | unit;
            if (!mw_entries_at(t, id)->key_kind) continue;
            *cursor = id + units < (page << PAGE_BITS) + end ? id + units : (page + 1) << PAGE_BITS;
            return id;
        }
        id = (page + 1) << PAGE_BITS;
    }
    return 0;
}

static void release_all(mw_entries *t)
{
    uint32_t cursor = 0, id;
    if (!t->codec->release) return;
    while ((id = mw_entries_next(t, &cursor)))
        t->codec->release(t->self, mw_entries_at(t, id)->payload);
}

void mw_entries_free(mw_entries *t)
{
    if (!t) return;
    release_all(t);
    for (size_t i = 0, count = (size_t)1 << t->depth; i < count;) {
        segment *s = t->directory[i];
        i += (size_t)1 << (t->depth - s->depth);
        if (s->is_alone) free(s);
    }
    for (uint32_t i = 1; i <= t->page_count && i < CHUNK_FROM; i++) free(t->pages[i]);
    mw_chunks_free(t->chunks);
    free(t->pages);
    free(t->page_units);
    free(t->classes);
    free(t->directory);
    for (int i = 0; i < 2; i++) {
        free(t->changed[i].ids);
        mw_buffer_close(&t->removed[i]);
    }
    mw_buffer_close(&t->recorded);
    free(t);
}
