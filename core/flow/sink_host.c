/* sink_host.c: the router's side of a sink: lists in, in order where order is kept; push-back when
 * too much waits; and how one leaves whom a new version does not declare, or otherwise. */
#include "base/clock.h"
#include "base/log.h"
#include "flow/flow_private.h"
#include "flow/guarantee.h"

#include <stdlib.h>

static mw_sink_host *host_of(mw_sink *k)
{
    return (mw_sink_host *)k;
}

static mw_list_item *item_of(mw_list *l)
{
    return (mw_list_item *)((char *)l - offsetof(mw_list_item, list));
}

mw_status mw_sink_host_open(mw_sink_host *h, mw_error *error)
{
    mw_graph *g = &h->origin->graph;
    mw_declared *d = &g->sinks[h->index];
    h->sink = (mw_sink){.kind = d->sink_kind,
                        .name = d->name,
                        .config = d->config,
                        .format = d->format,
                        .flow = g->name,
                        .exactly_once = mw_guarantee_is_once(g, d),
                        .state = h->shard->flow->state,
                        .takes_over = h->awaits != NULL,
                        .loop = &h->shard->loop};
    h->queue_max = (size_t)mw_config_int(d->config, "queue", 16 << 20);
    h->selects = mw_config_item(d->config, "only", 0) || mw_config_item(d->config, "without", 0);
    const char *template = mw_config_text(d->config, "template", NULL);
    mw_status status = MW_OK;
    if (template) status = mw_template_new(&h->template, template, error);
    if (status == MW_OK) status = d->sink_kind->open(&h->sink, error);
    h->open = status == MW_OK;
    if (status != MW_OK && error->message[0] && d->where) {
        mw_error inner = *error;
        mw_fail(error, inner.status, "%s: sink '%s': %s", d->where, d->name, inner.message);
    }
    return status;
}

static void set_full(mw_sink_host *h, int full)
{
    if (h->full == full) return;
    h->full = full;
    mw_shard_report(h->shard, MW_MSG_FULLNESS, (uint32_t)full, NULL);
}

/* ---- what it has ---- */

static void link_item(mw_sink_host *h, mw_list_item *item)
{
    item->before = h->newest, item->after = NULL;
    if (h->newest) h->newest->after = item;
    else
        h->oldest = item;
    h->newest = item;
    h->queued += item->list.bytes;
    atomic_store_explicit(&h->waiting, h->queued, memory_order_relaxed);
    if (h->queued > h->queue_max && h->phase < MW_SINK_LEAVING) set_full(h, 1);
}

static void unlink_item(mw_sink_host *h, mw_list_item *item)
{
    if (item->before) item->before->after = item->after;
    else
        h->oldest = item->after;
    if (item->after) item->after->before = item->before;
    else
        h->newest = item->before;
    h->queued -= item->list.bytes;
    atomic_store_explicit(&h->waiting, h->queued, memory_order_relaxed);
    if (h->full && h->queued <= h->queue_max / 2) set_full(h, 0);
}

static void release_item(mw_sink_host *h, mw_list_item *item)
{
    mw_delivery_release(h->shard, item->list.batch);
    free(item);
}

static void write_item(mw_sink_host *h, mw_list_item *item)
{
    h->dirty = 1;
    /* a list may come from a timer, behind which the loop would sleep */
    mw_shard_stay_awake(h->shard);
    mw_count(&h->lists, 1);
    h->sink.kind->write(&h->sink, &item->list);
}

/* Its sink is gone, and none has its name: what it would have written is in the dead letters. */
static void write_off(mw_sink_host *h, mw_list_item *item)
{
    for (uint32_t i = 0; i < item->list.count; i++)
        mw_sink_fail(&h->sink, &item->list, i,
                     "a reload removed the sink before it could deliver this");
    release_item(h, item);
}

static void keep_behind(mw_sink_host *h, mw_list_item *item)
{
    item->after = NULL;
    if (h->behind_last) h->behind_last->after = item;
    else
        h->behind = item;
    h->behind_last = item;
    h->queued += item->list.bytes;
    if (h->queued > h->queue_max) set_full(h, 1);
}

