/* json_scan.c: the scanner: one pass of recursive descent that validates everything and fills the
 * paths it is asked for.
 *
 * It is the reference for the projector, which asks it whenever it meets something new. */
#include "event/json_private.h"

static mw_value *slot(int32_t path, mw_value *values)
{
    return path >= 0 ? &values[path] : NULL;
}

/* A later duplicate wins whole: what an earlier one left in the slots below is forgotten. */
static void forget_below(const mw_paths *paths, int32_t path, mw_value *values)
{
    for (int32_t c = paths->paths[path].child; c >= 0; c = paths->paths[c].sibling) {
        values[c].kind = MW_ABSENT;
        forget_below(paths, c, values);
    }
}

static int32_t child_of_key(const mw_paths *paths, int32_t path, const char *key, size_t len,
                            int plain)
{
    if (path == MW_PATH_NONE || !paths) return MW_PATH_NONE;
    if (plain) return mw_paths_find(paths, path, key, len);
    mw_buffer text = {0};
    mw_json_unescape(&text, key, len);
    int32_t found = mw_paths_find(paths, path, text.bytes, text.len);
    mw_buffer_close(&text);
    return found;
}

static const char *read_object(mw_json_reader *r, const char *p, const mw_paths *paths,
                               int32_t path, mw_value *values, int depth)
{
    p = mw_json_space(p + 1, r->end);
    if (p < r->end && *p == '}') return p + 1;
    for (;;) {
        if (p >= r->end || *p != '"')
            return mw_json_fault_at(r, p, "an object key must be a string");
        int plain;
        const char *key = p + 1;
        p = mw_json_string_end(r, key, &plain);
        if (!p) return NULL;
        int32_t child = child_of_key(paths, path, key, (size_t)(p - key), plain);
        p = mw_json_space(p + 1, r->end);
        if (p >= r->end || *p != ':') return mw_json_fault_at(r, p, "a key wants a ':' behind it");
        p = mw_json_space(p + 1, r->end);
        p = mw_json_read_value(r, p, paths, child, values, depth + 1);
        if (!p) return NULL;
        p = mw_json_space(p, r->end);
        if (p < r->end && *p == '}') return p + 1;
        if (p >= r->end || *p != ',')
            return mw_json_fault_at(r, p, "an object wants ',' or '}' here");
        p = mw_json_space(p + 1, r->end);
    }
}

static const char *read_array(mw_json_reader *r, const char *p, const mw_paths *paths, int32_t path,
                              mw_value *values, int depth)
{
    p = mw_json_space(p + 1, r->end);
    if (p < r->end && *p == ']') return p + 1;
    for (uint32_t index = 1;; index++) {
        int32_t child =
            path != MW_PATH_NONE && paths ? mw_paths_find_index(paths, path, index) : MW_PATH_NONE;
        p = mw_json_read_value(r, p, paths, child, values, depth + 1);
        if (!p) return NULL;
        p = mw_json_space(p, r->end);
        if (p < r->end && *p == ']') return p + 1;
        if (p >= r->end || *p != ',')
            return mw_json_fault_at(r, p, "an array wants ',' or ']' here");
        p = mw_json_space(p + 1, r->end);
    }
}

const char *mw_json_read_value(mw_json_reader *r, const char *p, const mw_paths *paths,
                               int32_t path, mw_value *values, int depth)
{
    if (p >= r->end) return mw_json_fault_at(r, p, "a value is missing at the end");
    if (depth > MW_JSON_DEPTH) return mw_json_fault_at(r, p, "nested deeper than 512");
    mw_value *v = slot(path, values);
    if (v && v->kind >= MW_OBJECT) forget_below(paths, path, values);
    const char *start = p;
    uint32_t kind;
    int plain;
    switch (*p) {
    case '"':
        p = mw_json_string_end(r, p + 1, &plain);
        if (!p) return NULL;
        if (v)
            *v = (mw_value){.text = start + 1,
                            .len = (uint32_t)(p - start - 1),
                            .kind = plain ? MW_STRING : MW_ESCAPED};
        return p + 1;
    case '{':
    case '[':
        kind = *p == '{' ? MW_OBJECT : MW_ARRAY;
        p = kind == MW_OBJECT ? read_object(r, p, paths, path, values, depth)
                              : read_array(r, p, paths, path, values, depth);
        if (p && v) *v = (mw_value){.text = start, .len = (uint32_t)(p - start), .kind = kind};
        return p;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        p = mw_json_number_end(r, p);
        if (p && v) mw_json_number_read(v, start, (size_t)(p - start));
        return p;
    default:
        p = mw_json_atom_end(r, p, &kind);
        if (p && v) *v = (mw_value){.text = start, .len = (uint32_t)(p - start), .kind = kind};
        return p;
    }
}

mw_status mw_json_scan(const char *text, size_t len, const mw_paths *paths, mw_value *values,
                       mw_json_fault *fault)
{
    mw_json_reader r = {.end = text + len};
    if (paths && paths->count) memset(values, 0, (size_t)paths->count * sizeof *values);
    const char *p = mw_json_space(text, r.end);
    p = mw_json_read_value(&r, p, paths, paths ? MW_PATH_ROOT : MW_PATH_NONE, values, 0);
    if (p) {
        p = mw_json_space(p, r.end);
        if (p == r.end) return MW_OK;
        p = mw_json_fault_at(&r, p, "something behind the value's end");
    }
    *fault = (mw_json_fault){.what = r.what, .at = (size_t)(r.where - text)};
    return MW_INVALID;
}

int mw_json_check(const char *text, size_t len)
{
    mw_json_fault fault;
    return mw_json_scan(text, len, NULL, NULL, &fault) == MW_OK ? -1 : (int)fault.at;
}
