/* entries.h: records of one size by key, off the Lua heap: what windows, states and timers are made
 * of.
 *
 * Two parts. Entries lie in pages of 64 KiB, each page for one size; an entry is a small header,
 * the payload, and the key, and stays where it is. An index of extendible hashing (Fagin et al.,
 * ACM TODS 1979) finds them: a directory of small segments, of which one at a time is split, so
 * that no call ever waits for a large table to grow.
 *
 * What changed since the last checkpoint is known: `touch` before a change puts the entry on a list
 * once. A checkpoint takes the list (`cut`, at once) and then the records, some at a time
 * (`take`); an entry that is changed before its turn is recorded first, so that all records are as
 * of the cut (copy on write, by entry).
 *
 * Thread: the shard that owns the keys. Memory: 8 bytes an entry, the payload, the key rounded up
 * to 8 bytes, and about 12 bytes of index; 4 bytes more while it is changed and not recorded. */
#ifndef MW_ENTRIES_H
#define MW_ENTRIES_H

#include "state/key.h"

#include <stddef.h>

typedef struct mw_entry {
    uint32_t tag; /* upper half of the key's hash */
    uint16_t key_len;
    uint8_t key_kind;
    uint8_t changed; /* bit n: it is on list n; bit 2: a record of it was taken, some time */
    char payload[];  /* and behind it the key */
} mw_entry;

/* How a payload that is more than its bytes is written and freed. NULL members: it is just bytes.
 */
typedef struct mw_entry_codec {
    void (*save)(void *self, const void *payload, mw_buffer *out);
    /* 0: the bytes are damaged. The payload is zero. */
    int (*load)(void *self, void *payload, const char *bytes, size_t len);
    void (*release)(void *self, void *payload);
} mw_entry_codec;

typedef struct mw_entries mw_entries;

/* `self` is what the codec is handed. Changes are not known before `mw_entries_track`. */
mw_entries *mw_entries_new(uint32_t payload_bytes, const mw_entry_codec *codec, void *self);
void mw_entries_free(mw_entries *t);
/* There will be checkpoints. */
void mw_entries_track(mw_entries *t);

/* An entry's number; 0: there is none. */
uint32_t mw_entries_find(const mw_entries *t, const mw_key *key);
/* Finds it, or makes it with a payload of zeros. */
uint32_t mw_entries_add(mw_entries *t, const mw_key *key);
void mw_entries_remove(mw_entries *t, uint32_t id);
/* Whether the last record that was taken of it is what it is now. */
int mw_entries_is_clean(const mw_entries *t, uint32_t id);
/* Removes it from memory alone: it is clean, and what was taken is in the store. */
void mw_entries_forget(mw_entries *t, uint32_t id);
mw_entry *mw_entries_at(const mw_entries *t, uint32_t id);
static inline void *mw_entry_payload(mw_entry *e)
{
    return e->payload;
}
const char *mw_entries_key(const mw_entries *t, const mw_entry *e);
/* To be called before a payload is changed. */
void mw_entries_touch_slow(mw_entries *t, uint32_t id, mw_entry *e);
void mw_entries_touch(mw_entries *t, uint32_t id);

/* For keys that will be looked up soon: first the index, and a little later the entry. */
void mw_entries_prefetch(const mw_entries *t, uint64_t hash);
/* The number of the entry that is probably meant; 0: there is none. */
uint32_t mw_entries_prefetch_entry(const mw_entries *t, uint64_t hash);
/* mw_entries_add and mw_entries_touch in one; `hint`: the number that the entry probably has, or 0.
 */
uint32_t mw_entries_change(mw_entries *t, const mw_key *key, uint32_t hint);

uint64_t mw_entries_count(const mw_entries *t);
size_t mw_entries_bytes(const mw_entries *t);
/* Of that, what its entries need: less than the whole once some were removed. */
size_t mw_entries_used_bytes(const mw_entries *t);
/* Goes through all entries, in no order: begin with *cursor 0; 0 at the end. An entry that is
 * removed meanwhile is not seen; one that is added may be. */
uint32_t mw_entries_next(const mw_entries *t, uint32_t *cursor);

/* ---- checkpoints ---- */

/* One record, as `take` writes them one behind the other. A removal has no value. */
typedef struct mw_entry_record {
    uint32_t bytes; /* of the whole record, this included; a multiple of 8 */
    uint32_t value_len;
    uint64_t hash;
    uint16_t key_len;
    uint8_t key_kind;
    uint8_t removed;
    char key[]; /* and behind it the value */
} mw_entry_record;

/* From here on, what is recorded is what is there now. Not while an earlier cut is being taken. */
void mw_entries_cut(mw_entries *t);
/* Appends records of what changed between the last two cuts, removals first, as long as they are
 * fewer than `most`. 0: that was all. */
int mw_entries_take(mw_entries *t, uint32_t most, mw_buffer *out);
/* Puts a recorded entry back, as unchanged. Its number; 0: it is damaged. */
uint32_t mw_entries_restore(mw_entries *t, const mw_key *key, const char *value, size_t len);
/* Gives an entry another recorded value: it is changed. 0: that is damaged. */
int mw_entries_replace(mw_entries *t, uint32_t id, const char *value, size_t len);

#endif
