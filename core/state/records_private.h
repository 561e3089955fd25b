/* records_private.h: what the files of keyed records share. */
#ifndef MW_RECORDS_PRIVATE_H
#define MW_RECORDS_PRIVATE_H

#include "state/due.h"
#include "state/records.h"

/* An entry's payload. */
typedef struct mw_record_payload {
    mw_record_field *fields; /* room is the next power of two */
    uint32_t count;
    uint32_t used : 1, loaded : 31; /* asked for since the sweep was here; number of its loading */
    int64_t until_ns;               /* 0: for ever */
    int64_t item_ns;                /* of its item in the heap; 0: it has none */
} mw_record_payload;

typedef struct mw_record_name {
    char *text;
    uint32_t len;
} mw_record_name;

/* It was deleted: with a limit its entry stays until the store knows. */
#define MW_RECORD_GONE INT64_MIN

struct mw_records {
    mw_entries *entries;
    int64_t ttl_ns;
    mw_due due; /* of those with a time to live, where there is no limit */
    mw_record_name *names;
    uint32_t name_count;
    size_t held; /* bytes of fields and texts */
    /* where there is a limit */
    mw_cold *cold;
    size_t limit;
    int mortal; /* some have a time to live */
    uint32_t loads;
    mw_record_payload shown; /* of a walk */
    struct {
        uint32_t hand; /* where it is among the entries */
        uint64_t left, rows_left, let_go;
        mw_buffer row;
    } sweep;
};

/* records.c */
extern const mw_entry_codec mw_records_codec;
int mw_record_is_alive(const mw_record_payload *rec, int64_t now_ns);

/* records_cold.c: a record that may be in the store alone; 0: there is none. */
uint32_t mw_records_find(mw_records *r, const mw_key *key);

static inline mw_record_payload *mw_record_at(const mw_records *r, uint32_t id)
{
    return mw_entry_payload(mw_entries_at(r->entries, id));
}

#endif
