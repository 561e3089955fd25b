/* commit.c: exactly once, control's side: how a checkpoint comes to count, and what becomes of one
 * that was prepared when the router ended.
 *
 * Where no sink has transactions, one write makes the checkpoint: sinks have their records in it
 * (file lengths), to which they go back at a restart. Where one has, the checkpoint is written as
 * prepared; then the sinks' transaction is committed, which holds the checkpoint's number; then the
 * checkpoint is promoted. A restart asks whether that number was committed. */
#include "base/log.h"
#include "flow/keeping.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char number_key[] = "checkpoint", state_key[] = "identity";

void mw_offsets_free(mw_offsets *o)
{
    for (mw_offsets *next; o; o = next) next = o->next, o->free(o);
}

/* ---- while it runs ---- */

static void append(mw_flow *f, mw_record row)
{
    f->cut.rows = realloc(f->cut.rows, (f->cut.row_count + 1) * sizeof *f->cut.rows);
    mw_assert(f->cut.rows != NULL);
    f->cut.rows[f->cut.row_count++] = row;
}

static void gather_shard(mw_flow *f, mw_shard *s)
{
    mw_offsets **end = &f->cut.offsets;
    for (size_t i = 0; i < s->seal.count; i++) append(f, s->seal.rows[i]);
    s->seal.count = 0;
    while (*end) end = &(*end)->next;
    *end = s->seal.offsets;
    s->seal.offsets = NULL;
    if (!s->seal.commits) return;
    f->cut.commits = s->seal.commits;
    f->cut.record.len = 0;
    mw_buffer_append(&f->cut.record, s->seal.record.bytes, s->seal.record.len);
    s->seal.commits = NULL;
}

int mw_commit_gather(mw_flow *f)
{
    size_t before = f->cut.row_count;
    for (unsigned i = 0; i < f->shards; i++) gather_shard(f, &f->shard[i]);
    return f->cut.row_count > before || f->cut.commits || f->cut.offsets;
}

void mw_commit_number(mw_flow *f)
{
    uint64_t *number = malloc(sizeof *number);
    mw_assert(number != NULL);
    *number = ++f->cut.numbered;
    append(f, (mw_record){.key = strdup(number_key), .value = number, .len = sizeof *number});
}

void mw_commit_ask(mw_flow *f)
{
    mw_sink_host *h = f->cut.commits;
    mw_post_send(f->post, f->shards, h->shard->index,
                 (mw_message){.kind = MW_MSG_COMMIT, .body = h});
}

/* On the sink's shard; control leaves these alone until it is done. */
void mw_commit_do(mw_sink_host *h)
{
    const mw_flow *f = h->shard->flow;
    if (!h->open) return; /* the run ends: the next asks what became of it */
    h->sink.kind->commit(&h->sink, f->cut.numbered, f->cut.offsets);
}

void mw_commit_over(mw_flow *f)
{
    int told = f->cut.commits != NULL;
    for (mw_offsets *o = f->cut.offsets, *next; o; o = next) {
        next = o->next;
        const mw_source_host *h = (const mw_source_host *)o->source;
        mw_post_send(
            f->post, f->shards, h->shard->index,
            (mw_message){.kind = MW_MSG_CHECKPOINTED, .target = (uint32_t)told, .body = o});
    }
    f->cut.offsets = NULL, f->cut.commits = NULL;
}

/* On the source's shard. */
void mw_commit_tell(mw_offsets *o, int told)
{
    mw_source_host *h = (mw_source_host *)o->source;
    if (h->open && h->source.kind->checkpointed) h->source.kind->checkpointed(o->source, o, told);
    o->free(o);
}

void mw_commit_free(mw_flow *f)
{
    mw_offsets_free(f->cut.offsets);
    mw_buffer_close(&f->cut.record);
}

/* ---- at the start ---- */

static mw_status open_identity(mw_flow *f, mw_error *error)
{
    mw_buffer value = {0};
    mw_status status = MW_OK;
    if (mw_store_get(f->store, state_key, &value) && value.len == sizeof f->state) {
        memcpy(&f->state, value.bytes, sizeof f->state);
    } else {
        mw_assert(getrandom(&f->state, sizeof f->state, 0) == (ssize_t)sizeof f->state);
        const mw_record row = {.key = state_key, .value = &f->state, .len = sizeof f->state};
        status = mw_store_put(f->store, &row, 1, error);
    }
    mw_buffer_close(&value);
    return status;
}

static const mw_declared *find_sink(const mw_graph *g, const char *name)
{
    uint32_t i;
    if (!g->exactly_once || !mw_version_find(g->sinks, g->sink_count, name, &i)) return NULL;
    return g->sinks[i].sink_kind->settle ? &g->sinks[i] : NULL;
}

static mw_status settle(mw_flow *f, uint64_t number, const mw_buffer *record, int *committed,
                        mw_error *error)
{
    const mw_graph *g = &f->version->graph;
    const char *name = record->bytes;
    const size_t head = strnlen(name, record->len) + 1;
    const mw_declared *d = find_sink(g, name);
    if (!d)
        return mw_fail(error, MW_CONFIG,
                       "checkpoint %llu was being committed with the sink '%s', which this flow "
                       "does not have as exactly-once any more: run the flow as it was once more, "
                       "so that it can be told what was, or choose another folder with --state DIR",
                       (unsigned long long)number, name);
    mw_sink sink = {.kind = d->sink_kind,
                    .name = d->name,
                    .config = d->config,
                    .flow = g->name,
                    .exactly_once = 1,
                    .state = f->state};
    return d->sink_kind->settle(&sink, number, name + head, record->len - head, committed, error);
}

static mw_status decide(mw_flow *f, mw_error *error)
{
    uint64_t number;
    int committed = 0;
    mw_buffer record = {0};
    mw_status status = MW_OK;
    if (mw_store_prepared(f->store, &number, &record)) {
        mw_buffer_append(&record, "", 1);
        record.len--;
        status = settle(f, number, &record, &committed, error);
        if (status == MW_OK) {
            mw_log(MW_INFO, "checkpoint", "%llu was prepared when the router ended, and %s",
                   (unsigned long long)number,
                   committed ? "committed: it counts" : "not committed: it does not count");
            status =
                committed ? mw_store_promote(f->store, error) : mw_store_discard(f->store, error);
        }
    }
    mw_buffer_close(&record);
    return status;
}

mw_status mw_commit_recover(mw_flow *f, mw_error *error)
{
    mw_buffer value = {0};
    if (!f->store) return MW_OK;
    mw_status status = f->version->graph.exactly_once ? open_identity(f, error) : MW_OK;
    if (status == MW_OK) status = decide(f, error);
    if (status == MW_OK && mw_store_get(f->store, number_key, &value) && value.len == 8)
        memcpy(&f->cut.numbered, value.bytes, 8);
    mw_buffer_close(&value);
    return status;
}
