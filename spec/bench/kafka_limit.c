/* kafka_limit.c: what librdkafka alone does of the job of spec/bench/kafka.lua: every message of a
 * topic, unread but for one text that is looked for, into one of two others, with an idempotent
 * producer, its position committed at the end.
 *   kafka_limit BROKERS TOPIC GROUP TO-A TO-B */
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND = 512, PARTITIONS_MOST = 1024 };

static long failed, delivered;

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk, (void)opaque;
    if (m->err) failed++;
    else
        delivered++;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[300];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK) return;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[300];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (rk) return rk;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static rd_kafka_t *make_producer(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "enable.idempotence", "true");
    set(conf, "acks", "all");
    set(conf, "linger.ms", "5");
    set(conf, "partitioner", "murmur2_random");
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    return client(RD_KAFKA_PRODUCER, conf);
}

static rd_kafka_t *make_consumer(const char *brokers, const char *group)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.partition.eof", "true");
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

int main(int argc, char **argv)
{
    if (argc != 6) return 2;
    rd_kafka_t *producer = make_producer(argv[1]), *consumer = make_consumer(argv[1], argv[3]);
    rd_kafka_topic_t *to[2] = {rd_kafka_topic_new(producer, argv[4], NULL),
                               rd_kafka_topic_new(producer, argv[5], NULL)};
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1), *ours = NULL;
    rd_kafka_topic_partition_list_add(topics, argv[2], RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    rd_kafka_message_t *list[ROUND];
    int ends = 0, partitions = 0;
    long count = 0;
    while (!partitions || ends < partitions) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 100, list, ROUND);
        for (ssize_t i = 0; i < n; i++) {
            rd_kafka_message_t *m = list[i];
            if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ends++;
            if (!m->err) {
                rd_kafka_topic_t *t = to[memmem(m->payload, m->len, "\"os\":\"ios\"", 10) ? 0 : 1];
                while (rd_kafka_produce(t, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, m->payload,
                                        m->len, m->key, m->key_len, NULL) != 0)
                    rd_kafka_poll(producer, 10);
                count++;
            }
            rd_kafka_message_destroy(m);
        }
        rd_kafka_poll(producer, 0);
        if (ours) rd_kafka_topic_partition_list_destroy(ours);
        rd_kafka_assignment(consumer, &ours);
        partitions = ours->cnt;
    }
    rd_kafka_flush(producer, 60000);
    rd_kafka_position(consumer, ours);
    rd_kafka_commit(consumer, ours, 0);
    rd_kafka_consumer_close(consumer);
    printf("%ld %ld %ld\n", count, delivered, failed);
    return failed || delivered != count;
}
