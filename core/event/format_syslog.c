/* format_syslog.c: syslog messages, RFC 5424 and the older RFC 3164, framed by newlines or octet
 * counts (RFC 6587).
 *
 * Fields: facility, severity (numbers), version, timestamp, hostname, app_name, proc_id, msg_id,
 * structured_data (an object of objects), message. "-" is left out. What is neither form keeps its
 * text as `message`: a log line is never refused for its looks. */
#include "event/format.h"
#include "event/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The octet count at p ("123 "): its digits' end, or NULL. */
static const char *count_end(const char *p, const char *end, size_t *count)
{
    const char *start = p;
    *count = 0;
    while (p < end && *p >= '0' && *p <= '9' && p - start < 9)
        *count = *count * 10 + (size_t)(*p++ - '0');
    return p > start && p < end && *p == ' ' ? p + 1 : NULL;
}

static mw_status octet_boundary(mw_stream *s, const char *text, size_t len, int final,
                                size_t *whole, mw_error *error)
{
    const char *p = text, *end = text + len;
    *whole = 0;
    while (p < end) {
        size_t count;
        while (p < end && *p == '\n') p++; /* some senders end counted messages so */
        *whole = (size_t)(p - text);
        if (p == end) break;
        const char *body = count_end(p, end, &count);
        if (!body && end - p > 10)
            return mw_fail(error, MW_INVALID, "an octet count is missing before a syslog message");
        if (body && count > s->limit)
            return mw_fail(error, MW_INVALID,
                           "a syslog message of %zu bytes, where at most %zu are allowed (`limit`)",
                           count, s->limit);
        if (!body || (size_t)(end - body) < count) break;
        p = body + count;
        *whole = (size_t)(p - text);
    }
    if (final && *whole < len)
        return mw_fail(error, MW_INVALID, "the stream ends inside a syslog message");
    return MW_OK;
}

static mw_status boundary(mw_stream *s, const char *text, size_t len, int final, size_t *whole,
                          mw_error *error)
{
    if (s->octet_counted < 0 && len > 0) s->octet_counted = isdigit((unsigned char)text[0]) ? 1 : 0;
    return s->octet_counted == 1 ? octet_boundary(s, text, len, final, whole, error)
                                 : mw_format_line_boundary(s, text, len, final, whole, error);
}

