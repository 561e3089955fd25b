/* kafka.c (sink): events into topics of Kafka.
 *
 * The producer is idempotent and waits for all replicas in sync: what librdkafka takes, it delivers
 * in order and once, over broken connections and new leaders, for as long as it takes. Delivered
 * means that it reported so. What a broker refuses for good goes to the dead letters; an error that
 * ends the producer makes another one, to which all that is not reported is given again. Exactly
 * once: see kafka_transaction.c. */
#include "sinks/kafka_private.h"

#include "event/json.h"

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

enum { HEADERS_MOST = 32, STAYS_MOST = 32 << 10 };

/* ---- a message ---- */

/* What the third argument of send says. */
typedef struct message {
    mw_value topic, key, partition, timestamp, headers;
    int tombstone;
} message;

static void read_options(const mw_piece *p, message *m)
{
    mw_value all = mw_json_value(p->options, p->options_len), name, v;
    size_t at = 0;
    while (mw_json_next(all.text, all.len, &at, &name, &v)) {
        if (name.len == 5 && memcmp(name.text, "topic", 5) == 0) m->topic = v;
        else if (name.len == 3 && memcmp(name.text, "key", 3) == 0)
            m->key = v;
        else if (name.len == 9 && memcmp(name.text, "partition", 9) == 0)
            m->partition = v;
        else if (name.len == 9 && memcmp(name.text, "timestamp", 9) == 0)
            m->timestamp = v;
        else if (name.len == 7 && memcmp(name.text, "headers", 7) == 0)
            m->headers = v;
        else if (name.len == 9 && memcmp(name.text, "tombstone", 9) == 0)
            m->tombstone = v.kind == MW_TRUE;
    }
}

/* 0: it is no text. */
static int add_text(const mw_value *v, mw_buffer *out)
{
    if (v->kind == MW_ESCAPED) mw_json_unescape(out, v->text, v->len);
    else if (v->kind == MW_STRING || v->kind == MW_NUMBER || v->kind == MW_INTEGER)
        mw_buffer_append(out, v->text, v->len);
    else
        return 0;
    return 1;
}

static void add_header(rd_kafka_headers_t *h, const char *name, size_t name_len, const char *value,
                       size_t len)
{
    rd_kafka_header_add(h, name, (ssize_t)name_len, value, (ssize_t)len);
}

/* The flow's, the identity, and those that the rule gave; NULL: none. */
static rd_kafka_headers_t *make_headers(mw_kafka_sink *k, const mw_list *list, const mw_piece *p,
                                        const message *m)
{
    mw_value name, value;
    const char *key, *text;
    char identity[160];
    if (!k->has_headers && m->headers.kind != MW_OBJECT) return NULL;
    rd_kafka_headers_t *h = rd_kafka_headers_new(HEADERS_MOST);
    for (size_t i = 0; mw_config_pair(k->sink->config, "headers", i, &key, &text); i++)
        add_header(h, key, strlen(key), text, strlen(text));
    if (k->identity) {
        mw_sink_identify(k->sink, list, p, identity, sizeof identity);
        add_header(h, k->identity, strlen(k->identity), identity, strlen(identity));
    }
    mw_buffer plain = {0};
    for (size_t at = 0; m->headers.kind == MW_OBJECT &&
                        mw_json_next(m->headers.text, m->headers.len, &at, &name, &value);) {
        plain.len = 0;
        if (value.kind == MW_ESCAPED) mw_json_unescape(&plain, value.text, value.len);
        else
            mw_buffer_append(&plain, value.text, value.len);
        add_header(h, name.text, name.len, plain.bytes ? plain.bytes : "", plain.len);
    }
    mw_buffer_close(&plain);
    return h;
}

static rd_kafka_topic_t *topic_of(mw_kafka_sink *k, mw_kafka_producer *producer, const mw_piece *p,
                                  const message *m)
{
    if (k->fixed_topic && m->topic.kind == MW_ABSENT)
        return mw_kafka_topic(producer, k->fixed_topic, strlen(k->fixed_topic));
    k->topic_text.len = 0;
    if (!add_text(&m->topic, &k->topic_text))
        mw_template_render(k->topic, p->text, p->len, 0, &k->topic_text);
    return mw_kafka_topic(producer, k->topic_text.bytes ? k->topic_text.bytes : "",
                          k->topic_text.len);
}

/* The key's text is in the sink's buffer. 0: the message has none. */
static int make_key(mw_kafka_sink *k, const mw_piece *p, const message *m)
{
    k->key_text.len = 0;
    mw_buffer_reserve(&k->key_text, 1); /* an empty key is one, too */
    if (add_text(&m->key, &k->key_text)) return 1;
    if (!k->key) return 0;
    mw_template_render(k->key, p->text, p->len, 0, &k->key_text);
    return 1;
}

/* Where the event's bytes can stay where they are, librdkafka takes no copy: the list has them
 * until it is answered. Of large ones it would: they are in its requests by reference, and a
 * request may outlive its report. */
