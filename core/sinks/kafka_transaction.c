/* kafka_transaction.c: exactly once into Kafka; see kafka_private.h.
 *
 * What is written between two checkpoints is one transaction. It is committed when the checkpoint
 * is on disk as prepared, with the offsets of the flow's Kafka sources, and with the checkpoint's
 * number as an offset of a group of our own: a restart fences our producers off, so that nothing of
 * before can be committed any more, and reads there whether it was. (Kafka's transactions: KIP-98,
 * KIP-447.) */
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "sinks/kafka_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRY_MS = 10000, REST_MS = 200, ABORT_MS = 1000, REPORT_MS = 20, ID_BYTES = 64 };

static void name_group(char id[ID_BYTES], uint64_t state)
{
    snprintf(id, ID_BYTES, "moonweir-%016llx", (unsigned long long)state);
}

static void rest(void)
{
    const struct timespec time = {.tv_nsec = REST_MS * 1000000l};
    nanosleep(&time, NULL);
}

/* Whether another try may help. The error is gone then; else its words are in `why`. */
static int is_over(rd_kafka_error_t *e, const int *closing, char *why, size_t room)
{
    int closes = closing && __atomic_load_n(closing, __ATOMIC_RELAXED);
    if (!closes && (rd_kafka_error_is_retriable(e) ||
                    rd_kafka_error_code(e) == RD_KAFKA_RESP_ERR__TIMED_OUT)) {
        rd_kafka_error_destroy(e);
        rest();
        return 0;
    }
    snprintf(why, room, "%s", rd_kafka_error_string(e));
    rd_kafka_error_destroy(e);
    return 1;
}

static rd_kafka_conf_t *conf_of(const rd_kafka_conf_t *conf, uint64_t state, int turn)
{
    char group[ID_BYTES], id[ID_BYTES + 2];
    rd_kafka_conf_t *copy = rd_kafka_conf_dup(conf);
    name_group(group, state);
    snprintf(id, sizeof id, "%s-%d", group, turn);
    mw_assert(mw_kafka_set(copy, "transactional.id", id, NULL) == MW_OK);
    return copy;
}

/* Fences off whoever had the producer's name, and ends its transaction. On a thread of its own;
 * 0: `why` says why it cannot be. */
static int init(rd_kafka_t *rk, const int *closing, char *why, size_t room)
{
    rd_kafka_error_t *e;
    while ((e = rd_kafka_init_transactions(rk, TRY_MS))) {
        if (is_over(e, closing, why, room)) return 0;
    }
    return 1;
}

typedef struct initialising {
    rd_kafka_t *rk;
    const int *closing;
    char why[400];
    int done;
} initialising;

static void *init_one(void *arg)
{
    initialising *i = arg;
    i->done = init(i->rk, i->closing, i->why, sizeof i->why);
    return NULL;
}

/* Both at the same time: the broker lets each wait while it ends what there was. */
static int init_both(rd_kafka_t *first, rd_kafka_t *second, const int *closing, char *why,
                     size_t room)
{
    initialising one = {.rk = first, .closing = closing},
                 other = {.rk = second, .closing = closing};
    pthread_t thread;
    mw_assert(pthread_create(&thread, NULL, init_one, &other) == 0);
    init_one(&one);
    pthread_join(thread, NULL);
    if (!one.done || !other.done) snprintf(why, room, "%s", one.done ? other.why : one.why);
    return one.done && other.done;
}

/* ---- beginning ---- */

static void close_work(mw_kafka_world *w);

static void init_all(uv_work_t *work)
{
    mw_kafka_world *w = work->data;
    w->ready =
        init_both(w->producers[0].rk, w->producers[1].rk, &w->closing, w->why, sizeof w->why);
}

static int begin(mw_kafka_world *w, mw_kafka_producer *p)
{
    if (p->begun) return 1;
    rd_kafka_error_t *e = rd_kafka_begin_transaction(p->rk);
    if (e) {
        mw_kafka_broke(w, rd_kafka_error_string(e));
        rd_kafka_error_destroy(e);
        return 0;
    }
    p->begun = 1, p->given = 0;
    return 1;
}

static void on_begun(uv_work_t *work, int status)
{
    mw_kafka_world *w = work->data;
    (void)status;
    w->working = 0;
    if (w->closing) {
        close_work(w);
        return;
    }
    if (!w->ready) mw_kafka_broke(w, w->why);
    for (mw_kafka_sink *k = w->sinks; k && w->ready; k = k->next) /* checkpoints may have passed */
        if (begin(w, &w->producers[k->turn])) mw_kafka_give(k);
}

mw_status mw_kafka_transactions_open(mw_kafka_world *w, mw_error *error)
{
    mw_status status = MW_OK;
    for (int i = 0; i < 2 && status == MW_OK; i++)
        status = mw_kafka_producer_open(w, &w->producers[i], conf_of(w->conf, w->state, i), error);
    if (status != MW_OK) {
        mw_kafka_producer_close(&w->producers[0]);
        return status;
    }
    w->work.data = w, w->working = 1;
    uv_queue_work(w->loop, &w->work, init_all, on_begun);
    return MW_OK;
}

