/* store.h: what a flow keeps on disk under --state: small records by key, in LMDB.
 *
 * What was put survives a crash of the process and of the machine. One router at a time has the
 * folder: a second one is refused. Thread: any; calls wait for one another, and a put waits for the
 * disk. */
#ifndef MW_STORE_H
#define MW_STORE_H

#include "base/buffer.h"
#include "base/status.h"

typedef struct mw_store mw_store;

typedef struct mw_record {
    const char *key;
    const void *value;
    size_t len;
} mw_record;

/* Makes the folder where it is missing. MW_IO when it cannot be used, or another router has it.
 * Everything is read once before: a state that is damaged is set aside, and the copy of before
 * (mw_store_copy) takes its place; MW_INVALID: there is none. */
mw_status mw_store_open(mw_store **store, const char *folder, mw_error *error);
void mw_store_close(mw_store *s);
/* Appends the value to `out`; 0 when there is none. */
int mw_store_get(mw_store *s, const char *key, mw_buffer *out);
/* The same with a key of any bytes, up to 500. */
int mw_store_find(mw_store *s, const char *key, size_t key_len, mw_buffer *out);
/* Shows every record whose key begins so, in order, until `each` returns 0. Nothing may be written
 * meanwhile by the same thread. */
typedef int (*mw_store_visit)(void *self, const char *key, size_t key_len, const char *value,
                              size_t len);
void mw_store_each(mw_store *s, const char *prefix, size_t len, mw_store_visit each, void *self);

/* The same from a key on, which may be before all that begin so. */
void mw_store_from(mw_store *s, const mw_buffer *prefix, const mw_buffer *from, mw_store_visit each,
                   void *self);

/* Reads all of a folder once, in a process of its own, since what is damaged may end it, and
 * changes nothing. MW_INVALID: it is damaged; `error` says where. */
mw_status mw_store_verify(const char *folder, uint64_t *rows, mw_error *error);
/* Puts a copy of all that is committed into the folder, in the place of the one before. Any thread;
 * nobody waits for it. */
mw_status mw_store_copy(mw_store *s, mw_error *error);

/* Reads of one thread that never wait for a write: each sees what is committed by then. */
typedef struct mw_store_reader mw_store_reader;
mw_store_reader *mw_store_reader_new(mw_store *s);
void mw_store_reader_free(mw_store_reader *r);
/* As mw_store_find; what `out` had is gone. */
int mw_store_reader_find(mw_store_reader *r, const char *key, size_t key_len, mw_buffer *out);
/* The record whose key is the first at or behind `key`, if it begins with the first `prefix` bytes
 * of it: its key and its value take the place of what the buffers had. 0: there is none. */
int mw_store_reader_seek(mw_store_reader *r, mw_buffer *key, size_t prefix, mw_buffer *value);

/* One transaction of many writes, in the order they are made; the first that fails decides what
 * `end` says, and then nothing was written. */
typedef struct mw_store_writer mw_store_writer;
mw_store_writer *mw_store_begin(mw_store *s);
void mw_store_add(mw_store_writer *w, const char *key, size_t key_len, const void *value,
                  size_t len);
void mw_store_remove(mw_store_writer *w, const char *key, size_t key_len);
/* Removes everything whose key begins so. */
void mw_store_drop(mw_store_writer *w, const char *prefix, size_t len);
mw_status mw_store_end(mw_store_writer *w, mw_error *error);
/* Ends it with nothing written. */
void mw_store_abandon(mw_store_writer *w);

/* Two steps: what is written by such a writer is kept aside, on disk, as checkpoint `number` that
 * is prepared; it takes effect when it is promoted, or never. There is at most one. */
mw_store_writer *mw_store_prepare(mw_store *s, uint64_t number, const char *record, size_t len);
/* Whether there is one; appends its record. */
int mw_store_prepared(mw_store *s, uint64_t *number, mw_buffer *record);
/* Makes it count. MW_INVALID: it is damaged. */
mw_status mw_store_promote(mw_store *s, mw_error *error);
mw_status mw_store_discard(mw_store *s, mw_error *error);

/* Writes the records in one transaction. */
mw_status mw_store_put(mw_store *s, const mw_record *records, size_t count, mw_error *error);

#endif