static const char *make_value(mw_kafka_sink *k, const mw_list *list, const mw_piece *p, size_t *len,
                              int *flags)
{
    const char *plain = mw_sink_plain(k->sink, list, p, len);
    if (plain) {
        if (*len > STAYS_MOST) *flags = RD_KAFKA_MSG_F_COPY;
        return plain;
    }
    k->text.len = 0;
    mw_sink_render(k->sink, list, p, &k->text);
    if (k->text.len && k->text.bytes[k->text.len - 1] == '\n') k->text.len--;
    mw_buffer_reserve(&k->text, 1);
    *len = k->text.len, *flags = RD_KAFKA_MSG_F_COPY;
    return k->text.bytes;
}

static rd_kafka_resp_err_t produce(mw_kafka_sink *k, rd_kafka_topic_t *topic, mw_kafka_tracked *t,
                                   uint32_t n, const message *m)
{
    const mw_piece *p = &t->list->pieces[n];
    size_t len = 0, count = 0;
    int flags = 0, has_key = make_key(k, p, m);
    const char *value = m->tombstone ? NULL : make_value(k, t->list, p, &len, &flags);
    int32_t partition =
        m->partition.kind == MW_NUMBER ? (int32_t)m->partition.number : RD_KAFKA_PARTITION_UA;
    rd_kafka_headers_t *headers = make_headers(k, t->list, p, m);
    if (!headers && m->timestamp.kind == MW_ABSENT) {
        int failed = rd_kafka_produce(topic, partition, flags, (void *)value, len,
                                      has_key ? k->key_text.bytes : NULL,
                                      has_key ? k->key_text.len : 0, &t->items[n]);
        return failed ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_vu_t args[8];
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)value, len}};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = flags};
    args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = &t->items[n]};
    if (has_key)
        args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
                                        .u.mem = {k->key_text.bytes, k->key_text.len}};
    if (m->timestamp.kind == MW_NUMBER)
        args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP,
                                        .u.i64 = (int64_t)(m->timestamp.number * 1000)};
    if (headers)
        args[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    rd_kafka_error_t *e = rd_kafka_produceva(mw_kafka_producer_of(k)->rk, args, count);
    rd_kafka_resp_err_t code = e ? rd_kafka_error_code(e) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (e && headers) rd_kafka_headers_destroy(headers);
    if (e) rd_kafka_error_destroy(e);
    return code;
}

/* 1: librdkafka has it. 0: it has no room. -1: it was failed. */
static int give_piece(mw_kafka_sink *k, mw_kafka_producer *producer, mw_kafka_tracked *t,
                      uint32_t n)
{
    const mw_piece *p = &t->list->pieces[n];
    const char *condemned = mw_kafka_condemned(k, t->list, p);
    char why[300];
    message m = {0};
    if (condemned) {
        mw_sink_fail(k->sink, t->list, n, condemned);
        return -1;
    }
    if (p->options) read_options(p, &m);
    rd_kafka_topic_t *topic = topic_of(k, producer, p, &m);
    rd_kafka_resp_err_t err =
        topic ? produce(k, topic, t, n, &m) : RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        if (!producer->given++)
            snprintf(producer->marker, sizeof producer->marker, "%s", rd_kafka_topic_name(topic));
        return 1;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return 0;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__STATE:
        mw_kafka_broke(k->world, rd_kafka_err2str(err));
        return 0;
    default:
        snprintf(why, sizeof why, "Kafka cannot take it: %s", rd_kafka_err2str(err));
        mw_sink_fail(k->sink, t->list, n, why);
        return -1;
    }
}

/* ---- lists ---- */

void mw_kafka_take_off(mw_kafka_sink *k)
{
    for (mw_kafka_tracked *t; (t = k->first) && t->left == 0;) {
        k->first = t->next;
        if (!k->first) k->end = &k->first;
        if (k->giving == t) k->giving = t->next;
        mw_sink_done(k->sink, t->list);
        free(t);
    }
}

static void answer(mw_kafka_item *i)
{
    i->answered = 1;
    i->of->left--;
}

void mw_kafka_give(mw_kafka_sink *k)
{
    for (mw_kafka_tracked *t; (t = k->giving); k->giving = t->next) {
        for (; t->given < t->list->count; t->given++) {
            mw_kafka_item *i = &t->items[t->given];
            mw_kafka_producer *producer = mw_kafka_producer_of(k);
            if (!producer) return;
            if (i->answered) continue;
            int taken = give_piece(k, producer, t, t->given);
            if (taken == 0) return;
            if (taken < 0) answer(i);
        }
    }
    mw_kafka_take_off(k);
}

