/* store.c: see store.h. */
#include "base/folders.h"
#include "base/log.h"
#include "state/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_BYTES = 500, PATH_BYTES = 4096, READERS_MOST = 4096 };
static const uint64_t look_bytes = 1 << 30;
static const size_t map_bytes = (size_t)64 << 30, map_least = 256 << 20; /* addresses, not disk */

static mw_status take_lock(mw_store *s, const char *folder, mw_error *error)
{
    char path[PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s/lock", folder);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock_fd < 0)
        return mw_fail(
            error, MW_IO,
            "cannot write in the state folder '%s': %s (choose another with --state DIR)", folder,
            strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return mw_fail(
            error, MW_IO,
            "the state folder '%s' is in use by another router (choose another with --state DIR)",
            folder);
    return MW_OK;
}

static int open_env(mw_store *s, const char *folder, size_t bytes)
{
    int rc = mdb_env_create(&s->env);
    if (rc == 0) rc = mdb_env_set_mapsize(s->env, bytes);
    if (rc == 0) rc = mdb_env_set_maxreaders(s->env, READERS_MOST);
    if (rc == 0) rc = mdb_env_open(s->env, folder, MDB_NOTLS, 0666);
    if (rc != 0 && s->env) mdb_env_close(s->env), s->env = NULL;
    return rc;
}

/* A process may be allowed fewer addresses than a large store would want. */
static mw_status open_db(mw_store *s, const char *folder, mw_error *error)
{
    MDB_txn *txn;
    size_t bytes = map_bytes;
    int rc = open_env(s, folder, bytes);
    while (rc == ENOMEM && bytes > map_least) rc = open_env(s, folder, bytes /= 2);
    if (rc == 0) rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &s->db);
        if (rc == 0) rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (rc != 0)
        return mw_fail(error, MW_IO, "cannot open the state in '%s': %s", folder, mdb_strerror(rc));
    return MW_OK;
}

/* A new one says how its values are kept; one that does not is of before. */
static mw_status check_format(mw_store *s, mw_error *error)
{
    MDB_stat stat;
    const mw_record row = {.key = mw_store_format_key, .value = "2", .len = 1};
    mw_buffer value = {0};
    int known = mw_store_get(s, mw_store_format_key, &value);
    mw_buffer_close(&value);
    if (known) return MW_OK;
    mdb_env_stat(s->env, &stat);
    if (stat.ms_entries == 0) return mw_store_put(s, &row, 1, error);
    return mw_fail(error, MW_INVALID,
                   "the state in '%s' is of an older version of Moonweir, which this one cannot "
                   "read: choose another folder with --state DIR to begin with nothing",
                   s->folder);
}

/* A start does not wait for all of a large state to be read, unless something of it was found to be
 * wrong. */
static int wants_look(const char *folder)
{
    char path[PATH_BYTES + 32];
    struct stat st;
    snprintf(path, sizeof path, "%s/suspect", folder);
    if (unlink(path) == 0) return 1;
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    return stat(path, &st) == 0 && (uint64_t)st.st_size <= look_bytes;
}

/* What is damaged is kept under another name, and the copy takes its place. */
static mw_status mend(const char *folder, mw_error *error)
{
    char path[PATH_BYTES + 32], aside[PATH_BYTES + 32], copy[PATH_BYTES + 32];
    mw_error why;
    if (!wants_look(folder) || mw_store_verify(folder, NULL, &why) == MW_OK) return MW_OK;
    snprintf(path, sizeof path, "%s/previous", folder);
    snprintf(copy, sizeof copy, "%s/previous/data.mdb", folder);
    if (access(copy, R_OK) != 0 || mw_store_verify(path, NULL, NULL) != MW_OK)
        return mw_fail(
            error, MW_INVALID,
            "%s, and there is no good copy of before: put the folder back from a backup, "
            "or choose another with --state DIR to begin with nothing",
            why.message);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    snprintf(aside, sizeof aside, "%s/data.mdb.damaged", folder);
    if (rename(path, aside) != 0 || rename(copy, path) != 0)
        return mw_fail(error, MW_IO, "%s, and the copy cannot take its place: %s", why.message,
                       strerror(errno));
    mw_log(MW_ERROR, "checkpoint",
           "%s; it is kept as '%s', and the run goes on from the checkpoint of the copy before it",
           why.message, aside);
    return MW_OK;
}

mw_status mw_store_open(mw_store **store, const char *folder, mw_error *error)
{
    mw_store *s = calloc(1, sizeof *s);
    mw_assert(s != NULL);
    s->lock_fd = -1;
    s->folder = strdup(folder);
    mw_assert(s->folder != NULL);
    pthread_mutex_init(&s->lock, NULL);
    mw_status status = mw_folders_make(folder, error);
    if (status != MW_OK) {
        const mw_error why = *error;
        status =
            mw_fail(error, MW_IO, "%s (choose another state folder with --state DIR)", why.message);
    }
    if (status == MW_OK) status = take_lock(s, folder, error);
    if (status == MW_OK) status = mend(folder, error);
    if (status == MW_OK) status = open_db(s, folder, error);
    if (status == MW_OK) status = check_format(s, error);
    if (status != MW_OK) {
        mw_store_close(s);
        return status;
    }
    *store = s;
    return MW_OK;
}

void mw_store_close(mw_store *s)
{
    if (!s) return;
    if (s->env) mdb_env_close(s->env);
    if (s->lock_fd >= 0) close(s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->folder);
    free(s);
}

static MDB_val key_of(const char *key, size_t len)
{
    return (MDB_val){.mv_size = len < KEY_BYTES ? len : KEY_BYTES, .mv_data = (void *)key};
}

/* What was damaged since the start ends the process; the next start reads all, and mends it. */
static int is_plain(const mw_store *s, const MDB_val *k, MDB_val *v)
{
    char path[PATH_BYTES + 32];
    if (mw_store_plain(k, v)) return 1;
    snprintf(path, sizeof path, "%s/suspect", s->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) close(fd);
    mw_log(MW_ERROR, "checkpoint", "a record in the state folder is not what was written");
    mw_assert(!"the state is damaged");
    return 0;
}

int mw_store_find(mw_store *s, const char *key, size_t key_len, mw_buffer *out)
{
    MDB_txn *txn;
    MDB_val k = key_of(key, key_len), v;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0) return 0;
    int found = mdb_get(txn, s->db, &k, &v) == 0;
    if (found && is_plain(s, &k, &v)) mw_buffer_append(out, v.mv_data, v.mv_size);
    mdb_txn_abort(txn);
    return found;
}

