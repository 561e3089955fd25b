/* redis_streams.c: entries of Redis's streams.
 *
 * Without a group the position is ours: the ID of the last entry, as milliseconds << 20 | number,
 * so that it is committed with what the flow keeps. With a group Redis keeps it: entries are
 * acknowledged (XACK) when all that they caused is safe; those that were given to us and not
 * acknowledged come first after a restart, and those of consumers that are gone are taken over. */
#include "base/clock.h"
#include "base/resp.h"
#include "event/json.h"
#include "sources/redis_acks.h"
#include "sources/redis_private.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NUMBER_BITS = 20, MS_BITS = 44, BLOCK_MS = 500, RETRY_MS = 200, ID_BYTES = 48 };

/* What is asked now. */
enum step { LAST, GROUP, OWN, NEW, PENDING, CLAIM };

/* An entry that was no event. */
typedef struct rejected {
    struct rejected *next;
    uint64_t position;
    char id[ID_BYTES];
} rejected;

typedef struct stream {
    struct stream *next;
    struct mw_redis_streams *all;
    const char *name;
    mw_redis *redis;
    mw_redis_acks *acks; /* of a group; or NULL */
    mw_stream frames;
    mw_partition *partition;
    uint64_t position;
    /* of a group: the last that came: what was given to us and did not come is behind it */
    char last[ID_BYTES];
    rejected *rejected; /* of a group: in flight to the dead letters */
    mw_buffer claims;   /* IDs, as arguments of a command */
    uint32_t claim_count;
    enum step step;
    int asking, at_end;
    int vanished; /* the stream was deleted, and its group with it: all that is there now is new */
    int64_t claim_at_ns;
} stream;

struct mw_redis_streams {
    mw_redis_reader *reader;
    stream *first;
    uv_timer_t timer;
    const char *group, *field;
    char consumer[256];
    int64_t claim_ns;
    uint64_t count;
    int from_end, ended, closing;
    mw_buffer command, event;
};

typedef struct mw_redis_streams streams;

static void ask(stream *t);
static void ask_later(streams *all);

/* ---- batches ---- */

/* The entries of a batch: their IDs, for XACK and for who asks. */
typedef struct entries {
    stream *of;
    uint32_t count;
    char first[ID_BYTES], last[ID_BYTES];
    mw_buffer ids; /* as arguments of a command */
} entries;

static void write_meta(const mw_batch *b, const mw_event *event, int kept, mw_buffer *out)
{
    const entries *e = b->meta;
    (void)event, (void)kept;
    mw_buffer_text(out, ",\"stream\":");
    mw_json_quote(out, e->of->name, strlen(e->of->name));
    mw_buffer_format(out, ",\"first\":\"%s\",\"last\":\"%s\"", e->first, e->last);
}

static void free_entries(mw_batch *b)
{
    entries *e = b->request;
    b->request = NULL;
    mw_buffer_close(&e->ids);
    free(e);
}

static void write_id(char *to, uint64_t position)
{
    snprintf(to, ID_BYTES, "%" PRIu64 "-%" PRIu64, position >> NUMBER_BITS,
             position & ((1u << NUMBER_BITS) - 1));
}

static void note_rejected(stream *t, const char *id, uint64_t position)
{
    rejected *e = calloc(1, sizeof *e);
    mw_assert(e != NULL);
    snprintf(e->id, sizeof e->id, "%s", id);
    e->position = position, e->next = t->rejected;
    t->rejected = e;
}

static void acknowledge_rejected(stream *t, uint64_t position)
{
    mw_buffer ids = {0};
    rejected **at = &t->rejected, *e;
    while ((e = *at) && e->position != position) at = &e->next;
    if (!e) return;
    *at = e->next;
    mw_resp_argument(&ids, e->id, strlen(e->id));
    mw_redis_acks_add(t->acks, &ids, 1);
    mw_buffer_close(&ids);
    free(e);
}

