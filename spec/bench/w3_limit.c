/* w3_limit.c: what W3 costs in a C program written for it alone: reads the lines, takes the fields
 * by their place, keeps count and sum by user and minute in one open hash table, and writes those
 * with more than 5 when event time, less 5 s, has passed their end.  w3_limit IN OUT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 22 };
static const int64_t span = 60000, lateness = 5000;

typedef struct pane {
    char user[16];
    int64_t start;
    uint32_t count;
    double total;
} pane;

static pane *table;
typedef struct list {
    int64_t start;
    uint32_t *ids, count, room;
} list;
static list lists[64];

static uint64_t hash(const char *s, size_t n, int64_t start)
{
    uint64_t h = (uint64_t)start * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static list *list_of(int64_t start)
{
    for (int i = 0; i < 64; i++)
        if (lists[i].count && lists[i].start == start) return &lists[i];
    for (int i = 0; i < 64; i++)
        if (!lists[i].count) {
            lists[i].start = start;
            return &lists[i];
        }
    abort();
}

static void close_before(int64_t mark, FILE *out)
{
    for (int i = 0; i < 64; i++) {
        list *l = &lists[i];
        if (!l->count || l->start + span > mark) continue;
        for (uint32_t k = 0; k < l->count; k++) {
            pane *p = &table[l->ids[k]];
            if (p->count > 5)
                fprintf(out, "{\"key\":\"%s\",\"start\":%lld,\"n\":%u,\"total\":%.2f}\n", p->user,
                        (long long)p->start / 1000, p->count, p->total);
            p->start = -1; /* a grave, which the probing passes over */
        }
        l->count = 0;
    }
}

int main(int argc, char **argv)
{
    FILE *in = fopen(argv[1], "r"), *out = fopen(argv[2], "w");
    char *line = NULL;
    size_t room = 0;
    int64_t high = 0;
    ssize_t n;
    if (argc < 3 || !in || !out) return 1;
    table = calloc(SLOTS, sizeof *table);
    while ((n = getline(&line, &room, in)) > 0) {
        const char *user = strstr(line, "\"user\":\"") + 8,
                   *amount = strstr(user, "\"amount\":") + 9, *ts = strstr(amount, "\"ts\":") + 5;
        size_t len = (size_t)(strchr(user, '"') - user);
        int64_t at = strtoll(ts, NULL, 10), start = at / span * span;
        if (at > high) high = at;
        static int64_t closed;
        if ((high - lateness) / span > closed)
            closed = (high - lateness) / span, close_before(high - lateness, out);
        if (start + span <= high - lateness) continue;
        uint32_t i = (uint32_t)hash(user, len, start) & (SLOTS - 1);
        while (table[i].count &&
               !(table[i].start == start && memcmp(table[i].user, user, len) == 0))
            i = (i + 1) & (SLOTS - 1);
        pane *p = &table[i];
        if (!p->count) {
            memcpy(p->user, user, len);
            p->start = start;
            list *l = list_of(start);
            if (l->count == l->room)
                l->ids = realloc(l->ids, (l->room = l->room ? l->room * 2 : 1024) * sizeof *l->ids);
            l->ids[l->count++] = i;
        }
        p->count++, p->total += strtod(amount, NULL);
    }
    close_before(INT64_MAX, out);
    return fclose(out) != 0;
}
