/* capture.c: gives what a source read to its captures, before any rule sees it: the block as it
 * came, or the events of a sample. See event/capture.h. */
#include "base/hash.h"
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>

/* The JSON that says what the bytes from `at` on are. */
static void describe(mw_batch *b, uint64_t position, mw_piece *p)
{
    const mw_source_host *home = b->owner;
    const char *partition = mw_delivery_partition(b);
    mw_buffer out = {0};
    mw_buffer_text(&out, "{\"source\":");
    mw_json_quote(&out, home->source.name, strlen(home->source.name));
    if (partition) {
        mw_buffer_text(&out, ",\"partition\":");
        mw_json_quote(&out, partition, strlen(partition));
    }
    mw_buffer_format(&out, ",\"position\":%llu,\"time_ns\":%lld", (unsigned long long)position,
                     (long long)b->time_ns);
    if (b->first) mw_buffer_text(&out, ",\"first\":true");
    if (b->reject) {
        mw_buffer_text(&out, ",\"reject\":");
        mw_json_quote(&out, b->reject, strlen(b->reject));
    }
    if (b->write_meta) {
        mw_buffer_text(&out, ",\"meta\":{\"moonweir\":1");
        b->write_meta(b, NULL, 1, &out);
        mw_buffer_text(&out, "}");
    }
    mw_buffer_text(&out, "}");
    p->options = mw_arena_copy(&b->arena, out.bytes, out.len);
    p->options_len = (uint32_t)out.len;
    mw_buffer_close(&out);
}

static mw_list_item *whole_block(mw_batch *b, mw_sink_host *to, int ordered)
{
    mw_list_item *item = mw_run_new_list(b, to, ordered, 1);
    mw_piece *p = &item->list.pieces[0];
    *p = (mw_piece){.text = b->block, .len = (uint32_t)b->len};
    describe(b, b->position, p);
    item->list.count = 1, item->list.bytes = b->len;
    return item;
}

/* Which events is a matter of their bytes: the same ones in every run. */
static mw_list_item *sample(mw_batch *b, mw_sink_host *to, int ordered, double rate)
{
    mw_list_item *item = mw_run_new_list(b, to, ordered, b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        const mw_event *e = &b->events[i];
        if ((double)(mw_hash(e->raw, e->raw_len) >> 11) * 0x1p-53 >= rate) continue;
        mw_piece *p = &item->list.pieces[item->list.count++];
        *p = (mw_piece){.text = e->raw, .len = e->raw_len, .event = i};
        describe(b, mw_delivery_position(b, i), p);
        item->list.bytes += p->len;
    }
    return item;
}

void mw_capture_batch(mw_shard *s, mw_batch *b, int ordered)
{
    mw_version *v = mw_version_of(b);
    const mw_declared *source = &v->graph.sources[b->source];
    for (uint32_t i = 0; i < source->capture_count; i++) {
        uint32_t number = source->captures[i];
        double rate = mw_config_number(v->graph.sinks[number].config, "rate", 1);
        mw_sink_host *to = v->sinks[number];
        mw_list_item *item =
            rate >= 1 || b->reject ? whole_block(b, to, ordered) : sample(b, to, ordered, rate);
        if (item->list.count || ordered) mw_run_send_list(s, item);
        else
            free(item);
    }
}
