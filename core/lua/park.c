/* park.c: see park.h. */
#include "lua/park.h"
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- asking ---- */

uint32_t mw_view_ask(mw_view *v, uint32_t store, const char *key, size_t len, int how)
{
    v->asking = v->ask(v->host, store, &v->command, len ? key : NULL, len, how);
    return v->asking->number;
}

static void show(mw_view *v, const mw_answer *answer, const char *error)
{
    v->reply = answer->values, v->reply_count = answer->count, v->reply_error = error;
}

int mw_view_cached(mw_view *v, uint32_t store, const char *key, size_t len)
{
    const mw_answer *answer =
        v->ask && v->cached && v->given ? v->cached(v->host, store, key, len) : NULL;
    if (answer) show(v, answer, NULL);
    return answer != NULL;
}

/* ---- several questions ---- */

void mw_view_hold(mw_view *v)
{
    v->asking->beside = v->held;
    v->held = v->asking;
    v->asking = NULL;
}

static void spare_taken(mw_view *v)
{
    if (v->taken) v->spare(v->host, v->taken);
    v->taken = NULL;
}

int mw_view_take(mw_view *v, uint32_t number)
{
    mw_parked **at = &v->held;
    while ((*at)->number != number) at = &(*at)->beside;
    mw_parked *p = *at;
    *at = p->beside;
    p->beside = NULL;
    spare_taken(v);
    if (!p->answered) {
        v->asking = p;
        return 0;
    }
    v->taken = p;
    show(v, &p->answer, p->error);
    return 1;
}

void mw_view_release(mw_view *v)
{
    for (mw_parked *p = v->held, *next; p; p = next) {
        next = p->beside;
        p->beside = NULL;
        if (p->answered) v->spare(v->host, p);
        else
            v->abandon(v->host, p);
    }
    v->held = NULL;
}

mw_frame *mw_frame_of_run(mw_view *v)
{
    if (v->frame) return v->frame;
    v->frame = calloc(1, sizeof *v->frame);
    mw_assert(v->frame != NULL);
    return v->frame;
}

void mw_view_park(mw_view *v)
{
    mw_parked *p = v->asking;
    v->asking = NULL;
    spare_taken(v);
    p->beside = v->held;
    v->held = NULL;
    p->frame = mw_frame_of_run(v);
    p->frame->open++;
    p->row = v->row, p->base = v->base, p->first = v->first, p->pending = v->pending;
    p->rule = v->rule, p->overlaid = v->overlaid, p->now = v->now;
    p->key = v->alone ? v->alone_key : v->key_of(v->host, v->base);
    v->block(v->host, p->key);
    p->line_count = v->send_count - v->first;
    if (p->line_room < p->line_count) {
        p->line_room = p->line_count;
        p->lines = realloc(p->lines, p->line_room * sizeof *p->lines);
        mw_assert(p->lines != NULL);
    }
    if (p->line_count) memcpy(p->lines, v->sends + v->first, p->line_count * sizeof *p->lines);
    v->send_count = v->first, v->pending = 0;
}

int mw_view_defer(mw_view *v, uint32_t row)
{
    return v->defer(v->host, row);
}

/* ---- frames ---- */

void mw_frame_leave(mw_view *v)
{
    mw_frame *f = v->frame;
    if (!v->events_own) {
        f->events = malloc((v->count + 1) * sizeof *f->events);
        mw_assert(f->events != NULL);
        memcpy(f->events, v->events, v->count * sizeof *f->events);
        f->events_room = v->count;
    } else {
        f->events = v->own_events, f->events_room = v->events_room;
        v->own_events = NULL, v->events_room = 0;
    }
    f->slots = v->slots, f->slots_room = v->slots_room;
    v->slots = NULL, v->slots_room = 0, v->values = NULL;
    f->batch = v->batch, f->arena = v->arena, f->generation = v->generation;
    f->count = v->count, f->given = v->given, f->stride = v->stride;
    v->frame = NULL;
    v->events = NULL, v->events_own = 0;
    v->count = v->given = 0;
}

/* Paths may have been learned since. */
static void widen(mw_view *v)
{
    mw_json_fault fault;
    uint32_t stride = (uint32_t)v->paths->count;
    if (v->stride == stride) return;
    v->stride = stride;
    v->slots_room = (v->count + 1) * stride;
    v->slots = realloc(v->slots, v->slots_room * sizeof *v->slots);
    mw_assert(v->slots != NULL);
    for (uint32_t row = 0; row < v->count; row++)
        if (!v->events[row].dead)
            mw_json_scan(v->events[row].text, v->events[row].len, v->paths,
                         v->slots + (size_t)row * stride, &fault);
}

void mw_frame_enter(mw_view *v, mw_frame *f, uint32_t row)
{
    free(v->own_events);
    free(v->slots);
    v->events = v->own_events = f->events, v->events_own = 1, v->events_room = f->events_room;
    v->slots = f->slots, v->slots_room = f->slots_room;
    f->events = NULL, f->slots = NULL;
    v->batch = f->batch, v->arena = f->arena, v->generation = f->generation;
    v->count = f->count, v->given = f->given, v->stride = f->stride;
    v->frame = f;
    widen(v);
    v->row = v->base = row, v->alone = 1;
    v->values = v->slots + (size_t)row * v->stride;
    v->send_count = v->first = 0, v->pending = 0, v->overlaid = 0, v->now = 0;
}

void mw_frame_free(mw_frame *f)
{
    free(f->events);
    free(f->slots);
    mw_buffer_close(&f->lines);
    mw_buffer_close(&f->routed);
    free(f);
}

void mw_parked_enter(mw_view *v, mw_parked *p)
{
    v->row = p->row, v->base = p->base;
    v->values = v->slots + (size_t)p->row * v->stride;
    while (v->send_room < p->first + p->line_count) mw_view_grow(v);
    if (p->line_count) memcpy(v->sends + p->first, p->lines, p->line_count * sizeof *p->lines);
    v->first = p->first, v->send_count = p->first + p->line_count, v->pending = p->pending;
    v->rule = p->rule, v->overlaid = p->overlaid, v->now = p->now;
    v->held = p->beside;
    p->beside = NULL;
    show(v, &p->answer, p->error);
}

void mw_parked_clear(mw_parked *p)
{
    mw_parked kept = *p;
    *p = (mw_parked){.lines = kept.lines,
                     .line_room = kept.line_room,
                     .answer = kept.answer,
                     .asked_key = kept.asked_key};
    mw_answer_clear(&p->answer);
    p->asked_key.len = 0;
}

void mw_parked_free(mw_parked *p)
{
    free(p->lines);
    mw_answer_close(&p->answer);
    mw_buffer_close(&p->asked_key);
    free(p);
}
