/* generate.c: synthetic events, for trying things out: payments of about 250 bytes, the same for
 * the same seed. */
#include "base/clock.h"
#include "sources/feed.h"

#include <stdio.h>
#include <stdlib.h>

static const mw_option options[] = {
    {"count", MW_OPT_COUNT, "0", "how many events; 0: without end", NULL, NULL},
    {"rate", MW_OPT_NUMBER, "0", "events a second; 0: as fast as they go", NULL, NULL},
    {"seed", MW_OPT_COUNT, "1", "where the sequence begins", NULL, NULL},
    {0},
};

enum { TICK_MS = 10, EVENTS_A_ROUND = 200 };

typedef struct generator {
    mw_source *source;
    mw_feed feed;
    uv_idle_t idle;
    uv_timer_t timer;
    uint64_t made, count, random;
    double rate;
    int64_t started_ns;
    int ended, paused, handles;
} generator;

/* SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014). */
static uint64_t next_random(generator *g)
{
    uint64_t z = g->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static int write_event(generator *g, char *to, size_t room)
{
    static const char *const countries[] = {"FR", "DE", "GB", "US", "JP", "BR", "IN", "NL"};
    static const char *const systems[] = {"ios", "android", "windows", "linux"};
    uint64_t r = next_random(g), q = next_random(g);
    return snprintf(to, room,
                    "{\"id\":\"p%09llu\",\"amount\":%u.%02u,\"country\":\"%s\",\"card\":\"c%05u\","
                    "\"merchant\":\"m%03u\","
                    "\"currency\":\"EUR\",\"device\":{\"os\":\"%s\",\"app\":\"4.%u.1\"},"
                    "\"attempt\":%u,\"new\":%s}\n",
                    (unsigned long long)g->made, (unsigned)(r % 1000),
                    (unsigned)(r >> 10 & 63) + 10, countries[r >> 20 & 7], (unsigned)(q % 20000),
                    (unsigned)(q >> 20 & 511), systems[r >> 30 & 3], (unsigned)(r >> 34 & 15),
                    (unsigned)(r >> 40 & 3) + 1, r >> 44 & 1 ? "true" : "false");
}

static void end(generator *g)
{
    if (g->ended) return;
    g->ended = 1;
    uv_idle_stop(&g->idle);
    uv_timer_stop(&g->timer);
    mw_source_finished(g->source);
}

static void make(generator *g, uint64_t n)
{
    mw_error error;
    size_t len = 0, room;
    if (g->count && n > g->count - g->made) n = g->count - g->made;
    char *to = mw_feed_room(&g->feed, &room);
    for (; n > 0 && room - len > 512; n--) {
        len += (size_t)write_event(g, to + len, room - len);
        g->made++;
    }
    if (len) mw_feed_got(&g->feed, len, &error);
    if (g->count && g->made == g->count) end(g);
}

static void on_idle(uv_idle_t *handle)
{
    make(handle->data, EVENTS_A_ROUND);
}

static void on_timer(uv_timer_t *timer)
{
    generator *g = timer->data;
    double due = (double)(mw_clock_steady_ns() - g->started_ns) / 1e9 * g->rate;
    if (!g->paused && due > (double)g->made) make(g, (uint64_t)(due - (double)g->made));
}

static mw_status open_generator(mw_source *s, mw_error *error)
{
    (void)error;
    generator *g = calloc(1, sizeof *g);
    mw_assert(g != NULL);
    s->self = g;
    g->source = s;
    g->count = (uint64_t)mw_config_int(s->config, "count", 0);
    g->rate = mw_config_number(s->config, "rate", 0);
    g->random = (uint64_t)mw_config_int(s->config, "seed", 1);
    uv_idle_init(s->loop, &g->idle);
    uv_timer_init(s->loop, &g->timer);
    g->idle.data = g->timer.data = g;
    mw_feed_init(&g->feed, s);
    return MW_OK;
}

static void start(mw_source *s)
{
    generator *g = s->self;
    g->started_ns = mw_clock_steady_ns();
    if (g->rate > 0) uv_timer_start(&g->timer, on_timer, TICK_MS, TICK_MS);
    else
        uv_idle_start(&g->idle, on_idle);
}

static void pause_reading(mw_source *s)
{
    generator *g = s->self;
    g->paused = 1;
    uv_idle_stop(&g->idle);
}

static void resume(mw_source *s)
{
    generator *g = s->self;
    g->paused = 0;
    if (!g->ended && g->rate <= 0) uv_idle_start(&g->idle, on_idle);
}

static void acknowledge(mw_source *s, mw_batch *b)
{
    (void)s;
    mw_feed_acknowledge(b);
}

static void drain(mw_source *s)
{
    end(s->self);
}

static void on_closed(uv_handle_t *handle)
{
    generator *g = handle->data;
    if (--g->handles) return;
    mw_feed_close(&g->feed);
    free(g);
}

static void close_generator(mw_source *s)
{
    generator *g = s->self;
    g->handles = 2;
    uv_close((uv_handle_t *)&g->idle, on_closed);
    uv_close((uv_handle_t *)&g->timer, on_closed);
}

const mw_source_kind mw_source_generate = {
    .name = "generate",
    .options = options,
    .open = open_generator,
    .start = start,
    .pause = pause_reading,
    .resume = resume,
    .acknowledge = acknowledge,
    .drain = drain,
    .close = close_generator,
};
