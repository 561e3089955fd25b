/* store_private.h: what the files of the store share. */
#ifndef MW_STORE_PRIVATE_H
#define MW_STORE_PRIVATE_H

#include "state/store.h"

#include <lmdb.h>
#include <pthread.h>

struct mw_store {
    MDB_env *env;
    MDB_dbi db;
    char *folder;
    int lock_fd;
    pthread_mutex_t lock;
};

struct mw_store_writer {
    mw_store *store;
    MDB_txn *txn;
    MDB_cursor *cursor; /* finds a key near the one before without a way from the root */
    int rc;
    int aside; /* it is written down in `steps` first */
    mw_buffer steps;
};

/* store_verify.c: a value is kept with a sum of it and its key, MW_STORE_SUM bytes, behind it. */
enum { MW_STORE_SUM = 4 };
static const char mw_store_format_key[] = "format"; /* "2": values have sums */
uint32_t mw_store_sum(const MDB_val *key, const void *value, size_t len);
/* Takes the sum off; 0: it is not its own. */
int mw_store_plain(const MDB_val *key, MDB_val *value);

enum { MW_STORE_ADD = 'a', MW_STORE_REMOVE = 'r', MW_STORE_DROP = 'd' };

/* store_prepared.c */
void mw_store_record(mw_store_writer *w, char step, const char *key, size_t key_len,
                     const void *value, size_t len);
/* Writes the steps down; w->aside ends. */
void mw_store_set_aside(mw_store_writer *w);

#endif