void mw_redis_streams_acknowledge(mw_redis_reader *r, mw_batch *b)
{
    entries *e = b->request;
    if (!e) { /* it was rejected */
        for (stream *t = r->streams->first; t; t = t->next)
            if (b->stream == &t->frames) acknowledge_rejected(t, b->position);
        return;
    }
    if (e->of->acks) mw_redis_acks_add(e->of->acks, &e->ids, e->count);
    free_entries(b);
}

static mw_batch *begin_batch(stream *t)
{
    mw_batch *b = mw_source_take(t->all->reader->source, 4096);
    entries *e = calloc(1, sizeof *e);
    mw_assert(e != NULL);
    e->of = t;
    b->stream = &t->frames;
    b->request = e, b->meta = e, b->write_meta = write_meta;
    return b;
}

static void give(stream *t, mw_batch *b)
{
    entries *e = b->request;
    if (e->count) {
        mw_source_give(t->all->reader->source, b, t->partition);
        return;
    }
    free_entries(b);
    mw_source_untake(t->all->reader->source, b);
}

static void note_id(mw_batch *b, const char *id, uint64_t position)
{
    entries *e = b->request;
    if (!e->count) {
        snprintf(e->first, sizeof e->first, "%s", id);
        b->position = position;
    }
    snprintf(e->last, sizeof e->last, "%s", id);
    b->end_position = position;
    mw_buffer *ids = &e->ids;
    e->count++;
    mw_resp_argument(ids, id, strlen(id));
}

/* ---- entries ---- */

/* 0: it is beyond what a position holds. */
static int pack(const char *id, uint64_t *position)
{
    uint64_t ms = 0, number = 0;
    if (sscanf(id, "%" SCNu64 "-%" SCNu64, &ms, &number) != 2) return 0;
    *position = ms << NUMBER_BITS | number;
    return ms >> MS_BITS == 0 && number >> NUMBER_BITS == 0;
}

static void add_text(mw_buffer *out, const redisReply *text, int quoted)
{
    size_t len = text->type == REDIS_REPLY_STRING ? text->len : 0;
    if (quoted) mw_json_quote(out, mw_redis_text(text), len);
    else
        mw_buffer_append(out, mw_redis_text(text), len);
}

/* The field that has the event, or an object of all of them. */
static void read_fields(streams *all, const redisReply *fields)
{
    mw_buffer *out = &all->event;
    out->len = 0;
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (strcmp(mw_redis_text(fields->element[i]), all->field) == 0) {
            add_text(out, fields->element[i + 1], 0);
            return;
        }
    mw_buffer_text(out, "{");
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (i) mw_buffer_text(out, ",");
        add_text(out, fields->element[i], 1);
        mw_buffer_text(out, ":");
        add_text(out, fields->element[i + 1], 1);
    }
    mw_buffer_text(out, "}");
}

static void stop_failed(stream *t, const char *why)
{
    char text[400];
    if (t->all->ended) return;
    snprintf(text, sizeof text, "stream '%s': %s", t->name, why);
    t->all->ended = 1;
    mw_source_failed(t->all->reader->source, text);
}

/* [[id, [field, value, …]], …]; the number of them, -1: the source cannot go on. */
static int take_entries(stream *t, const redisReply *list)
{
    streams *all = t->all;
    mw_redis_reader *r = all->reader;
    mw_batch *b = begin_batch(t);
    mw_error error;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *entry = list->element[i];
        if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 2) continue;
        const char *id = mw_redis_text(entry->element[0]);
        const redisReply *fields = entry->element[1];
        uint64_t position = 0;
        if (!pack(id, &position) && !all->group) {
            give(t, b);
            stop_failed(t, "an entry's ID is beyond what positions hold (milliseconds below 2^44, "
                           "numbers below 2^20): read it by a 'group'");
            return -1;
        }
        if (t->step != CLAIM) snprintf(t->last, sizeof t->last, "%s", id);
        t->position = position;
        if (fields->type != REDIS_REPLY_ARRAY) { /* ours, and deleted since */
            note_id(b, id, position);
            continue;
        }
        read_fields(all, fields);
        mw_source_read(r->source, all->event.len);
        if (mw_redis_add(r, &t->frames, b, all->event.bytes, all->event.len, &error) == MW_OK) {
            note_id(b, id, position);
            continue;
        }
        give(t, b);
        if (t->acks) note_rejected(t, id, position);
        mw_source_reject(r->source, t->partition, &t->frames, position, position, all->event.bytes,
                         all->event.len, error.message);
        b = begin_batch(t);
    }
    give(t, b);
    return (int)list->elements;
}