/* ---- at a checkpoint ---- */

void mw_kafka_sink_prepare(mw_sink *sink, uint64_t number)
{
    mw_kafka_sink *k = sink->self;
    mw_kafka_world *w = k->world;
    mw_kafka_producer *old = &w->producers[k->turn];
    (void)number;
    k->turn ^= 1;
    for (size_t at = 0; at < k->served.len; at += strlen(k->served.bytes + at) + 1)
        mw_sink_keep(sink, k->served.bytes + at, NULL, 0); /* it is in the dead letters now */
    k->served.len = 0;
    if (++w->prepared == w->count) {
        w->prepared = 0;
        w->old = old->begun && old->given ? old : NULL;
    }
    if (w->failed) return;
    if (w->ready && !begin(w, &w->producers[k->turn])) return;
    if (w->prepared || !w->old) mw_sink_prepared(sink, NULL, 0);
    else
        mw_sink_prepared(sink, w->old->marker, strlen(w->old->marker));
}

static int send_list(mw_kafka_world *w, const rd_kafka_topic_partition_list_t *list,
                     const rd_kafka_consumer_group_metadata_t *group)
{
    rd_kafka_error_t *e;
    while ((e = rd_kafka_send_offsets_to_transaction(w->old->rk, list, group, TRY_MS)))
        if (is_over(e, &w->closing, w->why, sizeof w->why)) return 0;
    return 1;
}

static int send_source(mw_kafka_world *w, const mw_kafka_offsets *o)
{
    rd_kafka_consumer_group_metadata_t *group = mw_kafka_group_metadata(o->group);
    if (!group) {
        snprintf(w->why, sizeof w->why, "the source's consumer is closed");
        return 0;
    }
    int sent = send_list(w, o->list, group);
    rd_kafka_consumer_group_metadata_destroy(group);
    return sent;
}

static int send_marker(mw_kafka_world *w)
{
    char id[ID_BYTES];
    name_group(id, w->state);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(id);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, w->old->marker, 0)->offset = (int64_t)w->number;
    int sent = send_list(w, list, group);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(group);
    return sent;
}

static void commit(uv_work_t *work)
{
    mw_kafka_world *w = work->data;
    rd_kafka_error_t *e;
    w->why[0] = 0;
    for (const mw_offsets *o = w->offsets; o; o = o->next)
        if (o->world == mw_kafka_world_name && !send_source(w, o->what)) return;
    if (!send_marker(w)) return;
    while ((e = rd_kafka_commit_transaction(w->old->rk, TRY_MS)))
        if (is_over(e, &w->closing, w->why, sizeof w->why)) return;
}

static void on_committed(uv_work_t *work, int status)
{
    mw_kafka_world *w = work->data;
    (void)status;
    w->working = 0;
    if (w->closing) {
        close_work(w);
        return;
    }
    if (w->why[0]) {
        mw_kafka_broke(w, w->why);
        return;
    }
    w->old->begun = 0, w->old->given = 0;
    w->old = NULL;
    mw_sink_committed(w->committing->sink);
}

void mw_kafka_sink_commit(mw_sink *sink, uint64_t number, const mw_offsets *offsets)
{
    mw_kafka_sink *k = sink->self;
    mw_kafka_world *w = k->world;
    w->committing = k, w->number = number, w->offsets = offsets;
    w->working = 1;
    uv_queue_work(w->loop, &w->work, commit, on_committed);
}

/* ---- the end ---- */

/* Reports of what is given up: nobody wants them, but librdkafka does not end before. */
static void forget_reports(mw_kafka_producer *p)
{
    rd_kafka_event_t *e;
    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while ((e = rd_kafka_queue_poll(p->queue, REPORT_MS))) rd_kafka_event_destroy(e);
}

/* What is open is given up at once, lest readers wait for it. */
static void close_work(mw_kafka_world *w)
{
    for (int i = 0; i < 2; i++) {
        mw_kafka_producer *p = &w->producers[i];
        if (!p->begun || !p->given) continue;
        forget_reports(p);
        rd_kafka_error_t *e = rd_kafka_abort_transaction(p->rk, ABORT_MS);
        if (e) rd_kafka_error_destroy(e);
    }
    mw_kafka_world_free(w);
}

void mw_kafka_transactions_close(mw_kafka_world *w)
{
    __atomic_store_n(&w->closing, 1, __ATOMIC_RELAXED);
    if (!w->working) close_work(w);
}

/* ---- at a start ---- */