static void add_text(mw_buffer *out, const char *name, const char *p, size_t len)
{
    if (len == 1 && *p == '-') return;
    mw_buffer_format(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
    mw_json_quote(out, p, len);
}

static const char *word(const char *p, const char *end, const char **from, size_t *len)
{
    *from = p;
    while (p < end && *p != ' ') p++;
    *len = (size_t)(p - *from);
    return p < end ? p + 1 : p;
}

/* [id name="value" ...][id ...] as {"id":{"name":"value"}}; returns behind it, or NULL when it is
 * not well formed. */
static const char *structured(mw_buffer *out, const char *p, const char *end)
{
    mw_buffer value = {0};
    const char *result = NULL;
    mw_buffer_text(out, ",\"structured_data\":{");
    for (int first = 1; p < end && *p == '['; first = 0) {
        const char *name = ++p;
        while (p < end && *p != ' ' && *p != ']') p++;
        if (!first) mw_buffer_text(out, ",");
        mw_json_quote(out, name, (size_t)(p - name));
        mw_buffer_text(out, ":{");
        for (int pair = 0; p < end && *p == ' '; pair++) {
            name = ++p;
            while (p < end && *p != '=') p++;
            if (end - p < 2 || p[1] != '"') goto done;
            if (pair) mw_buffer_text(out, ",");
            mw_json_quote(out, name, (size_t)(p - name));
            value.len = 0;
            for (p += 2; p < end && *p != '"'; p++) {
                if (*p == '\\' && p + 1 < end) p++;
                mw_buffer_append(&value, p, 1);
            }
            if (p >= end) goto done;
            p++;
            mw_buffer_text(out, ":");
            mw_json_quote(out, value.bytes ? value.bytes : "", value.len);
        }
        if (p >= end || *p != ']') goto done;
        p++;
        mw_buffer_text(out, "}");
    }
    mw_buffer_text(out, "}");
    result = p;
done:
    mw_buffer_close(&value);
    return result;
}

/* RFC 5424, behind "<pri>1 ". Returns 0 when it is not. */
static int parse_5424(mw_buffer *out, const char *p, const char *end)
{
    static const char *const names[] = {"timestamp", "hostname", "app_name", "proc_id", "msg_id"};
    const char *from;
    size_t len;
    mw_buffer_text(out, ",\"version\":1");
    for (int i = 0; i < 5; i++) {
        p = word(p, end, &from, &len);
        if (len == 0) return 0;
        add_text(out, names[i], from, len);
    }
    if (p < end && *p == '[') {
        if (!(p = structured(out, p, end))) return 0;
    } else if (p < end && *p == '-') {
        p++;
    }
    if (p < end && *p == ' ') p++;
    if (end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) p += 3;
    if (p < end) mw_buffer_text(out, ",\"message\":"), mw_json_quote(out, p, (size_t)(end - p));
    return 1;
}

/* RFC 3164: "Mmm dd hh:mm:ss host tag[pid]: text". Returns 0 when there is no such timestamp. */
static int parse_3164(mw_buffer *out, const char *p, const char *end)
{
    const char *from;
    size_t len;
    if (end - p < 16 || p[3] != ' ' || p[6] != ' ' || p[9] != ':' || p[12] != ':' || p[15] != ' ')
        return 0;
    add_text(out, "timestamp", p, 15);
    p = word(p + 16, end, &from, &len);
    add_text(out, "hostname", from, len);
    const char *tag = p;
    while (p < end && (isalnum((unsigned char)*p) || strchr("_-./", *p))) p++;
    if (p > tag && p < end && (*p == '[' || *p == ':')) {
        add_text(out, "app_name", tag, (size_t)(p - tag));
        const char *pid = p + 1, *close = *p == '[' ? memchr(p, ']', (size_t)(end - p)) : NULL;
        if (close) add_text(out, "proc_id", pid, (size_t)(close - pid)), p = close + 1;
        if (p < end && *p == ':') p++;
        if (p < end && *p == ' ') p++;
    } else {
        p = tag;
    }
    mw_buffer_text(out, ",\"message\":");
    mw_json_quote(out, p, (size_t)(end - p));
    return 1;
}

static void parse(mw_buffer *out, const char *p, const char *end)
{
    const char *start = p;
    size_t priority;
    out->len = 0;
    mw_buffer_text(out, "{");
    if (p < end && *p == '<') {
        const char *digits = ++p;
        for (priority = 0; p < end && isdigit((unsigned char)*p) && p - digits < 3; p++)
            priority = priority * 10 + (size_t)(*p - '0');
        if (p > digits && p < end && *p == '>' && priority < 192) {
            mw_buffer_format(out, "\"facility\":%zu,\"severity\":%zu", priority / 8, priority % 8);
            size_t before = out->len;
            p++;
            int done = end - p > 2 && p[0] == '1' && p[1] == ' ' ? parse_5424(out, p + 2, end)
                                                                 : parse_3164(out, p, end);
            if (!done) {
                out->len = before;
                add_text(out, "message", p, (size_t)(end - p));
            }
            mw_buffer_text(out, "}");
            return;
        }
    }
    if (!parse_3164(out, start, end)) {
        out->len = 1;
        mw_buffer_text(out, "\"message\":");
        mw_json_quote(out, start, (size_t)(end - start));
    }
    mw_buffer_text(out, "}");
}

static void split(mw_batch *b)
{
    const char *p = b->block, *end = p + b->len;
    mw_buffer json = {0};
    while (p < end) {
        size_t count;
        while (b->stream->octet_counted == 1 && p < end && *p == '\n') p++;
        if (p == end) break;
        const char *next, *body = p;
        if (b->stream->octet_counted == 1 && (body = count_end(p, end, &count))) {
            next = body + count;
        } else {
            const char *newline = memchr(p, '\n', (size_t)(end - p));
            body = p, count = (size_t)((newline ? newline : end) - p);
            next = p + count + 1;
        }
        while (count && (body[count - 1] == '\r' || body[count - 1] == '\n')) count--;
        if (count) {
            parse(&json, body, body + count);
            size_t len = json.len;
            memset(mw_buffer_reserve(&json, MW_JSON_PADDING), 0, MW_JSON_PADDING);
            mw_batch_add(b, body, count,
                         mw_arena_copy(&b->arena, json.bytes, len + MW_JSON_PADDING), len);
        }
        p = next;
    }
    mw_buffer_close(&json);
}

static void text_or_nil(mw_buffer *out, const char *text, size_t len, const char *name)
{
    mw_value v = mw_json_member(text, len, name, strlen(name), 0);
    if (v.kind == MW_STRING && v.len && !memchr(v.text, ' ', v.len))
        mw_buffer_append(out, v.text, v.len);
    else
        mw_buffer_text(out, "-");
}

static void write_message(mw_buffer *out, mw_config *config, const char *text, size_t len,
                          const char *raw, size_t raw_len)
{
    (void)config;
    if (raw) {
        mw_buffer_append(out, raw, raw_len);
    } else {
        mw_value facility = mw_json_member(text, len, "facility", 8, 0),
                 severity = mw_json_member(text, len, "severity", 8, 0);
        mw_value message = mw_json_member(text, len, "message", 7, 0);
        int pri = (facility.kind == MW_NUMBER ? (int)facility.number : 1) * 8 +
                  (severity.kind == MW_NUMBER ? (int)severity.number : 6);
        mw_buffer_format(out, "<%d>1 ", pri < 0 || pri > 191 ? 14 : pri);
        static const char *const names[] = {"timestamp", "hostname", "app_name", "proc_id",
                                            "msg_id"};
        for (int i = 0; i < 5; i++) text_or_nil(out, text, len, names[i]), mw_buffer_text(out, " ");
        mw_buffer_text(out, "- ");
        size_t from = out->len;
        if (message.kind == MW_STRING) mw_buffer_append(out, message.text, message.len);
        else if (message.kind == MW_ESCAPED)
            mw_json_unescape(out, message.text, message.len);
        else
            mw_buffer_append(out, text, len);
        for (size_t i = from; i < out->len; i++)
            if (out->bytes[i] == '\n') out->bytes[i] = ' ';
    }
    mw_buffer_append(out, "\n", 1);
}

const mw_format mw_format_syslog = {
    .name = "syslog",
    .raw_is_line = 1,
    .boundary = boundary,
    .split = split,
    .write = write_message,
    .content_type = "text/plain; charset=utf-8",
};
