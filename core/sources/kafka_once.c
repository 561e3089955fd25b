/* kafka_once.c: offsets that go with checkpoints, where the flow is exactly once: at the mark, for
 * a sink that commits them in its transaction; or else to be told to the group when the checkpoint
 * is made. */
#include "sources/kafka_private.h"

#include <stdlib.h>
#include <string.h>

typedef struct kept_offsets {
    mw_offsets head;
    mw_kafka_offsets offsets;
} kept_offsets;

static void free_offsets(mw_offsets *o)
{
    kept_offsets *kept = (kept_offsets *)o;
    mw_kafka_group_release(kept->offsets.group);
    rd_kafka_topic_partition_list_destroy(kept->offsets.list);
    free(kept);
}

mw_offsets *mw_kafka_offsets_now(mw_source *s)
{
    mw_kafka_source *k = s->self;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (mw_kafka_part *p = k->parts; p; p = p->next) {
        if (!p->owned || p->given < 0 || p->given == p->told) continue;
        rd_kafka_topic_partition_t *t =
            rd_kafka_topic_partition_list_add(list, p->topic, p->number);
        t->offset = p->told = p->given;
        t->metadata = strdup(p->owner);
        t->metadata_size = MW_KAFKA_OWNER;
    }
    if (!list->cnt) {
        rd_kafka_topic_partition_list_destroy(list);
        return NULL;
    }
    kept_offsets *kept = calloc(1, sizeof *kept);
    mw_assert(kept != NULL);
    kept->offsets = (mw_kafka_offsets){mw_kafka_group_hold(k->membership), list};
    kept->head = (mw_offsets){
        .world = mw_kafka_world_name, .what = &kept->offsets, .source = s, .free = free_offsets};
    return &kept->head;
}

void mw_kafka_checkpointed(mw_source *s, mw_offsets *o, int told)
{
    mw_kafka_source *k = s->self;
    const rd_kafka_topic_partition_list_t *list = ((kept_offsets *)o)->offsets.list;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *t = &list->elems[i];
        mw_kafka_part *p = mw_kafka_find(k, t->topic, t->partition);
        if (!p || !p->owned || t->offset < p->done) continue;
        p->done = t->offset;
        if (told) p->committed = t->offset;
    }
    if (k->leaving) mw_kafka_let_go(k);
}
