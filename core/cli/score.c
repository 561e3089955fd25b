/* score.c: moonweir score: rows in, scores out; and moonweir model: what a model file is. */
#include "cli/command.h"

#include "base/buffer.h"
#include "event/json.h"
#include "score/model.h"
#include "score/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 256, LINE_MOST = 1 << 24 };

enum what { SCORES, MARGINS, LEAVES, EXACT, PATH };

typedef struct scorer {
    mw_model *model;
    enum what what;
    double *rows, *results;
    uint32_t *leaves;
    size_t count; /* of rows that wait */
    void *scratch;
    size_t number; /* of the line that was read last */
    mw_buffer text, out;
} scorer;

static void *aligned(size_t bytes)
{
    void *p = NULL;
    mw_assert(posix_memalign(&p, 64, bytes ? bytes : 64) == 0);
    return p;
}

/* "A:B": iterations from A (counted from 0) up to but without B; "B": the first B of them. */
static int read_iterations(const char *text, mw_model_options *o)
{
    char *end;
    if (!text) return 0;
    unsigned long from = 0, to = strtoul(text, &end, 10);
    if (*end == ':') from = to, to = strtoul(end + 1, &end, 10);
    if (*end == 0 && end > text && from < to && to < UINT32_MAX) {
        o->first = (uint32_t)from, o->count = (uint32_t)(to - from);
        return 0;
    }
    fprintf(stderr, "moonweir: --iterations wants A:B or B, not '%s'\n", text);
    return -1;
}

static void put(mw_buffer *out, const double *numbers, size_t count, int list)
{
    if (list) mw_buffer_append(out, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i) mw_buffer_append(out, ",", 1);
        if (isinf(numbers[i])) mw_buffer_text(out, numbers[i] > 0 ? "1e999" : "-1e999");
        else
            mw_json_number(out, numbers[i]);
    }
    if (list) mw_buffer_append(out, "]", 1);
}

/* An object of what each feature adds, and "base" what there is without them; of several outputs a
 * list of them. */
static void put_contributions(scorer *s, const double *c)
{
    uint32_t features = mw_model_features(s->model), margins = mw_model_margins(s->model);
    if (margins > 1) mw_buffer_append(&s->out, "[", 1);
    for (uint32_t k = 0; k < margins; k++, c += features + 1) {
        mw_buffer_text(&s->out, k ? ",{\"base\":" : "{\"base\":");
        mw_json_number(&s->out, c[features]);
        mw_buffer_text(&s->out, ",\"features\":{");
        for (uint32_t j = 0; j < features; j++) {
            const char *name = mw_model_feature(s->model, j);
            if (j) mw_buffer_append(&s->out, ",", 1);
            mw_json_quote(&s->out, name, strlen(name));
            mw_buffer_append(&s->out, ":", 1);
            mw_json_number(&s->out, c[j]);
        }
        mw_buffer_text(&s->out, "}}");
    }
    if (margins > 1) mw_buffer_append(&s->out, "]", 1);
}

static mw_status score_row(scorer *s, const double *row, mw_error *error)
{
    const mw_model *m = s->model;
    uint32_t trees = mw_model_trees(m);
    mw_status status = MW_OK;
    if (s->what == MARGINS) {
        mw_model_margin(m, row, s->results, s->scratch);
        put(&s->out, s->results, mw_model_margins(m), mw_model_margins(m) > 1);
    } else if (s->what == LEAVES) {
        status = mw_model_leaves(m, row, s->leaves, s->scratch, error);
        if (status != MW_OK) return status;
        mw_buffer_append(&s->out, "[", 1);
        for (uint32_t t = 0; t < trees; t++)
            mw_buffer_format(&s->out, t ? ",%u" : "%u", s->leaves[t]);
        mw_buffer_append(&s->out, "]", 1);
    } else {
        status = mw_model_explain(m, row, s->what == EXACT, s->results, s->scratch, error);
        if (status != MW_OK) return status;
        put_contributions(s, s->results);
    }
    mw_buffer_append(&s->out, "\n", 1);
    return MW_OK;
}

/* Scores the rows that wait. */
static mw_status score(scorer *s, mw_error *error)
{
    uint32_t features = mw_model_features(s->model), scores = mw_model_scores(s->model);
    mw_status status = MW_OK;
    if (s->what == SCORES && s->count) {
        mw_model_score_rows(s->model, s->rows, features, s->count, s->results, s->scratch);
        for (size_t r = 0; r < s->count; r++) {
            put(&s->out, s->results + r * scores, scores, scores > 1);
            mw_buffer_append(&s->out, "\n", 1);
        }
    } else {
        for (size_t r = 0; status == MW_OK && r < s->count; r++)
            status = score_row(s, s->rows + r * features, error);
    }
    s->count = 0;
    return status;
}

