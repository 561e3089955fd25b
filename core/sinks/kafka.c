/* kafka.c (sink): events into topics of Kafka.
 *
 * The producer is idempotent and waits for all replicas in sync: what librdkafka takes, it delivers
 * in order and once, over broken connections and new leaders, for as long as it takes. Delivered
 * means that it reported so. What a broker refuses for good goes to the dead letters; an error that
 * ends the producer makes another one, to which all that is not reported is given again. */
#include "event/json.h"
#include "event/template.h"
#include "net/kafka.h"

#include <moonweir/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mw_option options[] = {
    {"brokers", MW_OPT_TEXT, "!", "host:port, more of them separated by commas", NULL, NULL},
    {"topic", MW_OPT_TEXT, "!", "the topic; may hold {field}", NULL, NULL},
    {"key", MW_OPT_TEXT, NULL, "the message's key; may hold {field}; without it there is none",
     NULL, NULL},
    {"headers", MW_OPT_MAP, NULL, "headers of each message", NULL, NULL},
    {"identity", MW_OPT_TEXT, NULL,
     "a header for a text that is the same whenever the event is sent again", NULL, NULL},
    {"compression", MW_OPT_TEXT, "none", "of batches", "none|gzip|snappy|lz4|zstd", NULL},
    {"linger", MW_OPT_DURATION, "5ms", "how long a message may wait for others", NULL, NULL},
    {"config", MW_OPT_MAP, NULL, "properties of librdkafka, by their names", NULL, NULL},
    {0},
};

/* A list and how far it is. */
typedef struct tracked tracked;
typedef struct item {
    tracked *of;
    int answered;
} item;
struct tracked {
    tracked *next;
    mw_list *list;
    uint32_t left, given;
    item items[];
};

typedef struct kafka_sink {
    mw_sink *sink;
    rd_kafka_conf_t *conf; /* what each producer is made of */
    rd_kafka_t *producer;
    rd_kafka_queue_t *queue;
    mw_kafka_watch *watch;
    mw_template *topic, *key;
    const char *identity;
    int has_headers; /* each message has some */
    tracked *first, **end, *giving;
    int broken; /* the producer ended */
    uv_timer_t timer;
    mw_buffer topic_text, key_text, text;
} kafka_sink;

enum { REST_MS = 1000, EVENTS_A_ROUND = 64, HEADERS_MOST = 32 };

static void on_ready(void *self);

static mw_status open_producer(kafka_sink *k, mw_error *error)
{
    char why[300];
    k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_dup(k->conf), why, sizeof why);
    if (!k->producer) return mw_fail(error, MW_CONFIG, "no producer can be made: %s", why);
    k->queue = rd_kafka_queue_get_main(k->producer);
    k->watch = mw_kafka_watch_new(k->sink->loop, k->queue, on_ready, k);
    k->broken = 0;
    return MW_OK;
}

static void close_producer(kafka_sink *k)
{
    if (!k->producer) return;
    mw_kafka_watch_close(k->watch);
    rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                    RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_queue_destroy(k->queue);
    rd_kafka_destroy(k->producer);
    k->producer = NULL, k->queue = NULL, k->watch = NULL;
}

/* ---- giving ---- */

/* A text of the third argument of send; 0: it has none of that name. */
static int option_text(const mw_piece *p, const char *name, mw_buffer *out)
{
    if (!p->options) return 0;
    mw_value v = mw_json_field(mw_json_value(p->options, p->options_len), name);
    if (v.kind == MW_ESCAPED) mw_json_unescape(out, v.text, v.len);
    else if (v.kind == MW_STRING || v.kind == MW_NUMBER || v.kind == MW_INTEGER)
        mw_buffer_append(out, v.text, v.len);
    else
        return 0;
    return 1;
}

static int option_value(const mw_piece *p, const char *name, mw_value *v)
{
    if (!p->options) return 0;
    *v = mw_json_field(mw_json_value(p->options, p->options_len), name);
    return v->kind != MW_ABSENT;
}

static void add_header(rd_kafka_headers_t *h, const char *name, size_t name_len, const char *value,
                       size_t len)
{
    rd_kafka_header_add(h, name, (ssize_t)name_len, value, (ssize_t)len);
}

/* The flow's, the identity, and those that the rule gave; NULL: none. */
static rd_kafka_headers_t *make_headers(kafka_sink *k, const mw_list *list, const mw_piece *p)
{
    mw_value given = {0}, name, value;
    const char *key, *text;
    char identity[160];
    int has = k->has_headers || (option_value(p, "headers", &given) && given.kind == MW_OBJECT);
    if (!has) return NULL;
    rd_kafka_headers_t *h = rd_kafka_headers_new(HEADERS_MOST);
    for (size_t i = 0; mw_config_pair(k->sink->config, "headers", i, &key, &text); i++)
        add_header(h, key, strlen(key), text, strlen(text));
    if (k->identity) {
        mw_sink_identify(k->sink, list, p, identity, sizeof identity);
        add_header(h, k->identity, strlen(k->identity), identity, strlen(identity));
    }
    mw_buffer plain = {0};
    for (size_t at = 0;
         given.kind == MW_OBJECT && mw_json_next(given.text, given.len, &at, &name, &value);) {
        plain.len = 0;
        if (value.kind == MW_ESCAPED) mw_json_unescape(&plain, value.text, value.len);
        else
            mw_buffer_append(&plain, value.text, value.len);
        add_header(h, name.text, name.len, plain.bytes ? plain.bytes : "", plain.len);
    }
    mw_buffer_close(&plain);
    return h;
}

