/* park.c: a shard's side of rules that wait (lua/park.h): the stores that they ask, rows that go on
 * when their answer is there, and rows that wait for their key's turn.
 *
 * What a row sent leaves when the row is done; where the lists of a run are ordered, when all of
 * them are. The run counts as begun until then, so cuts and swaps wait for it. */
#include "base/log.h"
#include "flow/flow_private.h"
#include "lua/keep.h"
#include "lua/park.h"
#include "net/redis.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* ---- stores ---- */

struct mw_store_client {
    mw_store_client *next;
    mw_redis *redis;
    char *options;
};

static mw_store_client *find_store(const mw_shard *s, const char *options)
{
    for (mw_store_client *c = s->stores; c; c = c->next)
        if (strcmp(c->options, options) == 0) return c;
    return NULL;
}

/* Stores of the same options are one connection; it is kept as long as the shard runs. */
mw_status mw_park_open(mw_shard *s, mw_version *v, mw_error *error)
{
    mw_rules *r = &v->rules[s->index];
    r->stores = calloc(v->graph.store_count + 1, sizeof *r->stores);
    mw_assert(r->stores != NULL);
    for (uint32_t i = 0; i < v->graph.store_count; i++) {
        const mw_store_declared *d = &v->graph.stores[i];
        mw_store_client *c = find_store(s, d->options);
        if (!c) {
            mw_error why;
            mw_redis *redis;
            if (mw_redis_new(&redis, &s->loop, d->url, d->name, d->timeout_ns, &why) != MW_OK)
                return mw_fail(error, MW_CONFIG, "%s: shared '%s': %s", d->where, d->name,
                               why.message);
            c = calloc(1, sizeof *c);
            mw_assert(c != NULL);
            c->redis = redis, c->options = strdup(d->options);
            c->next = s->stores;
            s->stores = c;
        }
        r->stores[i] = c;
    }
    return MW_OK;
}

void mw_park_close(mw_shard *s)
{
    for (mw_store_client *c = s->stores, *next; c; c = next) {
        next = c->next;
        mw_redis_close(c->redis);
        free(c->options);
        free(c);
    }
    s->stores = NULL;
}

void mw_park_flush(mw_shard *s)
{
    for (mw_store_client *c = s->stores; c; c = c->next) mw_redis_flush(c->redis);
}

/* ---- answers ---- */

static mw_value *add_value(mw_parked *p, uint32_t kind)
{
    if (p->reply_count == p->reply_room) {
        p->reply_room = p->reply_room ? p->reply_room * 2 : 8;
        p->reply = realloc(p->reply, p->reply_room * sizeof *p->reply);
        mw_assert(p->reply != NULL);
    }
    mw_value *v = &p->reply[p->reply_count++];
    *v = (mw_value){.kind = kind};
    return v;
}

/* Texts are set when all are there: they move as they grow. An error is an escaped text. */
static void flatten(mw_parked *p, const redisReply *reply)
{
    int is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                  reply->type == REDIS_REPLY_ERROR;
    if (is_text) {
        mw_value *v = add_value(p, reply->type == REDIS_REPLY_ERROR ? MW_ESCAPED : MW_STRING);
        v->len = (uint32_t)reply->len;
        v->number = (double)p->texts.len;
        mw_buffer_append(&p->texts, reply->str, reply->len);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        add_value(p, MW_NUMBER)->number = (double)reply->integer;
    } else if (reply->type == REDIS_REPLY_ARRAY) {
        add_value(p, MW_ARRAY)->number = (double)reply->elements;
        for (size_t i = 0; i < reply->elements; i++) flatten(p, reply->element[i]);
    } else {
        add_value(p, MW_NULL);
    }
}

static void enqueue(mw_shard *s, mw_parked *p)
{
    p->next = NULL;
    if (s->answered_last) s->answered_last->next = p;
    else
        s->answered = p;
    s->answered_last = p;
    mw_shard_stay_awake(s);
}

static void on_answer(void *self, const redisReply *reply, const char *why)
{
    mw_parked *p = self;
    mw_rules *r = p->rules;
    mw_shard *s = r->shard;
    if (reply) flatten(p, reply);
    else
        p->error = why;
    for (uint32_t i = 0; i < p->reply_count; i++)
        if (p->reply[i].kind == MW_STRING || p->reply[i].kind == MW_ESCAPED)
            p->reply[i].text = p->texts.bytes + (size_t)p->reply[i].number;
    enqueue(s, p);
}

