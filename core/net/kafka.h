/* kafka.h: what a producer and a consumer of Kafka have in common: librdkafka's settings, and its
 * queues on a libuv loop.
 *
 * librdkafka has threads of its own; what they have to say lies in queues, and a queue that is no
 * longer empty wakes the loop. Thread: the loop's. */
#ifndef MW_KAFKA_H
#define MW_KAFKA_H

#include "base/status.h"

#include <librdkafka/rdkafka.h>
#include <uv.h>

/* Sets one of librdkafka's properties. MW_CONFIG: it knows no such one, or not this value. */
mw_status mw_kafka_set(rd_kafka_conf_t *conf, const char *name, const char *value, mw_error *error);
/* Its client is called `name`, and what it has to say goes to the router's log. */
mw_status mw_kafka_name(rd_kafka_conf_t *conf, const char *name, mw_error *error);

/* Frees a client whose queues are closed, and waits for that, but not for ever: librdkafka 2.0 does
 * not end when a topic was deleted that it had read. Then a thread stays behind. */
void mw_kafka_end(rd_kafka_t *rk);

typedef struct mw_kafka_watch mw_kafka_watch;

/* `ready` is called when the queue has something; all of it is then to be taken, or to be asked for
 * again by mw_kafka_watch_again. The queue is borrowed. */
mw_kafka_watch *mw_kafka_watch_new(uv_loop_t *loop, rd_kafka_queue_t *queue,
                                   void (*ready)(void *self), void *self);
void mw_kafka_watch_again(mw_kafka_watch *w);
/* Frees itself when the loop has run. */
void mw_kafka_watch_close(mw_kafka_watch *w);

/* A consumer's membership of its group, for a transaction that commits its offsets: it tells the
 * broker who is out of date. Counted, since the consumer may be closed meanwhile. Any thread. */
typedef struct mw_kafka_group mw_kafka_group;
mw_kafka_group *mw_kafka_group_new(rd_kafka_t *consumer);
mw_kafka_group *mw_kafka_group_hold(mw_kafka_group *g);
void mw_kafka_group_release(mw_kafka_group *g);
/* The consumer is closed next. */
void mw_kafka_group_close(mw_kafka_group *g);
/* The caller's; NULL: it is closed. */
rd_kafka_consumer_group_metadata_t *mw_kafka_group_metadata(mw_kafka_group *g);

/* What a source of Kafka has for a sink of Kafka, which knows it by the address of the name. */
extern const char mw_kafka_world_name[];
typedef struct mw_kafka_offsets {
    mw_kafka_group *group;
    rd_kafka_topic_partition_list_t *list;
} mw_kafka_offsets;

#endif