/* 1: librdkafka has it. 0: it has no room. -1: it was failed. */
static int give_piece(kafka_sink *k, tracked *t, uint32_t n)
{
    const mw_piece *p = &t->list->pieces[n];
    mw_value v;
    int has_key, tombstone = option_value(p, "tombstone", &v) && v.kind == MW_TRUE;
    k->topic_text.len = k->key_text.len = k->text.len = 0;
    if (!option_text(p, "topic", &k->topic_text))
        mw_template_render(k->topic, p->text, p->len, 0, &k->topic_text);
    mw_buffer_append(&k->topic_text, "", 1);
    has_key = option_text(p, "key", &k->key_text);
    if (!has_key && k->key) {
        mw_template_render(k->key, p->text, p->len, 0, &k->key_text);
        has_key = 1;
    }
    if (!tombstone) mw_sink_render(k->sink, t->list, p, &k->text);
    if (k->text.len && k->text.bytes[k->text.len - 1] == '\n') k->text.len--;
    mw_buffer_reserve(&k->key_text, 1);
    mw_buffer_reserve(&k->text, 1);
    rd_kafka_vu_t args[8];
    size_t count = 0;
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = k->topic_text.bytes};
    args[count++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE,
                        .u.mem = {tombstone ? NULL : k->text.bytes, tombstone ? 0 : k->text.len}};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = &t->items[n]};
    if (has_key)
        args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
                                        .u.mem = {k->key_text.bytes, k->key_text.len}};
    if (option_value(p, "partition", &v) && v.kind == MW_NUMBER)
        args[count++] =
            (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = (int32_t)v.number};
    if (option_value(p, "timestamp", &v) && v.kind == MW_NUMBER)
        args[count++] =
            (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = (int64_t)(v.number * 1000)};
    rd_kafka_headers_t *headers = make_headers(k, t->list, p);
    if (headers)
        args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    rd_kafka_error_t *e = rd_kafka_produceva(k->producer, args, count);
    if (!e) return 1;
    rd_kafka_resp_err_t code = rd_kafka_error_code(e);
    char why[300];
    snprintf(why, sizeof why, "Kafka cannot take it: %s", rd_kafka_error_string(e));
    rd_kafka_error_destroy(e);
    if (headers) rd_kafka_headers_destroy(headers);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) return 0;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        k->broken = 1;
        return 0;
    }
    mw_sink_fail(k->sink, t->list, n, why);
    return -1;
}

static void take_off(kafka_sink *k)
{
    for (tracked *t; (t = k->first) && t->left == 0;) {
        k->first = t->next;
        if (!k->first) k->end = &k->first;
        if (k->giving == t) k->giving = t->next;
        mw_sink_done(k->sink, t->list);
        free(t);
    }
}

static void answer(tracked *t, item *i)
{
    i->answered = 1;
    t->left--;
}

static void give(kafka_sink *k)
{
    for (tracked *t; k->producer && !k->broken && (t = k->giving); k->giving = t->next) {
        for (; t->given < t->list->count; t->given++) {
            item *i = &t->items[t->given];
            if (i->answered) continue;
            int taken = give_piece(k, t, t->given);
            if (taken == 0) return;
            if (taken < 0) answer(t, i);
        }
    }
    take_off(k);
}

/* ---- reports ---- */

/* What no repetition changes. */
static int is_final(rd_kafka_resp_err_t e)
{
    switch (e) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return 1;
    default:
        return 0;
    }
}

/* Everything that was not reported begins anew. */
static void begin_again(kafka_sink *k)
{
    for (tracked *t = k->first; t; t = t->next) t->given = 0;
    k->giving = k->first;
}

static void on_timer(uv_timer_t *timer)
{
    kafka_sink *k = timer->data;
    mw_error error;
    if (k->broken || !k->producer) {
        close_producer(k);
        if (open_producer(k, &error) != MW_OK) {
            mw_sink_retried(k->sink, error.message);
            uv_timer_start(&k->timer, on_timer, REST_MS, 0);
            return;
        }
        begin_again(k);
    }
    give(k);
}