void mw_kafka_begin_again(mw_kafka_sink *k)
{
    for (mw_kafka_tracked *t = k->first; t; t = t->next) t->given = 0;
    k->giving = k->first;
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

/* What a producer that gave up has left says nothing of its own. */
static int is_left(rd_kafka_resp_err_t e)
{
    return e == RD_KAFKA_RESP_ERR__PURGE_QUEUE || e == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

void mw_kafka_report(const rd_kafka_message_t *m)
{
    mw_kafka_item *i = m->_private;
    mw_kafka_sink *k = i->of->sink;
    mw_list *list = i->of->list;
    uint32_t n = (uint32_t)(i - i->of->items);
    char why[300];
    if (i->answered) return;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        mw_sink_wrote(k->sink, m->len);
        mw_sink_recovered(k->sink);
        answer(i);
        return;
    }
    snprintf(why, sizeof why, "Kafka refused it: %s", rd_kafka_err2str(m->err));
    if (!is_final(m->err) && !is_left(m->err)) /* once more, with all behind it */
        mw_kafka_broke(k->world, rd_kafka_err2str(m->err));
    else if (is_left(m->err))
        mw_kafka_broke(k->world, "the transaction was given up");
    else if (k->world->transactional)
        mw_kafka_condemn(k, list, &list->pieces[n], why);
    else {
        mw_sink_fail(k->sink, list, n, why);
        answer(i);
    }
}

/* ---- the sink ---- */

static void free_sink(mw_kafka_sink *k)
{
    if (k->topic) mw_template_free(k->topic);
    if (k->key) mw_template_free(k->key);
    mw_buffer_close(&k->topic_text);
    mw_buffer_close(&k->key_text);
    mw_buffer_close(&k->text);
    mw_buffer_close(&k->condemned);
    mw_buffer_close(&k->served);
    free(k);
}

static mw_status open_kafka(mw_sink *sink, mw_error *error)
{
    mw_kafka_sink *k = calloc(1, sizeof *k);
    mw_assert(k != NULL);
    const char *topic = mw_config_text(sink->config, "topic", ""),
               *key = mw_config_text(sink->config, "key", NULL), *name, *value;
    k->sink = sink, k->end = &k->first;
    k->identity = mw_config_text(sink->config, "identity", NULL);
    k->has_headers =
        k->identity != NULL || mw_config_pair(sink->config, "headers", 0, &name, &value);
    mw_status status = mw_template_new(&k->topic, topic, error);
    if (status == MW_OK && key) status = mw_template_new(&k->key, key, error);
    if (status == MW_OK && !strpbrk(topic, "{}")) k->fixed_topic = topic;
    if (status == MW_OK) status = mw_kafka_join(k, error);
    if (status != MW_OK) {
        free_sink(k);
        return status;
    }
    sink->self = k;
    if (sink->exactly_once) mw_kafka_load_condemned(k);
    return MW_OK;
}

static void write_list(mw_sink *sink, mw_list *list)
{
    mw_kafka_sink *k = sink->self;
    mw_kafka_tracked *t = calloc(1, sizeof *t + list->count * sizeof *t->items);
    mw_assert(t != NULL);
    t->sink = k, t->list = list, t->left = list->count;
    for (uint32_t i = 0; i < list->count; i++) t->items[i].of = t;
    *k->end = t;
    k->end = &t->next;
    if (!k->giving) k->giving = t;
}

static void flush(mw_sink *sink)
{
    mw_kafka_give(sink->self);
}

static void close_kafka(mw_sink *sink)
{
    mw_kafka_sink *k = sink->self;
    mw_kafka_leave(k);
    for (mw_kafka_tracked *t = k->first, *next; t; t = next) next = t->next, free(t);
    free_sink(k);
}

/* One transaction is of one cluster, by one producer. */
static mw_status together(mw_config *a, mw_config *b, mw_error *error)
{
    const char *const texts[] = {"brokers", "compression"};
    const char *key, *value, *other_key, *other_value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(mw_config_text(a, texts[i], ""), mw_config_text(b, texts[i], "")) != 0)
            return mw_fail(error, MW_CONFIG, "their '%s' differ", texts[i]);
    if (mw_config_int(a, "linger", 0) != mw_config_int(b, "linger", 0))
        return mw_fail(error, MW_CONFIG, "their 'linger' differ");
    for (size_t i = 0;; i++) {
        int has = mw_config_pair(a, "config", i, &key, &value),
            other = mw_config_pair(b, "config", i, &other_key, &other_value);
        if (!has && !other) return MW_OK;
        if (has != other || strcmp(key, other_key) != 0 || strcmp(value, other_value) != 0)
            return mw_fail(error, MW_CONFIG, "their 'config' differ");
    }
}

const mw_sink_kind mw_sink_kafka = {
    .name = "kafka",
    .grade = MW_SINK_ONCE,
    .options = options,
    .settle = mw_kafka_sink_settle,
    .open = open_kafka,
    .together = together,
    .write = write_list,
    .flush = flush,
    .prepare = mw_kafka_sink_prepare,
    .commit = mw_kafka_sink_commit,
    .close = close_kafka,
};
