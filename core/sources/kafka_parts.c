/* kafka_parts.c: which partitions are ours, and where each begins; see kafka_private.h. */
#include "base/clock.h"
#include "base/log.h"
#include "sources/kafka_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 5000, LEAVE_MS = 5000, COMMIT_MS = 3000 };

mw_kafka_part *mw_kafka_find(mw_kafka_source *k, const char *topic, int32_t number)
{
    mw_kafka_part *p = k->parts;
    while (p && (p->number != number || strcmp(p->topic, topic) != 0)) p = p->next;
    return p;
}

static mw_kafka_part *find_or_make(mw_kafka_source *k, const char *topic, int32_t number)
{
    mw_kafka_part *p = mw_kafka_find(k, topic, number);
    if (p) return p;
    mw_buffer key = {0};
    mw_buffer_format(&key, "%s/%d", topic, number);
    p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    p->all = k, p->number = number, p->key = key.bytes;
    p->topic = strdup(topic);
    mw_assert(p->topic != NULL);
    mw_stream_init(&p->frames, k->source->format, k->source->config, k->source->limit);
    p->frames.octet_counted = 0;
    p->next = k->parts;
    k->parts = p;
    return p;
}

void mw_kafka_free_parts(mw_kafka_source *k)
{
    for (mw_kafka_part *p = k->parts, *next; p; p = next) {
        next = p->next;
        mw_stream_close(&p->frames);
        free(p->topic);
        free(p->key);
        free(p);
    }
}

/* ---- where a partition begins ---- */

/* The first message at or behind the time; there may be none yet. */
static int64_t offset_of_time(mw_kafka_source *k, const mw_kafka_part *p, int64_t high)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *t = rd_kafka_topic_partition_list_add(list, p->topic, p->number);
    t->offset = k->start.at;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(k->consumer, list, ASK_MS);
    int64_t found = err || t->err ? RD_KAFKA_OFFSET_INVALID : t->offset < 0 ? high : t->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return found;
}

static void has_no_start(mw_kafka_source *k, const mw_kafka_part *p)
{
    char why[400];
    snprintf(why, sizeof why,
             "the group has no position in %s, and 'start' is \"committed\": commit one for it "
             "first, or let 'start' say where to begin",
             p->key);
    k->draining = 1; /* what librdkafka would read now is not wished for */
    mw_source_failed(k->source, why);
}

/* Where `start` says, as a number, so that it stays there when nothing has been read before the
 * next start. Negative: it cannot be had, and librdkafka finds it by itself. */
static int64_t first_offset(mw_kafka_source *k, const mw_kafka_part *p)
{
    int64_t low, high;
    rd_kafka_resp_err_t err =
        rd_kafka_query_watermark_offsets(k->consumer, p->topic, p->number, &low, &high, ASK_MS);
    if (err) return RD_KAFKA_OFFSET_INVALID;
    switch (k->start.kind) {
    case MW_KAFKA_LATEST:
        return high;
    case MW_KAFKA_OFFSET:
        return k->start.at < low ? low : k->start.at > high ? high : k->start.at;
    case MW_KAFKA_TIME:
        return offset_of_time(k, p, high);
    case MW_KAFKA_COMMITTED:
        has_no_start(k, p);
        return RD_KAFKA_OFFSET_INVALID; /* so that nothing is noted, or told to the group */
    default:
        return low;
    }
}

/* Ours, if nobody else has committed since we did; else the group's; `asked`: it told which. */
static void begin(mw_kafka_source *k, mw_kafka_part *p, rd_kafka_topic_partition_t *t, int asked)
{
    uint64_t position;
    const char *note;
    size_t note_len;
    p->positions = mw_source_partition(k->source, p->key);
    int known = mw_partition_known(p->positions, &position, &note, &note_len);
    int ours = known && note_len == MW_KAFKA_OWNER &&
               (t->offset < 0 || (t->metadata_size == MW_KAFKA_OWNER &&
                                  memcmp(t->metadata, note, MW_KAFKA_OWNER) == 0));
    if (!ours && asked && t->offset < 0) t->offset = first_offset(k, p);
    if (ours) {
        t->offset = (int64_t)position;
    } else if (t->offset >= 0) {
        if (known && note_len)
            mw_log(
                MW_INFO, k->source->name,
                "%s: the group is at %lld, by another than this state folder's router; it begins "
                "there",
                p->key, (long long)t->offset);
        mw_partition_restart(p->positions, (uint64_t)t->offset);
    } else {
        t->offset = RD_KAFKA_OFFSET_INVALID;
    }
    memcpy(p->owner, ours ? note : k->owner, MW_KAFKA_OWNER);
    if (t->offset >= 0) mw_partition_note(p->positions, p->owner, MW_KAFKA_OWNER);
    p->done = t->offset >= 0 ? t->offset : -1;
    p->given = p->told = p->done;
    p->committed = -1;
    p->owned = 1, p->leaving = 0, p->at_end = 0;
}