/* A row, read behind those that wait. */
static mw_status take(scorer *s, const char *line, size_t len, mw_error *error)
{
    mw_error wrong;
    s->number++;
    if (strspn(line, " \t\r\n") >= len) return MW_OK;
    s->text.len = 0;
    mw_buffer_append(&s->text, line, len);
    memset(mw_buffer_reserve(&s->text, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    double *row = s->rows + s->count * mw_model_features(s->model);
    int bad = mw_row_read(s->model, s->text.bytes, s->text.len, row, &wrong) != MW_OK;
    if (!bad) s->count++;
    mw_status status = bad || s->count == ROWS ? score(s, error) : MW_OK;
    if (bad && status == MW_OK)
        status = mw_fail(error, MW_INVALID, "stdin:%zu: %s", s->number, wrong.message);
    return status;
}

static mw_status take_lines(scorer *s, mw_buffer *pending, int final, mw_error *error)
{
    mw_status status = MW_OK;
    size_t at = 0;
    for (const char *end; status == MW_OK && at < pending->len;
         at += (size_t)(end - (pending->bytes + at))) {
        end = memchr(pending->bytes + at, '\n', pending->len - at);
        if (!end && !final) break;
        end = end ? end + 1 : pending->bytes + pending->len;
        status = take(s, pending->bytes + at, (size_t)(end - (pending->bytes + at)), error);
    }
    mw_buffer_consume(pending, at);
    if (status == MW_OK && pending->len > LINE_MOST)
        status = mw_fail(error, MW_LIMIT, "stdin:%zu: a row is longer than %d bytes", s->number + 1,
                         LINE_MOST);
    return status;
}

/* What has come is scored before more is waited for. */
static int score_lines(scorer *s)
{
    mw_buffer pending = {0};
    mw_error error;
    mw_status status = MW_OK;
    for (int final = 0; status == MW_OK && !final;) {
        status = mw_command_read(&pending, &final, &error);
        if (status == MW_OK) status = take_lines(s, &pending, final, &error);
        if (status == MW_OK) status = score(s, &error);
        mw_status written = mw_command_write(&s->out, &error);
        if (status == MW_OK) status = written;
    }
    if (status != MW_OK) mw_command_complain(error.message);
    mw_buffer_close(&pending), mw_buffer_close(&s->text);
    return status == MW_OK ? MW_EXIT_DONE : MW_EXIT_FAILED;
}

static int run(scorer *s)
{
    size_t features = mw_model_features(s->model), margins = mw_model_margins(s->model);
    size_t results = (features + 1) * margins;
    if (results < ROWS * mw_model_scores(s->model)) results = ROWS * mw_model_scores(s->model);
    s->rows = aligned(ROWS * features * sizeof(double));
    s->results = aligned(results * sizeof(double));
    s->leaves = aligned(mw_model_trees(s->model) * sizeof(uint32_t));
    s->scratch = aligned(mw_model_scratch(s->model));
    int code = score_lines(s);
    free(s->rows), free(s->results), free(s->leaves), free(s->scratch);
    mw_buffer_close(&s->out);
    return code;
}

int mw_command_score(int argc, char **argv)
{
    const char *path, *kind = NULL, *iterations = NULL, *why = NULL;
    int margins = 0, leaves = 0;
    mw_argument known[] = {{"kind", &kind, NULL},     {"iterations", &iterations, NULL},
                           {"explain", &why, NULL},   {"margins", NULL, &margins},
                           {"leaves", NULL, &leaves}, {NULL}};
    mw_model_options options = {0};
    mw_error error;
    scorer s = {0};
    if (mw_command_arguments(argc, argv, known, "MODEL", &path, 1) != 0 ||
        read_iterations(iterations, &options) != 0)
        return MW_EXIT_WRONG;
    if (why && strcmp(why, "exact") != 0 && strcmp(why, "path") != 0) {
        fprintf(stderr, "moonweir: --explain wants exact or path, not '%s'\n", why);
        return MW_EXIT_WRONG;
    }
    options.kind = kind;
    if (mw_model_load(&s.model, path, &options, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    s.what = why ? (*why == 'e' ? EXACT : PATH) : leaves ? LEAVES : margins ? MARGINS : SCORES;
    int code = run(&s);
    mw_model_free(s.model);
    return code;
}

int mw_command_model(int argc, char **argv)
{
    const char *path, *kind = NULL;
    int json = 0;
    mw_argument known[] = {{"kind", &kind, NULL}, {"json", NULL, &json}, {NULL}};
    mw_model *m;
    mw_error error;
    if (mw_command_arguments(argc, argv, known, "MODEL", &path, 1) != 0) return MW_EXIT_WRONG;
    mw_model_options options = {.kind = kind};
    if (mw_model_load(&m, path, &options, &error) != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_WRONG;
    }
    mw_buffer out = {0};
    mw_buffer_format(&out, json ? "{\"kind\":\"%s\",\"objective\":" : "kind       %s\nobjective  ",
                     mw_model_kind(m));
    if (json) mw_json_quote(&out, mw_model_objective(m), strlen(mw_model_objective(m)));
    else
        mw_buffer_text(&out, mw_model_objective(m));
    mw_buffer_format(&out,
                     json ? ",\"version\":\"%016llx\",\"outputs\":%u,\"trees\":%u,\"nodes\":%zu,"
                            "\"depth\":%u,\"bytes\":%zu,\"features\":["
                          : "\nversion    %016llx\noutputs    %u\ntrees      %u\nnodes      %zu\n"
                            "depth      %u\nbytes      %zu\nfeatures  ",
                     (unsigned long long)mw_model_version(m), mw_model_scores(m), mw_model_trees(m),
                     mw_model_nodes(m), mw_model_depth(m), mw_model_bytes(m));
    for (uint32_t i = 0; i < mw_model_features(m); i++) {
        const char *name = mw_model_feature(m, i);
        if (json && i) mw_buffer_append(&out, ",", 1);
        if (json) mw_json_quote(&out, name, strlen(name));
        else
            mw_buffer_format(&out, mw_model_uses(m, i) ? " %s" : " (%s)", name);
    }
    mw_buffer_text(&out, json ? "]}\n" : "\n");
    fwrite(out.bytes, 1, out.len, stdout);
    mw_buffer_close(&out), mw_model_free(m);
    return MW_EXIT_DONE;
}
