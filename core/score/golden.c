/* golden.c: see golden.h. */
#include "score/golden.h"

#include "score/document.h"
#include "score/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct golden {
    const mw_model *model;
    double *row, *scores;
    void *scratch;
} golden;

/* NaN where a score is null. */
static mw_status compare(const golden *g, mw_value want, double within, mw_error *error)
{
    double *wanted = NULL, alone;
    size_t count = 1, scores = mw_model_scores(g->model);
    if (want.kind == MW_ARRAY && !mw_document_numbers(want, 0, &wanted, &count))
        return mw_fail(error, MW_INVALID, "'score' is a number or a list of numbers");
    if (want.kind != MW_ARRAY && want.kind != MW_NUMBER && want.kind != MW_NULL)
        return mw_fail(error, MW_INVALID, "'score' is a number or a list of numbers");
    alone = want.kind == MW_NUMBER ? want.number : NAN;
    const double *w = wanted ? wanted : &alone;
    mw_status status = MW_OK;
    if (count != scores)
        status = mw_fail(error, MW_INVALID, "'score' has %zu numbers, and the model gives %zu",
                         count, scores);
    for (size_t i = 0; status == MW_OK && i < count; i++) {
        double got = g->scores[i];
        if (got == w[i] || (isnan(got) && isnan(w[i]))) continue;
        if (!(fabs(got - w[i]) <= within * fmax(1, fabs(w[i]))))
            status = mw_fail(error, MW_INVALID, "the score is %.9g, and should be %.9g", got, w[i]);
    }
    free(wanted);
    return status;
}

static mw_status check_line(const golden *g, const char *line, size_t len, mw_error *error)
{
    mw_buffer text = {0}, inner = {0};
    mw_value root;
    mw_status status = mw_document_read(&text, line, len, "it", &root, error);
    if (status == MW_OK) {
        mw_value row = mw_json_field(root, "row");
        double within = mw_document_number(mw_json_field(root, "within"), 1e-6);
        mw_buffer_append(&inner, row.text, row.len);
        memset(mw_buffer_reserve(&inner, MW_JSON_PADDING), 0, MW_JSON_PADDING);
        if (row.kind != MW_OBJECT && row.kind != MW_ARRAY)
            status = mw_fail(error, MW_INVALID, "there is no 'row'");
        else
            status = mw_row_read(g->model, inner.bytes, inner.len, g->row, error);
        if (status == MW_OK) {
            mw_model_score(g->model, g->row, g->scores, g->scratch);
            status = compare(g, mw_json_field(root, "score"), within, error);
        }
    }
    mw_buffer_close(&text), mw_buffer_close(&inner);
    return status;
}

mw_status mw_golden_check(const mw_model *m, const char *text, size_t len, const char *name,
                          mw_error *error)
{
    golden g = {m, NULL, NULL, NULL};
    mw_status status = MW_OK;
    mw_error inner;
    g.row = calloc(mw_model_features(m) + 1ul, sizeof *g.row);
    g.scores = calloc(mw_model_scores(m) + 1ul, sizeof *g.scores);
    mw_assert(g.row && g.scores && posix_memalign(&g.scratch, 64, mw_model_scratch(m)) == 0);
    size_t number = 1;
    for (const char *at = text, *end = text + len; status == MW_OK && at < end; number++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((feed ? feed : end) - at);
        if (strspn(at, " \t\r") < line) status = check_line(&g, at, line, &inner);
        if (status != MW_OK) mw_fail(error, status, "%s:%zu: %s", name, number, inner.message);
        at += line + 1;
    }
    free(g.row), free(g.scores), free(g.scratch);
    return status;
}