void mw_sink_host_prepare(mw_sink_host *h, unsigned number)
{
    h->seal = MW_SEAL_PREPARES;
    if (h->sink.exactly_once && h->sink.kind->prepare) h->sink.kind->prepare(&h->sink, number);
    else
        mw_sink_prepared(&h->sink, NULL, 0);
    mw_list_item *item = h->behind;
    h->behind = h->behind_last = NULL;
    for (mw_list_item *next; item; item = next) {
        next = item->after;
        h->queued -= item->list.bytes;
        link_item(h, item);
        write_item(h, item);
    }
}

static void hand_over(mw_sink_host *h, mw_list_item *item)
{
    while (h->phase == MW_SINK_CLOSED && h->heir) h = h->heir;
    if (item->list.count == 0) { /* it only kept the order */
        release_item(h, item);
    } else if (h->phase == MW_SINK_CLOSED) {
        write_off(h, item);
    } else if (h->seal == MW_SEALING && item->list.batch->cut >= h->shard->seal.number) {
        keep_behind(h, item);
    } else {
        link_item(h, item);
        if (!h->awaits) write_item(h, item);
    }
}

/* ---- order ---- */

static mw_sequencer *order_of(mw_sink_host *h, const mw_source_host *source, uint64_t first)
{
    for (uint32_t i = 0; i < h->order_count; i++)
        if (h->orders[i].source == source) return &h->orders[i].sequence;
    h->orders = realloc(h->orders, (h->order_count + 1) * sizeof *h->orders);
    mw_assert(h->orders != NULL);
    mw_sink_order *o = &h->orders[h->order_count++];
    *o = (mw_sink_order){.source = source, .sequence = {.next = first}};
    return &o->sequence;
}

static void hand_over_in_order(mw_sink_host *h, mw_sequencer *order)
{
    mw_list_item *item;
    while ((item = (mw_list_item *)mw_sequencer_pop(order))) hand_over(h, item);
}

void mw_sink_host_expect(mw_sink_host *h, const mw_source_host *source, uint64_t first,
                         int continues)
{
    mw_sequencer *order = order_of(h, source, first);
    if (continues || order->next >= first) return;
    while (order->waiting && order->waiting->number < first) { /* nothing fills their gaps */
        mw_list_item *item = (mw_list_item *)order->waiting;
        order->waiting = item->order.next;
        hand_over(h, item);
    }
    order->next = first;
    hand_over_in_order(h, order);
}

static int has_source(const mw_version *v, const mw_source_host *h)
{
    for (uint32_t i = 0; v && i < v->graph.source_count * v->shards; i++)
        if (v->sources[i] == h) return 1;
    return 0;
}

void mw_sink_host_forget(mw_sink_host *h, const mw_version *v, const mw_version *other)
{
    for (uint32_t i = 0; i < h->order_count;) {
        const mw_sink_order *o = &h->orders[i];
        if (o->sequence.waiting || has_source(v, o->source) || has_source(other, o->source)) i++;
        else
            h->orders[i] = h->orders[--h->order_count];
    }
}

void mw_sink_host_take(mw_sink_host *h, mw_list_item *item)
{
    if (!item->list.ordered) {
        hand_over(h, item);
        return;
    }
    const mw_batch *b = item->list.batch;
    const mw_source_host *home = b->owner;
    const mw_version *v = mw_version_of(b);
    mw_sequencer *order = order_of(h, home, v->first[b->source * v->shards + home->shard->index]);
    if (item->order.number < order->next) { /* of a version whose order is over */
        hand_over(h, item);
        return;
    }
    mw_sequencer_push(order, &item->order);
    hand_over_in_order(h, order);
}

void mw_sink_host_flush(mw_sink_host *h)
{
    h->dirty = 0;
    if (h->sink.kind->flush) h->sink.kind->flush(&h->sink);
}

/* ---- leaving ---- */

void mw_sink_host_leave(mw_sink_host *h, int64_t most_ns)
{
    h->phase = MW_SINK_LEAVING;
    /* trying again at the old address is no use to one that will go to another */
    h->deadline_ns = mw_clock_steady_ns() + (h->failing && h->heir ? 0 : most_ns);
    set_full(h, 0); /* nobody waits for its queue any more */
    if (h->sink.kind->drain) h->sink.kind->drain(&h->sink);
}

