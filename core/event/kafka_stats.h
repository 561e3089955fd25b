/* kafka_stats.h: numbers out of the statistics of librdkafka (its STATISTICS.md). Any thread. */
#ifndef MW_KAFKA_STATS_H
#define MW_KAFKA_STATS_H

#include <stddef.h>

typedef void (*mw_kafka_stat)(void *self, const char *name, double value);

/* Tells of messages and bytes that wait, bytes sent and received, the slowest broker's round trip
 * (seconds), rebalances, and how many messages a consumer is behind. `text`: the JSON, with the
 * padding of event/json.h behind it; names are constants. */
void mw_kafka_stats(const char *text, size_t len, mw_kafka_stat tell, void *self);

#endif
