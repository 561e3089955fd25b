/* format_ndjson.c: one JSON document a line, and `json`: one document, or an array of them, a body.
 */
#include "event/format.h"
#include "event/json.h"

#include <string.h>

static void split(mw_batch *b)
{
    const char *p = b->block, *end = p + b->len;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline) {
            newline = end;
        }
        size_t len = (size_t)(newline - p);
        size_t blank = 0;
        if (len < 64)
            while (blank < len && (p[blank] == ' ' || p[blank] == '\t' || p[blank] == '\r'))
                blank++;
        if (blank < len) mw_batch_add(b, p, len, p, len); /* an empty line is no event */
        p = newline + 1;
    }
}

static void write_line(mw_buffer *out, mw_config *config, const char *text, size_t len,
                       const char *raw, size_t raw_len)
{
    (void)config, (void)raw_len;
    char *to = mw_buffer_reserve(out, len + 1);
    memcpy(to, text, len);
    if (!raw &&
        memchr(
            to, '\n',
            len)) /* only white space between tokens can be one: a string would have it escaped */
        for (size_t i = 0; i < len; i++)
            if (to[i] == '\n' || to[i] == '\r') to[i] = ' ';
    to[len] = '\n';
    out->len += len + 1;
}

const mw_format mw_format_ndjson = {
    .name = "ndjson",
    .raw_is_line = 1,
    .json = 1,
    .boundary = mw_format_line_boundary,
    .split = split,
    .write = write_line,
    .content_type = "application/x-ndjson",
};

static mw_status whole_body(mw_stream *s, const char *text, size_t len, int final, size_t *whole,
                            mw_error *error)
{
    (void)text;
    *whole = final ? len : 0;
    if (len > s->limit)
        return mw_fail(error, MW_LIMIT, "a document of more than %zu bytes", s->limit);
    return MW_OK;
}

static void add_element(void *batch, const char *text, size_t len)
{
    mw_batch_add(batch, text, len, text, len);
}

/* An array of objects is cut into its elements, each valid or not on its own; another array when it
 * is valid. What is neither stays whole, to be refused whole. */
static int split_array(mw_batch *b, const char *p, size_t len)
{
    mw_json_fault fault;
    if (mw_json_split(p, len, add_element, b)) return 1;
    b->count = 0;
    if (mw_json_scan(p, len, NULL, NULL, &fault) != MW_OK) return 0;
    mw_value key, v;
    size_t cursor = 0;
    while (mw_json_next(p, len, &cursor, &key, &v)) {
        size_t quotes = v.kind == MW_STRING || v.kind == MW_ESCAPED;
        add_element(b, v.text - quotes, v.len + 2 * quotes);
    }
    return 1;
}

static void split_body(mw_batch *b)
{
    const char *p = b->block, *end = p + b->len;
    mw_json_fault fault;
    while (p < end && strchr(" \t\r\n", *p) && *p) p++;
    while (end > p && strchr(" \t\r\n", end[-1]) && end[-1]) end--;
    if (p == end) return;
    if (*p == '[' && split_array(b, p, (size_t)(end - p))) return;
    if (*p == '{' && memchr(p, '\n', (size_t)(end - p)) &&
        mw_json_scan(p, (size_t)(end - p), NULL, NULL, &fault) != MW_OK) {
        split(b); /* several lines, which are not one document: ndjson */
        return;
    }
    mw_batch_add(b, p, (size_t)(end - p), p, (size_t)(end - p));
}

const mw_format mw_format_json = {
    .name = "json",
    .json = 1,
    .boundary = whole_body,
    .split = split_body,
    .write = write_line,
    .content_type = "application/json",
};
