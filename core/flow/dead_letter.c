/* dead_letter.c: what is written of an event that could not be parsed, decided or delivered, and
 * what a source knows of an event (mw.meta).
 *
 * A dead letter is one JSON object: time, error, stage ("source", "rule" or "sink"), name, version
 * of the flow, source, partition, position, and the event whole: as `event` when it is JSON, else
 * as `raw` (text) or `raw_base64`. */
#include "base/clock.h"
#include "flow/flow_private.h"

#include <stdlib.h>
#include <string.h>

static void add_text(mw_buffer *out, const char *name, const char *text, size_t len)
{
    mw_buffer_format(out, ",\"%s\":", name);
    mw_json_quote(out, text, len);
}

static void add_base64(mw_buffer *out, const char *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes;
    mw_buffer_text(out, ",\"raw_base64\":\"");
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t word = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (left > 2 ? p[i + 2] : 0u);
        char four[4] = {digits[word >> 18], digits[word >> 12 & 63],
                        left > 1 ? digits[word >> 6 & 63] : '=',
                        left > 2 ? digits[word & 63] : '='};
        mw_buffer_append(out, four, 4);
    }
    mw_buffer_text(out, "\"");
}

static void add_event(const mw_batch *b, const mw_event *e, mw_buffer *out)
{
    mw_json_fault fault;
    int ours = e->raw == NULL || b->stream->format->json;
    if (ours && e->len && mw_json_scan(e->text, e->len, NULL, NULL, &fault) == MW_OK) {
        mw_buffer_text(out, ",\"event\":");
        size_t from = out->len;
        mw_buffer_append(out, e->text, e->len);
        for (size_t i = from; i < out->len; i++)
            if (out->bytes[i] == '\n' || out->bytes[i] == '\r') out->bytes[i] = ' ';
        return;
    }
    const char *raw = e->raw ? e->raw : e->text;
    size_t len = e->raw ? e->raw_len : e->len;
    if (mw_utf8_prefix(raw, len) == len) add_text(out, "raw", raw, len);
    else
        add_base64(out, raw, len);
}

/* A buffer's reader speaks for the source whose buffer it is. */
static void add_source(const mw_source_host *home, mw_buffer *out)
{
    const char *name = mw_config_text(home->source.config, "of", home->source.name);
    mw_json_quote(out, name, strlen(name));
}

void mw_dead_letter_write(mw_batch *b, const mw_event *e, const char *stage, const char *name,
                          const char *why, size_t why_len, mw_buffer *out)
{
    mw_source_host *home = b->owner;
    const char *partition = mw_delivery_partition(b);
    mw_buffer_text(out, "{");
    char stamp[MW_STAMP_BYTES];
    mw_buffer_format(out, "\"time\":\"%s\"", mw_clock_stamp(mw_clock_wall_ns(), stamp));
    add_text(out, "error", why, why_len);
    add_text(out, "stage", stage ? stage : "source", strlen(stage ? stage : "source"));
    if (!name) name = mw_config_text(home->source.config, "of", home->source.name);
    add_text(out, "name", name, strlen(name));
    const char *version = mw_version_of(b)->graph.version;
    add_text(out, "version", version, strlen(version));
    mw_buffer_text(out, ",\"source\":");
    add_source(home, out);
    if (partition) add_text(out, "partition", partition, strlen(partition));
    mw_buffer_format(out, ",\"position\":%llu",
                     (unsigned long long)mw_delivery_position(b, e->origin));
    if (b->write_meta) {
        mw_buffer_text(out, ",\"meta\":{");
        size_t from = out->len;
        b->write_meta(b, e, 1, out);
        if (out->len > from) { /* without its first comma */
            memmove(out->bytes + from, out->bytes + from + 1, out->len - from - 1);
            out->len--;
        }
        mw_buffer_text(out, "}");
    }
    add_event(b, e, out);
    mw_buffer_text(out, "}");
}

void mw_dead_letter_of_row(void *rules, mw_view *v, mw_buffer *out, uint32_t row, uint32_t rule,
                           const char *why, size_t len)
{
    mw_rules *r = rules;
    mw_dead_letter_write(v->batch, &v->events[row], "rule", r->version->graph.rule_names[rule], why,
                         len, out);
}

void mw_meta_write(void *rules, mw_view *v, uint32_t row, mw_buffer *out)
{
    const mw_rules *r = rules;
    const mw_batch *b = v->batch;
    mw_source_host *home = b->owner;
    const char *partition = mw_delivery_partition(b);
    mw_buffer_format(out, "{\"time\":%.6f,\"source\":", (double)b->time_ns / 1e9);
    add_source(home, out);
    if (partition) add_text(out, "partition", partition, strlen(partition));
    mw_buffer_format(out, ",\"position\":%llu",
                     (unsigned long long)mw_delivery_position(b, v->events[row].origin));
    add_text(out, "version", r->version->graph.version, strlen(r->version->graph.version));
    if (b->write_meta) b->write_meta(b, &v->events[row], 0, out);
    mw_buffer_text(out, "}");
}

/* The dead letter is a list of one piece to the sink of dead letters; its text hangs on the batch.
 */
typedef struct letter {
    mw_garbage garbage;
    char text[];
} letter;

static void release_letter(mw_garbage *g)
{
    free(g);
}

void mw_dead_letter_send(mw_shard *s, mw_batch *b, const mw_event *e, const char *stage,
                         const char *name, const char *why)
{
    mw_buffer text = {0};
    mw_dead_letter_write(b, e, stage, name, why, strlen(why), &text);
    letter *kept = malloc(sizeof *kept + text.len + MW_JSON_PADDING);
    mw_assert(kept != NULL);
    memcpy(kept->text, text.bytes, text.len);
    kept->garbage.release = release_letter;
    mw_batch_attach(b, &kept->garbage);
    mw_list_item *item = mw_run_new_list(b, mw_version_of(b)->sinks[0], 0, 1);
    item->list.pieces[0] =
        (mw_piece){.text = kept->text, .len = (uint32_t)text.len, .event = e->origin};
    item->list.count = 1, item->list.bytes = text.len;
    mw_buffer_close(&text);
    mw_run_send_list(s, item);
}
