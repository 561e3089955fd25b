/* model.c: see model.h. */
#include "lua/model.h"

#include "score/golden.h"
#include "score/rows.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models of a version's files ---- */

/* A model that some states hold. It is gone with the last of them, though the file's bytes are
 * kept, for going back to. */
typedef struct held {
    struct held *next;
    const mw_file *file; /* by which it is found; the files may be gone */
    char kind[16];
    uint32_t first, count, holders;
    mw_model *model;
    mw_drift *drift; /* or NULL */
} held;

struct mw_models {
    pthread_mutex_t lock;
    held *list;
    uint32_t owners; /* the files, and each handle */
};

typedef struct handle {
    mw_models *models;
    held *of;
} handle;

void mw_models_release(mw_models *m)
{
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    int last = --m->owners == 0;
    pthread_mutex_unlock(&m->lock);
    if (!last) return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static mw_models *models_of(mw_files *files)
{
    pthread_mutex_lock(&files->lock);
    mw_models *m = files->models;
    if (!m) {
        m = files->models = calloc(1, sizeof *m);
        mw_assert(m != NULL);
        pthread_mutex_init(&m->lock, NULL);
        m->owners = 1;
    }
    pthread_mutex_lock(&m->lock);
    m->owners++;
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_unlock(&files->lock);
    return m;
}

/* What ships beside a model: NAME.golden.ndjson, NAME.drift.json. */
static const mw_file *beside(mw_files *files, const char *path, const char *end)
{
    mw_buffer name = {0};
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
    mw_buffer_append(&name, path, stem);
    mw_buffer_append(&name, end, strlen(end) + 1);
    const mw_file *file = mw_files_get(files, name.bytes);
    mw_buffer_close(&name);
    return file;
}

static mw_status load(held *h, const mw_file *golden, const mw_file *drift,
                      const mw_model_options *o, mw_error *error)
{
    const mw_file *file = h->file;
    if (!file->text) return mw_fail(error, MW_IO, "%s: %s", file->path, file->why);
    mw_status status = mw_model_read(&h->model, file->text, file->len, file->path, o, error);
    if (status == MW_OK && golden->text)
        status = mw_golden_check(h->model, golden->text, golden->len, golden->path, error);
    if (status == MW_OK && drift->text)
        status = mw_drift_read(&h->drift, h->model, drift->text, drift->len, drift->path, error);
    return status;
}

static void held_free(held *h)
{
    mw_model_free(h->model), mw_drift_free(h->drift);
    free(h);
}

/* One thread at a time loads, so that the others find what it loaded. */
static held *hold(mw_models *models, mw_files *files, const char *path, const mw_model_options *o,
                  mw_error *error)
{
    const mw_file *file = mw_files_get(files, path);
    const mw_file *golden = beside(files, path, ".golden.ndjson");
    const mw_file *drift = beside(files, path, ".drift.json");
    const char *kind = o->kind ? o->kind : "";
    pthread_mutex_lock(&models->lock);
    held *h = models->list;
    while (h && !(h->file == file && h->first == o->first && h->count == o->count &&
                  strcmp(h->kind, kind) == 0))
        h = h->next;
    if (!h) {
        h = calloc(1, sizeof *h);
        mw_assert(h != NULL);
        *h = (held){.file = file, .first = o->first, .count = o->count};
        snprintf(h->kind, sizeof h->kind, "%s", kind);
        if (load(h, golden, drift, o, error) == MW_OK) h->next = models->list, models->list = h;
        else
            held_free(h), h = NULL;
    }
    if (h) h->holders++;
    pthread_mutex_unlock(&models->lock);
    return h;
}

static int release(lua_State *L)
{
    handle *own = lua_touserdata(L, 1);
    if (!own->models) return 0;
    pthread_mutex_lock(&own->models->lock);
    if (own->of && --own->of->holders == 0) {
        held **at = &own->models->list;
        while (*at != own->of) at = &(*at)->next;
        *at = own->of->next;
        held_free(own->of);
    }
    pthread_mutex_unlock(&own->models->lock);
    mw_models_release(own->models);
    *own = (handle){0};
    return 0;
}

/* model(path, kind, first, count) */
static int model(lua_State *L)
{
    mw_files *files = lua_touserdata(L, lua_upvalueindex(1));
    mw_model_options o = {lua_tostring(L, 2), (uint32_t)luaL_checknumber(L, 3),
                          (uint32_t)luaL_checknumber(L, 4)};
    mw_error error;
    handle *own = lua_newuserdata(L, sizeof *own);
    *own = (handle){models_of(files), NULL};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    own->of = hold(own->models, files, luaL_checkstring(L, 1), &o, &error);
    if (own->of) {
        lua_pushlightuserdata(L, own->of->model);
        if (own->of->drift) lua_pushlightuserdata(L, own->of->drift);
        else
            lua_pushnil(L);
        return 3;
    }
    lua_pushnil(L);
    lua_pushstring(L, error.message);
    return 2;
}

void mw_model_open(lua_State *L, mw_files *files)
{
    lua_pushlightuserdata(L, files);
    lua_pushcclosure(L, model, 1);
    lua_setfield(L, -2, "model");
}

/* ---- scorers of a view ---- */

/* Of rows scored ahead: how many are worth it; how many are tried before it is judged how many were
 * asked for; after how many what was counts half; how many trees a rule may walk for others than
 * its own event, since its time runs. */
enum { FEW = 8, TRIED = 256, KEPT = 4096, TREES = 1 << 16 };
static const double FADES = 0.9999;

static void forget(mw_scorer *s)
{
    free(s->ahead.rows), free(s->ahead.scores);
    free(s->paths), free(s->row), free(s->scores), free(s->reasons), free(s->scratch);
    free(s->drifted);
    *s = (mw_scorer){0};
}

void mw_view_models_close(mw_view *v)
{
    for (uint32_t i = 0; i < v->scorer_count; i++) forget(&v->scorers[i]);
    free(v->scorers);
    v->scorers = NULL, v->scorer_count = 0;
}

static void *zeros(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);
    mw_assert(p != NULL);
    return p;
}

