/* run.c: runs a stage of rules over the events that the shard's view holds, and carries out its
 * journal: lists to the sinks' homes, answers to the batch, and the events to the next stage. */
#include "base/clock.h"
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "lua/park.h"

#include <stdlib.h>
#include <string.h>

/* The answer to an event that went to the dead letters: the letter's own words. */
static void reply_with_error(mw_rules *r, mw_batch *b, const mw_send *line)
{
    if (!b->replies || !line->text) return;
    mw_value why = mw_json_member(line->text, line->len, "error", 5, 0);
    mw_buffer *out = &r->view.dead;
    out->len = 0;
    mw_buffer_text(out, "{\"error\":\"");
    if (why.kind == MW_STRING || why.kind == MW_ESCAPED) mw_buffer_append(out, why.text, why.len);
    mw_buffer_text(out, "\",\"dead_letter\":true}");
    mw_batch_reply(b, r->view.events[line->row].origin, line->http_status ? line->http_status : 422,
                   mw_arena_copy(r->view.arena, out->bytes, out->len), out->len);
}

static uint32_t sink_of(const mw_send *line)
{
    return mw_send_is_to(line, MW_TO_DEAD) ? 0 : line->to;
}

static int is_for_sink(const mw_send *line, const mw_graph *g)
{
    return line->to < g->sink_count || mw_send_is_to(line, MW_TO_DEAD);
}

static void count_lines(mw_rules *r, mw_batch *b)
{
    const mw_view *v = &r->view;
    const mw_graph *g = &r->version->graph;
    mw_counter *failed = &r->version->tallies[r->shard->index].failed;
    memset(r->list_counts, 0, g->sink_count * sizeof *r->list_counts);
    for (uint32_t i = 0; i < v->send_count; i++) {
        const mw_send *line = &v->sends[i];
        if (is_for_sink(line, g)) r->list_counts[sink_of(line)]++;
        if (mw_send_is_to(line, MW_TO_REPLY))
            mw_batch_reply(b, v->events[line->row].origin, line->http_status, line->text,
                           line->len);
        else if (mw_send_is_to(line, MW_TO_DEAD))
            reply_with_error(r, b, line), mw_count(failed, line->http_status == 0);
    }
}

mw_list_item *mw_run_new_list(mw_batch *b, mw_sink_host *to, int ordered, uint32_t count)
{
    mw_list_item *item = malloc(sizeof *item + count * sizeof(mw_piece));
    mw_assert(item != NULL);
    item->order.number = b->sequence;
    item->to = to;
    item->list = (mw_list){.batch = b, .sequence = b->sequence, .ordered = ordered};
    return item;
}

static void fill_lists(mw_rules *r)
{
    const mw_view *v = &r->view;
    for (uint32_t i = 0; i < v->send_count; i++) {
        const mw_send *line = &v->sends[i];
        if (!is_for_sink(line, &r->version->graph)) continue;
        mw_list *list = &r->lists[sink_of(line)]->list;
        const mw_event *e = &v->events[line->row];
        mw_piece *p = &list->pieces[list->count++];
        p->event = e->origin, p->rule = line->rule;
        p->options = line->options, p->options_len = line->options_len;
        if (line->text) p->text = line->text, p->len = line->len, p->raw = NULL, p->raw_len = 0;
        else
            p->text = e->text, p->len = e->len, p->raw = e->raw, p->raw_len = e->raw_len;
        list->bytes += p->len;
    }
}

void mw_run_send_list(mw_shard *s, mw_list_item *item)
{
    mw_delivery_hold(item->list.batch);
    if (item->to->shard == s) mw_sink_host_take(item->to, item);
    else
        mw_post_send(s->flow->post, s->index, item->to->shard->index,
                     (mw_message){.kind = MW_MSG_LIST, .body = item});
}

/* An ordered run sends to every sink, if only to say that nothing comes of this batch. */
void mw_run_carry_out(mw_rules *r, mw_batch *b, int ordered)
{
    uint32_t sinks = mw_graph_plain_sinks(&r->version->graph);
    count_lines(r, b);
    for (uint32_t i = 0; i < sinks; i++)
        r->lists[i] = r->list_counts[i] || ordered
                          ? mw_run_new_list(b, r->version->sinks[i], ordered, r->list_counts[i])
                          : NULL;
    fill_lists(r);
    for (uint32_t i = 0; i < sinks; i++)
        if (r->lists[i]) mw_run_send_list(r->shard, r->lists[i]);
}

/* ---- what goes to channels ---- */

