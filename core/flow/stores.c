/* stores.c: a shard's connections to what rules ask outside (mw.shared). */
#include "flow/flow_private.h"
#include "flow/redis_answer.h"
#include "flow/redis_cache.h"
#include "lua/park.h"
#include "net/redis.h"

#include <stdlib.h>
#include <string.h>

struct mw_store_client {
    mw_store_client *next;
    mw_redis *redis;
    mw_redis_cache *cache; /* or NULL */
    char *options;
    uint32_t collected; /* commands that have not left */
};

/* So many leave together: Redis works on them while the run goes on. */
enum { COLLECTED_MOST = 128 };

static mw_store_client *find_store(const mw_shard *s, const char *options)
{
    for (mw_store_client *c = s->stores; c; c = c->next)
        if (strcmp(c->options, options) == 0) return c;
    return NULL;
}

static mw_status open_store(mw_shard *s, const mw_store_declared *d, mw_store_client **client,
                            mw_error *error)
{
    mw_redis *redis;
    mw_redis_url url;
    mw_error why;
    if (mw_redis_new(&redis, &s->loop, d->url, d->name, d->timeout_ns, &why) != MW_OK)
        return mw_fail(error, MW_CONFIG, "%s: shared '%s': %s", d->where, d->name, why.message);
    mw_redis_link *link = mw_redis_single(redis);
    if (d->cache && !link) {
        mw_redis_close(redis);
        return mw_fail(error, MW_CONFIG, "%s: shared '%s': a cluster's records cannot be cached",
                       d->where, d->name);
    }
    mw_store_client *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->redis = redis, c->options = strdup(d->options);
    if (d->cache && mw_redis_url_read(&url, d->url, &why) == MW_OK)
        c->cache = mw_redis_cache_new(&s->loop, &url, link, d->name, d->timeout_ns, d->cache);
    c->next = s->stores;
    s->stores = c;
    *client = c;
    return MW_OK;
}

/* Stores of the same options are one connection; it is kept as long as the shard runs. */
mw_status mw_stores_open(mw_shard *s, mw_version *v, mw_error *error)
{
    mw_rules *r = &v->rules[s->index];
    r->stores = calloc(v->graph.store_count + 1, sizeof *r->stores);
    mw_assert(r->stores != NULL);
    for (uint32_t i = 0; i < v->graph.store_count; i++) {
        const mw_store_declared *d = &v->graph.stores[i];
        r->stores[i] = find_store(s, d->options);
        mw_status status = r->stores[i] ? MW_OK : open_store(s, d, &r->stores[i], error);
        if (status != MW_OK) return status;
    }
    return MW_OK;
}

void mw_stores_close(mw_shard *s)
{
    for (mw_store_client *c = s->stores, *next; c; c = next) {
        next = c->next;
        mw_redis_close(c->redis); /* first: it greets for the cache */
        mw_redis_cache_close(c->cache);
        free(c->options);
        free(c);
    }
    s->stores = NULL;
}

static void flush(mw_store_client *c)
{
    c->collected = 0;
    mw_redis_flush(c->redis);
}

void mw_stores_flush(mw_shard *s)
{
    for (mw_store_client *c = s->stores; c; c = c->next) flush(c);
}

static void on_answer(void *self, const struct redisReply *reply, const char *why)
{
    mw_parked *p = self;
    mw_rules *r = p->rules;
    if (reply) mw_redis_answer(&p->answer, reply);
    else
        p->error = why;
    if (p->ticket)
        mw_redis_cache_keep(r->stores[p->store]->cache, p->ticket, p->asked_key.bytes,
                            p->asked_key.len, reply ? &p->answer : NULL);
    mw_park_take_answer(p);
}

mw_parked *mw_stores_ask(void *rules, uint32_t store, const mw_buffer *command, const char *key,
                         size_t len, int how)
{
    mw_rules *r = rules;
    mw_store_client *c = r->stores[store];
    mw_parked *p = mw_park_question(r);
    p->store = store;
    if (c->cache && key && how == MW_ASK_CHANGE) mw_redis_cache_drop(c->cache, key, len);
    if (c->cache && key && how == MW_ASK_READ) {
        p->ticket = mw_redis_cache_expect(c->cache, key, len);
        mw_buffer_append(&p->asked_key, key, len);
    }
    mw_redis_send(c->redis, key, len, command, on_answer, p);
    if (++c->collected >= COLLECTED_MOST) flush(c);
    return p;
}

const mw_answer *mw_stores_cached(void *rules, uint32_t store, const char *key, size_t len)
{
    mw_rules *r = rules;
    mw_store_client *c = r->stores[store];
    return c->cache ? mw_redis_cache_find(c->cache, key, len) : NULL;
}