/* ---- asking ---- */

static void on_timer(uv_timer_t *timer)
{
    streams *all = timer->data;
    for (stream *t = all->first; t; t = t->next)
        if (t->acks) mw_redis_acks_send(t->acks);
    mw_redis_streams_resume(all->reader);
}

static void ask_later(streams *all)
{
    if (!all->closing) uv_timer_start(&all->timer, on_timer, RETRY_MS, 0);
}

static void finish_if_done(streams *all)
{
    for (stream *t = all->first; t; t = t->next)
        if (!t->at_end || t->asking) return;
    if (all->ended) return;
    all->ended = 1;
    mw_source_finished(all->reader->source);
}

/* 1: go on with the next question; 0: later; -1: never. */
static int take_error(stream *t, const char *error)
{
    if (t->step == GROUP && strncmp(error, "BUSYGROUP", 9) == 0) { /* it is there already */
        t->step = OWN;
        return 1;
    }
    if (strncmp(error, "NOGROUP", 7) == 0) { /* the stream was deleted, and the group with it */
        t->step = GROUP;
        t->vanished = 1;
        return 0;
    }
    if (mw_redis_is_temporary(error)) return 0;
    stop_failed(t, error);
    return -1;
}

/* The IDs that others have had for too long. */
static int take_pending(stream *t, const redisReply *list)
{
    t->claims.len = 0, t->claim_count = 0;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *entry = list->element[i];
        if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 2) continue;
        if (strcmp(mw_redis_text(entry->element[1]), t->all->consumer) == 0) continue;
        mw_resp_text(&t->claims, mw_redis_text(entry->element[0]));
        t->claim_count++;
    }
    t->step = t->claim_count ? CLAIM : NEW;
    return 1;
}

/* What XREAD and XREADGROUP answer: nothing, or [[name, entries]]. */
static const redisReply *entries_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1) return NULL;
    const redisReply *one = reply->element[0];
    int good = one->type == REDIS_REPLY_ARRAY && one->elements == 2 &&
               one->element[1]->type == REDIS_REPLY_ARRAY;
    return good && one->element[1]->elements ? one->element[1] : NULL;
}

static int take_reply(stream *t, const redisReply *reply)
{
    const redisReply *list;
    int is_list = reply->type == REDIS_REPLY_ARRAY;
    switch (t->step) {
    case LAST: /* XREVRANGE: the newest */
        if (is_list && reply->elements && reply->element[0]->type == REDIS_REPLY_ARRAY &&
            reply->element[0]->elements)
            pack(mw_redis_text(reply->element[0]->element[0]), &t->position);
        t->step = NEW;
        return 1;
    case GROUP:
        t->step = OWN;
        strcpy(t->last, "0");
        return 1;
    case PENDING:
        if (is_list) return take_pending(t, reply);
        t->step = NEW;
        return 1;
    case CLAIM:
        t->step = NEW;
        return is_list && take_entries(t, reply) < 0 ? -1 : 1;
    case OWN:
        list = entries_of(reply);
        if (!list) t->step = NEW;
        return list && take_entries(t, list) < 0 ? -1 : 1;
    case NEW:
        list = entries_of(reply);
        if (!list && t->all->reader->source->once) t->at_end = 1;
        return list && take_entries(t, list) < 0 ? -1 : 1;
    }
    return -1;
}

