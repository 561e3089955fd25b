/* kafka.c (source): messages of topics, read as a member of a consumer group. */
#include "base/clock.h"
#include "base/log.h"
#include "event/json.h"
#include "event/kafka_stats.h"
#include "event/time.h"
#include "sources/kafka_private.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const mw_option options[] = {
    {"brokers", MW_OPT_TEXT, "!", "host:port, more of them separated by commas", NULL, NULL},
    {"topic", MW_OPT_TEXTS, NULL, "topics to read; one that begins with ^ is a pattern", NULL,
     NULL},
    {"topics", MW_OPT_TEXTS, NULL, "the same", NULL, NULL},
    {"group", MW_OPT_TEXT, "!", "the consumer group that it is a member of", NULL, NULL},
    {"member", MW_OPT_TEXT, NULL,
     "its name in the group, for good (static membership): after a crash it goes on at once, and "
     "its partitions are not given away before the session's time is over",
     NULL, NULL},
    {"session", MW_OPT_DURATION, "10s", "how long the group waits for a member that says nothing",
     NULL, NULL},
    {"start", MW_OPT_TEXT, "earliest",
     "where to begin, where neither we nor the group know better: earliest, latest, an offset, a "
     "time (RFC 3339), or committed: only where the group knows",
     NULL, NULL},
    {"commit", MW_OPT_DURATION, "1s", "how often the group is told how far all has come", NULL,
     NULL},
    {"config", MW_OPT_MAP, NULL, "properties of librdkafka, by their names", NULL, NULL},
    {0},
};

enum {
    MESSAGES_A_ROUND = 512,
    BLOCK = 256 << 10,
    TICK_MS = 100,
    ASK_MS = 100,
    ASK_EVERY_NS = 50000000,
    HOLD_MS = 1000, /* paused so long, partitions are paused too, so that the group is served */
};

/* ---- what is known of a message ---- */

typedef struct message {
    size_t at; /* in the block */
    int64_t offset, timestamp_ms;
    const char *key, *headers; /* JSON; NULL: none */
    uint32_t key_len, headers_len;
    int tombstone;
} message;

/* A batch's, in its arena; grown by copying. */
typedef struct messages {
    const mw_kafka_part *part;
    uint32_t count, room;
    message *list;
} messages;

static const message *message_at(const messages *m, size_t distance)
{
    uint32_t low = 0, high = m->count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (m->list[middle].at <= distance) low = middle;
        else
            high = middle;
    }
    return &m->list[low];
}

static uint64_t position_of(const mw_batch *b, size_t distance)
{
    return (uint64_t)message_at(b->meta, distance)->offset;
}

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    const messages *m = b->meta;
    (void)kept;
    mw_buffer_text(out, ",\"topic\":");
    mw_json_quote(out, m->part->topic, strlen(m->part->topic));
    mw_buffer_format(out, ",\"partition_number\":%d", m->part->number);
    if (!e || e->origin >= b->count || !m->count) return;
    const char *raw = b->events[e->origin].raw;
    if (raw < b->block || raw > b->block + b->len) return;
    const message *one = message_at(m, (size_t)(raw - b->block));
    mw_buffer_format(out, ",\"offset\":%lld", (long long)one->offset);
    if (one->timestamp_ms >= 0)
        mw_buffer_format(out, ",\"timestamp\":%.3f", (double)one->timestamp_ms / 1000);
    if (one->key) {
        mw_buffer_text(out, ",\"key\":");
        mw_json_quote(out, one->key, one->key_len);
    }
    if (one->headers) {
        mw_buffer_text(out, ",\"headers\":");
        mw_buffer_append(out, one->headers, one->headers_len);
    }
    if (one->tombstone) mw_buffer_text(out, ",\"tombstone\":true");
}

static void note_headers(mw_kafka_source *k, const rd_kafka_message_t *m, mw_batch *b, message *to)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    k->text.len = 0;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        mw_buffer_text(&k->text, i ? "," : "{");
        mw_json_quote(&k->text, name, strlen(name));
        mw_buffer_text(&k->text, ":");
        if (value) mw_json_quote(&k->text, value, len);
        else
            mw_buffer_text(&k->text, "null");
    }
    if (!k->text.len) return;
    mw_buffer_text(&k->text, "}");
    to->headers = mw_arena_copy(&b->arena, k->text.bytes, k->text.len);
    to->headers_len = (uint32_t)k->text.len;
}

