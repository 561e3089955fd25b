/* kafka_private.h: what the files of the Kafka source share. Thread: the source's shard.
 *
 * One consumer reads all partitions that the group gives it; each batch is of one partition. A
 * partition's position is kept with the flow's state, as a file's is, and committed to the group
 * for others to see, with a text that says who committed it: as long as that was us, our own
 * position counts, which belongs to our state; when another has read on since, the group's. */
#ifndef MW_SOURCE_KAFKA_H
#define MW_SOURCE_KAFKA_H

#include "net/kafka.h"

#include <moonweir/plugin.h>
#include <stdatomic.h>

enum { MW_KAFKA_OWNER = 32 }; /* digits */

typedef struct mw_kafka_part {
    struct mw_kafka_part *next;
    struct mw_kafka_source *all;
    char *topic, *key; /* key: "topic/partition" */
    int32_t number;
    mw_partition *positions;
    mw_stream frames;
    int owned, at_end;
    int leaving;        /* it is taken from us; what is in flight of it is waited for */
    uint32_t in_flight; /* batches */
    int64_t given;      /* all before it has been given; -1: not known */
    int64_t done;       /* all before it is safe (exactly once: in a checkpoint); -1: not known */
    int64_t told;       /* exactly once: as of the last checkpoint that was begun */
    int64_t committed;
    char owner[MW_KAFKA_OWNER + 1]; /* who commits it */
} mw_kafka_part;

/* The first three in the order of their names in kafka.c. */
typedef enum mw_kafka_start {
    MW_KAFKA_EARLIEST,
    MW_KAFKA_LATEST,
    MW_KAFKA_COMMITTED,
    MW_KAFKA_OFFSET,
    MW_KAFKA_TIME,
} mw_kafka_start;

typedef struct mw_kafka_source {
    mw_source *source;
    rd_kafka_t *consumer;
    mw_kafka_group *membership;
    rd_kafka_queue_t *queue;
    mw_kafka_watch *watch;
    uv_timer_t timer;               /* commits, lag, partitions that leave */
    char owner[MW_KAFKA_OWNER + 1]; /* of partitions that were another's */
    struct {
        mw_kafka_start kind;
        int64_t at; /* the offset, or milliseconds */
    } start;
    mw_kafka_part *parts;
    mw_batch *batch; /* being filled, of `filling` */
    mw_kafka_part *filling;
    uint64_t messages, message_bytes;
    int paused, is_held, draining, closing, by_line; /* held: librdkafka fetches nothing either */
    int64_t paused_at_ns, leave_by_ns, commit_ns, commit_at_ns;
    int cooperative;
    rd_kafka_topic_partition_list_t *leaving; /* NULL: none */
    mw_buffer text;
    uv_work_t work; /* asks the broker, so that it goes on fetching */
    const mw_kafka_part *asked;
    int64_t asked_ns;
    _Atomic int is_asking;
    int handles; /* that know it */
} mw_kafka_source;

/* kafka_parts.c */
mw_kafka_part *mw_kafka_find(mw_kafka_source *k, const char *topic, int32_t number);
void mw_kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                           rd_kafka_topic_partition_list_t *list, void *opaque);
/* Lets go of partitions whose batches are done, or whose time is over. */
void mw_kafka_let_go(mw_kafka_source *k);
/* Tells the group how far all has come; `wait`: until it knows, for a while. */
void mw_kafka_commit(mw_kafka_source *k, int wait);
void mw_kafka_on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                        rd_kafka_topic_partition_list_t *list, void *opaque);
/* Exactly once: with the checkpoints; kafka_once.c */
mw_offsets *mw_kafka_offsets_now(mw_source *s);
void mw_kafka_checkpointed(mw_source *s, mw_offsets *o, int told);
void mw_kafka_free_parts(mw_kafka_source *k);

#endif
