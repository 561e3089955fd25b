/* sink_host.c: the router's side of a sink: lists in, in order where order is kept; what is
 * written, done or failed; and push-back when too much waits (the sink half of plugin.h). */
#include "base/log.h"
#include "flow/flow_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    mw_flow *f = h->shard->flow;
    mw_declared *d = &f->graph.sinks[h->index];
    h->sink = (mw_sink){.kind = d->sink_kind,
                        .name = d->name,
                        .config = d->config,
                        .format = d->format,
                        .flow = f->graph.name,
                        .loop = &h->shard->loop};
    h->queue_max = (size_t)mw_config_int(d->config, "queue", 16 << 20);
    h->orders = calloc(f->graph.source_count + 1, sizeof *h->orders);
    mw_assert(h->orders != NULL);
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

static void hand_over(mw_sink_host *h, mw_list *l)
{
    if (l->count == 0) { /* it only kept the order */
        mw_delivery_release(h->shard, l->batch);
        free(item_of(l));
        return;
    }
    h->queued += l->bytes;
    atomic_store_explicit(&h->waiting, h->queued, memory_order_relaxed);
    if (h->queued > h->queue_max) set_full(h, 1);
    h->dirty = 1;
    mw_shard_stay_awake(
        h->shard); /* a list may come from a timer, behind which the loop would sleep */
    mw_count(&h->lists, 1);
    h->sink.kind->write(&h->sink, l);
}

void mw_sink_host_take(mw_sink_host *h, mw_list_item *item)
{
    if (!item->list.ordered) {
        hand_over(h, &item->list);
        return;
    }
    mw_sequencer *order = &h->orders[item->list.source];
    mw_sequencer_push(order, &item->order);
    while ((item = (mw_list_item *)mw_sequencer_pop(order))) hand_over(h, &item->list);
}

void mw_sink_host_flush(mw_sink_host *h)
{
    h->dirty = 0;
    if (h->sink.kind->flush) h->sink.kind->flush(&h->sink);
}

void mw_sink_host_close(mw_sink_host *h)
{
    h->sink.kind->close(&h->sink);
    h->open = 0;
}

void mw_sink_host_free(mw_sink_host *h)
{
    mw_template_free(h->template);
    mw_buffer_close(&h->scratch);
    free(h->orders);
}

void mw_sink_done(mw_sink *k, mw_list *l)
{
    mw_sink_host *h = host_of(k);
    h->queued -= l->bytes;
    atomic_store_explicit(&h->waiting, h->queued, memory_order_relaxed);
    if (h->full && h->queued <= h->queue_max / 2) set_full(h, 0);
    mw_count(&h->events, l->count);
    mw_delivery_release(h->shard, l->batch);
    free(item_of(l));
}

/* The dead letter is a list of one piece to the sink of dead letters; its text hangs on the batch.
 */
typedef struct letter {
    mw_garbage garbage;
    char text[];
} letter;

static void release_letter(mw_garbage *g)
{
    free(g);
}