static void note_message(mw_kafka_source *k, const rd_kafka_message_t *m, size_t at)
{
    mw_batch *b = k->batch;
    messages *all = (messages *)b->meta;
    if (all->count == all->room) {
        uint32_t room = all->room ? all->room * 2 : 64;
        message *list = mw_arena_get(&b->arena, room * sizeof *list);
        if (all->count) memcpy(list, all->list, all->count * sizeof *list);
        all->list = list, all->room = room;
    }
    message *to = &all->list[all->count++];
    *to = (message){.at = at,
                    .offset = m->offset,
                    .timestamp_ms = rd_kafka_message_timestamp(m, NULL),
                    .tombstone = m->payload == NULL};
    if (m->key) {
        to->key = m->key_len ? mw_arena_copy(&b->arena, m->key, m->key_len) : "";
        to->key_len = (uint32_t)m->key_len;
    }
    note_headers(k, m, b, to);
}

/* ---- batches ---- */

static void give(mw_kafka_source *k)
{
    mw_batch *b = k->batch;
    mw_kafka_part *p = k->filling;
    if (!b) return;
    k->batch = NULL, k->filling = NULL;
    if (((const messages *)b->meta)->count == 0) {
        mw_source_untake(k->source, b);
        return;
    }
    p->in_flight++;
    p->given = (int64_t)b->end_position;
    mw_source_give(k->source, b, p->positions);
}

static void begin_batch(mw_kafka_source *k, mw_kafka_part *p, int64_t offset)
{
    mw_batch *b = mw_source_take(k->source, 4096);
    messages *m = mw_arena_get(&b->arena, sizeof *m);
    *m = (messages){.part = p};
    b->stream = &p->frames;
    b->meta = m, b->write_meta = write_meta, b->position_of = position_of;
    b->position = (uint64_t)offset;
    k->batch = b, k->filling = p;
}

/* Line breaks between the tokens of one JSON document would make several lines of it. */
static void join_lines(char *text, size_t len)
{
    if (!memchr(text, '\n', len)) return;
    if (mw_json_check(text, len) >= 0) return; /* it is lines, or nothing */
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n' || text[i] == '\r') text[i] = ' ';
}

/* Adds a message's bytes. MW_INVALID or MW_LIMIT: they are no events. */
static mw_status add_bytes(mw_kafka_source *k, mw_kafka_part *p, const char *bytes, size_t len,
                           mw_error *error)
{
    mw_batch *b = k->batch;
    size_t whole;
    mw_batch_reserve(b, b->len + len + 1 > b->room ? (b->len + len + 1) * 2 : b->room);
    char *to = b->block + b->len;
    if (len) memcpy(to, bytes, len);
    memset(to + len, 0, MW_JSON_PADDING);
    if (k->by_line) {
        join_lines(to, len);
        if (!len || to[len - 1] != '\n') to[len++] = '\n';
        memset(to + len, 0, MW_JSON_PADDING);
    }
    mw_status status = p->frames.format->boundary(&p->frames, to, len, 1, &whole, error);
    if (status == MW_OK && whole != len)
        status = mw_fail(error, MW_INVALID, "it is not whole events of the source's format");
    if (status == MW_OK) b->len += len;
    return status;
}

/* Most come one behind the other from the same. */
static mw_kafka_part *part_of(mw_kafka_source *k, const rd_kafka_message_t *m)
{
    const char *topic = rd_kafka_topic_name(m->rkt);
    mw_kafka_part *p = k->filling;
    if (p && p->number == m->partition && strcmp(p->topic, topic) == 0) return p;
    return mw_kafka_find(k, topic, m->partition);
}

static void on_message(mw_kafka_source *k, const rd_kafka_message_t *m)
{
    mw_kafka_part *p = part_of(k, m);
    mw_error error;
    if (!p || !p->owned || p->leaving) return; /* whoever has it next reads it */
    p->at_end = 0;
    if (k->batch && (k->filling != p || k->batch->len + m->len > BLOCK)) give(k);
    if (!k->batch) begin_batch(k, p, m->offset);
    size_t at = k->batch->len;
    const char *bytes = m->payload ? m->payload : "{}";
    size_t len = m->payload ? m->len : 2;
    k->messages++, k->message_bytes += m->len;
    mw_source_read(k->source, m->len);
    if (add_bytes(k, p, bytes, len, &error) == MW_OK) {
        note_message(k, m, at);
        k->batch->end_position = (uint64_t)m->offset + 1;
        return;
    }
    give(k);
    p->in_flight++;
    p->given = m->offset + 1;
    mw_source_reject(k->source, p->positions, &p->frames, (uint64_t)m->offset,
                     (uint64_t)m->offset + 1, bytes, len, error.message);
}