int mw_store_get(mw_store *s, const char *key, mw_buffer *out)
{
    return mw_store_find(s, key, strlen(key), out);
}

static int begins_with(const MDB_val *key, const char *prefix, size_t len)
{
    return key->mv_size >= len && memcmp(key->mv_data, prefix, len) == 0;
}

void mw_store_from(mw_store *s, const mw_buffer *prefix, const mw_buffer *from, mw_store_visit each,
                   void *self)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k = key_of(from->bytes, from->len), v;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0) return;
    if (mdb_cursor_open(txn, s->db, &cursor) == 0) {
        int rc = mdb_cursor_get(cursor, &k, &v, from->len ? MDB_SET_RANGE : MDB_FIRST);
        while (rc == 0 && begins_with(&k, prefix->bytes, prefix->len) && is_plain(s, &k, &v) &&
               each(self, k.mv_data, k.mv_size, v.mv_data, v.mv_size))
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
}

void mw_store_each(mw_store *s, const char *prefix, size_t len, mw_store_visit each, void *self)
{
    const mw_buffer from = {.bytes = (char *)prefix, .len = len};
    mw_store_from(s, &from, &from, each, self);
}

/* A transaction that is begun for each read and let go after it: one that stays would keep every
 * page that is written meanwhile. */
struct mw_store_reader {
    mw_store *store;
    MDB_txn *txn;
    MDB_cursor *cursor;
};

mw_store_reader *mw_store_reader_new(mw_store *s)
{
    mw_store_reader *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    r->store = s;
    mw_assert(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &r->txn) == 0);
    mw_assert(mdb_cursor_open(r->txn, s->db, &r->cursor) == 0);
    mdb_txn_reset(r->txn);
    return r;
}

void mw_store_reader_free(mw_store_reader *r)
{
    if (!r) return;
    mdb_cursor_close(r->cursor);
    mdb_txn_abort(r->txn);
    free(r);
}

static void replace(mw_buffer *out, const MDB_val *v)
{
    out->len = 0;
    mw_buffer_append(out, v->mv_data, v->mv_size);
}

