/* replay.c: see replay.h. The kinds of a replay: a source that reads for all sources of the flow
 * (the first one does, and gives to each what is its), and a sink that notes what it is sent. */
#include "flow/replay.h"
#include "base/log.h"
#include "event/capture_reader.h"
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>

enum { ROUND_BYTES = 256 << 10, SENT_MAX = MW_REPLAY_SINKS - 1 };

/* A stream of its own for each beginning, since batches borrow it. */
typedef struct stream {
    mw_stream stream;
    struct stream *next;
} stream;

/* The decisions of a batch that was decided before those ahead of it. */
typedef struct decided {
    mw_sequenced order;
    uint32_t events;
    mw_buffer lines;
} decided;

typedef struct player {
    mw_source *source;
    uv_idle_t idle;
    mw_capture_reader *reader; /* of the first source only */
    mw_captured waiting;       /* read, and its source is full */
    int has_waiting, ended, is_first;
    stream *streams; /* newest first */
    mw_sequencer order;
} player;

/* What one list had for a sink; hangs on the batch until that is back. */
typedef struct noted {
    mw_garbage garbage;
    uint32_t sink, count;
    mw_piece pieces[];
} noted;

static mw_replay *replay_of(const mw_source *s)
{
    return ((const mw_source_host *)s)->shard->flow->options.replay;
}

/* ---- reading ---- */

static mw_source_host *host_named(mw_flow *f, const char *name)
{
    const mw_version *v = f->version;
    for (uint32_t i = 0; i < v->graph.source_count; i++)
        if (strcmp(v->graph.sources[i].name, name) == 0) return v->sources[i * v->shards];
    return NULL;
}

static mw_stream *stream_for(player *p, const mw_captured *c)
{
    const mw_format *format = c->is_json ? mw_format_find("ndjson") : p->source->format;
    for (stream *s = p->streams; s; s = s->next)
        if (s->stream.format == format && !(c->first && s->stream.header_seen)) return &s->stream;
    stream *s = calloc(1, sizeof *s);
    mw_assert(s != NULL);
    mw_stream_init(&s->stream, format, p->source->config, p->source->limit);
    s->next = p->streams;
    p->streams = s;
    return &s->stream;
}

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    (void)e, (void)kept;
    mw_buffer_text(out, b->meta);
}

static void give(mw_source_host *h, const mw_captured *c)
{
    player *p = h->source.self;
    mw_source *s = &h->source;
    mw_error error;
    size_t whole = 0;
    mw_stream *stream = stream_for(p, c);
    mw_partition *partition = c->partition ? mw_source_partition(s, c->partition) : NULL;
    if (c->reject) {
        mw_source_reject(s, partition, stream, c->position, c->position, c->bytes, c->len,
                         c->reject);
        return;
    }
    mw_batch *b = mw_source_take(s, c->len);
    if (c->len) memcpy(b->block, c->bytes, c->len);
    memset(b->block + c->len, 0, MW_JSON_PADDING);
    mw_status status = stream->format->boundary(stream, b->block, c->len, 1, &whole, &error);
    if (status != MW_OK || !whole) {
        mw_source_untake(s, b);
        mw_source_reject(s, partition, stream, c->position, c->position, c->bytes, c->len,
                         status != MW_OK ? error.message : "it holds no whole event");
        return;
    }
    b->len = whole, b->stream = stream, b->first = c->first;
    b->position = c->position, b->end_position = c->position + whole;
    b->time_ns = c->time_ns;
    b->wants_replies = h->version->graph.sources[h->index].replies;
    if (c->meta[0]) {
        b->meta = mw_arena_copy(&b->arena, c->meta, strlen(c->meta) + 1);
        b->write_meta = write_meta;
    }
    mw_source_give(s, b, partition);
}

static void end_all(player *p)
{
    mw_flow *f = ((mw_source_host *)p->source)->shard->flow;
    const mw_version *v = f->version;
    uv_idle_stop(&p->idle);
    p->ended = 1;
    for (uint32_t i = 0; i < v->graph.source_count; i++)
        if (!v->graph.sources[i].source_kind->passive)
            mw_source_finished(&v->sources[i * v->shards]->source);
}

static void leave_out(player *p)
{
    mw_replay *r = replay_of(p->source);
    if (atomic_load(&r->unknown) == 0)
        mw_log(MW_WARN, "replay",
               "the flow declares no source '%s': what was captured of it is left out",
               p->waiting.source);
    mw_count(&r->unknown, 1);
}

/* 0: the source of what was read is full. */
static int give_waiting(player *p)
{
    mw_source_host *h = host_named(((mw_source_host *)p->source)->shard->flow, p->waiting.source);
    if (h && mw_source_is_full(&h->source)) return 0;
    if (h) give(h, &p->waiting);
    else
        leave_out(p);
    p->has_waiting = 0;
    return 1;
}