static void look_at_ends(mw_kafka_source *k)
{
    int owned = 0;
    for (mw_kafka_part *p = k->parts; p; p = p->next) {
        owned |= p->owned;
        if (p->owned && !p->at_end) return;
    }
    if (owned) mw_source_finished(k->source);
}

static void on_trouble(mw_kafka_source *k, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        mw_kafka_part *p = mw_kafka_find(k, rd_kafka_topic_name(m->rkt), m->partition);
        if (p) p->at_end = 1;
        if (k->source->once) look_at_ends(k);
        return;
    }
    /* fenced, say: librdkafka 2.0 does that to itself when it tells its offsets while it joins its
     * group again by the same name. A new consumer is not. */
    if (m->err == RD_KAFKA_RESP_ERR__FATAL)
        mw_source_restart(k->source, rd_kafka_message_errstr(m));
    else
        mw_log(MW_WARN, k->source->name, "%s", rd_kafka_message_errstr(m));
}

/* librdkafka 2.0 sleeps for up to a second when its queue was full, however empty it is by now; a
 * request to the broker wakes it. Who sends one waits for the answer: not the loop. */
static void ask(uv_work_t *work)
{
    mw_kafka_source *k = work->data;
    int64_t low, high;
    rd_kafka_query_watermark_offsets(k->consumer, k->asked->topic, k->asked->number, &low, &high,
                                     ASK_MS);
    atomic_store(&k->is_asking, 0);
}

static void free_source(mw_kafka_source *k)
{
    if (--k->handles == 0) free(k);
}

static void on_asked(uv_work_t *work, int status)
{
    (void)status;
    free_source(work->data);
}

/* Nothing is left though there is more. */
static void wake_fetcher(mw_kafka_source *k)
{
    int64_t low, high, now_ns = mw_clock_steady_ns();
    if (now_ns < k->asked_ns + ASK_EVERY_NS || atomic_load(&k->is_asking)) return;
    k->asked_ns = now_ns;
    for (mw_kafka_part *p = k->parts; p; p = p->next) {
        if (!p->owned || p->given < 0 ||
            rd_kafka_get_watermark_offsets(k->consumer, p->topic, p->number, &low, &high) ||
            high <= p->given)
            continue;
        k->asked = p;
        k->handles++;
        atomic_store(&k->is_asking, 1);
        k->work.data = k;
        uv_queue_work(k->source->loop, &k->work, ask, on_asked);
        return;
    }
}

static void on_ready(void *self)
{
    mw_kafka_source *k = self;
    rd_kafka_message_t *list[MESSAGES_A_ROUND];
    if (k->closing || (k->paused && !k->is_held)) return;
    ssize_t n = rd_kafka_consume_batch_queue(k->queue, 0, list, MESSAGES_A_ROUND);
    for (ssize_t i = 0; i < n; i++) {
        if (list[i]->err) on_trouble(k, list[i]);
        else if (!k->draining)
            on_message(k, list[i]);
        rd_kafka_message_destroy(list[i]);
    }
    give(k);
    if (n > 0) mw_kafka_watch_again(k->watch);
    if (n < MESSAGES_A_ROUND && !k->is_held) wake_fetcher(k);
}

/* ---- now and then ---- */

static void tell_lag(mw_kafka_source *k)
{
    uint64_t behind = 0;
    int64_t low, high;
    for (mw_kafka_part *p = k->parts; p; p = p->next)
        if (p->owned && p->done >= 0 &&
            rd_kafka_get_watermark_offsets(k->consumer, p->topic, p->number, &low, &high) ==
                RD_KAFKA_RESP_ERR_NO_ERROR &&
            high > p->done)
            behind += (uint64_t)(high - p->done);
    mw_source_lag(k->source, k->messages ? behind * (k->message_bytes / k->messages) : behind);
}

