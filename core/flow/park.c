/* park.c: a shard's side of rules that wait (lua/park.h): rows that go on when their answer is
 * there, and rows that wait for their key's turn.
 *
 * What a row sent leaves when the row is done; where the lists of a run are ordered, when all of
 * them are. The run counts as begun until then, so cuts and swaps wait for it. */
#include "flow/flow_private.h"
#include "flow/keeping.h"
#include "lua/keep.h"
#include "lua/park.h"

#include <stdlib.h>
#include <string.h>

enum { SPARES_MOST = 4096, SPARE_BYTES = 4096 };

/* ---- questions and answers ---- */

mw_parked *mw_park_question(mw_rules *r)
{
    mw_parked *p = r->spare_questions;
    if (p) {
        r->spare_questions = p->next;
        r->spare_count--;
        mw_parked_clear(p);
    } else {
        p = calloc(1, sizeof *p);
        mw_assert(p != NULL);
    }
    if (!++r->questions) r->questions = 1;
    p->number = r->questions, p->rules = r;
    return p;
}

void mw_park_spare(void *rules, mw_parked *p)
{
    mw_rules *r = rules;
    if (r->spare_count == SPARES_MOST || p->answer.texts.room > SPARE_BYTES ||
        p->answer.room * sizeof(mw_value) > SPARE_BYTES) {
        mw_parked_free(p);
        return;
    }
    p->next = r->spare_questions;
    r->spare_questions = p;
    r->spare_count++;
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

/* The row may be done before the answer comes: the version stays until then. */
void mw_park_abandon(void *rules, mw_parked *p)
{
    mw_rules *r = rules;
    p->abandoned = 1;
    atomic_fetch_add(&r->version->users, 1);
}

/* The row goes on, if it waits for this one. */
void mw_park_take_answer(mw_parked *p)
{
    mw_rules *r = p->rules;
    mw_shard *s = r->shard;
    p->answered = 1;
    if (p->abandoned) {
        mw_park_spare(r, p);
        atomic_fetch_sub(&r->version->users, 1);
        return;
    }
    if (!p->frame) return;
    enqueue(s, p);
}

/* ---- keys of other shards ---- */

mw_parked *mw_park_call(void *rules, mw_far *f)
{
    mw_rules *r = rules;
    mw_shard *s = r->shard;
    f->from = s->index, f->version = r->version, f->parked = mw_park_question(r);
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
void mw_park_answered(mw_far *f)
{
    mw_parked *p = f->parked;
    mw_answer_add(&p->answer, MW_NUMBER)->number = f->status;
    if (f->answer.len) {
        mw_buffer_append(&p->answer.texts, f->answer.bytes, f->answer.len);
        mw_value *v = mw_answer_add(&p->answer, MW_STRING);
        v->text = p->answer.texts.bytes, v->len = (uint32_t)p->answer.texts.len;
    }
    mw_far_free(f);
    mw_park_take_answer(p);
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
        r->chain = f->chain, r->stage = f->stage, r->in_order = f->in_order;
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
    r->chain = f->chain, r->stage = f->stage, r->in_order = f->in_order;
    s->running = &r->view;
    mw_time_begin(r, f->batch);
    mw_lua_resume(r->lua, p->number);
    mw_time_end(r);
    s->running = NULL;
    f->open--;
    count_wait(s, 0);
    mw_park_spare(r, p);
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
    for (mw_parked *p = r->spare_questions, *next; p; p = next) next = p->next, mw_parked_free(p);
    if (r->view.taken) mw_parked_free(r->view.taken);
    free(r->blocked);
    free(r->stores);
}
