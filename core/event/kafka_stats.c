/* kafka_stats.c: see kafka_stats.h. */
#include "event/kafka_stats.h"
#include "event/json.h"

static double slowest(mw_value brokers)
{
    mw_value name, broker;
    double most = 0;
    for (size_t at = 0; mw_json_next(brokers.text, brokers.len, &at, &name, &broker);) {
        mw_value average = mw_json_field(mw_json_field(broker, "rtt"), "avg");
        if (average.kind == MW_NUMBER && average.number > most) most = average.number;
    }
    return most / 1e6;
}

/* -1: nothing is known of any partition. */
static double lag(mw_value topics)
{
    mw_value name, topic, number, partition;
    double sum = -1;
    for (size_t at = 0; mw_json_next(topics.text, topics.len, &at, &name, &topic);) {
        mw_value list = mw_json_field(topic, "partitions");
        for (size_t p = 0; list.kind == MW_OBJECT &&
                           mw_json_next(list.text, list.len, &p, &number, &partition);) {
            mw_value behind = mw_json_field(partition, "consumer_lag");
            if (behind.kind == MW_NUMBER && behind.number >= 0)
                sum = (sum < 0 ? 0 : sum) + behind.number;
        }
    }
    return sum;
}

void mw_kafka_stats(const char *text, size_t len, mw_kafka_stat tell, void *self)
{
    static const char *const names[][2] = {{"msg_cnt", "queue_messages"},
                                           {"msg_size", "queue_bytes"},
                                           {"tx_bytes", "sent_bytes"},
                                           {"rx_bytes", "received_bytes"}};
    mw_value all = mw_json_value(text, len), brokers, topics, group;
    if (all.kind != MW_OBJECT) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mw_value v = mw_json_field(all, names[i][0]);
        if (v.kind == MW_NUMBER) tell(self, names[i][1], v.number);
    }
    brokers = mw_json_field(all, "brokers"), topics = mw_json_field(all, "topics");
    group = mw_json_field(mw_json_field(all, "cgrp"), "rebalance_cnt");
    if (brokers.kind == MW_OBJECT) tell(self, "round_trip_seconds", slowest(brokers));
    if (group.kind == MW_NUMBER) tell(self, "rebalances", group.number);
    double behind = topics.kind == MW_OBJECT ? lag(topics) : -1;
    if (behind >= 0) tell(self, "lag_messages", behind);
}