static void on_idle(uv_idle_t *handle)
{
    player *p = handle->data;
    mw_error error;
    for (size_t bytes = 0; bytes < ROUND_BYTES;) {
        if (p->has_waiting && !give_waiting(p)) return;
        mw_status status = mw_capture_reader_next(p->reader, &p->waiting, &error);
        if (status == MW_END) {
            end_all(p);
            return;
        }
        if (status != MW_OK) {
            mw_log(MW_WARN, "replay", "%s", error.message);
            mw_count(&replay_of(p->source)->damaged, 1);
            continue;
        }
        p->has_waiting = 1;
        bytes += p->waiting.len + 64;
    }
}

/* ---- what was decided ---- */

static void release_noted(mw_garbage *g)
{
    free(g);
}

typedef struct entry {
    const mw_piece *piece;
    uint32_t sink;
} entry;

static int by_event(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->piece->event != y->piece->event) return x->piece->event < y->piece->event ? -1 : 1;
    if (x->piece->rule != y->piece->rule) return x->piece->rule < y->piece->rule ? -1 : 1;
    if (x->sink != y->sink) return x->sink < y->sink ? -1 : 1;
    return x->piece < y->piece ? -1 : x->piece > y->piece;
}

static size_t gather(const mw_batch *b, entry **entries)
{
    size_t count = 0, n = 0;
    for (mw_garbage *g = atomic_load(&b->garbage); g; g = g->next)
        if (g->release == release_noted) count += ((noted *)g)->count;
    *entries = malloc((count + 1) * sizeof **entries);
    mw_assert(*entries != NULL);
    for (mw_garbage *g = atomic_load(&b->garbage); g; g = g->next) {
        const noted *list = (noted *)g;
        if (g->release != release_noted) continue;
        for (uint32_t i = 0; i < list->count; i++)
            (*entries)[n++] = (entry){&list->pieces[i], list->sink};
    }
    qsort(*entries, n, sizeof **entries, by_event);
    return n;
}

/* An error without the "file:line: " in front: a decision is the same wherever its rule stands. */
static const char *without_place(const char *text, size_t *len)
{
    for (size_t i = 0; i + 2 < *len; i++) {
        size_t at = i + 1;
        if (text[i] != ':') continue;
        while (at < *len && text[at] >= '0' && text[at] <= '9') at++;
        if (at == i + 1 || at + 2 > *len || text[at] != ':' || text[at + 1] != ' ') continue;
        *len -= at + 2;
        return text + at + 2;
    }
    return text;
}

/* Of a dead letter only what the rules decided: its time is not the event's. */
static void write_dead(const mw_piece *p, mw_buffer *out)
{
    static const char *const kept[] = {"stage", "name", "error"};
    mw_buffer_text(out, ",\"dead_letter\":{");
    for (size_t i = 0; i < 3; i++) {
        mw_value v = mw_json_member(p->text, p->len, kept[i], strlen(kept[i]), 0);
        mw_buffer_format(out, "%s\"%s\":\"", i ? "," : "", kept[i]);
        size_t len = v.text ? v.len : 0;
        const char *from = i == 2 && len ? without_place(v.text, &len) : v.text;
        mw_buffer_append(out, from ? from : "", len);
        mw_buffer_text(out, "\"");
    }
    mw_buffer_text(out, "}");
}

static void write_send(const mw_graph *g, const entry *e, int first, mw_buffer *out)
{
    const mw_piece *p = e->piece;
    mw_buffer_text(out, first ? "{\"rule\":\"" : ",{\"rule\":\"");
    mw_buffer_text(out, g->rule_names[p->rule]);
    mw_buffer_text(out, "\",\"sink\":\"");
    mw_buffer_text(out, g->sinks[e->sink].name);
    if (p->raw) {
        mw_buffer_text(out, "\",\"unchanged\":true");
    } else {
        mw_buffer_text(out, "\",\"event\":");
        mw_buffer_append(out, p->text, p->len);
    }
    if (p->options) {
        mw_buffer_text(out, ",\"options\":");
        mw_buffer_append(out, p->options, p->options_len);
    }
    mw_buffer_text(out, "}");
}

static void write_event(const mw_batch *b, uint32_t i, const entry *from, const entry *to,
                        mw_buffer *out)
{
    const mw_graph *g = &mw_version_of(b)->graph;
    const mw_source_host *home = b->owner;
    const char *partition = mw_delivery_partition(b);
    const mw_reply *reply = b->replies ? &b->replies[i] : NULL;
    unsigned long long at = mw_delivery_position(b, i);
    mw_buffer_text(out, "{\"source\":\"");
    mw_buffer_text(out, home->source.name);
    mw_buffer_text(out, "\"");
    if (partition) {
        mw_buffer_text(out, ",\"partition\":");
        mw_json_quote(out, partition, strlen(partition));
    }
    mw_buffer_format(out, ",\"position\":%llu,\"sends\":[", at);
    int first = 1;
    for (const entry *e = from; e < to; e++)
        if (e->sink) write_send(g, e, first, out), first = 0;
    mw_buffer_text(out, "]");
    if (reply && atomic_load(&reply->state) == MW_REPLY_SET) {
        mw_buffer_format(out, ",\"reply\":{\"status\":%u,\"body\":", reply->http_status);
        mw_buffer_append(out, reply->text, reply->len);
        mw_buffer_text(out, "}");
    }
    for (const entry *e = from; e < to; e++)
        if (!e->sink) write_dead(e->piece, out);
    mw_buffer_text(out, "}\n");
}

