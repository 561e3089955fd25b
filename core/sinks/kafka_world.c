/* kafka_world.c: producers, what they report, and another one in the place of one that ended; see
 * kafka_private.h. */
#include "base/hash.h"
#include "event/json.h"
#include "event/kafka_stats.h"
#include "sinks/kafka_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REST_MS = 1000, EVENTS_A_ROUND = 64 };

/* ---- producers ---- */

static void on_ready(void *self);

mw_status mw_kafka_producer_open(mw_kafka_world *w, mw_kafka_producer *p, rd_kafka_conf_t *conf,
                                 mw_error *error)
{
    char why[300];
    p->world = w;
    p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!p->rk) {
        rd_kafka_conf_destroy(conf);
        return mw_fail(error, MW_CONFIG, "no producer can be made: %s", why);
    }
    p->queue = rd_kafka_queue_get_main(p->rk);
    p->watch = mw_kafka_watch_new(w->loop, p->queue, on_ready, p);
    return MW_OK;
}

void mw_kafka_producer_close(mw_kafka_producer *p)
{
    if (!p->rk) return;
    mw_kafka_watch_close(p->watch);
    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                              RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (int i = 0; i < MW_KAFKA_TOPICS; i++)
        if (p->topics[i]) rd_kafka_topic_destroy(p->topics[i]);
    rd_kafka_queue_destroy(p->queue);
    mw_kafka_end(p->rk);
    *p = (mw_kafka_producer){.world = p->world};
}

mw_kafka_producer *mw_kafka_producer_of(mw_kafka_sink *k)
{
    mw_kafka_world *w = k->world;
    mw_kafka_producer *p = &w->producers[k->turn];
    if (w->broken || w->failed || !p->rk || (w->transactional && !p->begun)) return NULL;
    return p;
}

rd_kafka_topic_t *mw_kafka_topic(mw_kafka_producer *p, const char *name, size_t len)
{
    rd_kafka_topic_t **place = &p->topics[mw_hash(name, len) % MW_KAFKA_TOPICS];
    if (*place) {
        const char *other = rd_kafka_topic_name(*place);
        if (strncmp(other, name, len) == 0 && other[len] == 0) return *place;
        rd_kafka_topic_destroy(*place); /* librdkafka keeps it as long as it has messages */
    }
    char copy[256];
    snprintf(copy, sizeof copy, "%.*s", (int)len, name);
    *place = len < sizeof copy ? rd_kafka_topic_new(p->rk, copy, NULL) : NULL;
    return *place;
}

/* ---- reports ---- */

static void on_timer(uv_timer_t *timer);

void mw_kafka_broke(mw_kafka_world *w, const char *why)
{
    if (w->transactional) {
        if (!w->failed) mw_sink_restart(w->sinks->sink, why);
        w->failed = 1;
        return;
    }
    mw_sink_retried(w->sinks->sink, why);
    if (!w->broken) uv_timer_start(&w->timer, on_timer, REST_MS, 0);
    w->broken = 1;
}

/* In a transaction the commit tells what an error comes to. */
static void on_error(mw_kafka_world *w, rd_kafka_event_t *e)
{
    if (rd_kafka_event_error_is_fatal(e)) mw_kafka_broke(w, rd_kafka_event_error_string(e));
    else
        mw_sink_retried(w->sinks->sink, rd_kafka_event_error_string(e));
}

static void tell_stat(void *self, const char *name, double value)
{
    mw_sink_stat(self, name, value);
}

/* Where sinks share producers the numbers are shown with the first. */
static void on_stats(mw_kafka_sink *k, rd_kafka_event_t *e)
{
    const char *json = rd_kafka_event_stats(e);
    const size_t len = strlen(json);
    k->text.len = 0;
    mw_buffer_append(&k->text, json, len);
    memset(mw_buffer_reserve(&k->text, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    mw_kafka_stats(k->text.bytes, len, tell_stat, k->sink);
}

static void on_ready(void *self)
{
    mw_kafka_producer *p = self;
    mw_kafka_world *w = p->world;
    rd_kafka_event_t *e = NULL;
    if (w->closing) return; /* nobody waits for it any more */
    for (int n = 0; n < EVENTS_A_ROUND && (e = rd_kafka_queue_poll(p->queue, 0)); n++) {
        const rd_kafka_message_t *m;
        if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_DR)
            while ((m = rd_kafka_event_message_next(e))) mw_kafka_report(m);
        else if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_ERROR)
            on_error(w, e);
        else if (rd_kafka_event_type(e) == RD_KAFKA_EVENT_STATS)
            on_stats(w->sinks, e);
        rd_kafka_event_destroy(e);
    }
    if (e) mw_kafka_watch_again(p->watch); /* there may be more */
    for (mw_kafka_sink *k = w->sinks; k; k = k->next) {
        mw_kafka_take_off(k);
        mw_kafka_give(k);
    }
}