void mw_view_model(mw_view *v, uint32_t index, const mw_model *m, int whole)
{
    if (index >= v->scorer_count) {
        v->scorers = realloc(v->scorers, (index + 1) * sizeof *v->scorers);
        mw_assert(v->scorers != NULL);
        memset(v->scorers + v->scorer_count, 0, (index + 1 - v->scorer_count) * sizeof *v->scorers);
        v->scorer_count = index + 1;
    }
    mw_scorer *s = &v->scorers[index];
    uint32_t features = mw_model_features(m);
    forget(s);
    s->model = m, s->whole = whole;
    s->paths = zeros(features, sizeof *s->paths);
    s->row = zeros(features, sizeof *s->row);
    s->scores = zeros(mw_model_scores(m) + mw_model_margins(m), sizeof *s->scores);
    mw_assert(posix_memalign(&s->scratch, 64, mw_model_scratch(m)) == 0);
    for (uint32_t i = 0; i < features; i++) s->paths[i] = MW_PATH_NONE;
}

void mw_view_model_drift(mw_view *v, uint32_t index, const mw_drift *drift)
{
    mw_scorer *s = &v->scorers[index];
    s->drift = drift;
    s->drifted = zeros(drift->bins, sizeof *s->drifted);
}

void mw_view_model_path(mw_view *v, uint32_t index, uint32_t feature, int32_t path)
{
    v->scorers[index].paths[feature] = path;
}

static int say(mw_view *v, const mw_error *error)
{
    v->out.len = 0;
    mw_buffer_text(&v->out, error->message);
    return 0;
}

static mw_status read_slots(const mw_view *v, const mw_scorer *s, uint32_t row, double *to,
                            mw_error *error)
{
    const mw_value *values = v->slots + (size_t)row * v->stride;
    uint32_t features = mw_model_features(s->model);
    mw_status status = MW_OK;
    for (uint32_t i = 0; status == MW_OK && i < features; i++) {
        const mw_value *value = s->paths[i] >= 0 ? &values[s->paths[i]] : NULL;
        if (value && value->kind == MW_NUMBER) to[i] = value->number;
        else if (!value)
            to[i] = NAN;
        else
            status = mw_row_set(s->model, i, value, to, error);
    }
    return status;
}

int mw_view_model_read(mw_view *v, uint32_t index, uint32_t row)
{
    mw_scorer *s = &v->scorers[index];
    const mw_event *e = &v->events[row];
    mw_error error;
    s->of = s->row;
    mw_status status = s->whole ? mw_row_read(s->model, e->text, e->len, s->row, &error)
                                : read_slots(v, s, row, s->row, &error);
    return status == MW_OK || say(v, &error);
}

void mw_view_model_blank(mw_view *v, uint32_t index)
{
    mw_scorer *s = &v->scorers[index];
    s->of = s->row;
    for (uint32_t i = 0; i < mw_model_features(s->model); i++) s->row[i] = NAN;
}

void mw_view_model_number(mw_view *v, uint32_t index, uint32_t feature, double number)
{
    v->scorers[index].row[feature] = number;
}