int mw_store_reader_find(mw_store_reader *r, const char *key, size_t key_len, mw_buffer *out)
{
    MDB_val k = key_of(key, key_len), v;
    mw_assert(mdb_txn_renew(r->txn) == 0);
    int found = mdb_get(r->txn, r->store->db, &k, &v) == 0 && is_plain(r->store, &k, &v);
    if (found) replace(out, &v);
    mdb_txn_reset(r->txn);
    return found;
}

int mw_store_reader_seek(mw_store_reader *r, mw_buffer *key, size_t prefix, mw_buffer *value)
{
    MDB_val k = key_of(key->bytes, key->len), v;
    mw_assert(mdb_txn_renew(r->txn) == 0 && mdb_cursor_renew(r->txn, r->cursor) == 0);
    int found = mdb_cursor_get(r->cursor, &k, &v, MDB_SET_RANGE) == 0 &&
                begins_with(&k, key->bytes, prefix) && is_plain(r->store, &k, &v);
    if (found) replace(key, &k), replace(value, &v);
    mdb_txn_reset(r->txn);
    return found;
}

mw_store_writer *mw_store_begin(mw_store *s)
{
    mw_store_writer *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->store = s;
    pthread_mutex_lock(&s->lock);
    w->rc = mdb_txn_begin(s->env, NULL, 0, &w->txn);
    if (w->rc) w->txn = NULL;
    else
        w->rc = mdb_cursor_open(w->txn, s->db, &w->cursor);
    return w;
}

void mw_store_add(mw_store_writer *w, const char *key, size_t key_len, const void *value,
                  size_t len)
{
    MDB_val k = key_of(key, key_len), v = {.mv_size = len + MW_STORE_SUM};
    if (w->aside) mw_store_record(w, MW_STORE_ADD, key, key_len, value, len);
    if (w->rc || w->aside) return;
    w->rc = mdb_cursor_put(w->cursor, &k, &v, MDB_RESERVE);
    if (w->rc) return;
    const uint32_t sum = mw_store_sum(&k, value, len);
    memcpy(v.mv_data, value, len);
    memcpy((char *)v.mv_data + len, &sum, sizeof sum);
}

void mw_store_remove(mw_store_writer *w, const char *key, size_t key_len)
{
    MDB_val k = key_of(key, key_len);
    if (w->aside) mw_store_record(w, MW_STORE_REMOVE, key, key_len, NULL, 0);
    if (w->rc || w->aside) return;
    w->rc = mdb_del(w->txn, w->store->db, &k, NULL);
    if (w->rc == MDB_NOTFOUND) w->rc = 0;
}

void mw_store_drop(mw_store_writer *w, const char *prefix, size_t len)
{
    MDB_cursor *cursor;
    MDB_val k = key_of(prefix, len), v;
    if (w->aside) mw_store_record(w, MW_STORE_DROP, prefix, len, NULL, 0);
    if (w->rc || w->aside) return;
    w->rc = mdb_cursor_open(w->txn, w->store->db, &cursor);
    if (w->rc) return;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (rc == 0 && begins_with(&k, prefix, len)) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND) w->rc = rc;
    mdb_cursor_close(cursor);
}

mw_status mw_store_end(mw_store_writer *w, mw_error *error)
{
    if (w->aside) mw_store_set_aside(w);
    int rc = w->rc;
    if (w->cursor) mdb_cursor_close(w->cursor);
    if (w->txn && rc) mdb_txn_abort(w->txn);
    else if (w->txn)
        rc = mdb_txn_commit(w->txn);
    pthread_mutex_unlock(&w->store->lock);
    free(w);
    if (rc != 0) return mw_fail(error, MW_IO, "cannot write the checkpoint: %s", mdb_strerror(rc));
    return MW_OK;
}

void mw_store_abandon(mw_store_writer *w)
{
    if (w->cursor) mdb_cursor_close(w->cursor);
    if (w->txn) mdb_txn_abort(w->txn);
    pthread_mutex_unlock(&w->store->lock);
    free(w);
}

mw_status mw_store_put(mw_store *s, const mw_record *records, size_t count, mw_error *error)
{
    mw_store_writer *w = mw_store_begin(s);
    for (size_t i = 0; i < count; i++)
        mw_store_add(w, records[i].key, strlen(records[i].key), records[i].value, records[i].len);
    return mw_store_end(w, error);
}
