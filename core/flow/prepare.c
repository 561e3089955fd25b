/* prepare.c: the first work on a batch: its frames become events, the fields that rules read are
 * projected, what is no valid event becomes a dead letter; then its first stage runs here or goes
 * to the shards that own the keys. */
#include "base/hash.h"
#include "flow/flow_private.h"

#include <string.h>

static void reject(mw_shard *s, uint32_t row, const char *why, size_t len)
{
    mw_view *v = &s->view;
    if (v->send_count == v->send_room) mw_view_grow(v);
    mw_send *line = &v->sends[v->send_count++];
    *line = (mw_send){.to = MW_TO_DEAD, .row = row, .http_status = 400};
    v->dead.len = 0;
    mw_dead_letter_write(s, v->batch, &v->events[row], NULL, NULL, why, len, &v->dead);
    line->text = mw_arena_copy(v->arena, v->dead.bytes, v->dead.len);
    line->len = (uint32_t)v->dead.len;
    v->events[row].dead = 1;
}

static void project_one(mw_shard *s, mw_projector *p, uint32_t row)
{
    mw_view *v = &s->view;
    const mw_event *e = &v->events[row];
    mw_json_fault fault;
    mw_value *values = v->slots + (size_t)row * v->stride;
    if (e->dead || mw_projector_run(p, e->text, e->len, values, &fault) == MW_OK) return;
    char why[200];
    int n = snprintf(why, sizeof why, "not valid JSON: %s, at byte %zu of the event", fault.what,
                     fault.at);
    reject(s, row, why, (size_t)n);
}

void mw_prepare_project(mw_shard *s, uint32_t source)
{
    mw_view *v = &s->view;
    mw_projector *p = s->projectors[source];
    uint32_t row = 0;
    while (row + 1 < v->given) {
        const mw_event *e = &v->events[row];
        mw_value *values = v->slots + (size_t)row * v->stride;
        mw_pair pair = {{e[0].text, e[1].text}, {e[0].len, e[1].len}, {values, values + v->stride}};
        if (e[0].dead || e[1].dead || !mw_projector_run_pair(p, &pair)) {
            project_one(s, p, row);
            project_one(s, p, row + 1);
        }
        row += 2;
    }
    if (row < v->given) project_one(s, p, row);
}

static uint64_t hash_value(const mw_value *v)
{
    if (v->kind == MW_ABSENT) return 0;
    if (v->kind != MW_ESCAPED) {
        size_t len = v->len;
        if (v->kind == MW_OBJECT) len = mw_json_value(v->text, v->len).len;
        return mw_hash(v->text, len);
    }
    mw_buffer plain = {0};
    mw_json_unescape(&plain, v->text, v->len);
    uint64_t h = mw_hash(plain.bytes ? plain.bytes : "", plain.len);
    mw_buffer_close(&plain);
    return h;
}

enum { KEY_GROUPS = 256 };

unsigned mw_prepare_owner(mw_shard *s, uint32_t chain, uint32_t stage, uint32_t row)
{
    const mw_stage *st = &s->flow->graph.chains[chain].stages[stage];
    const mw_view *v = &s->view;
    uint64_t h = 0;
    if (st->by_function) h = v->hashes[row];
    for (uint32_t i = 0; i < st->by_count; i++) {
        uint64_t parts[2] = {
            h,
            hash_value(&v->slots[(size_t)row * v->stride + (size_t)s->key_paths[chain][stage][i]])};
        h = mw_hash(parts, sizeof parts);
    }
    return (unsigned)(h % KEY_GROUPS * s->flow->shards / KEY_GROUPS);
}

void mw_prepare(mw_shard *s, mw_batch *b)
{
    mw_source_host *home = b->owner;
    uint32_t source = home->index;
    const mw_chain *chain = &s->flow->graph.chains[source];
    int spread = home->source.kind->spread && s->flow->shards > 1;
    if (b->reject) mw_batch_add(b, b->block, b->len, b->block, b->len);
    else
        b->stream->format->split(b);
    mw_batch_expect_replies(b);
    mw_view_begin(&s->view, b, &b->arena, b->events, b->count);
    if (b->reject) reject(s, 0, b->reject, strlen(b->reject));
    mw_prepare_project(s, source);
    int keyed = chain->count && (chain->stages[0].by_count || chain->stages[0].by_function);
    if (keyed && s->flow->shards > 1)
        mw_run_hand_out(s, b, source, source, 0, spread || chain->count > 1);
    else
        mw_run_here(s, b, source, source, 0, spread);
    if (spread) atomic_fetch_sub(&s->load, 1);
    mw_delivery_decided(s, b);
    mw_delivery_release(s, b);
}