static void begin_heir(mw_sink_host *heir)
{
    heir->awaits = NULL;
    for (mw_list_item *item = heir->oldest, *next; item; item = next) {
        next = item->after;
        write_item(heir, item);
    }
}

/* What it has left goes first, in its order, then what was kept for the heir meanwhile. */
static void give_up_items(mw_sink_host *h, mw_list_item *items)
{
    mw_sink_host *heir = h->heir;
    mw_list_item *kept = heir ? heir->oldest : NULL;
    if (heir) heir->oldest = heir->newest = NULL, heir->queued = 0;
    for (mw_list_item *next; items; items = next) {
        next = items->after;
        if (heir) link_item(heir, items);
        else
            write_off(h, items);
    }
    for (mw_list_item *next; kept; kept = next) {
        next = kept->after;
        link_item(heir, kept);
    }
}

int mw_sink_host_has_left(mw_sink_host *h)
{
    if (h->phase == MW_SINK_CLOSED) return 1;
    if (h->awaits) return 0;
    if (h->oldest && mw_clock_steady_ns() < h->deadline_ns && !(h->failing && h->heir)) return 0;
    mw_list_item *items = h->oldest;
    h->phase = MW_SINK_CLOSED;
    h->oldest = h->newest = NULL, h->queued = 0;
    mw_sink_host_close(h);
    give_up_items(h, items);
    if (h->heir) begin_heir(h->heir);
    return 1;
}

void mw_sink_host_close(mw_sink_host *h)
{
    h->sink.kind->close(&h->sink);
    h->open = 0, h->dirty = 0;
}

/* The run ended with this undelivered. */
static void free_items(mw_list_item *item)
{
    for (mw_list_item *next; item; item = next) {
        next = item->after;
        mw_delivery_drop(item->list.batch);
        free(item);
    }
}

void mw_sink_host_free(mw_sink_host *h)
{
    free_items(h->oldest);
    free_items(h->behind);
    mw_template_free(h->template);
    mw_buffer_close(&h->scratch);
    free(h->orders);
    atomic_fetch_sub(&h->origin->users, 1);
    free(h);
}

/* ---- what a sink says ---- */

void mw_sink_done(mw_sink *k, mw_list *l)
{
    mw_sink_host *h = host_of(k);
    mw_list_item *item = item_of(l);
    mw_count(&h->events, l->count);
    if (h->named.list == l) h->named.list = NULL;
    unlink_item(h, item);
    release_item(h, item);
}

void mw_sink_fail(mw_sink *k, mw_list *list, uint32_t piece, const char *why)
{
    mw_sink_host *h = host_of(k);
    const mw_piece *p = &list->pieces[piece];
    mw_event e = {.text = p->text, .len = p->len, .origin = p->event};
    mw_dead_letter_send(h->shard, list->batch, &e, "sink", k->name, why);
    mw_count(&h->failed, 1);
}

void mw_sink_retried(mw_sink *k, const char *why)
{
    mw_sink_host *h = host_of(k);
    mw_count(&h->retried, 1);
    if (!h->failing) mw_log(MW_WARN, k->name, "%s; trying again until it succeeds", why);
    h->failing = 1;
}

void mw_sink_recovered(mw_sink *k)
{
    mw_sink_host *h = host_of(k);
    if (h->failing) mw_log(MW_INFO, k->name, "delivers again");
    h->failing = 0;
}

void mw_sink_failed(mw_sink *k, const char *why)
{
    mw_log(MW_ERROR, k->name, "%s", why);
    mw_shard_report(host_of(k)->shard, MW_MSG_FAILED, 1, NULL);
}

void mw_sink_restart(mw_sink *k, const char *why)
{
    mw_log(MW_ERROR, k->name, "%s; the run begins again from its last checkpoint", why);
    mw_shard_report(host_of(k)->shard, MW_MSG_FAILED, 2, NULL);
}

void mw_sink_stat(mw_sink *k, const char *name, double value)
{
    mw_stats_set(&host_of(k)->stats, name, value);
}

void mw_sink_wrote(mw_sink *k, uint64_t bytes)
{
    mw_count(&host_of(k)->bytes, bytes);
}
