/* fuzz_format.c: every format's framing. The first byte chooses the format, the second how the
 * bytes arrive. However they are cut into pieces, the same frames come out, each valid JSON (where
 * the format makes it) and inside its block; and what a format writes it reads again. */
#include "event/format.h"
#include "event/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check(int good)
{
    if (!good) __builtin_trap();
}

/* Frames of the stream, each ended by a zero byte, into `out`. */
static void read_all(const mw_format *format, mw_config *config, const char *bytes, size_t len,
                     size_t piece, mw_buffer *out)
{
    mw_stream stream;
    mw_error error;
    mw_buffer rest = {0};
    size_t at = 0;
    int first = 1;
    mw_stream_init(&stream, format, config, 4096);
    for (int final = 0; !final;) {
        size_t n = len - at < piece ? len - at : piece, whole = 0;
        mw_buffer_append(&rest, bytes + at, n);
        at += n;
        final = at == len;
        mw_buffer_reserve(&rest, MW_JSON_PADDING);
        if (!rest.len) continue;
        mw_status status = format->boundary(&stream, rest.bytes, rest.len, final, &whole, &error);
        check(whole <= rest.len);
        if (whole) {
            mw_batch *b = mw_batch_new(whole);
            memcpy(b->block, rest.bytes, whole);
            b->len = whole, b->stream = &stream, b->first = first;
            first = 0;
            format->split(b);
            for (uint32_t i = 0; i < b->count; i++) {
                mw_event *e = &b->events[i];
                check(e->raw >= b->block && e->raw + e->raw_len <= b->block + b->len);
                if (!format->json) check(mw_json_check(e->text, e->len) < 0);
                mw_buffer_append(out, e->text, e->len);
                mw_buffer_append(out, "", 1);
                if (!format->json || mw_json_check(e->text, e->len) < 0) {
                    mw_buffer line = {0};
                    format->write(&line, config, e->text, e->len, NULL, 0);
                    mw_buffer_close(&line);
                }
            }
            mw_batch_free(b);
            mw_buffer_consume(&rest, whole);
        }
        if (status != MW_OK) break;
    }
    mw_buffer_close(&rest);
    mw_stream_close(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"ndjson", "lines", "csv", "syslog", "length-prefixed"};
    if (size < 2) return 0;
    const mw_format *format = mw_format_find(names[data[0] % 5]);
    mw_config *config = mw_config_new("{}", 2);
    mw_buffer whole = {0}, pieces = {0};
    size_t piece = data[1] % 61u + 1;
    read_all(format, config, (const char *)data + 2, size - 2, size, &whole);
    read_all(format, config, (const char *)data + 2, size - 2, piece, &pieces);
    if (size < 4000) { /* past the limit, where a stream is given up depends on the pieces */
        check(whole.len == pieces.len);
        check(!whole.len || memcmp(whole.bytes, pieces.bytes, whole.len) == 0);
    }
    mw_buffer_close(&whole);
    mw_buffer_close(&pieces);
    mw_config_free(config);
    return 0;
}