/* All partitions that are ours are paused, or resumed: only what we have paused ourselves. */
static void hold(mw_kafka_source *k, int holds)
{
    rd_kafka_topic_partition_list_t *list;
    if (k->is_held == holds || rd_kafka_assignment(k->consumer, &list)) return;
    if (holds) rd_kafka_pause_partitions(k->consumer, list);
    else
        rd_kafka_resume_partitions(k->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    k->is_held = holds;
}

static void on_timer(uv_timer_t *timer)
{
    mw_kafka_source *k = timer->data;
    if (k->paused && mw_clock_steady_ns() - k->paused_at_ns > HOLD_MS * 1000000ll) hold(k, 1);
    mw_kafka_let_go(k);
    if (!k->leaving && mw_clock_steady_ns() >= k->commit_at_ns) {
        mw_kafka_commit(k, 0);
        k->commit_at_ns = mw_clock_steady_ns() + k->commit_ns;
    }
    tell_lag(k);
    on_ready(k);
}

/* ---- the source ---- */

static mw_status read_start(mw_kafka_source *k, mw_error *error)
{
    static const char *const names[] = {"earliest", "latest", "committed"};
    const char *text = mw_config_text(k->source->config, "start", "earliest");
    const mw_value value = {.kind = MW_STRING, .text = text, .len = (uint32_t)strlen(text)};
    mw_time_format format;
    int64_t ns;
    char *end;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            k->start.kind = (mw_kafka_start)i;
            return MW_OK;
        }
    k->start.at = strtoll(text, &end, 10);
    if (end > text && !*end && k->start.at >= 0) {
        k->start.kind = MW_KAFKA_OFFSET;
        return MW_OK;
    }
    mw_time_format_find(&format, "rfc3339");
    if (mw_time_read(&format, &value, mw_clock_wall_ns(), &ns)) {
        k->start.kind = MW_KAFKA_TIME, k->start.at = ns / 1000000;
        return MW_OK;
    }
    return mw_fail(error, MW_CONFIG,
                   "'start' must be earliest, latest, committed, an offset or a time such as "
                   "\"2026-01-31T12:00:00Z\", not '%s'",
                   text);
}

static mw_status read_conf(mw_kafka_source *k, rd_kafka_conf_t *conf, mw_error *error)
{
    mw_config *c = k->source->config;
    const char *name, *value, *member = mw_config_text(c, "member", NULL);
    char session[24];
    snprintf(session, sizeof session, "%lld",
             (long long)mw_config_int(c, "session", 10000000000) / 1000000);
    const char *const own[][2] = {
        {"bootstrap.servers", mw_config_text(c, "brokers", "")},
        {"group.id", mw_config_text(c, "group", "")},
        {"auto.offset.reset", k->start.kind == MW_KAFKA_LATEST ? "latest" : "earliest"},
        {"session.timeout.ms", session},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", k->source->once ? "true" : "false"},
        {"partition.assignment.strategy", "cooperative-sticky"},
        /* what waits in librdkafka: when it has enough, librdkafka 2.0
           fetches nothing for a second, so only bytes bound it, */
        {"queued.min.messages", "10000000"},
        {"queued.max.messages.kbytes", "65536"}};
    mw_status status = mw_kafka_name(conf, k->source->name, error);
    mw_kafka_set(conf, "fetch.queue.backoff.ms", "10", NULL); /* and from 2.2 on as long as this */
    for (size_t i = 0; i < sizeof own / sizeof *own && status == MW_OK; i++)
        status = mw_kafka_set(conf, own[i][0], own[i][1], error);
    if (status == MW_OK && member) status = mw_kafka_set(conf, "group.instance.id", member, error);
    for (size_t i = 0; status == MW_OK && mw_config_pair(c, "config", i, &name, &value); i++)
        status = mw_kafka_set(conf, name, value, error);
    return status;
}

