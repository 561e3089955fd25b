/* format_csv.c: comma-separated values (RFC 4180): quotes, doubled quotes, line breaks inside
 * quotes.
 *
 * The first record names the fields, unless the option `columns` does. Every value is a string: csv
 * has no types, and guessing them would change what was sent ("007"). Writing takes the option
 * `columns`, or the first event's fields. */
#include "event/format.h"
#include "event/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end of the record at p: behind its line break, or NULL when it is not whole. */
static const char *record_end(const char *p, const char *end)
{
    int quoted = 0;
    for (; p < end; p++) {
        if (*p == '"') quoted = !quoted;
        else if (*p == '\n' && !quoted)
            return p + 1;
    }
    return NULL;
}

/* One field at p into `out`, unquoted; the result is behind it (at the separator or the end). */
static const char *field(mw_buffer *out, const char *p, const char *end)
{
    out->len = 0;
    if (p < end && *p == '"') {
        for (p++; p < end; p++) {
            if (*p == '"' && (p + 1 == end || p[1] != '"')) {
                p++;
                break;
            }
            if (*p == '"') p++;
            mw_buffer_append(out, p, 1);
        }
    }
    const char *rest = p;
    while (p < end && *p != ',') p++;
    mw_buffer_append(out, rest, (size_t)(p - rest));
    return p;
}

static const char *trim(const char *p, const char *end)
{
    if (end > p && end[-1] == '\n') end--;
    if (end > p && end[-1] == '\r') end--;
    return end;
}

static void add_column(mw_buffer *header, const char *name, size_t len)
{
    mw_json_quote(header, name, len);
    mw_buffer_append(header, ":", 2); /* with its NUL */
}

static void learn_header(mw_stream *s, const char *p, const char *end)
{
    mw_buffer header = {0}, name = {0};
    const char *given;
    s->header_seen = 1;
    for (size_t i = 0; (given = mw_config_item(s->config, "columns", i)); i++)
        add_column(&header, given, strlen(given));
    for (int more = header.len == 0; more; more = p++ < end) {
        p = field(&name, p, end);
        add_column(&header, name.bytes ? name.bytes : "", name.len);
        if (p >= end) break;
    }
    s->header = header.bytes, s->header_len = header.len;
    mw_buffer_close(&name);
}

static mw_status boundary(mw_stream *s, const char *text, size_t len, int final, size_t *whole,
                          mw_error *error)
{
    const char *p = text, *end = text + len, *next;
    while (p < end) {
        next = record_end(p, end);
        if (!next && final) next = end;
        if (!next) break;
        if (!s->header_seen) learn_header(s, p, trim(p, next));
        p = next;
    }
    *whole = (size_t)(p - text);
    if (len - *whole > s->limit)
        return mw_fail(error, MW_LIMIT, "a record of more than %zu bytes (is a quote left open?)",
                       s->limit);
    return MW_OK;
}

static void split_record(mw_batch *b, mw_buffer *json, mw_buffer *value, const char *p,
                         const char *end)
{
    const char *start = p, *name = b->stream->header, *names_end = name + b->stream->header_len;
    char spare[40];
    json->len = 0;
    mw_buffer_text(json, "{");
    for (unsigned column = 1;; column++) {
        p = field(value, p, end);
        if (column > 1) mw_buffer_text(json, ",");
        if (name < names_end) {
            mw_buffer_text(json, name);
            name += strlen(name) + 1;
        } else {
            snprintf(spare, sizeof spare, "\"column_%u\":", column);
            mw_buffer_text(json, spare);
        }
        mw_json_quote(json, value->bytes ? value->bytes : "", value->len);
        if (p >= end) break;
        p++;
    }
    mw_buffer_text(json, "}");
    size_t len = json->len;
    memset(mw_buffer_reserve(json, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    mw_batch_add(b, start, (size_t)(end - start),
                 mw_arena_copy(&b->arena, json->bytes, len + MW_JSON_PADDING), len);
}

static void split(mw_batch *b)
{
    const char *p = b->block, *end = p + b->len;
    mw_buffer json = {0}, value = {0};
    int header = b->first && !mw_config_item(b->stream->config, "columns", 0);
    while (p < end) {
        const char *next = record_end(p, end), *stop = trim(p, next ? next : end);
        if (!header && stop > p) split_record(b, &json, &value, p, stop);
        header = 0;
        p = next ? next : end;
    }
    mw_buffer_close(&json);
    mw_buffer_close(&value);
}

static void write_value(mw_buffer *out, const mw_value *v)
{
    mw_buffer plain = {0};
    if (v->kind == MW_ABSENT || v->kind == MW_NULL) return;
    if (v->kind == MW_ESCAPED) mw_json_unescape(&plain, v->text, v->len);
    else
        mw_buffer_append(&plain, v->text, v->len);
    int quote = 0;
    for (size_t i = 0; i < plain.len && !quote; i++)
        quote = strchr(",\"\r\n", plain.bytes[i]) != NULL;
    if (quote) mw_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < plain.len; i++) {
        if (plain.bytes[i] == '"') mw_buffer_append(out, "\"", 1);
        mw_buffer_append(out, plain.bytes + i, 1);
    }
    if (quote) mw_buffer_append(out, "\"", 1);
    mw_buffer_close(&plain);
}

static void write_record(mw_buffer *out, mw_config *config, const char *text, size_t len,
                         const char *raw, size_t raw_len)
{
    const char *column;
    mw_value key, v;
    size_t cursor = 0;
    if (raw) {
        mw_buffer_append(out, raw, raw_len);
    } else if (mw_config_item(config, "columns", 0)) {
        for (size_t i = 0; (column = mw_config_item(config, "columns", i)); i++) {
            if (i) mw_buffer_append(out, ",", 1);
            v = mw_json_member(text, len, column, strlen(column), 0);
            write_value(out, &v);
        }
    } else {
        for (int first = 1; mw_json_next(text, len, &cursor, &key, &v); first = 0) {
            if (!first) mw_buffer_append(out, ",", 1);
            write_value(out, &v);
        }
    }
    mw_buffer_append(out, "\n", 1);
}

const mw_format mw_format_csv = {
    .name = "csv",
    .raw_is_line = 1,
    .boundary = boundary,
    .split = split,
    .write = write_record,
    .content_type = "text/csv; charset=utf-8",
};