static void on_reply(void *self, const redisReply *reply, const char *why)
{
    stream *t = self;
    streams *all = t->all;
    (void)why;
    t->asking = 0;
    if (all->ended) return;
    int next = 0;
    if (reply && reply->type == REDIS_REPLY_ERROR) next = take_error(t, reply->str);
    else if (reply)
        next = take_reply(t, reply);
    else if (all->group && t->step != GROUP) /* it may have been given to us all the same */
        t->step = OWN;
    if (t->at_end) finish_if_done(all);
    else if (next > 0)
        ask(t);
    else if (next == 0)
        ask_later(all);
}

static void write_read(stream *t)
{
    streams *all = t->all;
    mw_buffer *c = &all->command;
    char number[ID_BYTES];
    int blocks = t->step == NEW && !all->reader->source->once;
    mw_resp_begin(c, (all->group ? 4 : 1) + 2 + (blocks ? 2 : 0) + 3);
    mw_resp_text(c, all->group ? "XREADGROUP" : "XREAD");
    if (all->group) {
        mw_resp_text(c, "GROUP");
        mw_resp_text(c, all->group);
        mw_resp_text(c, all->consumer);
    }
    mw_resp_text(c, "COUNT");
    snprintf(number, sizeof number, "%" PRIu64, all->count);
    mw_resp_text(c, number);
    if (blocks) {
        snprintf(number, sizeof number, "%d", BLOCK_MS);
        mw_resp_text(c, "BLOCK");
        mw_resp_text(c, number);
    }
    mw_resp_text(c, "STREAMS");
    mw_resp_text(c, t->name);
    if (all->group) {
        mw_resp_text(c, t->step == OWN ? t->last : ">");
        return;
    }
    write_id(number, t->position);
    mw_resp_text(c, number);
}

static void write_question(stream *t)
{
    streams *all = t->all;
    mw_buffer *c = &all->command;
    char number[24];
    switch (t->step) {
    case LAST:
        mw_resp_command(c, "XREVRANGE", t->name, "+", "-", "COUNT", "1", NULL);
        return;
    case GROUP:
        mw_resp_command(c, "XGROUP", "CREATE", t->name, all->group,
                        all->from_end && !t->vanished ? "$" : "0", "MKSTREAM", NULL);
        return;
    case PENDING:
        snprintf(number, sizeof number, "%" PRId64, all->claim_ns / 1000000);
        mw_resp_command(c, "XPENDING", t->name, all->group, "IDLE", number, "-", "+", "100", NULL);
        return;
    case CLAIM:
        snprintf(number, sizeof number, "%" PRId64, all->claim_ns / 1000000);
        mw_resp_begin(c, 5 + t->claim_count);
        mw_resp_text(c, "XCLAIM");
        mw_resp_text(c, t->name);
        mw_resp_text(c, all->group);
        mw_resp_text(c, all->consumer);
        mw_resp_text(c, number);
        mw_buffer_append(c, t->claims.bytes, t->claims.len);
        return;
    default:
        write_read(t);
    }
}

static void ask(stream *t)
{
    streams *all = t->all;
    int64_t now_ns = mw_clock_steady_ns();
    if (t->asking || all->ended || t->at_end || mw_source_is_full(all->reader->source)) return;
    if (t->step == NEW && all->group && all->claim_ns && now_ns >= t->claim_at_ns) {
        t->claim_at_ns = now_ns + all->claim_ns / 2;
        t->step = PENDING;
    }
    t->asking = 1;
    write_question(t);
    mw_redis_send(t->redis, t->name, strlen(t->name), &all->command, on_reply, t);
    mw_redis_flush(t->redis);
}

/* ---- life ---- */