static void write_decisions(const mw_batch *b, mw_buffer *out)
{
    entry *entries;
    size_t count = gather(b, &entries), at = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        size_t from = at;
        while (at < count && entries[at].piece->event <= i) at++;
        write_event(b, i, entries + from, entries + at, out);
    }
    free(entries);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    player *p = s->self;
    mw_replay *r = replay_of(s);
    for (uint32_t i = 0; b->replies && i < b->count; i++)
        mw_count(&r->replied, atomic_load(&b->replies[i].state) == MW_REPLY_SET);
    if (!r->decisions) return;
    decided *d = calloc(1, sizeof *d);
    mw_assert(d != NULL);
    d->order.number = b->sequence;
    d->events = b->count;
    write_decisions(b, &d->lines);
    mw_sequencer_push(&p->order, &d->order);
    while ((d = (decided *)mw_sequencer_pop(&p->order))) {
        r->decisions->take(r->decisions->self, s->name, d->lines.bytes, d->lines.len, d->events);
        mw_buffer_close(&d->lines);
        free(d);
    }
}

/* ---- the source's life ---- */

static mw_status open_player(mw_source *s, mw_error *error)
{
    const mw_source_host *h = (const mw_source_host *)s;
    player *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    p->source = s;
    p->is_first = h->index == 0;
    mw_status status = MW_OK;
    if (p->is_first) status = mw_capture_reader_open(&p->reader, replay_of(s)->capture, error);
    if (status != MW_OK) {
        free(p);
        return status;
    }
    s->self = p;
    uv_idle_init(s->loop, &p->idle);
    p->idle.data = p;
    return MW_OK;
}

static void start(mw_source *s)
{
    player *p = s->self;
    if (p->is_first) uv_idle_start(&p->idle, on_idle);
}

static void drain(mw_source *s)
{
    player *p = s->self;
    if (p->is_first && !p->ended) end_all(p);
}

static void on_closed(uv_handle_t *handle)
{
    player *p = handle->data;
    for (stream *s = p->streams, *next; s; s = next) {
        next = s->next;
        mw_stream_close(&s->stream);
        free(s);
    }
    mw_capture_reader_close(p->reader);
    free(p);
}

static void close_player(mw_source *s)
{
    player *p = s->self;
    uv_close((uv_handle_t *)&p->idle, on_closed);
}

static const mw_source_kind player_kind = {
    .name = "replay",
    .spread = 1,
    .open = open_player,
    .start = start,
    .acknowledge = acknowledge,
    .drain = drain,
    .close = close_player,
};

/* ---- the sink ---- */

static mw_status open_notes(mw_sink *k, mw_error *error)
{
    (void)k, (void)error;
    return MW_OK;
}

static void note(mw_sink *k, mw_list *l)
{
    const mw_sink_host *h = (const mw_sink_host *)k;
    mw_replay *r = h->shard->flow->options.replay;
    /* several sinks share the last counter only beyond a number nobody has */
    mw_count(&r->sent[h->index < SENT_MAX ? h->index : SENT_MAX], l->count);
    if (r->decisions) {
        noted *n = malloc(sizeof *n + l->count * sizeof *n->pieces);
        mw_assert(n != NULL);
        n->garbage.release = release_noted;
        n->sink = h->index, n->count = l->count;
        memcpy(n->pieces, l->pieces, l->count * sizeof *n->pieces);
        mw_batch_attach(l->batch, &n->garbage);
    }
    mw_sink_done(k, l);
}

static void close_notes(mw_sink *k)
{
    (void)k;
}

static const mw_sink_kind notes_kind = {
    .name = "notes", .open = open_notes, .write = note, .close = close_notes};

void mw_replay_substitute(mw_graph *g, const mw_replay *r)
{
    for (uint32_t i = 0; i < g->source_count; i++) {
        if (g->sources[i].source_kind->passive) continue;
        g->sources[i].replies = strcmp(g->sources[i].source_kind->name, "http") == 0;
        g->sources[i].source_kind = &player_kind;
        g->sources[i].capture_count = 0;
    }
    for (uint32_t i = 0; i < g->sink_count; i++)
        if (!r->deliver || i >= mw_graph_plain_sinks(g)) g->sinks[i].sink_kind = &notes_kind;
}