static void on_timer(uv_timer_t *timer)
{
    mw_kafka_world *w = timer->data;
    mw_error error;
    mw_kafka_producer_close(&w->producers[0]);
    if (mw_kafka_producer_open(w, &w->producers[0], rd_kafka_conf_dup(w->conf), &error) != MW_OK) {
        mw_sink_retried(w->sinks->sink, error.message);
        uv_timer_start(&w->timer, on_timer, REST_MS, 0);
        return;
    }
    w->broken = 0;
    mw_kafka_begin_again(w->sinks);
    mw_kafka_give(w->sinks);
}

/* ---- worlds ---- */

mw_status mw_kafka_conf(mw_sink *sink, rd_kafka_conf_t **made, mw_error *error)
{
    mw_config *c = sink->config;
    const char *name, *value;
    char linger[32];
    snprintf(linger, sizeof linger, "%.3f", (double)mw_config_int(c, "linger", 5000000) / 1e6);
    const char *const own[][2] = {{"bootstrap.servers", mw_config_text(c, "brokers", "")},
                                  {"enable.idempotence", "true"},
                                  {"acks", "all"},
                                  {"statistics.interval.ms", "5000"},
                                  {"partitioner", "murmur2_random"},
                                  {"compression.type", mw_config_text(c, "compression", "none")},
                                  {"linger.ms", linger}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    mw_status status = mw_kafka_name(conf, sink->name, error);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS);
    for (size_t i = 0; i < sizeof own / sizeof *own && status == MW_OK; i++)
        status = mw_kafka_set(conf, own[i][0], own[i][1], error);
    /* a transaction has an end, and so have its messages */
    if (status == MW_OK && !sink->exactly_once)
        status = mw_kafka_set(conf, "message.timeout.ms", "0", error);
    for (size_t i = 0; status == MW_OK && mw_config_pair(c, "config", i, &name, &value); i++)
        status = mw_kafka_set(conf, name, value, error);
    if (status == MW_OK) *made = conf;
    else
        rd_kafka_conf_destroy(conf);
    return status;
}

static mw_status open_world(mw_kafka_sink *k, mw_error *error)
{
    mw_kafka_world *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->loop = k->sink->loop, w->state = k->sink->state;
    w->transactional = k->sink->exactly_once;
    mw_status status = mw_kafka_conf(k->sink, &w->conf, error);
    if (status == MW_OK && w->transactional) status = mw_kafka_transactions_open(w, error);
    else if (status == MW_OK)
        status = mw_kafka_producer_open(w, &w->producers[0], rd_kafka_conf_dup(w->conf), error);
    if (status != MW_OK) {
        if (w->conf) rd_kafka_conf_destroy(w->conf);
        free(w);
        return status;
    }
    uv_timer_init(w->loop, &w->timer);
    w->timer.data = w;
    k->world = w;
    return MW_OK;
}

mw_status mw_kafka_join(mw_kafka_sink *k, mw_error *error)
{
    void **shared = k->sink->exactly_once ? mw_sink_shared(k->sink) : NULL;
    mw_status status = MW_OK;
    if (shared && *shared) k->world = *shared;
    else
        status = open_world(k, error);
    if (status != MW_OK) return status;
    if (shared) *shared = k->world;
    k->next = k->world->sinks;
    k->world->sinks = k;
    k->world->count++;
    return MW_OK;
}

static void on_closed(uv_handle_t *handle)
{
    mw_kafka_world *w = handle->data;
    rd_kafka_conf_destroy(w->conf);
    free(w);
}

void mw_kafka_world_free(mw_kafka_world *w)
{
    for (int i = 0; i < 2; i++) mw_kafka_producer_close(&w->producers[i]);
    uv_close((uv_handle_t *)&w->timer, on_closed);
}

void mw_kafka_leave(mw_kafka_sink *k)
{
    mw_kafka_world *w = k->world;
    mw_kafka_sink **at = &w->sinks;
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    if (--w->count > 0) return;
    if (w->transactional) *mw_sink_shared(k->sink) = NULL;
    if (w->transactional) mw_kafka_transactions_close(w);
    else
        mw_kafka_world_free(w);
}
