/* records.h: keyed records: what mw.state keeps.
 *
 * A record is a few named fields with values of any JSON kind; numbers lie in place, so that
 * counting allocates nothing. Names are numbered once for all records. A record may have a time to
 * live, after which it is as if it were not there; it goes when its time is passed by.
 *
 * Thread: the shard that owns the keys. Memory a record: the entry's (entries.h), 16 bytes, and
 * for each field 24 and its text. */
#ifndef MW_RECORDS_H
#define MW_RECORDS_H

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
/* The next record that is alive: begin with *cursor 0; 0 at the end. */
uint32_t mw_records_next(mw_records *r, uint32_t *cursor, int64_t now_ns);
const mw_record_field *mw_records_at(mw_records *r, uint32_t id, uint32_t *count);
void mw_records_restored(mw_records *r);

#endif