/* A row for the shard that has its key in a channel. */
typedef struct mw_routed {
    uint32_t chain, owner, order;
    mw_event event;
} mw_routed;

static mw_run *new_run(mw_shard *s, mw_batch *b, uint32_t chain, uint32_t stage, int ordered,
                       uint32_t count);
static void send_run(mw_shard *s, unsigned owner, mw_run *r);

/* A batch may be run by several shards, and several batches at a time: what is sent to channels is
 * kept until the run is done, and put back into the order of batches and events where it arrives.
 */
static void keep_routed(mw_rules *r, uint32_t chain, uint32_t owner, const mw_event *e)
{
    mw_buffer *to = r->view.frame ? &r->view.frame->routed : &r->routed;
    mw_routed routed = {
        .chain = chain, .owner = owner, .order = (uint32_t)(to->len / sizeof routed), .event = *e};
    mw_buffer_append(to, (const char *)&routed, sizeof routed);
}

static int by_place(const void *a, const void *b)
{
    const mw_routed *x = a, *y = b;
    if (x->event.origin != y->event.origin) return x->event.origin < y->event.origin ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int is_routed_to(const mw_chain *c)
{
    return c->count && (c->stages[0].by_count || c->stages[0].by_function);
}

/* Every shard gets a run of every channel with a key, an empty one if need be: it tells that
 * nothing more comes of this part of the batch. */
static void send_routed(mw_rules *r, mw_batch *b, mw_buffer *routed)
{
    const mw_graph *g = &r->version->graph;
    unsigned shards = r->version->shards;
    mw_routed *list = (mw_routed *)routed->bytes;
    uint32_t count = (uint32_t)(routed->len / sizeof *list);
    mw_run *runs[shards];
    if (shards == 1) return; /* there the rules of channels have run */
    if (count) qsort(list, count, sizeof *list, by_place);
    for (uint32_t chain = g->source_count; chain < g->chain_count; chain++) {
        uint32_t rows[shards];
        if (!is_routed_to(&g->chains[chain])) continue;
        memset(rows, 0, sizeof rows);
        for (uint32_t n = 0; n < count; n++) rows[list[n].owner] += list[n].chain == chain;
        for (unsigned i = 0; i < shards; i++) runs[i] = new_run(r->shard, b, chain, 0, 1, rows[i]);
        for (uint32_t n = 0; n < count; n++) {
            if (list[n].chain != chain) continue;
            mw_run *run = runs[list[n].owner];
            run->events[run->count++] = list[n].event;
        }
        for (unsigned i = 0; i < shards; i++) send_run(r->shard, i, runs[i]);
    }
    routed->len = 0;
}

/* Lines of rows that have not waited: out at once, unless all of the run leave together. */
static void leave_frame(mw_rules *r, mw_batch *b, uint32_t chain, uint32_t stage, int ordered)
{
    mw_view *v = &r->view;
    mw_frame *f = v->frame;
    f->chain = chain, f->stage = stage, f->ordered = ordered, f->in_order = r->in_order;
    if (ordered) mw_buffer_append(&f->lines, v->sends, v->send_count * sizeof *v->sends);
    else
        mw_run_carry_out(r, b, 0);
    if (r->routed.len) mw_buffer_append(&f->routed, r->routed.bytes, r->routed.len);
    r->routed.len = 0;
    mw_frame_leave(v);
}

/* Rules wait for stores, and for keys of other shards: then rows are told apart by their keys. */
static int may_wait(const mw_version *v)
{
    return v->graph.store_count || (v->shards > 1 && v->graph.keep_count);
}

mw_frame *mw_run_here(mw_rules *r, mw_batch *b, uint32_t chain, uint32_t stage, int ordered)
{
    mw_tally *tally = &r->version->tallies[r->shard->index];
    const mw_chain *c = &r->version->graph.chains[chain];
    r->chain = chain, r->stage = stage;
    if (c->count) {
        int64_t began_ns = mw_clock_steady_ns();
        r->shard->running = &r->view;
        mw_time_begin(r, b);
        if (c->stages[stage].by_function && may_wait(r->version)) mw_lua_key(r->lua, chain, stage);
        mw_lua_run(r->lua, chain, stage);
        r->shard->running = NULL;
        mw_time_end(r);
        mw_count(&tally->rule_ns, (uint64_t)(mw_clock_steady_ns() - began_ns));
    }
    mw_count(&tally->decided, r->view.given);
    mw_frame *f = r->view.frame;
    if (f) {
        leave_frame(r, b, chain, stage, ordered);
        return f;
    }
    mw_run_carry_out(r, b, ordered);
    if (r->in_order && c->count) send_routed(r, b, &r->routed);
    return NULL;
}

static mw_run *new_run(mw_shard *s, mw_batch *b, uint32_t chain, uint32_t stage, int ordered,
                       uint32_t count)
{
    mw_run *r = malloc(sizeof *r + count * sizeof(mw_event));
    mw_assert(r != NULL);
    *r = (mw_run){.order = {.number = b->sequence},
                  .batch = b,
                  .chain = chain,
                  .stage = stage,
                  .ordered = ordered};
    mw_delivery_hold(b);
    mw_delivery_begin(s, b);
    return r;
}

static void send_run(mw_shard *s, unsigned owner, mw_run *r)
{
    if (owner == s->index) mw_shard_run(s, r);
    else
        mw_post_send(s->flow->post, s->index, owner, (mw_message){.kind = MW_MSG_RUN, .body = r});
}

void mw_run_hand_out(mw_rules *rules, mw_batch *b, uint32_t chain, uint32_t stage, int ordered)
{
    mw_view *v = &rules->view;
    mw_shard *s = rules->shard;
    unsigned shards = s->flow->shards;
    if (rules->version->graph.chains[chain].stages[stage].by_function)
        mw_lua_key(rules->lua, chain, stage);
    mw_run_carry_out(rules, b, 0); /* what was refused on the way */
    mw_run *runs[shards];
    for (unsigned i = 0; i < shards; i++) runs[i] = NULL;
    for (unsigned i = 0; ordered && i < shards; i++)
        runs[i] = new_run(s, b, chain, stage, ordered, v->given);
    for (uint32_t row = 0; row < v->given; row++) {
        if (v->events[row].dead) continue;
        unsigned owner = mw_prepare_owner(rules, chain, stage, row);
        if (!runs[owner]) runs[owner] = new_run(s, b, chain, stage, ordered, v->given);
        runs[owner]->events[runs[owner]->count++] = v->events[row];
    }
    for (unsigned i = 0; i < shards; i++)
        if (runs[i]) send_run(s, i, runs[i]);
}

static void release_arena(mw_garbage *g)
{
    mw_arena *a = (mw_arena *)(g + 1);
    mw_arena_close(a);
    free(g);
}

/* What a run on a shared batch allocates lives in an arena of its own, which the batch takes over.
 */
static mw_arena *attach_arena(mw_batch *b, uint32_t count)
{
    mw_garbage *g = malloc(sizeof *g + sizeof(mw_arena));
    mw_assert(g != NULL);
    g->release = release_arena;
    mw_arena *arena = (mw_arena *)(g + 1);
    mw_arena_init(arena, count > 16 ? 16384 : 1024);
    mw_batch_attach(b, g);
    return arena;
}

static int has_more(const mw_rules *rules, const mw_run *r)
{
    return r->stage + 1 < rules->version->graph.chains[r->chain].count;
}

static void end_run(mw_shard *s, mw_rules *rules, mw_batch *b, mw_run *r)
{
    if (r && has_more(rules, r) && (r->count || r->ordered)) {
        rules->view.send_count = 0, rules->view.row = 0;
        mw_run_hand_out(rules, b, r->chain, r->stage + 1, r->ordered);
    }
    mw_delivery_decided(s, b);
    mw_delivery_release(s, b);
    free(r);
}

static int by_row(const void *a, const void *b)
{
    const mw_send *x = *(const mw_send *const *)a, *y = *(const mw_send *const *)b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Lines of a run, in the order of its rows, into the view's journal. */
static void sort_lines(mw_view *v, const mw_frame *f)
{
    const mw_send *lines = (const mw_send *)f->lines.bytes;
    uint32_t count = (uint32_t)(f->lines.len / sizeof *lines);
    const mw_send **sorted = malloc((count + 1) * sizeof *sorted);
    mw_assert(sorted != NULL);
    for (uint32_t i = 0; i < count; i++) sorted[i] = &lines[i];
    qsort(sorted, count, sizeof *sorted, by_row);
    while (v->send_room < count) mw_view_grow(v);
    for (uint32_t i = 0; i < count; i++) v->sends[i] = *sorted[i];
    v->send_count = count;
    free(sorted);
}

void mw_run_finish(mw_shard *s, mw_rules *rules, mw_frame *f)
{
    mw_batch *b = f->batch;
    mw_run *r = f->run;
    if (f->ordered) {
        sort_lines(&rules->view, f);
        mw_run_carry_out(rules, b, 1);
    }
    if (f->in_order) send_routed(rules, b, &f->routed);
    rules->view.frame = NULL;
    mw_frame_free(f);
    end_run(s, rules, b, r);
}

static void run_one(mw_shard *s, mw_run *r)
{
    mw_rules *rules = mw_rules_of(r->batch, s);
    mw_frame *f = NULL;
    rules->in_order = r->ordered && r->chain < rules->version->graph.source_count;
    if (r->count || (has_more(rules, r) && r->ordered)) {
        mw_view_begin(&rules->view, r->batch, attach_arena(r->batch, r->count), r->events,
                      r->count);
        mw_prepare_project(rules, r->batch->source);
        f = mw_run_here(rules, r->batch, r->chain, r->stage, 0);
    } else if (rules->in_order) {
        send_routed(rules, r->batch, &rules->routed);
    }
    if (f) f->run = r; /* it ends when nothing of it waits any more */
    else
        end_run(s, rules, r->batch, r);
}

static int by_origin(const void *a, const void *b)
{
    const mw_event *x = a, *y = b;
    return x->origin < y->origin ? -1 : x->origin > y->origin;
}

/* How many parts a batch comes in: one of each shard; to a channel, one of each run of its source's
 * rules. */
static uint32_t count_parts(const mw_version *v, const mw_run *r)
{
    const mw_graph *g = &v->graph;
    const mw_chain *c = &g->chains[r->batch->source];
    uint32_t parts = 0;
    if (r->chain < g->source_count) return r->stage > 0 ? v->shards : 1;
    if (r->stage > 0) return v->shards;
    for (uint32_t i = 0; i < c->count; i++)
        parts += c->stages[i].by_count || c->stages[i].by_function ? v->shards : 1;
    return parts;
}

/* Puts a part to those of its batch that came before; the whole run when it was the last. */
static mw_run *gather(mw_shard *s, mw_stage_order *order, mw_run *part, uint32_t parts)
{
    mw_run **at = &order->gathering, *r;
    while ((r = *at) && r->order.number != part->order.number) at = (mw_run **)&r->order.next;
    if (!r) {
        part->parts = 1;
        part->order.next = (mw_sequenced *)order->gathering;
        order->gathering = part;
        return NULL;
    }
    mw_sequenced *next = r->order.next;
    r = realloc(r, sizeof *r + (r->count + part->count) * sizeof(mw_event));
    mw_assert(r != NULL);
    *at = r;
    memcpy(r->events + r->count, part->events, part->count * sizeof(mw_event));
    r->count += part->count;
    mw_delivery_decided(s, part->batch);
    mw_delivery_release(s, part->batch);
    free(part);
    if (++r->parts < parts) return NULL;
    *at = (mw_run *)next;
    qsort(r->events, r->count, sizeof(mw_event), by_origin);
    return r;
}

void mw_run_received(mw_shard *s, mw_run *r)
{
    if (!r->ordered) {
        run_one(s, r);
        return;
    }
    mw_source_host *home = r->batch->owner;
    const mw_version *v = mw_version_of(r->batch);
    uint32_t place = home->shard->index;
    if (r->chain >= v->graph.source_count) place += r->batch->source * v->shards;
    mw_stage_order *order = &mw_rules_of(r->batch, s)->stage_orders[r->chain][r->stage][place];
    uint32_t parts = count_parts(v, r);
    if (parts > 1) r = gather(s, order, r, parts);
    if (!r) return;
    mw_sequencer_push(&order->sequence, &r->order);
    while ((r = (mw_run *)mw_sequencer_pop(&order->sequence))) run_one(s, r);
}

int mw_run_route(void *host, mw_view *v, uint32_t row, uint32_t channel)
{
    mw_rules *rules = host;
    const mw_graph *g = &rules->version->graph;
    uint32_t chain = g->source_count + channel;
    if (channel >= g->channel_count) return 0;
    const mw_chain *c = &g->chains[chain];
    if (rules->version->shards == 1 || !is_routed_to(c)) return 0;
    if (c->stages[0].by_function) {
        uint32_t at = v->row, given = v->given;
        v->row = row, v->given = row + 1;
        mw_lua_key(rules->lua, chain, 0);
        v->row = at, v->given = given;
    }
    if (v->events[row].dead) return 1; /* its key could not be had: it is a dead letter */
    unsigned owner = mw_prepare_owner(rules, chain, 0, row);
    if (rules->in_order) {
        keep_routed(rules, chain, owner, &v->events[row]);
        return 1;
    }
    mw_run *r = new_run(rules->shard, v->batch, chain, 0, 0, 1);
    r->events[r->count++] = v->events[row];
    send_run(rules->shard, owner, r);
    return 1;
}
