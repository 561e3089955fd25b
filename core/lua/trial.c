/* trial.c: see trial.h; and mw_view_settle of view.h, which does the work. */
#include "lua/trial.h"
#include "lua/view.h"
#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 16, KEY_FIELDS_MAX = 16, SAMPLE_BYTES_MAX = 16384 };

typedef struct candidate {
    mw_trial trial;
    int32_t paths[KEY_FIELDS_MAX];
    uint32_t path_count;
    _Atomic uint64_t compared, differs[MW_DIFFERENCES];
    mw_buffer samples[SAMPLES]; /* under the lock */
    uint64_t sampled;
} candidate;

struct mw_trials {
    uint32_t rules;
    candidate *all;      /* one a rule */
    uint32_t *on, count; /* numbers of those on trial */
    int32_t *tried;
    double *compared;
    pthread_mutex_t lock;
};

mw_trials *mw_trials_new(const mw_trial *trials, uint32_t rules)
{
    int any = 0;
    for (uint32_t i = 0; i < rules; i++) any |= trials[i].on;
    if (!any) return NULL;
    mw_trials *t = calloc(1, sizeof *t);
    mw_assert(t != NULL);
    t->rules = rules;
    t->all = calloc(rules, sizeof *t->all);
    t->tried = malloc(rules * sizeof *t->tried);
    t->on = malloc(rules * sizeof *t->on);
    t->compared = calloc(rules, sizeof *t->compared);
    mw_assert(t->all && t->tried && t->on && t->compared);
    for (uint32_t i = 0; i < rules; i++) {
        t->all[i].trial = trials[i], t->tried[i] = -1;
        if (trials[i].on) t->on[t->count++] = i;
    }
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void mw_trials_free(mw_trials *t)
{
    if (!t) return;
    for (uint32_t i = 0; i < t->rules; i++)
        for (int j = 0; j < SAMPLES; j++) mw_buffer_close(&t->all[i].samples[j]);
    pthread_mutex_destroy(&t->lock);
    free(t->all);
    free(t->tried);
    free(t->on);
    free(t->compared);
    free(t);
}

void mw_trials_key(mw_trials *t, uint32_t rule, int32_t path)
{
    candidate *c = &t->all[rule];
    if (c->path_count < KEY_FIELDS_MAX) c->paths[c->path_count++] = path;
}

int32_t *mw_trials_tried(mw_trials *t)
{
    return t ? t->tried : NULL;
}

double *mw_trials_compared(mw_trials *t)
{
    return t ? t->compared : NULL;
}

void mw_trials_publish(mw_trials *t)
{
    for (uint32_t n = 0; t && n < t->count; n++)
        atomic_store_explicit(&t->all[t->on[n]].compared, (uint64_t)t->compared[t->on[n]],
                              memory_order_relaxed);
}

const char *mw_difference_name(unsigned kind)
{
    static const char *const names[] = {"error", "sink", "reply", "fields"};
    return names[kind];
}

void mw_trials_counts(const mw_trials *t, uint32_t rule, uint64_t *compared,
                      uint64_t differs[MW_DIFFERENCES])
{
    const candidate *c = &t->all[rule];
    *compared = atomic_load_explicit(&c->compared, memory_order_relaxed);
    for (int i = 0; i < MW_DIFFERENCES; i++)
        differs[i] = atomic_load_explicit(&c->differs[i], memory_order_relaxed);
}

void mw_trials_samples(mw_trials *t, uint32_t rule, int *first, mw_buffer *out)
{
    candidate *c = &t->all[rule];
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < SAMPLES; i++) {
        if (!c->samples[i].len) continue;
        if (!*first) mw_buffer_text(out, ",");
        mw_buffer_append(out, c->samples[i].bytes, c->samples[i].len);
        *first = 0;
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- comparing ---- */

typedef struct side {
    const mw_view *view;
    const mw_trials *trials;
    int32_t rule; /* -1: all that are not on trial */
    uint32_t at;
} side;

static int is_of(const side *s, const mw_send *line)
{
    if (line->to == MW_TO_NOBODY) return 0;
    return s->rule >= 0 ? line->rule == (uint32_t)s->rule : !s->trials->all[line->rule].trial.on;
}

static const mw_send *next_line(side *s, uint32_t row)
{
    for (; s->at < s->view->send_count; s->at++) {
        const mw_send *line = &s->view->sends[s->at];
        if (line->row == row && is_of(s, line)) return &s->view->sends[s->at++];
    }
    return NULL;
}

static int same_text(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
    if (!a || !b) return a == b;
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* -1: the same. */
static int compare_lines(const mw_send *a, const mw_send *b)
{
    int a_dead = a && mw_send_is_to(a, MW_TO_DEAD), b_dead = b && mw_send_is_to(b, MW_TO_DEAD);
    int a_reply = a && mw_send_is_to(a, MW_TO_REPLY), b_reply = b && mw_send_is_to(b, MW_TO_REPLY);
    if (a_dead || b_dead) return a_dead && b_dead ? -1 : MW_DIFFERS_ERROR;
    if (!a || !b) return a_reply || b_reply ? MW_DIFFERS_REPLY : MW_DIFFERS_SINK;
    if (a->to != b->to) return a_reply || b_reply ? MW_DIFFERS_REPLY : MW_DIFFERS_SINK;
    if (same_text(a->text, a->len, b->text, b->len) && a->http_status == b->http_status &&
        same_text(a->options, a->options_len, b->options, b->options_len))
        return -1;
    return a_reply ? MW_DIFFERS_REPLY : MW_DIFFERS_FIELDS;
}

static int compare(side a, side b, uint32_t row)
{
    for (;;) {
        const mw_send *x = next_line(&a, row), *y = next_line(&b, row);
        if (!x && !y) return -1;
        int kind = compare_lines(x, y);
        if (kind >= 0) return kind;
    }
}

/* ---- samples: the first ones, then rarer and rarer ---- */

static void write_side(side s, uint32_t row, mw_buffer *out)
{
    const mw_send *line;
    mw_buffer_text(out, "[");
    for (int first = 1; (line = next_line(&s, row)); first = 0) {
        const mw_event *e = &s.view->events[row];
        if (!first) mw_buffer_text(out, ",");
        if (mw_send_is_to(line, MW_TO_REPLY))
            mw_buffer_format(out, "{\"reply\":%u,", line->http_status);
        else if (mw_send_is_to(line, MW_TO_DEAD))
            mw_buffer_text(out, "{\"dead_letter\":true,");
        else if (mw_send_is_to(line, MW_TO_CHANNEL))
            mw_buffer_format(out, "{\"channel\":%u,", line->to - MW_TO_CHANNEL);
        else
            mw_buffer_format(out, "{\"sink\":%u,", line->to);
        mw_buffer_text(out, "\"event\":");
        mw_buffer_append(out, line->text ? line->text : e->text, line->text ? line->len : e->len);
        mw_buffer_text(out, "}");
    }
    mw_buffer_text(out, "]");
}

static void sample(mw_view *v, candidate *c, int kind, side decided, side tried, uint32_t row)
{
    if (c->sampled > SAMPLES && (c->sampled & (c->sampled - 1)) != 0) {
        c->sampled++;
        return;
    }
    pthread_mutex_lock(&v->trials->lock);
    mw_buffer *out = &c->samples[c->sampled % SAMPLES];
    out->len = 0;
    mw_buffer_format(out, "{\"differs\":\"%s\",\"event\":", mw_difference_name((unsigned)kind));
    mw_buffer_append(out, v->events[row].text, v->events[row].len);
    mw_buffer_text(out, ",\"decided\":");
    write_side(decided, row, out);
    mw_buffer_text(out, ",\"tried\":");
    write_side(tried, row, out);
    mw_buffer_text(out, "}");
    if (out->len > SAMPLE_BYTES_MAX) out->len = 0;
    c->sampled++;
    pthread_mutex_unlock(&v->trials->lock);
}

/* ---- settling ---- */

static int decides(const mw_view *v, const candidate *c, uint32_t row)
{
    if (c->trial.share <= 0) return 0;
    uint64_t h = 0x6d6f6f6e; /* another hash than that of key groups, so that shares do not follow
                                shards */
    for (uint32_t i = 0; i < c->path_count; i++) {
        uint64_t parts[2] = {
            h, mw_json_hash(&v->slots[(size_t)row * v->stride + (size_t)c->paths[i]])};
        h = mw_hash(parts, sizeof parts);
    }
    return (double)(h >> 11) * 0x1p-53 < c->trial.share;
}

static void take_back(mw_view *v, side s, uint32_t row)
{
    const mw_send *line;
    while ((line = next_line(&s, row))) {
        if (mw_send_is_to(line, MW_TO_CHANNEL)) v->pending--;
        v->sends[s.at - 1].to = MW_TO_NOBODY;
    }
}

/* Only the shard writes. */
static void add_one(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void mw_view_settle(mw_view *v, uint32_t row, uint32_t first)
{
    mw_trials *t = v->trials;
    int32_t winner = -1;
    for (uint32_t n = 0; n < t->count; n++) {
        uint32_t i = t->on[n];
        candidate *c = &t->all[i];
        if (t->tried[i] != (int32_t)row) continue;
        side decided = {v, t, c->trial.against, first}, tried = {v, t, (int32_t)i, first};
        int kind = compare(decided, tried, row);
        t->compared[i]++;
        if (kind >= 0) {
            add_one(&c->differs[kind]);
            sample(v, c, kind, decided, tried, row);
        }
        if (winner < 0 && decides(v, c, row)) winner = (int32_t)i;
    }
    for (uint32_t n = 0; n < t->count; n++) {
        uint32_t i = t->on[n];
        candidate *c = &t->all[i];
        if (t->tried[i] != (int32_t)row) continue;
        t->tried[i] = -1;
        side loser = {v, t, winner == (int32_t)i ? c->trial.against : (int32_t)i, first};
        take_back(v, loser, row);
    }
}
