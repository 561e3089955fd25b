/* window.c: adding to a window and reading it (count and sum over sliding minutes of six panes, the
 * key a text in the event's bytes), batch by batch as a run does it, without the Lua around it.
 * window KEYS ROUNDS [tumbling] prints nanoseconds an event, bytes a key as counted and as
 * resident, and microseconds of the slowest batch in a thousand, while keys are added and when all
 * are there. With "checkpoint FOLDER": milliseconds to hand all keys over, the longest step of
 * that, to write them into a new store there, and the first and the last for one key in a hundred.
 */
#include "lua/keep.h"
#include "state/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1024, KEY = 10 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *keys;
static uint32_t key_count;
static uint64_t seed = 88172645463325252u;

static uint32_t random_key(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (uint32_t)(seed % key_count);
}

static char texts[BATCH * 64]; /* the batch's bytes, one behind the other */

static void fill(mw_view *v, mw_event *events, int in_order, uint32_t from)
{
    for (uint32_t row = 0; row < BATCH; row++) {
        uint32_t k = in_order ? (from + row) % key_count : random_key();
        events[row] = (mw_event){.text = "{}", .len = 2, .time_ns = 1000000000, .mark_ns = 0};
        memcpy(texts + row * 64, keys + (size_t)k * KEY, KEY);
        v->slots[row * v->stride] =
            (mw_value){.kind = MW_STRING, .text = texts + row * 64, .len = KEY};
        v->slots[row * v->stride + 1] = (mw_value){.kind = MW_NUMBER, .number = row};
    }
}

/* ---- times of batches ---- */

enum { TIMES = 1 << 20 };
static float times[TIMES];
static uint32_t time_count;

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Microseconds of the slowest batch in a thousand of those that were noted. */
static double slowest(void)
{
    uint32_t n = time_count;
    time_count = 0;
    if (!n) return 0;
    qsort(times, n, sizeof *times, by_size);
    return times[n - 1 - n / 1000] * 1e6;
}

static long resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * 4096;
}

static double run(mw_view *v, mw_batch *b, mw_event *events, long rounds, int in_order, double *sum)
{
    double spent = 0;
    for (long i = 0; i < rounds; i++) {
        mw_view_begin(v, b, &b->arena, events, BATCH);
        fill(v, events, in_order, (uint32_t)i * BATCH);
        mw_view_time(v, INT64_MIN, 1, INT64_MAX, 0);
        double began = now();
        for (uint32_t row = 0; row < BATCH; row++) {
            mw_view_add(v, 0, row, 0);
            *sum += v->numbers[0] + v->numbers[1];
        }
        double took = now() - began;
        spent += took;
        if (time_count < TIMES) times[time_count++] = (float)took;
    }
    return spent / ((double)rounds * BATCH) * 1e9;
}

static void checkpoint(mw_keeper *k, mw_store *store, double *whole, double *longest,
                       double *written)
{
    double began = now(), last = began;
    *longest = 0;
    mw_snapshot *n = mw_snapshot_begin(k, 0, 0);
    for (int more = 1; more;) {
        more = mw_snapshot_take(n, 4000);
        double at = now();
        if (at - last > *longest) *longest = at - last;
        last = at;
    }
    mw_error error;
    if (mw_snapshot_write(store, n, NULL, 0, &error) != MW_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    *whole = (last - began) * 1e3, *longest *= 1e3, *written = (now() - last) * 1e3;
    mw_snapshot_free(n);
}

int main(int argc, char **argv)
{
    int tumbling = argc > 3 && strcmp(argv[3], "tumbling") == 0, saves = argc > 3 && !tumbling;
    char options[600];
    snprintf(options, sizeof options,
             "{\"by\":[\"k\"],\"inputs\":[\"x\"],\"spans\":[{\"name\":\"1m\",\"span\":60000000000,"
             "\"slide\":%s}],"
             "\"gap\":0,\"lateness\":0,\"keep\":[{\"name\":\"n\",\"kind\":\"count\",\"input\":-1},"
             "{\"name\":\"t\",\"kind\":\"sum\",\"input\":0}]}",
             tumbling ? "60000000000" : "10000000000");
    static mw_view v;
    mw_paths paths;
    mw_keeper *k;
    mw_error error;
    double sum = 0;
    key_count = (uint32_t)atol(argv[1]);
    long rounds = atol(argv[2]);
    keys = malloc((size_t)key_count * KEY + 64);
    for (uint32_t i = 0; i < key_count; i++) {
        char text[16];
        snprintf(text, sizeof text, "u%09u", i);
        memcpy(keys + (size_t)i * KEY, text, KEY);
    }
    mw_paths_init(&paths);
    mw_view_init(&v, &paths);
    mw_view_use(&v, 0, 0, mw_paths_key(&paths, MW_PATH_ROOT, "k", 1));
    mw_view_use(&v, 0, 1, mw_paths_key(&paths, MW_PATH_ROOT, "x", 1));
    if (mw_keeper_new(&k, "window", "w", options, &error) != MW_OK) return 1;
    if (saves) mw_entries_track(mw_keeper_entries(k));
    mw_view_attach(&v, 0, k);
    mw_batch *b = mw_batch_new(64);
    mw_event *events = calloc(BATCH, sizeof *events);
    long before = resident();
    run(&v, b, events, key_count / BATCH + 1, 1, &sum); /* every key is there */
    double growing = slowest();
    if (saves) {
        double whole, longest, written, few, step, few_written;
        mw_store *store;
        if (argc < 5 || mw_store_open(&store, argv[4], &error) != MW_OK) return 1;
        checkpoint(k, store, &whole, &longest, &written);
        run(&v, b, events, key_count / 100 / BATCH + 1, 1, &sum);
        checkpoint(k, store, &few, &step, &few_written);
        printf("%.1f %.3f %.1f %.1f %.1f\n", whole, longest, written, few, few_written);
        mw_store_close(store);
        return 0;
    }
    double ns = run(&v, b, events, rounds, 0, &sum);
    printf("%.1f %.1f %.1f %.0f %.0f %g\n", ns,
           (double)mw_entries_bytes(mw_keeper_entries(k)) / key_count,
           (double)(resident() - before) / key_count, growing, slowest(), sum > 0 ? 1.0 : 0.0);
    return 0;
}