void mw_sink_fail(mw_sink *k, mw_list *list, uint32_t piece, const char *why)
{
    mw_sink_host *h = host_of(k);
    mw_shard *s = h->shard;
    const mw_piece *p = &list->pieces[piece];
    mw_event e = {.text = p->text, .len = p->len, .origin = p->event};
    h->scratch.len = 0;
    mw_dead_letter_write(s, list->batch, &e, "sink", k->name, why, strlen(why), &h->scratch);
    letter *text = malloc(sizeof *text + h->scratch.len + MW_JSON_PADDING);
    mw_list_item *item = malloc(sizeof *item + sizeof(mw_piece));
    mw_assert(text && item);
    memcpy(text->text, h->scratch.bytes, h->scratch.len);
    text->garbage.release = release_letter;
    mw_batch_attach(list->batch, &text->garbage);
    item->list = (mw_list){.batch = list->batch,
                           .sequence = list->sequence,
                           .source = list->source,
                           .count = 1,
                           .bytes = h->scratch.len};
    item->list.pieces[0] = (mw_piece){
        .text = text->text, .len = (uint32_t)h->scratch.len, .event = p->event, .rule = p->rule};
    mw_delivery_hold(list->batch);
    unsigned home = s->flow->sink_homes[0];
    if (home == s->index) mw_sink_host_take(&s->sinks[0], item);
    else
        mw_post_send(s->flow->post, s->index, home,
                     (mw_message){.kind = MW_MSG_LIST, .target = 0, .body = item});
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

void mw_sink_wrote(mw_sink *k, uint64_t bytes)
{
    mw_count(&host_of(k)->bytes, bytes);
}

void mw_sink_identify(mw_sink *k, const mw_list *l, const mw_piece *p, char *to, size_t room)
{
    mw_flow *f = host_of(k)->shard->flow;
    const mw_batch *b = l->batch;
    const mw_partition *partition = b->partition;
    uint64_t place = (uint64_t)(p - l->pieces);
    if (partition)
        snprintf(to, room, "%s/%s/%s/%llu/%u/%llu", f->graph.name, k->name, partition->key,
                 (unsigned long long)b->position, p->event, (unsigned long long)place);
    else /* what cannot be read again is told apart by when the router was started */
        snprintf(to, room, "%s/%s/%s/%llx/%llu/%llu", f->graph.name, k->name,
                 f->graph.sources[l->source].name, (unsigned long long)f->started_wall_ns,
                 (unsigned long long)l->sequence, (unsigned long long)place);
}

/* ---- what is written ---- */

static int is_listed(mw_config *c, const char *option, const char *name, size_t len)
{
    const char *item;
    for (size_t i = 0; (item = mw_config_item(c, option, i)); i++)
        if (strlen(item) == len && memcmp(item, name, len) == 0) return 1;
    return 0;
}

/* The event with the fields that `only` and `without` leave. */
static void select_fields(mw_sink *k, const mw_piece *p, mw_buffer *out)
{
    int only = mw_config_item(k->config, "only", 0) != NULL, first = 1;
    mw_value key, v;
    size_t cursor = 0;
    mw_value all = mw_json_value(p->text, p->len);
    if (all.kind != MW_OBJECT) {
        mw_buffer_append(out, p->text, p->len);
        return;
    }
    mw_buffer_text(out, "{");
    while (mw_json_next(all.text, all.len, &cursor, &key, &v)) {
        int listed = is_listed(k->config, only ? "only" : "without", key.text, key.len);
        if (listed != only) continue;
        size_t quotes = v.kind == MW_STRING || v.kind == MW_ESCAPED;
        if (!first) mw_buffer_text(out, ",");
        mw_buffer_append(out, key.text - 1, key.len + 2);
        mw_buffer_text(out, ":");
        mw_buffer_append(out, v.text - quotes, v.len + 2 * quotes);
        first = 0;
    }
    mw_buffer_text(out, "}");
}

/* Raw bytes may be written as they came only where they came in the sink's own format. */
static const char *raw_of(const mw_sink *k, const mw_list *l, const mw_piece *p)
{
    return p->raw && l->batch->stream && l->batch->stream->format == k->format ? p->raw : NULL;
}

void mw_sink_render(mw_sink *k, const mw_list *l, const mw_piece *p, mw_buffer *out)
{
    mw_sink_host *h = host_of(k);
    if (h->template) {
        mw_template_render(h->template, p->text, p->len, 0, out);
        mw_buffer_append(out, "\n", 1);
    } else if (h->selects) {
        h->scratch.len = 0;
        select_fields(k, p, &h->scratch);
        mw_buffer_reserve(&h->scratch, MW_JSON_PADDING);
        k->format->write(out, k->config, h->scratch.bytes, h->scratch.len, NULL, 0);
    } else {
        const char *raw = raw_of(k, l, p);
        k->format->write(out, k->config, p->text, p->len, raw, raw ? p->raw_len : 0);
    }
}

uint32_t mw_sink_render_some(mw_sink *k, const mw_list *l, uint32_t first, mw_buffer *out)
{
    mw_sink_host *h = host_of(k);
    const mw_piece *p = &l->pieces[first], *end = l->pieces + l->count;
    if (h->template || h->selects || !k->format->raw_is_line || !raw_of(k, l, p)) {
        mw_sink_render(k, l, p, out);
        return 1;
    }
    const char *from = p->raw, *to = from + p->raw_len;
    for (p++; p < end && p->raw == to + 1 && *to == '\n'; p++) to = p->raw + p->raw_len;
    size_t len = (size_t)(to - from);
    char *room = mw_buffer_reserve(out, len + 1);
    memcpy(room, from, len);
    room[len] = '\n';
    out->len += len + 1;
    return (uint32_t)(p - &l->pieces[first]);
}

/* ---- records ---- */

static void record_key(mw_sink *k, const char *key, mw_buffer *out)
{
    mw_buffer_format(out, "sink/%s/%s", k->name, key);
}

int mw_sink_recall(mw_sink *k, const char *key, uint64_t *value)
{
    mw_store *store = host_of(k)->shard->flow->store;
    mw_buffer full = {0}, found = {0};
    record_key(k, key, &full);
    int known = store && mw_store_get(store, full.bytes, &found) && found.len == sizeof *value;
    if (known) memcpy(value, found.bytes, sizeof *value);
    mw_buffer_close(&full);
    mw_buffer_close(&found);
    return known;
}

mw_status mw_sink_remember(mw_sink *k, const char *key, uint64_t value)
{
    mw_store *store = host_of(k)->shard->flow->store;
    mw_buffer full = {0};
    record_key(k, key, &full);
    mw_record record = {.key = full.bytes, .value = &value, .len = sizeof value};
    mw_status status = store ? mw_store_put(store, &record, 1, NULL) : MW_OK;
    mw_buffer_close(&full);
    return status;
}
