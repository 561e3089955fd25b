/* records.h: keyed records: what mw.state keeps.
 *
 * A record is a few named fields with values of any JSON kind; numbers lie in place, so that
 * counting allocates nothing. Names are numbered once for all records. A record may have a time to
 * live, after which it is as if it were not there; it goes when its time is passed by.
 *
 * With a limit of memory, records that are not asked for are in the store alone, and come back when
 * they are (a clock with second chance; Corbato, 1968).
 *
 * Thread: the shard that owns the keys. Memory a record: the entry's (entries.h), 16 bytes, and
 * for each field 24 and its text. */
#ifndef MW_RECORDS_H
#define MW_RECORDS_H

#include "state/cold.h"
#include "state/entries.h"
#include "state/kept.h"

typedef struct mw_records mw_records;

typedef struct mw_record_field {
    uint32_t name; /* its number */
    mw_kept value;
} mw_record_field;

/* ttl_ns 0: records live until they are deleted. */
mw_records *mw_records_new(int64_t ttl_ns);
void mw_records_free(mw_records *r);
mw_entries *mw_records_entries(mw_records *r);
int64_t mw_records_due(const mw_records *r);

/* The fields of a record that is alive at a time; NULL: there is none. Valid until the record is
 * changed. */
const mw_record_field *mw_records_get(mw_records *r, const mw_key *key, int64_t now_ns,
                                      uint32_t *count);
const char *mw_records_name(const mw_records *r, uint32_t name, uint32_t *len);
/* Makes the record if there is none and sets a field; an absent value removes it. With `fresh`, the
 * record begins empty. Every change begins its time to live anew. */
void mw_records_set(mw_records *r, const mw_key *key, const char *name, uint32_t len,
                    const mw_value *value, int64_t now_ns);
/* Adds to a field that is a number or missing, and gives the sum; 0: it is something else. */
int mw_records_increment(mw_records *r, const mw_key *key, const char *name, uint32_t len,
                         double by, int64_t now_ns, double *sum);
/* Makes it empty, and alive. */
void mw_records_clear(mw_records *r, const mw_key *key, int64_t now_ns);
/* 1: there was one. */
int mw_records_delete(mw_records *r, const mw_key *key, int64_t now_ns);
/* Drops at most `most` records whose time is over; 0: that was all. */
int mw_records_expire(mw_records *r, int64_t now_ns, uint32_t most);
/* Lets a record of its own time to live, counted from now; 0: none. */
void mw_records_live(mw_records *r, const mw_key *key, int64_t ttl_ns, int64_t now_ns);
/* Where a walk over all records is; begin with zeros. */
typedef struct mw_record_cursor {
    uint32_t id, loads, row_len;
    int32_t in_store;
    char row[512];
} mw_record_cursor;
/* The next record that is alive, and its key: both until the next call. NULL at the end. */
const mw_record_field *mw_records_next(mw_records *r, mw_record_cursor *c, int64_t now_ns,
                                       mw_key *key, uint32_t *count);
const mw_record_field *mw_records_at(mw_records *r, uint32_t id, uint32_t *count);
void mw_records_restored(mw_records *r);
/* See mw_keeper_import. */
void mw_records_import(mw_records *r, const mw_key *key, const char *value, size_t len);
/* What they need in memory. */
size_t mw_records_bytes(const mw_records *r);

/* ---- larger than memory (records_cold.c) ---- */

/* Records may need so many bytes of memory, each shard's part; `cold`, which they take over, is
 * where the others are. NULL: all are in memory again. */
void mw_records_limit(mw_records *r, size_t bytes, mw_cold *cold);
/* All are in memory again, but for what is let go of after. */
void mw_records_recall(mw_records *r);
/* How many are in the store alone, about. */
uint64_t mw_records_cold(const mw_records *r);
/* Whether they need more than they may, `times` over. */
int mw_records_are_over(const mw_records *r, unsigned times);
/* A row is not read into memory: there is no room. */
void mw_records_leave(mw_records *r);
/* Begins to let go of what was not asked for lately, and to delete what is over by `now_ns`: all
 * that has been taken is in the store. Then goes on, `most` records at a time; 0: that was all. Not
 * from the next cut on until that is in the store. */
void mw_records_sweep(mw_records *r);
int mw_records_sweep_on(mw_records *r, int64_t now_ns, uint32_t most);

#endif