static mw_parked *new_question(mw_rules *r)
{
    mw_parked *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    if (!++r->questions) r->questions = 1;
    p->number = r->questions, p->rules = r;
    return p;
}

mw_parked *mw_park_ask(void *rules, uint32_t store, const mw_buffer *command)
{
    mw_rules *r = rules;
    mw_parked *p = new_question(r);
    mw_redis_send(r->stores[store]->redis, command, on_answer, p);
    return p;
}

/* ---- keys of other shards ---- */

mw_parked *mw_park_call(void *rules, mw_far *f)
{
    mw_rules *r = rules;
    mw_shard *s = r->shard;
    f->from = s->index, f->version = r->version, f->parked = new_question(r);
    mw_post_send(s->flow->post, s->index, mw_key_shard(f->key.hash, s->flow->shards),
                 (mw_message){.kind = MW_MSG_CALL, .body = f});
    return f->parked;
}

void mw_park_called(mw_shard *s, mw_far *f)
{
    const mw_version *v = f->version;
    mw_far_do(f, v->rules[s->index].view.uses[f->index].keeper, s->watermark_ns);
    mw_post_send(s->flow->post, s->index, f->from, (mw_message){.kind = MW_MSG_ANSWER, .body = f});
}

/* What it came to, and its JSON. */
void mw_park_answered(mw_shard *s, mw_far *f)
{
    mw_parked *p = f->parked;
    add_value(p, MW_NUMBER)->number = f->status;
    if (f->answer.len) {
        mw_buffer_append(&p->texts, f->answer.bytes, f->answer.len);
        mw_value *v = add_value(p, MW_STRING);
        v->text = p->texts.bytes, v->len = (uint32_t)p->texts.len;
    }
    mw_far_free(f);
    enqueue(s, p);
}

/* ---- keys that wait ---- */

typedef struct waiting_row {
    struct waiting_row *next;
    mw_frame *frame;
    uint32_t row;
} waiting_row;

struct mw_blocked {
    mw_blocked *next;
    uint64_t key;
    waiting_row *first, *last;
};

enum { BUCKETS = 1 << 15, WAITS_MOST = 20000 };

static mw_blocked **bucket_of(mw_rules *r, uint64_t key)
{
    if (!r->blocked) r->blocked = calloc(BUCKETS, sizeof *r->blocked);
    mw_assert(r->blocked != NULL);
    return &r->blocked[(key >> 1) % BUCKETS];
}

static mw_blocked *find_blocked(mw_rules *r, uint64_t key)
{
    mw_blocked *b = *bucket_of(r, key);
    while (b && b->key != key) b = b->next;
    return b;
}

/* Keys of different stages are different; 0: the stage has none. */
uint64_t mw_park_key(void *rules, uint32_t row)
{
    mw_rules *r = rules;
    const mw_view *v = &r->view;
    const mw_stage *st = &r->version->graph.chains[r->chain].stages[r->stage];
    uint64_t hash;
    if (st->by_function) hash = v->hashes && row < v->given ? v->hashes[row] : 0;
    else {
        const mw_value *values[st->by_count + 1];
        if (!st->by_count) return 0;
        for (uint32_t i = 0; i < st->by_count; i++)
            values[i] =
                &v->slots[(size_t)row * v->stride + (size_t)r->key_paths[r->chain][r->stage][i]];
        hash = mw_key_hash(values, st->by_count);
    }
    return (hash * 31 + r->chain * 1000003 + r->stage * 7919) | 1;
}

int mw_park_defer(void *rules, uint32_t row)
{
    mw_rules *r = rules;
    uint64_t key = mw_park_key(r, row);
    mw_blocked *b = key ? find_blocked(r, key) : NULL;
    if (!b) return 0;
    waiting_row *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->frame = mw_frame_of_run(&r->view), w->row = row;
    w->frame->open++;
    if (b->last) b->last->next = w;
    else
        b->first = w;
    b->last = w;
    return 1;
}

