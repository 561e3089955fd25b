/* json_splice.c: changes to an event, written into its own bytes.
 *
 * Each edit is found by walking down its path, and copies what stands before and behind it as it
 * is. Edits are few, and one after the other keeps their order's meaning: a later edit sees the
 * earlier ones. */
#include "event/json_private.h"

typedef struct spot {
    size_t start, end;   /* the bytes to replace, in the document */
    size_t member_start; /* where the member begins, with its key */
    int found;
    int first;     /* nothing stands before it in its container */
    size_t count;  /* members or elements in the container */
    size_t close;  /* of the container: its bracket */
    uint32_t kind; /* of the container */
} spot;

static size_t value_start(const char *doc, const mw_value *v)
{
    int quoted = v->kind == MW_STRING || v->kind == MW_ESCAPED;
    return (size_t)(v->text - doc) - (size_t)quoted;
}

static size_t value_end(const char *doc, const mw_value *v)
{
    int quoted = v->kind == MW_STRING || v->kind == MW_ESCAPED;
    return (size_t)(v->text - doc) + v->len + (size_t)quoted;
}

static int key_is(const mw_value *k, const char *key, size_t len)
{
    if (k->kind == MW_STRING) return k->len == len && memcmp(k->text, key, len) == 0;
    mw_buffer plain = {0};
    mw_json_unescape(&plain, k->text, k->len);
    int same = plain.len == len && memcmp(plain.bytes, key, len) == 0;
    mw_buffer_close(&plain);
    return same;
}

/* Where the level-th step of the edit's path leads in the container at [at, at + len). */
static spot look(const char *doc, size_t at, size_t len, const mw_edit *e, uint32_t level)
{
    mw_value k, v;
    size_t cursor = 0;
    spot s = {.close = at + len - 1, .kind = doc[at] == '{' ? MW_OBJECT : MW_ARRAY};
    while (mw_json_next(doc + at, len, &cursor, &k, &v)) {
        s.count++;
        int hit = e->keys[level]
                      ? s.kind == MW_OBJECT && key_is(&k, e->keys[level], e->key_lens[level])
                      : s.kind == MW_ARRAY && s.count == e->indices[level];
        if (!hit) continue;
        s.found = 1, s.first = s.count == 1;
        s.start = value_start(doc, &v), s.end = value_end(doc, &v);
        s.member_start = s.kind == MW_OBJECT ? value_start(doc, &k) : s.start;
    }
    return s;
}

/* Cuts a member out together with one comma. */
static void cut(mw_buffer *out, const char *doc, size_t len, const spot *s)
{
    const char *end = doc + len;
    size_t from = s->member_start, to = s->end;
    if (s->first) {
        const char *comma = mw_json_space(doc + to, end);
        if (*comma == ',') to = (size_t)(mw_json_space(comma + 1, end) - doc);
    } else {
        do from--;
        while (doc[from] != ',');
    }
    mw_buffer_append(out, doc, from);
    mw_buffer_append(out, doc + to, len - to);
}

/* Adds the member that is missing at `level`, with the objects that lead to it. */
static mw_status add(mw_buffer *out, const char *doc, size_t len, const spot *s, const mw_edit *e,
                     uint32_t level, mw_error *error)
{
    if (!e->keys[level] && (s->kind != MW_ARRAY || e->indices[level] != s->count + 1))
        return mw_fail(error, MW_INVALID, "cannot set element %u of %s", e->indices[level],
                       s->kind == MW_ARRAY ? "a shorter array" : "an object");
    if (e->keys[level] && s->kind != MW_OBJECT)
        return mw_fail(error, MW_INVALID, "cannot set field '%.*s' of an array",
                       (int)e->key_lens[level], e->keys[level]);
    mw_buffer_append(out, doc, s->close);
    if (s->count) mw_buffer_append(out, ",", 1);
    uint32_t closing = 0;
    for (uint32_t i = level; i < e->depth; i++) {
        if (i > level) mw_buffer_append(out, e->keys[i] ? "{" : "[", 1), closing++;
        if (!e->keys[i]) continue;
        mw_json_quote(out, e->keys[i], e->key_lens[i]);
        mw_buffer_append(out, ":", 1);
    }
    mw_buffer_append(out, e->text, e->text_len);
    for (uint32_t i = e->depth; closing > 0; closing--)
        mw_buffer_append(out, e->keys[--i] ? "}" : "]", 1);
    mw_buffer_append(out, doc + s->close, len - s->close);
    return MW_OK;
}

/* Makes one edit; *again is set when a duplicate of a key that goes away may be left. */
static mw_status apply(mw_buffer *out, const char *doc, size_t len, const mw_edit *e, int *again,
                       mw_error *error)
{
    const char *open = mw_json_space(doc, doc + len);
    mw_value container = mw_json_value(open, len - (size_t)(open - doc));
    for (uint32_t level = 0;; level++) {
        if (container.kind != MW_OBJECT && container.kind != MW_ARRAY)
            return mw_fail(error, MW_INVALID,
                           "cannot set '%.*s' inside a value that is no object or array",
                           (int)(e->keys[level] ? e->key_lens[level] : 1),
                           e->keys[level] ? e->keys[level] : "?");
        spot s = look(doc, (size_t)(container.text - doc), container.len, e, level);
        if (!s.found) {
            if (e->text) return add(out, doc, len, &s, e, level, error);
            mw_buffer_append(out, doc, len);
            return MW_OK;
        }
        if (level + 1 < e->depth) {
            container = mw_json_value(doc + s.start, len - s.start);
            continue;
        }
        if (e->text) {
            mw_buffer_append(out, doc, s.start);
            mw_buffer_append(out, e->text, e->text_len);
            mw_buffer_append(out, doc + s.end, len - s.end);
        } else {
            cut(out, doc, len, &s);
            *again = s.kind == MW_OBJECT;
        }
        return MW_OK;
    }
}

mw_status mw_json_splice(mw_buffer *out, const char *text, size_t len, const mw_edit *edits,
                         size_t count, mw_error *error)
{
    mw_buffer now = {0}, next = {0};
    mw_status status = MW_OK;
    mw_buffer_append(&now, text, len);
    for (size_t i = 0; i < count && status == MW_OK; i++) {
        int again = 0;
        do {
            again = 0;
            next.len = 0;
            mw_buffer_reserve(&now, MW_JSON_PADDING);
            status = apply(&next, now.bytes, now.len, &edits[i], &again, error);
            mw_buffer swap = now;
            now = next, next = swap;
        } while (again && status == MW_OK);
    }
    if (status == MW_OK) mw_buffer_append(out, now.bytes, now.len);
    mw_buffer_close(&now);
    mw_buffer_close(&next);
    return status;
}
