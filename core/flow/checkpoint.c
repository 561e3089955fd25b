/* checkpoint.c: saves the positions of all partitions that moved, in one transaction. Control's
 * thread. */
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>

typedef struct saved {
    mw_partition *partition;
    uint64_t position;
    size_t len;
    char value[8 + MW_NOTE_BYTES];
} saved;

static size_t collect(mw_flow *f, saved *rows, size_t room)
{
    size_t count = 0;
    for (mw_partition *p = f->partitions; p && count < room; p = p->next) {
        pthread_mutex_lock(&p->lock);
        saved *row = &rows[count];
        row->partition = p, row->position = atomic_load(&p->safe);
        if (p->dirty || row->position != p->saved || (!p->known && p->saved == 0 && p->note_len)) {
            memcpy(row->value, &row->position, 8);
            memcpy(row->value + 8, p->note, p->note_len);
            row->len = 8 + p->note_len;
            p->dirty = 0;
            count++;
        }
        pthread_mutex_unlock(&p->lock);
    }
    return count;
}

mw_status mw_checkpoint_save(mw_flow *f, mw_error *error)
{
    size_t room = 0;
    if (!f->store) return MW_OK; /* a replay keeps nothing */
    pthread_mutex_lock(&f->partitions_lock);
    for (mw_partition *p = f->partitions; p; p = p->next) room++;
    saved *rows = calloc(room + 1, sizeof *rows);
    mw_record *records = calloc(room + 1, sizeof *records);
    mw_assert(rows && records);
    size_t count = collect(f, rows, room);
    pthread_mutex_unlock(&f->partitions_lock);
    for (size_t i = 0; i < count; i++)
        records[i] =
            (mw_record){.key = rows[i].partition->key, .value = rows[i].value, .len = rows[i].len};
    mw_status status = count ? mw_store_put(f->store, records, count, error) : MW_OK;
    for (size_t i = 0; i < count; i++) {
        if (status == MW_OK) {
            rows[i].partition->saved = rows[i].position;
            atomic_store(&rows[i].partition->durable, rows[i].position);
        } else
            rows[i].partition->dirty = 1;
    }
    if (status == MW_OK && count) mw_count(&f->checkpoints, 1);
    if (status != MW_OK) mw_count(&f->checkpoint_failures, 1);
    free(rows);
    free(records);
    return status;
}
