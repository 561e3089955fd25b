/* sink_text.c: what a sink writes of an event, how an event is told apart from all others, and the
 * small records that sinks keep (the sink half of plugin.h). */
#include "flow/keeping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mw_sink_host *host_of(mw_sink *k)
{
    return (mw_sink_host *)k;
}

/* Which of those it is that the rule has sent of the event to this sink. Sinks ask for one piece
 * behind the other, and an event may have very many (a window's that closes): the last is kept. */
static uint32_t place_of(mw_sink_host *h, const mw_list *l, const mw_piece *p)
{
    uint32_t index = (uint32_t)(p - l->pieces), place = 0;
    const mw_piece *last = h->named.list == l ? &l->pieces[h->named.piece] : NULL;
    if (last && last + 1 == p && last->event == p->event && last->rule == p->rule)
        place = h->named.place + 1;
    else
        for (const mw_piece *o = p; o-- > l->pieces && o->event == p->event;)
            place += o->rule == p->rule;
    h->named.list = l, h->named.piece = index, h->named.place = place;
    return place;
}

/* Several events may have one position (a message with many lines): the how-manieth it is. */
static unsigned among_its_position(const mw_batch *b, uint32_t event, uint64_t position)
{
    unsigned n = 0;
    while (b->position_of && event > n && mw_delivery_position(b, event - n - 1) == position) n++;
    return n;
}

/* By where the event is, not by its batch: a batch may begin elsewhere after a restart. */
void mw_sink_identify(mw_sink *k, const mw_list *l, const mw_piece *p, char *to, size_t room)
{
    mw_flow *f = host_of(k)->shard->flow;
    const mw_batch *b = l->batch;
    const mw_source_host *home = b->owner;
    const mw_partition *partition = b->partition;
    if (partition) {
        uint64_t position = mw_delivery_position(b, p->event);
        snprintf(to, room, "%s/%s/%s/%llu/%u/%u/%u", k->flow, k->name, partition->key,
                 (unsigned long long)position, among_its_position(b, p->event, position), p->rule,
                 place_of(host_of(k), l, p));
    } else { /* what cannot be read again is told apart by when the router was started */
        snprintf(to, room, "%s/%s/%s/%llx/%llu/%llu", k->flow, k->name, home->source.name,
                 (unsigned long long)f->started_wall_ns, (unsigned long long)l->sequence,
                 (unsigned long long)(p - l->pieces));
    }
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

const char *mw_sink_plain(mw_sink *k, const mw_list *l, const mw_piece *p, size_t *len)
{
    const mw_sink_host *h = host_of(k);
    const char *raw = raw_of(k, l, p);
    if (h->template || h->selects || !k->format->raw_is_line) return NULL;
    if (!raw && strcmp(k->format->name, "ndjson") != 0) return NULL;
    *len = raw ? p->raw_len : p->len;
    return raw ? raw : p->text;
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

mw_status mw_sink_keep_now(mw_sink *k, const char *key, const void *value, size_t len,
                           mw_error *error)
{
    mw_store *store = host_of(k)->shard->flow->store;
    mw_buffer full = {0};
    if (!store) return MW_OK;
    record_key(k, key, &full);
    mw_store_writer *w = mw_store_begin(store);
    if (value) mw_store_add(w, full.bytes, full.len, value, len);
    else
        mw_store_remove(w, full.bytes, full.len);
    mw_status status = mw_store_end(w, error);
    mw_buffer_close(&full);
    return status;
}

void mw_sink_keep(mw_sink *k, const char *key, const void *value, size_t len)
{
    mw_buffer full = {0};
    char *copy = NULL;
    record_key(k, key, &full);
    mw_buffer_append(&full, "", 1);
    if (value) {
        copy = malloc(len + 1);
        mw_assert(copy != NULL);
        memcpy(copy, value, len);
    }
    mw_seal_keep(host_of(k)->shard, (mw_record){.key = full.bytes, .value = copy, .len = len});
}

typedef struct kept_rows {
    size_t head;
    void (*each)(void *self, const char *key, const char *value, size_t len);
    void *self;
} kept_rows;

static int show_row(void *self, const char *key, size_t key_len, const char *value, size_t len)
{
    const kept_rows *r = self;
    mw_buffer plain = {0};
    mw_buffer_append(&plain, key + r->head, key_len - r->head);
    mw_buffer_append(&plain, "", 1);
    r->each(r->self, plain.bytes, value, len);
    mw_buffer_close(&plain);
    return 1;
}

void mw_sink_kept(mw_sink *k, const char *prefix,
                  void (*each)(void *self, const char *key, const char *value, size_t len),
                  void *self)
{
    mw_store *store = host_of(k)->shard->flow->store;
    mw_buffer full = {0};
    if (!store) return;
    record_key(k, "", &full);
    kept_rows r = {.head = full.len, .each = each, .self = self};
    mw_buffer_text(&full, prefix);
    mw_store_each(store, full.bytes, full.len, show_row, &r);
    mw_buffer_close(&full);
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
