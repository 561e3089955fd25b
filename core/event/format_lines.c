/* format_lines.c: plain lines. An event is {"line": "..."}; the line itself, bytes that are not
 * UTF-8 included, is kept beside it, so that lines in are the same lines out. */
#include "event/format.h"
#include "event/json.h"

#include <string.h>

static void split(mw_batch *b)
{
    const char *p = b->block, *end = p + b->len;
    mw_buffer json = {0};
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p), trimmed = len;
        if (trimmed && p[trimmed - 1] == '\r') trimmed--;
        json.len = 0;
        mw_buffer_text(&json, "{\"line\":");
        mw_json_quote(&json, p, trimmed);
        mw_buffer_text(&json, "}");
        size_t text_len = json.len;
        memset(mw_buffer_reserve(&json, MW_JSON_PADDING), 0, MW_JSON_PADDING);
        mw_batch_add(b, p, len, mw_arena_copy(&b->arena, json.bytes, text_len + MW_JSON_PADDING),
                     text_len);
        p += len + 1;
    }
    mw_buffer_close(&json);
}

/* What is written is the `line` field where there is one, and the JSON otherwise. */
static void write_line(mw_buffer *out, mw_config *config, const char *text, size_t len,
                       const char *raw, size_t raw_len)
{
    (void)config;
    mw_value v = {0};
    if (!raw) v = mw_json_member(text, len, "line", 4, 0);
    if (raw) mw_buffer_append(out, raw, raw_len);
    else if (v.kind == MW_STRING)
        mw_buffer_append(out, v.text, v.len);
    else if (v.kind == MW_ESCAPED)
        mw_json_unescape(out, v.text, v.len);
    else
        mw_buffer_append(out, text, len);
    mw_buffer_append(out, "\n", 1);
}

const mw_format mw_format_lines = {
    .name = "lines",
    .raw_is_line = 1,
    .boundary = mw_format_line_boundary,
    .split = split,
    .write = write_line,
    .content_type = "text/plain; charset=utf-8",
};
