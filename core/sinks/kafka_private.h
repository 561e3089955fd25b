/* kafka_private.h: what the files of the Kafka sink share. Thread: the sink's shard.
 *
 * A sink makes messages (kafka.c) for a producer of its world (kafka_world.c). Where the flow is
 * not exactly once, each sink has a world with one producer for itself. Where it is, all Kafka
 * sinks of the flow share one, with two producers that take turns from checkpoint to checkpoint:
 * while the transaction of one is committed, what comes after goes into that of the other
 * (kafka_transaction.c). */
#ifndef MW_SINK_KAFKA_H
#define MW_SINK_KAFKA_H

#include "event/template.h"
#include "net/kafka.h"

#include <moonweir/plugin.h>

typedef struct mw_kafka_sink mw_kafka_sink;
typedef struct mw_kafka_world mw_kafka_world;
typedef struct mw_kafka_tracked mw_kafka_tracked;

/* A message that librdkafka has. */
typedef struct mw_kafka_item {
    mw_kafka_tracked *of;
    int answered;
} mw_kafka_item;

/* A list and how far it is. */
struct mw_kafka_tracked {
    mw_kafka_tracked *next;
    mw_kafka_sink *sink;
    mw_list *list;
    uint32_t left, given;
    mw_kafka_item items[];
};

enum { MW_KAFKA_TOPICS = 64 };

typedef struct mw_kafka_producer {
    mw_kafka_world *world;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    mw_kafka_watch *watch;
    rd_kafka_topic_t *topics[MW_KAFKA_TOPICS]; /* by their names' hashes; NULL: none */
    int begun;                                 /* a transaction */
    size_t given;                              /* messages of it */
    char marker[256]; /* a topic that it writes to, under which the transaction is marked */
} mw_kafka_producer;

struct mw_kafka_world {
    uv_loop_t *loop;
    rd_kafka_conf_t *conf; /* what each producer is made of */
    mw_kafka_sink *sinks;
    unsigned count;
    mw_kafka_producer producers[2];
    int broken; /* the producer ended, and another one is to be made */
    int handles;
    uv_timer_t timer;
    /* transactions */
    int transactional, ready, failed, working, closing;
    uint64_t state;
    unsigned prepared;         /* sinks */
    uv_work_t work;            /* begins, and commits */
    mw_kafka_sink *committing; /* whose commit it is */
    mw_kafka_producer *old;    /* whose transaction */
    const mw_offsets *offsets;
    uint64_t number;
    char why[400]; /* it failed */
};

struct mw_kafka_sink {
    mw_kafka_sink *next; /* in its world */
    mw_sink *sink;
    mw_kafka_world *world;
    unsigned turn; /* which producer has what it gives */
    mw_template *topic, *key;
    const char *identity, *fixed_topic;
    int has_headers; /* each message has some */
    mw_kafka_tracked *first, **end, *giving;
    mw_buffer topic_text, key_text, text;
    mw_buffer condemned, served; /* kafka_transaction.c */
};

/* kafka_world.c */
/* The sink gets a world, or a place in that of the others. */
mw_status mw_kafka_join(mw_kafka_sink *k, mw_error *error);
void mw_kafka_leave(mw_kafka_sink *k);
void mw_kafka_world_free(mw_kafka_world *w);
mw_status mw_kafka_conf(mw_sink *sink, rd_kafka_conf_t **conf, mw_error *error);
mw_status mw_kafka_producer_open(mw_kafka_world *w, mw_kafka_producer *p, rd_kafka_conf_t *conf,
                                 mw_error *error);
void mw_kafka_producer_close(mw_kafka_producer *p);
/* NULL: it takes none now. */
mw_kafka_producer *mw_kafka_producer_of(mw_kafka_sink *k);
/* Borrowed until the next call; NULL: librdkafka knows no such name. */
rd_kafka_topic_t *mw_kafka_topic(mw_kafka_producer *p, const char *name, size_t len);
/* The producer cannot go on. */
void mw_kafka_broke(mw_kafka_world *w, const char *why);

/* kafka.c */
void mw_kafka_give(mw_kafka_sink *k);
void mw_kafka_begin_again(mw_kafka_sink *k);
void mw_kafka_report(const rd_kafka_message_t *m);
/* Lists of which all is reported are answered. */
void mw_kafka_take_off(mw_kafka_sink *k);

/* kafka_transaction.c */
mw_status mw_kafka_transactions_open(mw_kafka_world *w, mw_error *error);
void mw_kafka_transactions_close(mw_kafka_world *w);
void mw_kafka_sink_prepare(mw_sink *sink, uint64_t number);
void mw_kafka_sink_commit(mw_sink *sink, uint64_t number, const mw_offsets *offsets);
mw_status mw_kafka_sink_settle(mw_sink *sink, uint64_t number, const char *record, size_t len,
                               int *committed, mw_error *error);
/* A message that the broker refused for good, in a transaction, which it has spoiled: the run
 * begins anew from the last checkpoint, and then the event goes to the dead letters. */
void mw_kafka_condemn(mw_kafka_sink *k, const mw_list *list, const mw_piece *p, const char *why);
void mw_kafka_load_condemned(mw_kafka_sink *k);
/* Why it was; NULL: it was not. */
const char *mw_kafka_condemned(mw_kafka_sink *k, const mw_list *list, const mw_piece *p);

#endif
