/* seal.c: exactly once, a shard's side: what sinks are given before the cut of a checkpoint is kept
 * apart from what comes after it.
 *
 * At the cut every shard sends a seal to all others, behind the lists it has sent before. A shard
 * that has the seals of all has all lists of before; its sinks keep what is of after aside until
 * those are answered, prepare (plugin.h), and go on. The dead letters come last, behind a second
 * round of seals, since other sinks may have written some while they finished. (The barriers of
 * Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows", 2015.) */
#include "flow/keeping.h"

#include <stdlib.h>
#include <string.h>

static int is_exactly_once(const mw_shard *s)
{
    return s->version->graph.exactly_once;
}

static int is_dead_letters(const mw_sink_host *h)
{
    return h == h->shard->version->sinks[0];
}

void mw_seal_mark(mw_shard *s, unsigned cut)
{
    if (!is_exactly_once(s)) return;
    s->seal.number = cut;
    s->seal.came[0] = s->seal.came[1] = 0, s->seal.closed = 0;
    for (mw_sink_host *h = s->sinks; h; h = h->next)
        if (h->open) h->seal = MW_SEALING;
    for (mw_source_host *h = s->sources; h; h = h->next) {
        if (!h->open || !h->started || !h->source.kind->offsets) continue;
        mw_offsets *o = h->source.kind->offsets(&h->source);
        if (!o) continue;
        o->source = &h->source;
        o->next = s->seal.offsets;
        s->seal.offsets = o;
    }
}

static void send_all(mw_shard *s, uint32_t which)
{
    for (unsigned i = 0; i < s->flow->shards; i++)
        if (i == s->index) mw_seal_came(s, which);
        else
            mw_post_send(s->flow->post, s->index, i,
                         (mw_message){.kind = MW_MSG_SEAL, .target = which});
}

void mw_seal_send(mw_shard *s)
{
    if (s->seal.number) send_all(s, 0);
}

void mw_seal_came(mw_shard *s, uint32_t which)
{
    s->seal.came[which]++;
    mw_shard_stay_awake(s);
}

/* Whether all sinks that are, or are not, that of the dead letters have come so far; those that
 * have nothing of before any more begin to prepare. */
static int advance(mw_shard *s, int dead, enum mw_seal least)
{
    int all = 1;
    for (mw_sink_host *h = s->sinks; h; h = h->next) {
        if (h->seal == MW_SEAL_NONE || is_dead_letters(h) != dead) continue;
        if (h->seal == MW_SEALING && !h->oldest) mw_sink_host_prepare(h, s->seal.number);
        all &= h->seal >= least;
    }
    return all;
}

void mw_seal_look(mw_shard *s)
{
    unsigned shards = s->flow->shards;
    if (s->seal.came[0] == shards && !s->seal.closed && advance(s, 0, MW_SEAL_PREPARES)) {
        s->seal.closed = 1;
        send_all(s, 1);
    }
    if (s->seal.came[1] == shards) advance(s, 1, MW_SEALED);
}

int mw_seal_is_done(const mw_shard *s)
{
    if (s->seal.came[1] < s->flow->shards) return 0;
    for (const mw_sink_host *h = s->sinks; h; h = h->next)
        if (h->seal != MW_SEAL_NONE && h->seal != MW_SEALED) return 0;
    return 1;
}

void mw_seal_end(mw_shard *s)
{
    s->seal.number = 0;
    for (mw_sink_host *h = s->sinks; h; h = h->next) h->seal = MW_SEAL_NONE;
}

void mw_seal_free(mw_shard *s)
{
    for (size_t i = 0; i < s->seal.count; i++)
        free((void *)s->seal.rows[i].key), free((void *)s->seal.rows[i].value);
    free(s->seal.rows);
    mw_buffer_close(&s->seal.record);
    mw_offsets_free(s->seal.offsets);
}

/* ---- what a sink says ---- */

static mw_shard *shard_of(mw_sink *k)
{
    return ((mw_sink_host *)k)->shard;
}

void mw_sink_prepared(mw_sink *k, const char *record, size_t len)
{
    mw_sink_host *h = (mw_sink_host *)k;
    mw_shard *s = h->shard;
    h->seal = MW_SEALED;
    if (record) {
        s->seal.record.len = 0;
        mw_buffer_append(&s->seal.record, k->name, strlen(k->name) + 1);
        mw_buffer_append(&s->seal.record, record, len);
        s->seal.commits = h;
    }
    mw_shard_stay_awake(s);
}

void mw_sink_committed(mw_sink *k)
{
    mw_shard_report(shard_of(k), MW_MSG_COMMITTED, 0, NULL);
}

void mw_seal_keep(mw_shard *s, mw_record row)
{
    if (s->seal.count == s->seal.room) {
        s->seal.room = s->seal.room ? s->seal.room * 2 : 16;
        s->seal.rows = realloc(s->seal.rows, s->seal.room * sizeof *s->seal.rows);
        mw_assert(s->seal.rows != NULL);
    }
    s->seal.rows[s->seal.count++] = row;
}

void **mw_sink_shared(mw_sink *k)
{
    return &shard_of(k)->sink_shared;
}