int mw_view_model_text(mw_view *v, uint32_t index, uint32_t feature, const char *text, size_t len)
{
    mw_value value = {.kind = MW_STRING, .text = text, .len = (uint32_t)len};
    mw_scorer *s = &v->scorers[index];
    mw_error error;
    return mw_row_set(s->model, feature, &value, s->row, &error) == MW_OK || say(v, &error);
}

static double tell(mw_view *v, mw_scorer *s, const double *of, double *said)
{
    s->of = of, s->said = v->numbers = said;
    s->scored++;
    if (s->drift) mw_drift_count(s->drift, of, said, s->drifted);
    return said[0];
}

double mw_view_model_score(mw_view *v, uint32_t index)
{
    mw_scorer *s = &v->scorers[index];
    mw_model_score(s->model, s->row, s->scores, s->scratch);
    return tell(v, s, s->row, s->scores);
}

/* Scores the rows of the run from one on together. 0: there are few, or it would not pay. */
static int score_ahead(mw_view *v, mw_scorer *s, uint32_t row)
{
    mw_scorer_ahead *a = &s->ahead;
    uint32_t features = mw_model_features(s->model), count = v->given - row;
    uint32_t most = TREES / (mw_model_trees(s->model) + 1);
    mw_error unsaid;
    if (s->whole || row + FEW > v->given || most < FEW) return 0;
    if (a->made > TRIED + 2 * a->asked) {
        a->made *= FADES; /* it is tried again, later */
        return 0;
    }
    if (most > MW_SCORE_AHEAD) most = MW_SCORE_AHEAD;
    if (count > most) count = most;
    if (!a->rows) {
        a->rows = zeros((size_t)MW_SCORE_AHEAD * features, sizeof *a->rows);
        a->scores = zeros((size_t)MW_SCORE_AHEAD * mw_model_scores(s->model), sizeof *a->scores);
    }
    for (uint32_t i = 0; i < count; i++)
        a->good[i] = read_slots(v, s, row + i, a->rows + (size_t)i * features, &unsaid) == MW_OK;
    mw_model_score_rows(s->model, a->rows, features, count, a->scores, s->scratch);
    a->generation = v->generation, a->from = row, a->count = count;
    if (a->made > KEPT) a->made /= 2, a->asked /= 2;
    a->made += count;
    return 1;
}

int mw_view_score(mw_view *v, uint32_t index, uint32_t row)
{
    mw_scorer *s = &v->scorers[index];
    mw_scorer_ahead *a = &s->ahead;
    int has = a->generation == v->generation && row - a->from < a->count;
    if ((has || score_ahead(v, s, row)) && a->good[row - a->from]) {
        size_t at = row - a->from;
        a->asked++;
        tell(v, s, a->rows + at * mw_model_features(s->model),
             a->scores + at * mw_model_scores(s->model));
        return 1;
    }
    if (!mw_view_model_read(v, index, row)) return 0;
    mw_view_model_score(v, index);
    return 1;
}

/* Of one score the side of a half, of several the number of the greatest. */
static uint32_t decision_of(const mw_scorer *s)
{
    uint32_t best = 0, count = mw_model_scores(s->model);
    if (count == 1) return s->said[0] > 0.5;
    for (uint32_t i = 1; i < count; i++)
        if (s->said[i] > s->said[best]) best = i;
    return best;
}

void mw_view_model_challenge(mw_view *v, uint32_t index, uint32_t number, int how, uint32_t row)
{
    mw_scorer *s = &v->scorers[index], *other = &v->scorers[number];
    uint32_t count = mw_model_scores(s->model);
    if (how == MW_CHALLENGE_FAILED ||
        (how == MW_CHALLENGE_ROW && !mw_view_model_read(v, number, row))) {
        s->failed++;
        return;
    }
    mw_model_score(other->model, other->row, other->scores, other->scratch);
    other->said = other->scores;
    s->compared++;
    s->disagreed += decision_of(s) != decision_of(other);
    for (uint32_t i = 0; i < count; i++) {
        double apart = fabs(s->said[i] - other->said[i]);
        if (isfinite(apart)) s->apart += apart / count;
    }
}

int mw_view_model_explain(mw_view *v, uint32_t index, int exact)
{
    mw_scorer *s = &v->scorers[index];
    mw_error error;
    size_t count = (mw_model_features(s->model) + 1ul) * mw_model_margins(s->model);
    if (!s->reasons) s->reasons = zeros(count, sizeof *s->reasons);
    v->numbers = s->reasons;
    return mw_model_explain(s->model, s->of, exact, s->reasons, s->scratch, &error) == MW_OK ||
           say(v, &error);
}
