/* config.c: see config.h. Read a few times at start-up: looked up in the JSON each time. */
#include "event/config.h"
#include "base/arena.h"
#include "event/json.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mw_config {
    char *json;
    size_t len;
    pthread_mutex_t lock; /* of the arena: texts are made when first asked for */
    mw_arena texts;
};

mw_config *mw_config_new(const char *json, size_t len)
{
    mw_config *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->json = calloc(1, len + MW_JSON_PADDING);
    mw_assert(c->json != NULL);
    memcpy(c->json, json, len);
    c->len = len;
    pthread_mutex_init(&c->lock, NULL);
    mw_arena_init(&c->texts, 1024);
    return c;
}

void mw_config_free(mw_config *c)
{
    if (!c) return;
    mw_arena_close(&c->texts);
    pthread_mutex_destroy(&c->lock);
    free(c->json);
    free(c);
}

static mw_value find(mw_config *c, const char *name)
{
    mw_value v = mw_json_value(c->json, c->len);
    while (v.kind == MW_OBJECT) {
        size_t len = strcspn(name, ".");
        v = mw_json_member(v.text, v.len, name, len, 0);
        if (!name[len]) break;
        name += len + 1;
    }
    return v;
}

static const char *text_of(mw_config *c, mw_value v)
{
    mw_buffer plain = {0};
    if (v.kind == MW_ESCAPED) mw_json_unescape(&plain, v.text, v.len);
    else
        mw_buffer_append(&plain, v.text, v.len);
    mw_buffer_append(&plain, "", 1);
    pthread_mutex_lock(&c->lock);
    const char *kept = mw_arena_copy(&c->texts, plain.bytes, plain.len);
    pthread_mutex_unlock(&c->lock);
    mw_buffer_close(&plain);
    return kept;
}

static int is_scalar(uint32_t kind)
{
    return kind == MW_STRING || kind == MW_ESCAPED || kind == MW_NUMBER || kind == MW_INTEGER ||
           kind == MW_TRUE || kind == MW_FALSE;
}

const char *mw_config_text(mw_config *c, const char *name, const char *fallback)
{
    mw_value v = find(c, name);
    return is_scalar(v.kind) ? text_of(c, v) : fallback;
}

double mw_config_number(mw_config *c, const char *name, double fallback)
{
    mw_value v = find(c, name);
    return v.kind == MW_NUMBER || v.kind == MW_INTEGER ? v.number : fallback;
}

int64_t mw_config_int(mw_config *c, const char *name, int64_t fallback)
{
    return (int64_t)mw_config_number(c, name, (double)fallback);
}

int mw_config_bool(mw_config *c, const char *name, int fallback)
{
    mw_value v = find(c, name);
    return v.kind == MW_TRUE ? 1 : v.kind == MW_FALSE ? 0 : fallback;
}

const char *mw_config_item(mw_config *c, const char *name, size_t n)
{
    mw_value v = find(c, name);
    if (v.kind == MW_ARRAY) v = mw_json_member(v.text, v.len, NULL, 0, (uint32_t)n + 1);
    else if (n > 0)
        return NULL;
    return is_scalar(v.kind) ? text_of(c, v) : NULL;
}

int mw_config_pair(mw_config *c, const char *name, size_t n, const char **key, const char **value)
{
    mw_value map = find(c, name), k, v;
    size_t cursor = 0;
    if (map.kind != MW_OBJECT) return 0;
    while (mw_json_next(map.text, map.len, &cursor, &k, &v)) {
        if (n-- > 0) continue;
        *key = text_of(c, k), *value = text_of(c, v);
        return 1;
    }
    return 0;
}
