/* prepare.c: the first work on a batch: its frames become events, the fields that rules read are
 * projected, what is no valid event becomes a dead letter; then its first stage runs here or goes
 * to the shards that own the keys. */
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "flow/watchdog.h"
#include "state/key.h"

#include <string.h>

void mw_prepare_reject(mw_rules *r, uint32_t row, const char *why, size_t len)
{
    mw_view *v = &r->view;
    if (v->send_count == v->send_room) mw_view_grow(v);
    mw_send *line = &v->sends[v->send_count++];
    *line = (mw_send){.to = MW_TO_DEAD, .row = row, .http_status = 400};
    v->dead.len = 0;
    mw_dead_letter_write(v->batch, &v->events[row], NULL, NULL, why, len, &v->dead);
    line->text = mw_arena_copy(v->arena, v->dead.bytes, v->dead.len);
    line->len = (uint32_t)v->dead.len;
    v->events[row].dead = 1;
}

static void project_one(mw_rules *r, mw_projector *p, uint32_t row)
{
    mw_view *v = &r->view;
    const mw_event *e = &v->events[row];
    mw_json_fault fault;
    mw_value *values = v->slots + (size_t)row * v->stride;
    if (e->dead || mw_projector_run(p, e->text, e->len, values, &fault) == MW_OK) return;
    char why[200];
    int n = snprintf(why, sizeof why, "not valid JSON: %s, at byte %zu of the event", fault.what,
                     fault.at);
    mw_prepare_reject(r, row, why, (size_t)n);
}

void mw_prepare_project(mw_rules *r, uint32_t source)
{
    mw_view *v = &r->view;
    mw_projector *p = r->projectors[source];
    uint32_t row = 0;
    while (row + 1 < v->given) {
        const mw_event *e = &v->events[row];
        mw_value *values = v->slots + (size_t)row * v->stride;
        mw_pair pair = {{e[0].text, e[1].text}, {e[0].len, e[1].len}, {values, values + v->stride}};
        if (e[0].dead || e[1].dead || !mw_projector_run_pair(p, &pair)) {
            project_one(r, p, row);
            project_one(r, p, row + 1);
        }
        row += 2;
    }
    if (row < v->given) project_one(r, p, row);
}

unsigned mw_prepare_owner(mw_rules *r, uint32_t chain, uint32_t stage, uint32_t row)
{
    const mw_stage *st = &r->version->graph.chains[chain].stages[stage];
    const mw_view *v = &r->view;
    if (st->by_function) return mw_key_shard(v->hashes[row], r->version->shards);
    const mw_value *values[st->by_count + 1];
    for (uint32_t i = 0; i < st->by_count; i++)
        values[i] = &v->slots[(size_t)row * v->stride + (size_t)r->key_paths[chain][stage][i]];
    return mw_key_shard(mw_key_hash(values, st->by_count), r->version->shards);
}

static void reject_quarantined(mw_rules *r, const mw_watchdog *w)
{
    static const char why[] =
        "this event has brought the router down twice, and is not tried again";
    for (uint32_t row = 0; row < r->view.given; row++) {
        const mw_event *e = &r->view.events[row];
        if (!e->dead && mw_watchdog_is_quarantined(w, e->raw, e->raw_len))
            mw_prepare_reject(r, row, why, sizeof why - 1);
    }
}

/* Frames over the limit that came whole; of those that did not, their source has let go. */
static void reject_large(mw_rules *r, size_t limit)
{
    char why[120];
    int n =
        snprintf(why, sizeof why,
                 "larger than the %zu bytes that `limit` allows (raise it if it is meant)", limit);
    for (uint32_t row = 0; row < r->view.given; row++) {
        const mw_event *e = &r->view.events[row];
        if (!e->dead && e->raw_len > limit) mw_prepare_reject(r, row, why, (size_t)n);
    }
}

void mw_prepare(mw_shard *s, mw_batch *b)
{
    const mw_watchdog *watchdog = s->flow->options.watchdog;
    mw_source_host *home = b->owner;
    mw_rules *r = mw_rules_of(b, s);
    const mw_chain *chain = &r->version->graph.chains[b->source];
    int spread = home->source.kind->spread && s->flow->shards > 1;
    if (b->reject) mw_batch_add(b, b->block, b->len, b->block, b->len);
    else
        b->stream->format->split(b);
    mw_batch_expect_replies(b);
    if (r->version->graph.sources[b->source].capture_count) mw_capture_batch(s, b, spread);
    mw_view_begin(&r->view, b, &b->arena, b->events, b->count);
    if (b->reject) mw_prepare_reject(r, 0, b->reject, strlen(b->reject));
    else if (b->len > b->stream->limit)
        reject_large(r, b->stream->limit);
    if (mw_watchdog_has_quarantine(watchdog)) reject_quarantined(r, watchdog);
    mw_prepare_project(r, b->source);
    mw_time_of_batch(s, r, b);
    int keyed = chain->count && (chain->stages[0].by_count || chain->stages[0].by_function);
    mw_frame *waits = NULL;
    r->in_order = spread;
    if (keyed && (s->flow->shards > 1 || chain->count > 1))
        mw_run_hand_out(r, b, b->source, 0, spread || chain->count > 1);
    else
        waits = mw_run_here(r, b, b->source, 0, spread);
    if (spread) atomic_fetch_sub(&s->load, 1);
    if (waits) return; /* mw_run_finish goes on */
    mw_delivery_decided(s, b);
    mw_delivery_release(s, b);
}