static void take(mw_kafka_source *k, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t err = rd_kafka_committed(k->consumer, list, ASK_MS);
    if (err)
        mw_log(MW_WARN, k->source->name, "the group's positions cannot be had: %s",
               rd_kafka_err2str(err));
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *t = &list->elems[i];
        int asked = !t->err && !err;
        if (!asked) t->offset = RD_KAFKA_OFFSET_INVALID;
        begin(k, find_or_make(k, t->topic, t->partition), t, asked);
        free(t->metadata);
        t->metadata = NULL, t->metadata_size = 0;
    }
    if (k->cooperative) rd_kafka_error_destroy(rd_kafka_incremental_assign(k->consumer, list));
    else
        rd_kafka_assign(k->consumer, list);
    if (k->is_held) rd_kafka_pause_partitions(k->consumer, list);
    mw_log(MW_INFO, k->source->name, "%d partitions came", list->cnt);
    mw_kafka_commit(k, 0); /* they are ours from here on */
}

/* ---- letting go ---- */

static void give_back(mw_kafka_source *k, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        mw_kafka_part *p = mw_kafka_find(k, list->elems[i].topic, list->elems[i].partition);
        if (p) p->owned = p->leaving = 0;
    }
    if (k->cooperative) rd_kafka_error_destroy(rd_kafka_incremental_unassign(k->consumer, list));
    else
        rd_kafka_assign(k->consumer, NULL);
    mw_log(MW_INFO, k->source->name, "%d partitions went", list->cnt);
}

/* Exactly once: what leaves with results that no checkpoint has yet must not be committed later,
 * for whoever has the partition next reads it again. */
static int is_torn_away(const mw_kafka_source *k)
{
    if (!k->source->exactly_once || k->closing) return 0;
    for (const mw_kafka_part *p = k->parts; p; p = p->next)
        if (p->leaving && p->done < p->given) return 1;
    return 0;
}

static void tear_away(mw_kafka_source *k)
{
    if (is_torn_away(k))
        mw_source_restart(k->source, "the group has taken partitions away with work under way");
}

void mw_kafka_let_go(mw_kafka_source *k)
{
    if (!k->leaving) return;
    int waits = mw_clock_steady_ns() < k->leave_by_ns, in_flight = 0;
    for (mw_kafka_part *p = k->parts; p; p = p->next)
        if (p->leaving)
            in_flight |= p->in_flight || (k->source->exactly_once && p->done < p->given);
    if (in_flight && k->source->exactly_once) mw_source_wants_checkpoint(k->source);
    if (in_flight && waits) return;
    rd_kafka_topic_partition_list_t *list = k->leaving;
    k->leaving = NULL;
    tear_away(k);
    mw_kafka_commit(k, 1); /* while they are ours */
    give_back(k, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void mw_kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                           rd_kafka_topic_partition_list_t *list, void *opaque)
{
    mw_kafka_source *k = opaque;
    k->cooperative = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        take(k, list);
        return;
    }
    for (int i = 0; i < list->cnt; i++) {
        mw_kafka_part *p = mw_kafka_find(k, list->elems[i].topic, list->elems[i].partition);
        if (p) p->leaving = 1;
    }
    if (err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS || k->closing ||
        rd_kafka_assignment_lost(rk)) { /* another may have them: what we say counts no more */
        tear_away(k);
        if (!rd_kafka_assignment_lost(rk)) mw_kafka_commit(k, 1);
        give_back(k, list);
        return;
    }
    k->leaving = rd_kafka_topic_partition_list_copy(list);
    k->leave_by_ns = mw_clock_steady_ns() + LEAVE_MS * 1000000ll;
    mw_kafka_let_go(k);
}

/* ---- commits ---- */

/* Waits for the group's answer, but not for a broker that is gone. */
static rd_kafka_resp_err_t commit_and_wait(mw_kafka_source *k,
                                           const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_queue_t *answers = rd_kafka_queue_new(k->consumer);
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(k->consumer, list, answers, NULL, NULL);
    rd_kafka_event_t *e = err ? NULL : rd_kafka_queue_poll(answers, COMMIT_MS);
    if (e) err = rd_kafka_event_error(e);
    else if (!err)
        err = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (e) rd_kafka_event_destroy(e);
    rd_kafka_queue_destroy(answers);
    return err;
}

void mw_kafka_commit(mw_kafka_source *k, int wait)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (mw_kafka_part *p = k->parts; p; p = p->next) {
        if (!p->owned || p->done < 0 || p->done == p->committed) continue;
        rd_kafka_topic_partition_t *t =
            rd_kafka_topic_partition_list_add(list, p->topic, p->number);
        t->offset = p->done;
        t->metadata = strdup(p->owner);
        t->metadata_size = MW_KAFKA_OWNER;
        p->committed = p->done;
    }
    if (list->cnt)
        mw_kafka_on_commit(k->consumer,
                           wait ? commit_and_wait(k, list) : rd_kafka_commit(k->consumer, list, 1),
                           NULL, k);
    rd_kafka_topic_partition_list_destroy(list);
}

/* What it was not told, it is told again. */
void mw_kafka_on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                        rd_kafka_topic_partition_list_t *list, void *opaque)
{
    mw_kafka_source *k = opaque;
    (void)rk, (void)list;
    if (!err || err == RD_KAFKA_RESP_ERR__NO_OFFSET) return;
    mw_log(MW_WARN, k->source->name, "the group cannot be told how far all has come: %s",
           rd_kafka_err2str(err));
    for (mw_kafka_part *p = k->parts; p; p = p->next) p->committed = -1;
}