/* Sources rest while very many rows wait; they go on when half of those have gone on. */
static void count_wait(mw_shard *s, int more)
{
    s->waits += more ? 1u : -1u;
    int full = s->waits_full ? s->waits > WAITS_MOST / 2 : s->waits > WAITS_MOST;
    if (full == s->waits_full) return;
    s->waits_full = full;
    for (mw_source_host *h = s->sources; h; h = h->next)
        if (h->open) mw_source_host_check_full(h);
}

void mw_park_block(void *rules, uint64_t key)
{
    mw_rules *r = rules;
    r->parked++;
    count_wait(r->shard, 1);
    if (!key || find_blocked(r, key)) return;
    mw_blocked **at = bucket_of(r, key), *b = calloc(1, sizeof *b);
    mw_assert(b != NULL);
    b->key = key, b->next = *at;
    *at = b;
    r->view.blocked++;
}

static void unblock(mw_rules *r, mw_blocked *b)
{
    mw_blocked **at = bucket_of(r, b->key);
    while (*at != b) at = &(*at)->next;
    *at = b->next;
    free(b);
    r->view.blocked--;
}

/* ---- rows that go on ---- */

/* What the row sent: out, or to what the frame keeps. */
static void row_is_done(mw_rules *r, mw_frame *f)
{
    mw_view *v = &r->view;
    uint32_t n = v->send_count - v->first;
    if (f->ordered) {
        mw_buffer_append(&f->lines, v->sends + v->first, n * sizeof *v->sends);
    } else {
        memmove(v->sends, v->sends + v->first, n * sizeof *v->sends);
        v->send_count = n;
        mw_run_carry_out(r, f->batch, 0);
    }
    v->send_count = v->first = 0;
}

/* Leaves the frame that the view has; ends it when nothing of it waits any more. */
static void leave(mw_shard *s, mw_rules *r, mw_frame *f)
{
    if (f->open == 0) {
        mw_run_finish(s, r, f);
        return;
    }
    mw_frame_leave(&r->view);
}

/* Rows that waited for the key have their turn, until one of them waits for an answer. */
static void take_turns(mw_shard *s, mw_rules *r, uint64_t key)
{
    mw_blocked *b = key ? find_blocked(r, key) : NULL;
    while (b && b->first) {
        waiting_row *w = b->first;
        b->first = w->next;
        if (!b->first) b->last = NULL;
        mw_frame *f = w->frame;
        mw_frame_enter(&r->view, f, w->row);
        r->chain = f->chain, r->stage = f->stage;
        r->view.alone_key = key;
        free(w);
        uint32_t parked = r->parked;
        s->running = &r->view;
        mw_time_begin(r, f->batch);
        mw_lua_run(r->lua, f->chain, f->stage);
        mw_time_end(r);
        s->running = NULL;
        f->open--;
        int waits = r->parked != parked;
        if (!waits) row_is_done(r, f);
        leave(s, r, f);
        if (waits) return; /* its answer goes on from here */
    }
    if (b) unblock(r, b);
}

static void go_on(mw_shard *s, mw_parked *p)
{
    mw_rules *r = p->rules;
    mw_frame *f = p->frame;
    uint64_t key = p->key;
    uint32_t parked = r->parked;
    mw_frame_enter(&r->view, f, p->base);
    mw_parked_enter(&r->view, p);
    r->view.alone_key = key;
    r->chain = f->chain, r->stage = f->stage;
    s->running = &r->view;
    mw_time_begin(r, f->batch);
    mw_lua_resume(r->lua, p->number);
    mw_time_end(r);
    s->running = NULL;
    f->open--;
    count_wait(s, 0);
    mw_parked_free(p);
    int waits = r->parked != parked;
    if (!waits) row_is_done(r, f);
    leave(s, r, f);
    if (!waits) take_turns(s, r, key);
}

void mw_park_work(mw_shard *s)
{
    mw_parked *p = s->answered;
    s->answered = s->answered_last = NULL;
    for (mw_parked *next; p; p = next) next = p->next, go_on(s, p);
}

void mw_park_forget(mw_rules *r)
{
    for (unsigned i = 0; r->blocked && i < BUCKETS; i++)
        for (mw_blocked *b = r->blocked[i], *next; b; b = next) {
            next = b->next;
            for (waiting_row *w = b->first, *then; w; w = then) then = w->next, free(w);
            free(b);
        }
    free(r->blocked);
    free(r->stores);
}
