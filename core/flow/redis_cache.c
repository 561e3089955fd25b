/* redis_cache.c: see redis_cache.h. */
#include "flow/redis_cache.h"
#include "base/hash.h"
#include "base/resp.h"
#include "net/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    struct entry *next;          /* in its bucket */
    struct entry *newer, *older; /* by use */
    uint64_t hash, ticket;       /* ticket: 0 when the answer is here */
    mw_answer answer;
    size_t bytes;
    uint32_t len;
    char key[];
} entry;

struct mw_redis_cache {
    mw_redis_link *link, *told;
    entry **buckets;
    size_t mask;
    entry *newest, *oldest;
    size_t bytes, room;
    uint64_t tickets;
    int listens; /* to what Redis tells */
    int on;      /* answers are kept */
};

/* ---- entries ---- */

static entry **place_of(mw_redis_cache *c, uint64_t hash, const char *key, size_t len)
{
    entry **at = &c->buckets[hash & c->mask];
    while (*at && ((*at)->hash != hash || (*at)->len != len || memcmp((*at)->key, key, len) != 0))
        at = &(*at)->next;
    return at;
}

static void unlink_use(mw_redis_cache *c, entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_use(mw_redis_cache *c, entry *e)
{
    e->newer = NULL, e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop_at(mw_redis_cache *c, entry **at)
{
    entry *e = *at;
    *at = e->next;
    unlink_use(c, e);
    c->bytes -= e->bytes;
    mw_answer_close(&e->answer);
    free(e);
}

static void drop_entry(mw_redis_cache *c, entry *e)
{
    drop_at(c, place_of(c, e->hash, e->key, e->len));
}

static void drop_all(mw_redis_cache *c)
{
    while (c->oldest) drop_entry(c, c->oldest);
}

static void count_bytes(mw_redis_cache *c, entry *e)
{
    c->bytes -= e->bytes;
    e->bytes =
        sizeof *e + e->len + e->answer.room * sizeof *e->answer.values + e->answer.texts.room;
    c->bytes += e->bytes;
    if (e->bytes > c->room) drop_entry(c, e); /* it alone has no room: the others stay */
    while (c->bytes > c->room && c->oldest) drop_entry(c, c->oldest);
}

const mw_answer *mw_redis_cache_find(mw_redis_cache *c, const char *key, size_t len)
{
    entry *e = *place_of(c, mw_hash(key, len), key, len);
    if (!e || e->ticket) return NULL;
    unlink_use(c, e);
    link_use(c, e);
    return &e->answer;
}

uint64_t mw_redis_cache_expect(mw_redis_cache *c, const char *key, size_t len)
{
    if (!c->on || len > c->room) return 0;
    uint64_t hash = mw_hash(key, len);
    entry **at = place_of(c, hash, key, len), *e = *at;
    if (!e) {
        e = calloc(1, sizeof *e + len);
        mw_assert(e != NULL);
        e->hash = hash, e->len = (uint32_t)len;
        memcpy(e->key, key, len);
        e->ticket = ++c->tickets;
        *at = e;
        link_use(c, e);
        uint64_t ticket = e->ticket;
        count_bytes(c, e); /* it may go at once, where there is no room */
        return ticket;
    }
    return e->ticket;
}

void mw_redis_cache_keep(mw_redis_cache *c, uint64_t ticket, const char *key, size_t len,
                         const mw_answer *answer)
{
    entry **at = place_of(c, mw_hash(key, len), key, len), *e = *at;
    if (!ticket || !e || e->ticket != ticket) return;
    if (!answer || (answer->count && answer->values[0].kind == MW_ESCAPED)) {
        drop_at(c, at);
        return;
    }
    e->ticket = 0;
    mw_answer_copy(&e->answer, answer);
    count_bytes(c, e);
}

void mw_redis_cache_drop(mw_redis_cache *c, const char *key, size_t len)
{
    entry **at = place_of(c, mw_hash(key, len), key, len);
    if (*at) drop_at(c, at);
}

/* ---- what Redis tells ---- */

static void on_tracking(void *self, const redisReply *reply, const char *why)
{
    mw_redis_cache *c = self;
    (void)why;
    drop_all(c);
    c->on = c->listens && reply && reply->type == REDIS_REPLY_STATUS;
}

/* The number of the connection that is told, which changes with each. */
static void on_number(void *self, const redisReply *reply, const char *why)
{
    mw_redis_cache *c = self;
    mw_buffer command = {0};
    char number[24];
    (void)why;
    if (!reply || reply->type != REDIS_REPLY_INTEGER) return;
    c->listens = 1;
    snprintf(number, sizeof number, "%lld", reply->integer);
    mw_resp_command(&command, "CLIENT", "TRACKING", "ON", "REDIRECT", number, NULL);
    mw_redis_link_greet(c->link, &command, on_tracking, c);
    mw_buffer_close(&command);
}

/* ["message", "__redis__:invalidate", [key, …]]; no keys: all of them (the server was flushed). */
static void on_message(void *self, const redisReply *message)
{
    mw_redis_cache *c = self;
    if (!message) {
        c->listens = c->on = 0;
        drop_all(c);
        return;
    }
    if (message->elements != 3 || strcmp(mw_redis_text(message->element[0]), "message") != 0)
        return;
    const redisReply *keys = message->element[2];
    if (keys->type != REDIS_REPLY_ARRAY) drop_all(c);
    else
        for (size_t i = 0; i < keys->elements; i++)
            if (keys->element[i]->type == REDIS_REPLY_STRING)
                mw_redis_cache_drop(c, keys->element[i]->str, keys->element[i]->len);
}

/* ---- life ---- */

mw_redis_cache *mw_redis_cache_new(uv_loop_t *loop, mw_redis_url *url, mw_redis_link *link,
                                   const char *name, int64_t timeout_ns, size_t room)
{
    mw_redis_cache *c = calloc(1, sizeof *c);
    mw_buffer command = {0};
    size_t buckets = 64;
    while (buckets < room / 512 && buckets < 1 << 20) buckets *= 2;
    mw_assert(c != NULL && (c->buckets = calloc(buckets, sizeof *c->buckets)) != NULL);
    c->mask = buckets - 1, c->room = room, c->link = link;
    c->told = mw_redis_link_new(loop, url, name, timeout_ns);
    mw_resp_command(&command, "CLIENT", "ID", NULL);
    mw_redis_link_greet(c->told, &command, on_number, c);
    mw_resp_command(&command, "SUBSCRIBE", "__redis__:invalidate", NULL);
    mw_redis_link_listen(c->told, &command, on_message, c);
    mw_buffer_close(&command);
    return c;
}

void mw_redis_cache_close(mw_redis_cache *c)
{
    if (!c) return;
    mw_redis_link_close(c->told);
    drop_all(c);
    free(c->buckets);
    free(c);
}
