/* store_verify.c: whether what the store has is what was written, and the copy for when it is not.
 *
 * LMDB replaces no page that is in use, so a crash leaves the state of before a transaction or of
 * after it; it has no checksums against what disks and memory do. Each value has one. */
#include "base/hash.h"
#include "state/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

uint32_t mw_store_sum(const MDB_val *key, const void *value, size_t len)
{
    return (uint32_t)mw_hash_fold(mw_hash(value, len) ^ MW_HASH_K2,
                                  mw_hash(key->mv_data, key->mv_size));
}

int mw_store_plain(const MDB_val *key, MDB_val *value)
{
    uint32_t sum;
    if (value->mv_size < MW_STORE_SUM) return 0;
    value->mv_size -= MW_STORE_SUM;
    memcpy(&sum, (const char *)value->mv_data + value->mv_size, sizeof sum);
    return sum == mw_store_sum(key, value->mv_data, value->mv_size);
}

/* ---- reading all of it, in a child ---- */

/* What the child has found, in memory that both have. */
typedef struct finding {
    uint64_t rows;
    char why[300];
} finding;

static void name_key(const MDB_val *key, char *to, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < key->mv_size && n + 1 < room; i++) {
        char c = ((const char *)key->mv_data)[i];
        to[n++] = c >= ' ' && c < 127 ? c : '.';
    }
    to[n] = 0;
}

/* Versions of Moonweir before sums have written no such record. */
static int is_older(MDB_txn *txn, MDB_dbi db)
{
    MDB_val k = {.mv_size = sizeof mw_store_format_key - 1, .mv_data = (void *)mw_store_format_key},
            v;
    return mdb_get(txn, db, &k, &v) == MDB_NOTFOUND;
}

static int read_all(const char *folder, finding *f)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    MDB_cursor *cursor;
    MDB_val k, v;
    char key[120];
    int rc = mdb_env_create(&env);
    if (rc == 0) rc = mdb_env_open(env, folder, MDB_RDONLY | MDB_NOLOCK, 0666);
    if (rc == 0) rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) rc = mdb_dbi_open(txn, NULL, 0, &db);
    if (rc == 0) rc = mdb_cursor_open(txn, db, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        f->rows++;
        if (mw_store_plain(&k, &v)) continue;
        name_key(&k, key, sizeof key);
        if (is_older(txn, db))
            snprintf(f->why, sizeof f->why,
                     "it is of an older version of Moonweir, which this one cannot read");
        else
            snprintf(f->why, sizeof f->why, "the record '%s' is not what was written", key);
        return 1;
    }
    if (rc == MDB_NOTFOUND) return 0;
    snprintf(f->why, sizeof f->why, "%s", mdb_strerror(rc));
    return 1;
}

static int run_child(const char *folder, finding *f)
{
    const struct rlimit none = {0, 0};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    int status;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &none);
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
        _exit(read_all(folder, f));
    }
    if (child < 0) return 0; /* then it shows when it is read */
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    snprintf(f->why, sizeof f->why, "reading it ended with signal %d", WTERMSIG(status));
    return 1;
}

mw_status mw_store_verify(const char *folder, uint64_t *rows, mw_error *error)
{
    struct stat st;
    char path[4200];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (rows) *rows = 0;
    if (stat(path, &st) != 0 || st.st_size == 0) return MW_OK;
    finding *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mw_assert(f != MAP_FAILED);
    int bad = run_child(folder, f);
    if (rows) *rows = f->rows;
    mw_status status = MW_OK;
    if (bad) status = mw_fail(error, MW_INVALID, "the state in '%s' is damaged: %s", path, f->why);
    munmap(f, sizeof *f);
    return status;
}

/* ---- the copy ---- */

static int sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

mw_status mw_store_copy(mw_store *s, mw_error *error)
{
    char folder[4200], from[4300], to[4300];
    snprintf(folder, sizeof folder, "%s/previous", s->folder);
    snprintf(to, sizeof to, "%s/data.mdb", folder);
    mkdir(folder, 0777);
    snprintf(folder, sizeof folder, "%s/previous/new", s->folder);
    snprintf(from, sizeof from, "%s/data.mdb", folder);
    mkdir(folder, 0777);
    unlink(from); /* of a copy that was not finished */
    int rc = mdb_env_copy2(s->env, folder, MDB_CP_COMPACT);
    if (rc == 0 && sync_file(from) != 0) rc = errno;
    if (rc == 0 && rename(from, to) != 0) rc = errno;
    if (rc == 0) return MW_OK;
    return mw_fail(error, MW_IO, "no copy of the state can be made in '%s': %s", folder,
                   mdb_strerror(rc));
}