static mw_status read_marker(mw_sink *sink, rd_kafka_conf_t *conf, const char *topic,
                             int64_t *number, mw_error *error)
{
    char why[300], id[ID_BYTES];
    name_group(id, sink->state);
    mw_kafka_set(conf, "group.id", id, NULL);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return mw_fail(error, MW_IO, "no consumer can be made: %s", why);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *t = rd_kafka_topic_partition_list_add(list, topic, 0);
    for (rd_kafka_resp_err_t err; (err = rd_kafka_committed(rk, list, TRY_MS)) || t->err; rest())
        mw_log(MW_WARN, sink->name, "what was committed cannot be asked (%s); trying again",
               rd_kafka_err2str(err ? err : t->err));
    *number = t->offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return MW_OK;
}

/* Properties of producers are no consumer's. */
static mw_status consumer_conf(mw_sink *sink, rd_kafka_conf_t **made, mw_error *error)
{
    const char *name, *value;
    char why[100];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    mw_status status = mw_kafka_name(conf, sink->name, error);
    if (status == MW_OK)
        status = mw_kafka_set(conf, "bootstrap.servers",
                              mw_config_text(sink->config, "brokers", ""), error);
    for (size_t i = 0; mw_config_pair(sink->config, "config", i, &name, &value); i++)
        if (strcmp(name, "transactional.id") != 0 && strcmp(name, "group.id") != 0)
            rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (status == MW_OK) *made = conf;
    else
        rd_kafka_conf_destroy(conf);
    return status;
}

static mw_status fence(mw_sink *sink, const rd_kafka_conf_t *conf, mw_error *error)
{
    char why[400];
    rd_kafka_t *rk[2] = {NULL, NULL};
    mw_status status = MW_OK;
    for (int i = 0; i < 2 && status == MW_OK; i++) {
        rd_kafka_conf_t *own = conf_of(conf, sink->state, i);
        rk[i] = rd_kafka_new(RD_KAFKA_PRODUCER, own, why, sizeof why);
        if (rk[i]) continue;
        rd_kafka_conf_destroy(own);
        status = mw_fail(error, MW_CONFIG, "no producer can be made: %s", why);
    }
    if (status == MW_OK && !init_both(rk[0], rk[1], NULL, why, sizeof why))
        status = mw_fail(error, MW_IO, "sink '%s': its transactions cannot be ended: %s",
                         sink->name, why);
    for (int i = 0; i < 2; i++)
        if (rk[i]) rd_kafka_destroy(rk[i]);
    return status;
}

mw_status mw_kafka_sink_settle(mw_sink *sink, uint64_t number, const char *record, size_t len,
                               int *committed, mw_error *error)
{
    char topic[256];
    int64_t found = -1;
    rd_kafka_conf_t *conf, *reader;
    snprintf(topic, sizeof topic, "%.*s", (int)len, record);
    mw_status status = mw_kafka_conf(sink, &conf, error);
    if (status != MW_OK) return status;
    status = fence(sink, conf, error);
    rd_kafka_conf_destroy(conf);
    if (status == MW_OK) status = consumer_conf(sink, &reader, error);
    if (status == MW_OK) status = read_marker(sink, reader, topic, &found, error);
    *committed = found == (int64_t)number;
    return status;
}

/* ---- what spoils transactions ---- */

enum { CONDEMNED_KEY = 32 };

static void key_of(mw_kafka_sink *k, const mw_list *list, const mw_piece *p,
                   char key[CONDEMNED_KEY])
{
    char identity[512];
    mw_sink_identify(k->sink, list, p, identity, sizeof identity);
    snprintf(key, CONDEMNED_KEY, "condemned:%016llx",
             (unsigned long long)mw_hash(identity, strlen(identity)));
}

void mw_kafka_condemn(mw_kafka_sink *k, const mw_list *list, const mw_piece *p, const char *why)
{
    char key[CONDEMNED_KEY];
    mw_error error;
    key_of(k, list, p, key);
    if (mw_sink_keep_now(k->sink, key, why, strlen(why) + 1, &error) != MW_OK)
        mw_log(MW_ERROR, k->sink->name, "%s", error.message);
    mw_kafka_broke(k->world, why);
}

/* Each is its key and its reason, both with their ends. */
static void add_condemned(void *self, const char *key, const char *value, size_t len)
{
    mw_kafka_sink *k = self;
    mw_buffer_append(&k->condemned, key, strlen(key) + 1);
    mw_buffer_append(&k->condemned, value, len);
}

void mw_kafka_load_condemned(mw_kafka_sink *k)
{
    mw_sink_kept(k->sink, "condemned:", add_condemned, k);
}

const char *mw_kafka_condemned(mw_kafka_sink *k, const mw_list *list, const mw_piece *p)
{
    char key[CONDEMNED_KEY];
    if (!k->condemned.len) return NULL;
    key_of(k, list, p, key);
    for (size_t at = 0; at < k->condemned.len;) {
        const char *one = k->condemned.bytes + at, *why = one + strlen(one) + 1;
        if (strcmp(one, key) == 0) {
            mw_buffer_append(&k->served, key, strlen(key) + 1);
            return why;
        }
        at += strlen(one) + strlen(why) + 2;
    }
    return NULL;
}
