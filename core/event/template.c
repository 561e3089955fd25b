/* template.c: see template.h. */
#include "event/template.h"
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct part {
    char *text; /* literal text, or the field's path */
    size_t len;
    int is_field;
    int32_t path;
} part;

struct mw_template {
    part *parts;
    size_t count;
    mw_paths paths; /* of its fields */
    mw_projector *projector;
    mw_value *values;
};

static void add(mw_template *t, const char *text, size_t len, int is_field)
{
    if (len == 0) return;
    t->parts = realloc(t->parts, (t->count + 1) * sizeof *t->parts);
    mw_assert(t->parts != NULL);
    part *p = &t->parts[t->count++];
    *p = (part){.text = strndup(text, len), .len = len, .is_field = is_field};
    mw_assert(p->text != NULL);
}

/* "device.os" */
static int32_t path_of(mw_template *t, const char *name)
{
    int32_t path = MW_PATH_ROOT;
    for (;; name++) {
        size_t step = strcspn(name, ".");
        path = mw_paths_key(&t->paths, path, name, step);
        name += step;
        if (!*name) return path;
    }
}

mw_status mw_template_new(mw_template **result, const char *text, mw_error *error)
{
    mw_template *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    mw_paths_init(&t->paths);
    const char *p = text, *run = text;
    while (*p) {
        if (p[0] == '{' && p[1] == '{') {
            add(t, run, (size_t)(p - run) + 1, 0);
            run = p += 2;
        } else if (*p == '{') {
            const char *close = strchr(p, '}');
            if (!close || close == p + 1) {
                mw_template_free(t);
                return mw_fail(error, MW_CONFIG,
                               "in '%s', '{' wants a field and '}' behind it ('{{' is a brace)",
                               text);
            }
            add(t, run, (size_t)(p - run), 0);
            add(t, p + 1, (size_t)(close - p - 1), 1);
            run = p = close + 1;
        } else {
            p++;
        }
    }
    add(t, run, (size_t)(p - run), 0);
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].is_field) t->parts[i].path = path_of(t, t->parts[i].text);
    t->values = calloc((size_t)t->paths.count + 1, sizeof *t->values);
    mw_assert(t->values != NULL);
    t->projector = mw_projector_new(&t->paths);
    *result = t;
    return MW_OK;
}

void mw_template_free(mw_template *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->count; i++) free(t->parts[i].text);
    free(t->parts);
    free(t->values);
    if (t->projector) mw_projector_free(t->projector);
    mw_paths_close(&t->paths);
    free(t);
}

int mw_template_has_fields(const mw_template *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].is_field) return 1;
    return 0;
}

static void make_safe(mw_buffer *out, size_t from)
{
    int only_dots = 1;
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->bytes[i];
        if (c == '/' || c == '\\' || c < 0x20) out->bytes[i] = '_';
        only_dots &= c == '.';
    }
    for (size_t i = from; only_dots && i < out->len; i++) out->bytes[i] = '_';
    if (out->len - from > 200) out->len = from + 200; /* names of files are bounded */
}

void mw_template_render(mw_template *t, const char *text, size_t len, int path_safe, mw_buffer *out)
{
    mw_json_fault fault;
    if (t->paths.count) mw_projector_run(t->projector, text, len, t->values, &fault);
    for (size_t i = 0; i < t->count; i++) {
        const part *p = &t->parts[i];
        size_t from = out->len;
        if (!p->is_field) {
            mw_buffer_append(out, p->text, p->len);
            continue;
        }
        mw_value v = p->path >= 0 ? t->values[p->path] : (mw_value){0};
        if (v.kind == MW_ESCAPED) mw_json_unescape(out, v.text, v.len);
        else if (v.kind != MW_ABSENT)
            mw_buffer_append(out, v.text, v.len);
        if (path_safe) make_safe(out, from);
    }
}