static void on_report(kafka_sink *k, const rd_kafka_message_t *m)
{
    item *i = m->_private;
    tracked *t = i->of;
    uint32_t n = (uint32_t)(i - t->items);
    char why[300];
    if (i->answered) return;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        mw_sink_wrote(k->sink, m->len);
        mw_sink_recovered(k->sink);
        answer(t, i);
    } else if (is_final(m->err)) {
        snprintf(why, sizeof why, "Kafka refused it: %s", rd_kafka_err2str(m->err));
        mw_sink_fail(k->sink, t->list, n, why);
        answer(t, i);
    } else { /* once more, with all behind it that this producer gives up */
        mw_sink_retried(k->sink, rd_kafka_err2str(m->err));
        k->broken = 1;
    }
}

static void on_error(kafka_sink *k, rd_kafka_event_t *e)
{
    mw_sink_retried(k->sink, rd_kafka_event_error_string(e));
    if (rd_kafka_event_error_is_fatal(e)) k->broken = 1;
}

static void on_ready(void *self)
{
    kafka_sink *k = self;
    rd_kafka_event_t *e = NULL;
    for (int n = 0; n < EVENTS_A_ROUND && (e = rd_kafka_queue_poll(k->queue, 0)); n++) {
        const rd_kafka_message_t *m;
        if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_DR)
            while ((m = rd_kafka_event_message_next(e))) on_report(k, m);
        else if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_ERROR)
            on_error(k, e);
        rd_kafka_event_destroy(e);
    }
    take_off(k);
    if (e) mw_kafka_watch_again(k->watch); /* there may be more */
    if (k->broken) uv_timer_start(&k->timer, on_timer, REST_MS, 0);
    else
        give(k);
}

/* ---- the sink ---- */

static mw_status read_conf(kafka_sink *k, mw_error *error)
{
    mw_config *c = k->sink->config;
    const char *name, *value;
    char linger[32];
    snprintf(linger, sizeof linger, "%.3f", (double)mw_config_int(c, "linger", 5000000) / 1e6);
    const char *const own[][2] = {{"bootstrap.servers", mw_config_text(c, "brokers", "")},
                                  {"enable.idempotence", "true"},
                                  {"acks", "all"},
                                  {"message.timeout.ms", "0"},
                                  {"partitioner", "murmur2_random"},
                                  {"compression.type", mw_config_text(c, "compression", "none")},
                                  {"linger.ms", linger}};
    k->conf = rd_kafka_conf_new();
    mw_status status = mw_kafka_name(k->conf, k->sink->name, error);
    rd_kafka_conf_set_events(k->conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    for (size_t i = 0; i < sizeof own / sizeof *own && status == MW_OK; i++)
        status = mw_kafka_set(k->conf, own[i][0], own[i][1], error);
    for (size_t i = 0; status == MW_OK && mw_config_pair(c, "config", i, &name, &value); i++)
        status = mw_kafka_set(k->conf, name, value, error);
    return status;
}

static void free_sink(kafka_sink *k)
{
    if (k->conf) rd_kafka_conf_destroy(k->conf);
    if (k->topic) mw_template_free(k->topic);
    if (k->key) mw_template_free(k->key);
    mw_buffer_close(&k->topic_text);
    mw_buffer_close(&k->key_text);
    mw_buffer_close(&k->text);
    free(k);
}

static mw_status open_kafka(mw_sink *sink, mw_error *error)
{
    kafka_sink *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    const char *key = mw_config_text(sink->config, "key", NULL);
    k->sink = sink, k->end = &k->first;
    k->identity = mw_config_text(sink->config, "identity", NULL);
    const char *name, *value;
    k->has_headers =
        k->identity != NULL || mw_config_pair(sink->config, "headers", 0, &name, &value);
    mw_status status = mw_template_new(&k->topic, mw_config_text(sink->config, "topic", ""), error);
    if (status == MW_OK && key) status = mw_template_new(&k->key, key, error);
    if (status == MW_OK) status = read_conf(k, error);
    if (status == MW_OK) status = open_producer(k, error);
    if (status != MW_OK) {
        free_sink(k);
        return status;
    }
    sink->self = k;
    uv_timer_init(sink->loop, &k->timer);
    k->timer.data = k;
    return MW_OK;
}

static void write_list(mw_sink *sink, mw_list *list)
{
    kafka_sink *k = sink->self;
    tracked *t = calloc(1, sizeof *t + list->count * sizeof *t->items);
    mw_assert(t != NULL);
    t->list = list, t->left = list->count;
    for (uint32_t i = 0; i < list->count; i++) t->items[i].of = t;
    *k->end = t;
    k->end = &t->next;
    if (!k->giving) k->giving = t;
}

static void flush(mw_sink *sink)
{
    give(sink->self);
}

static void on_closed(uv_handle_t *handle)
{
    free_sink(handle->data);
}

static void close_kafka(mw_sink *sink)
{
    kafka_sink *k = sink->self;
    close_producer(k);
    for (tracked *t = k->first, *next; t; t = next) next = t->next, free(t);
    uv_close((uv_handle_t *)&k->timer, on_closed);
}

const mw_sink_kind mw_sink_kafka = {
    .name = "kafka",
    .grade = MW_SINK_ONCE,
    .options = options,
    .open = open_kafka,
    .write = write_list,
    .flush = flush,
    .close = close_kafka,
};