static void tell_stat(void *self, const char *name, double value)
{
    mw_source_stat(self, name, value);
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    mw_kafka_source *k = opaque;
    (void)rk;
    k->text.len = 0;
    mw_buffer_append(&k->text, json, len);
    memset(mw_buffer_reserve(&k->text, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    mw_kafka_stats(k->text.bytes, len, tell_stat, k->source);
    return 0;
}

static mw_status open_consumer(mw_kafka_source *k, mw_error *error)
{
    char why[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    mw_status status = read_conf(k, conf, error);
    if (status != MW_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_rebalance_cb(conf, mw_kafka_on_rebalance);
    rd_kafka_conf_set_stats_cb(conf, on_stats);
    rd_kafka_conf_set_offset_commit_cb(conf, mw_kafka_on_commit);
    k->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!k->consumer) {
        rd_kafka_conf_destroy(conf);
        return mw_fail(error, MW_CONFIG, "no consumer can be made: %s", why);
    }
    k->membership = mw_kafka_group_new(k->consumer);
    rd_kafka_poll_set_consumer(k->consumer);
    k->queue = rd_kafka_queue_get_consumer(k->consumer);
    return MW_OK;
}

static mw_status open_kafka(mw_source *s, mw_error *error)
{
    unsigned char random[MW_KAFKA_OWNER / 2];
    mw_kafka_source *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    k->source = s;
    mw_assert(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    for (size_t i = 0; i < sizeof random; i++) sprintf(k->owner + 2 * i, "%02x", random[i]);
    k->by_line =
        strcmp(s->format->name, "length-prefixed") != 0 && strcmp(s->format->name, "json") != 0;
    mw_status status = MW_OK;
    if (!mw_config_item(s->config, "topic", 0) && !mw_config_item(s->config, "topics", 0))
        status = mw_fail(error, MW_CONFIG, "'topic' or 'topics' must be given");
    if (status == MW_OK) status = read_start(k, error);
    if (status == MW_OK) status = open_consumer(k, error);
    if (status != MW_OK) {
        free(k);
        return status;
    }
    s->self = k;
    k->handles = 1;
    uv_timer_init(s->loop, &k->timer);
    k->timer.data = k;
    return MW_OK;
}

static void start(mw_source *s)
{
    mw_kafka_source *k = s->self;
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(4);
    const char *topic;
    for (int n = 0; n < 2; n++)
        for (size_t i = 0; (topic = mw_config_item(s->config, n ? "topics" : "topic", i)); i++)
            rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(k->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err) {
        mw_source_failed(s, rd_kafka_err2str(err));
        return;
    }
    k->commit_ns = mw_config_int(s->config, "commit", 1000000000);
    k->watch = mw_kafka_watch_new(s->loop, k->queue, on_ready, k);
    uv_timer_start(&k->timer, on_timer, TICK_MS, TICK_MS);
}

static void pause_reading(mw_source *s)
{
    mw_kafka_source *k = s->self;
    k->paused = 1;
    k->paused_at_ns = mw_clock_steady_ns();
}

static void resume(mw_source *s)
{
    mw_kafka_source *k = s->self;
    k->paused = 0;
    hold(k, 0);
    if (k->watch) mw_kafka_watch_again(k->watch);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    mw_kafka_source *k = s->self;
    mw_kafka_part *p = (mw_kafka_part *)((char *)b->stream - offsetof(mw_kafka_part, frames));
    p->in_flight--;
    if (p->owned && (int64_t)b->end_position > p->done && !s->exactly_once)
        p->done = (int64_t)b->end_position;
    if (k->leaving) mw_kafka_let_go(k);
}

static void drain(mw_source *s)
{
    mw_kafka_source *k = s->self;
    k->draining = 1;
    mw_source_finished(s);
}

static void on_closed(uv_handle_t *handle)
{
    free_source(handle->data);
}

static void close_kafka(mw_source *s)
{
    mw_kafka_source *k = s->self;
    k->closing = 1;
    while (atomic_load(&k->is_asking)) uv_sleep(1); /* it has the consumer, for a moment */
    if (k->batch) mw_source_untake(s, k->batch);
    mw_kafka_watch_close(k->watch);
    mw_kafka_commit(k, 1);
    mw_kafka_group_close(k->membership);
    mw_kafka_group_release(k->membership);
    rd_kafka_queue_destroy(k->queue);
    rd_kafka_consumer_close(k->consumer);
    mw_kafka_end(k->consumer);
    if (k->leaving) rd_kafka_topic_partition_list_destroy(k->leaving);
    mw_kafka_free_parts(k);
    mw_buffer_close(&k->text);
    uv_timer_stop(&k->timer);
    uv_close((uv_handle_t *)&k->timer, on_closed);
}

const mw_source_kind mw_source_kafka = {
    .name = "kafka",
    .grade = MW_SOURCE_REPLAYS,
    .options = options,
    .spread = 1,
    .open = open_kafka,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .offsets = mw_kafka_offsets_now,
    .checkpointed = mw_kafka_checkpointed,
    .close = close_kafka,
};