static void close_streams(streams *all)
{
    for (stream *t = all->first, *next; t; t = next) {
        next = t->next;
        mw_redis_close(t->redis);
        mw_redis_acks_close(t->acks);
        mw_stream_close(&t->frames);
        mw_buffer_close(&t->claims);
        for (rejected *e = t->rejected, *then; e; e = then) then = e->next, free(e);
        free(t);
    }
    all->first = NULL;
    mw_buffer_close(&all->command);
    mw_buffer_close(&all->event);
}

static void acks_failed(void *self)
{
    ask_later(self);
}

static mw_status open_stream(streams *all, const char *name, mw_error *error)
{
    mw_source *s = all->reader->source;
    const char *url = mw_config_text(s->config, "url", "");
    const int64_t timeout_ns = 5000000000;
    stream *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    t->all = all, t->name = name, t->next = all->first;
    strcpy(t->last, "0");
    all->first = t;
    mw_stream_init(&t->frames, s->format, s->config, s->limit);
    t->frames.octet_counted = 0;
    mw_status status = mw_redis_new(&t->redis, s->loop, url, s->name, timeout_ns, error);
    if (status == MW_OK && all->group)
        status = mw_redis_acks_new(&t->acks, s->loop, url, s->name, name, all->group, acks_failed,
                                   all, error);
    return status;
}

mw_status mw_redis_streams_open(mw_redis_reader *r, mw_error *error)
{
    mw_source *s = r->source;
    streams *all = calloc(1, sizeof *all);
    mw_assert(all != NULL);
    const char *name, *consumer = mw_config_text(s->config, "consumer", NULL);
    all->reader = r, r->streams = all;
    all->group = mw_config_text(s->config, "group", NULL);
    all->field = mw_config_text(s->config, "field", "event");
    all->claim_ns = mw_config_int(s->config, "claim", 300000000000);
    all->from_end = strcmp(mw_config_text(s->config, "from", "start"), "end") == 0;
    all->count = (uint64_t)mw_config_int(s->config, "count", 500);
    if (!all->count) all->count = 1;
    if (consumer) snprintf(all->consumer, sizeof all->consumer, "%s", consumer);
    else
        gethostname(all->consumer, sizeof all->consumer - 1);
    mw_status status = MW_OK;
    for (size_t i = 0; status == MW_OK && (name = mw_config_item(s->config, "stream", i)); i++)
        status = open_stream(all, name, error);
    if (status != MW_OK) {
        close_streams(all);
        free(all);
        r->streams = NULL;
        return status;
    }
    uv_timer_init(s->loop, &all->timer);
    all->timer.data = all;
    r->handles = 1;
    return MW_OK;
}

/* Whose place it takes, if any, is closed by now: its positions are the last. */
void mw_redis_streams_start(mw_redis_reader *r)
{
    streams *all = r->streams;
    for (stream *t = all->first; t; t = t->next) {
        t->step = all->group ? GROUP : NEW;
        if (all->group) continue;
        t->partition = mw_source_partition(r->source, t->name);
        int known = mw_partition_known(t->partition, &t->position, NULL, NULL);
        if (!known && all->from_end) t->step = LAST;
    }
    mw_redis_streams_resume(r);
}

void mw_redis_streams_resume(mw_redis_reader *r)
{
    for (stream *t = r->streams->first; t; t = t->next) ask(t);
}

/* A read that waits is given up: what it would have brought is read the next time. */
void mw_redis_streams_drain(mw_redis_reader *r)
{
    if (r->streams->ended) return;
    r->streams->ended = 1;
    mw_source_finished(r->source);
}

static void on_closed(uv_handle_t *handle)
{
    streams *all = handle->data;
    mw_redis_reader_released(all->reader);
    free(all);
}

void mw_redis_streams_close(mw_redis_reader *r)
{
    streams *all = r->streams;
    all->ended = 1;
    uv_timer_stop(&all->timer);
    all->closing = 1;
    close_streams(all);
    uv_close((uv_handle_t *)&all->timer, on_closed);
}
