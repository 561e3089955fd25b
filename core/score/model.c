/* model.c: models loaded and scored. See model.h. */
#include "score/model_private.h"

#include "base/buffer.h"
#include "base/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct format {
    const char *kind;
    int (*looks)(const char *bytes, size_t len);
    mw_status (*read)(mw_model *m, const mw_model_file *file, mw_error *error);
} format;

static int looks_like_xgboost(const char *bytes, size_t len)
{
    return len > 0 && bytes[0] == '{';
}

static int looks_like_sklearn(const char *bytes, size_t len)
{
    static const char mark[] = "{\"moonweir\":";
    return len > sizeof mark && memcmp(bytes, mark, sizeof mark - 1) == 0;
}

/* ModelProto begins with ir_version, a small varint. */
static int looks_like_onnx(const char *bytes, size_t len)
{
    return len > 2 && bytes[0] == 8 && bytes[1] > 0 && bytes[1] < 64;
}

static int looks_like_pmml(const char *bytes, size_t len)
{
    return len > 5 && (memcmp(bytes, "<?xml", 5) == 0 || memcmp(bytes, "<PMML", 5) == 0);
}

static int looks_like_lightgbm(const char *bytes, size_t len)
{
    return len > 4 && memcmp(bytes, "tree", 4) == 0;
}

static const format formats[] = {
    {"scikit-learn", looks_like_sklearn, mw_model_read_sklearn},
    {"xgboost", looks_like_xgboost, mw_model_read_xgboost},
    {"lightgbm", looks_like_lightgbm, mw_model_read_lightgbm},
    {"onnx", looks_like_onnx, mw_model_read_onnx},
    {"pmml", looks_like_pmml, mw_model_read_pmml},
};

const char *mw_model_kinds(void)
{
    return "xgboost|lightgbm|scikit-learn|onnx|pmml";
}

void *mw_model_zeros(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    mw_assert(p != NULL);
    return p;
}

char *mw_model_text(const char *text, size_t len)
{
    char *t = mw_model_zeros(len + 1, 1);
    if (len) memcpy(t, text, len);
    return t;
}

/* ---- features ---- */

mw_status mw_model_name_features(mw_model *m, const char *prefix, mw_error *error)
{
    char name[64];
    mw_text_index_open(&m->index, m->features);
    for (uint32_t i = 0; i < m->features; i++) {
        if (!m->names[i])
            m->names[i] =
                mw_model_text(name, (size_t)snprintf(name, sizeof name, "%s%u", prefix, i));
        if (!mw_text_index_add(&m->index, m->names, i))
            return mw_fail(error, MW_INVALID, "two features are called '%s'", m->names[i]);
        m->dotted |= strchr(m->names[i], '.') != NULL;
    }
    return MW_OK;
}

int mw_model_find(const mw_model *m, const char *name, size_t len)
{
    return (int)mw_text_index_find(&m->index, m->names, name, len);
}

int mw_model_holds(const mw_model *m, const char *prefix, size_t len)
{
    int count = 0;
    for (uint32_t i = 0; m->dotted && i < m->features; i++)
        count += strncmp(m->names[i], prefix, len) == 0 && m->names[i][len] == '.';
    return count;
}

int mw_model_category(const mw_model *m, uint32_t feature, const char *text, size_t len,
                      double *code)
{
    const mw_categories *c = m->categories ? &m->categories[feature] : NULL;
    *code = NAN;
    if (!c || !c->count) return 0;
    int64_t found = mw_text_index_find(&c->index, c->texts, text, len);
    *code = found < 0 ? c->unknown : (double)found;
    return 1;
}

/* Of equal texts, which no trainer writes, the first counts. */
static void index_categories(mw_model *m)
{
    for (uint32_t i = 0; m->categories && i < m->features; i++) {
        mw_categories *c = &m->categories[i];
        mw_text_index_open(&c->index, c->count);
        for (uint32_t k = 0; k < c->count; k++) mw_text_index_add(&c->index, c->texts, k);
    }
}

/* ---- loading ---- */

void mw_model_free(mw_model *m)
{
    if (!m) return;
    for (uint32_t i = 0; i < m->features; i++) {
        if (m->names) free(m->names[i]);
        if (!m->categories) continue;
        for (uint32_t c = 0; c < m->categories[i].count; c++) free(m->categories[i].texts[c]);
        free(m->categories[i].texts), mw_text_index_close(&m->categories[i].index);
    }
    mw_columns_free(m->columns), mw_layers_free(m->layers);
    mw_forest_free(m->forest), mw_lines_free(m->lines);
    mw_text_index_close(&m->index);
    free(m->names), free(m->categories), free(m->objective), free(m->weights);
    free(m->iterations), free(m->base), free(m);
}

/* Where an iteration's trees begin. */
static uint64_t start_of(const mw_model *m, uint64_t iteration)
{
    if (m->iterations)
        return m->iterations[iteration < m->iteration_count ? iteration : m->iteration_count];
    return iteration * m->trees_an_iteration;
}

/* Which trees the iterations that are wanted have. */
static mw_status choose(mw_model *m, const mw_model_options *o, const char *name, mw_error *error)
{
    uint32_t trees = m->forest ? mw_forest_trees(m->forest) : 0;
    uint32_t all = m->iterations           ? m->iteration_count
                   : m->trees_an_iteration ? trees / m->trees_an_iteration
                                           : 0;
    uint64_t from = o->first, to = o->count ? from + o->count : all;
    if ((o->first || o->count) && (from >= to || to > all))
        return mw_fail(error, MW_CONFIG,
                       "%s: iterations %u to %llu are asked for, and it has %u of them", name,
                       o->first + 1, (unsigned long long)to, all);
    m->first = from ? (uint32_t)start_of(m, from) : 0;
    m->trees = o->count ? (uint32_t)(start_of(m, to) - m->first) : trees - m->first;
    if ((uint64_t)m->first + m->trees > trees)
        return mw_fail(error, MW_INVALID, "%s: its iterations have more trees than there are",
                       name);
    if (m->average && to > from) m->divisor = (double)(to - from);
    return MW_OK;
}

static const char *refusal(const char *bytes, size_t len)
{
    if (!len) return "it is empty";
    if ((unsigned char)bytes[0] == 0x80)
        return "it is a pickle; save the model in its trainer's own format";
    if (len > 4 && memcmp(bytes, "binf", 4) == 0)
        return "it is XGBoost's old binary format; save it anew as .json or .ubj";
    return "it looks like no kind of model that is supported";
}

static const format *format_of(const char *bytes, size_t len, const char *kind)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (kind ? strcmp(kind, formats[i].kind) == 0 : formats[i].looks(bytes, len))
            return &formats[i];
    return NULL;
}

mw_status mw_model_read(mw_model **model, const char *bytes, size_t len, const char *name,
                        const mw_model_options *options, mw_error *error)
{
    static const mw_model_options none;
    mw_model_file file = {bytes, len, name};
    mw_error inner;
    *model = NULL;
    if (!options) options = &none;
    const format *f = format_of(bytes, len, options->kind);
    if (!f && options->kind)
        return mw_fail(error, MW_CONFIG, "there is no kind of model '%s' (there are %s)",
                       options->kind, mw_model_kinds());
    if (!f)
        return mw_fail(error, MW_INVALID, "%s: %s (%s)", name, refusal(bytes, len),
                       mw_model_kinds());
    mw_model *m = mw_model_zeros(1, sizeof *m);
    mw_status status = f->read(m, &file, error);
    if (status == MW_OK && m->forest) {
        status = mw_forest_compile(m->forest, &inner);
        if (status != MW_OK) mw_fail(error, status, "%s: %s", name, inner.message);
    }
    if (status == MW_OK) status = choose(m, options, name, error);
    if (status == MW_OK) index_categories(m);
    if (status != MW_OK) {
        mw_model_free(m);
        return status;
    }
    uint32_t chosen[2] = {options->first, options->count};
    m->version = mw_hash(bytes, len) ^ mw_hash(chosen, sizeof chosen);
    m->scores = mw_output_scores(&m->output, m->margins);
    *model = m;
    return MW_OK;
}

mw_status mw_model_load(mw_model **model, const char *path, const mw_model_options *options,
                        mw_error *error)
{
    mw_buffer bytes = {0};
    FILE *f = fopen(path, "rb");
    *model = NULL;
    if (!f) return mw_fail(error, MW_IO, "%s: it cannot be opened: %m", path);
    for (size_t got = 1; got;) {
        got = fread(mw_buffer_reserve(&bytes, 1 << 16), 1, 1 << 16, f);
        bytes.len += got;
    }
    mw_status status = ferror(f) ? mw_fail(error, MW_IO, "%s: it cannot be read: %m", path) : MW_OK;
    fclose(f);
    memset(mw_buffer_reserve(&bytes, MW_MODEL_PADDING), 0, MW_MODEL_PADDING);
    if (status == MW_OK)
        status = mw_model_read(model, bytes.bytes, bytes.len, path, options, error);
    mw_buffer_close(&bytes);
    return status;
}

/* ---- what it is ---- */

const char *mw_model_kind(const mw_model *m)
{
    return m->kind;
}

const char *mw_model_objective(const mw_model *m)
{
    return m->objective;
}

uint64_t mw_model_version(const mw_model *m)
{
    return m->version;
}

uint32_t mw_model_features(const mw_model *m)
{
    return m->features;
}

const char *mw_model_feature(const mw_model *m, uint32_t n)
{
    return m->names[n];
}

int mw_model_uses(const mw_model *m, uint32_t n)
{
    if (!m->columns) return !m->forest || m->lines || mw_forest_uses(m->forest, n);
    for (uint32_t i = 0; i < mw_columns_count(m->columns); i++)
        if (mw_columns_feature(m->columns, i) == n && (!m->forest || mw_forest_uses(m->forest, i)))
            return 1;
    return 0;
}

uint32_t mw_model_margins(const mw_model *m)
{
    return m->margins;
}

uint32_t mw_model_scores(const mw_model *m)
{
    return m->scores;
}

uint32_t mw_model_trees(const mw_model *m)
{
    return m->trees;
}

size_t mw_model_nodes(const mw_model *m)
{
    return m->forest ? mw_forest_nodes(m->forest) : 0;
}

uint32_t mw_model_depth(const mw_model *m)
{
    return m->forest ? mw_forest_depth(m->forest) : 0;
}

size_t mw_model_bytes(const mw_model *m)
{
    size_t linear = m->weights ? (m->features + 1ul) * m->margins * sizeof *m->weights : 0;
    return sizeof *m + linear + (m->forest ? mw_forest_bytes(m->forest) : 0) +
           (m->layers ? mw_layers_bytes(m->layers) : 0);
}

/* ---- scoring ---- */

enum { ROWS = 64 }; /* that are summed at once */

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Scratch: sums, columns, and what the estimator works in. */
static size_t sums_bytes(const mw_model *m)
{
    return round_up(ROWS * (size_t)m->margins * sizeof(double));
}

static size_t columns_bytes(const mw_model *m)
{
    return m->columns ? round_up(ROWS * (size_t)mw_columns_count(m->columns) * sizeof(double)) : 0;
}

size_t mw_model_scratch(const mw_model *m)
{
    size_t estimator = m->forest   ? round_up(mw_forest_scratch(m->forest))
                       : m->layers ? mw_layers_scratch(m->layers) * sizeof(double)
                                   : 0;
    return sums_bytes(m) + columns_bytes(m) + estimator + m->trees * sizeof(uint32_t);
}

static void *estimator_scratch(const mw_model *m, void *scratch)
{
    return (char *)scratch + sums_bytes(m) + columns_bytes(m);
}

/* What the estimator sees of a row, as the n-th of those at once. */
static const double *columns_of(const mw_model *m, const double *row, size_t n, void *scratch)
{
    if (!m->columns) return row;
    double *to = (double *)((char *)scratch + sums_bytes(m)) + n * mw_columns_count(m->columns);
    mw_columns_run(m->columns, row, to);
    return to;
}

static void begin(const mw_model *m, double *sums)
{
    for (uint32_t k = 0; k < m->margins; k++) sums[k] = m->base ? m->base[k] : 0;
}

/* Averages are of the scores, not of the margin. */
static void transform(const mw_model *m, double *sums, double *scores)
{
    if (m->divisor)
        for (uint32_t k = 0; k < m->margins; k++) sums[k] /= m->divisor;
    mw_output_run(&m->output, sums, m->margins, scores);
}

/* As XGBoost's linear booster: float32, the bias first, missing values left out. */
static void add_linear(const mw_model *m, const double *row, double *sums)
{
    const double *bias = m->weights + (size_t)m->features * m->margins;
    for (uint32_t k = 0; k < m->margins; k++) {
        const double *w = m->weights + (size_t)k * m->features;
        float sum = (float)bias[k] + (float)sums[k];
        for (uint32_t j = 0; j < m->features; j++)
            if (!isnan(row[j])) sum += (float)row[j] * (float)w[j];
        sums[k] = (double)sum;
    }
}

static void add_lines(const mw_model *m, const double *row, double *sums, void *scratch)
{
    uint32_t *leaves = (uint32_t *)((char *)scratch + round_up(mw_forest_scratch(m->forest)));
    mw_forest_leaves(m->forest, row, m->first, m->trees, leaves, scratch);
    for (uint32_t t = 0; t < m->trees; t++)
        sums[(m->first + t) % m->margins] += mw_lines_value(m->lines, m->first + t, leaves[t], row);
}

static void add_row(const mw_model *m, const double *row, double *sums, void *scratch)
{
    if (m->weights) add_linear(m, row, sums);
    else if (m->layers)
        mw_layers_run(m->layers, row, sums, scratch);
    else if (m->lines)
        add_lines(m, row, sums, scratch);
    else
        mw_forest_row(m->forest, row, m->first, m->trees, sums, scratch);
}

void mw_model_margin(const mw_model *m, const double *row, double *margins, void *scratch)
{
    begin(m, margins);
    add_row(m, columns_of(m, row, 0, scratch), margins, estimator_scratch(m, scratch));
}

void mw_model_score(const mw_model *m, const double *row, double *scores, void *scratch)
{
    mw_model_margin(m, row, scratch, scratch);
    transform(m, scratch, scores);
}

/* Sums of at most ROWS rows. */
static void add_rows(const mw_model *m, const double *rows, size_t stride, size_t count,
                     double *sums, void *scratch)
{
    const double *from = rows;
    void *inner = estimator_scratch(m, scratch);
    for (size_t r = 0; m->columns && r < count; r++) {
        const double *to = columns_of(m, rows + r * stride, r, scratch);
        if (!r) from = to;
    }
    if (m->columns) stride = mw_columns_count(m->columns);
    if (m->forest && !m->lines)
        mw_forest_rows(m->forest, from, stride, count, m->first, m->trees, sums, inner);
    else
        for (size_t r = 0; r < count; r++)
            add_row(m, from + r * stride, sums + r * m->margins, inner);
}

void mw_model_score_rows(const mw_model *m, const double *rows, size_t stride, size_t count,
                         double *scores, void *scratch)
{
    double *sums = scratch;
    for (size_t done = 0; done < count; done += ROWS) {
        size_t some = count - done < ROWS ? count - done : ROWS;
        for (size_t r = 0; r < some; r++) begin(m, sums + r * m->margins);
        add_rows(m, rows + done * stride, stride, some, sums, scratch);
        for (size_t r = 0; r < some; r++)
            transform(m, sums + r * m->margins, scores + (done + r) * m->scores);
    }
}

mw_status mw_model_leaves(const mw_model *m, const double *row, uint32_t *leaves, void *scratch,
                          mw_error *error)
{
    if (!m->forest)
        return mw_fail(error, MW_CONFIG, "a model of the kind '%s' has no leaves here", m->kind);
    mw_forest_leaves(m->forest, columns_of(m, row, 0, scratch), m->first, m->trees, leaves,
                     estimator_scratch(m, scratch));
    return MW_OK;
}

/* A linear model's contributions are its terms, beside what it says of nothing. */
static void explain_linear(const mw_model *m, const double *row, double *out)
{
    uint32_t features = m->features;
    for (uint32_t k = 0; k < m->margins; k++, out += features + 1) {
        for (uint32_t j = 0; j < features; j++)
            if (!isnan(row[j])) out[j] += row[j] * m->weights[(size_t)k * features + j];
        out[features] += m->weights[(size_t)features * m->margins + k];
    }
}

static int explain_layers(const mw_model *m, const double *columns, double *out)
{
    size_t each = mw_columns_count(m->columns) + 1ul;
    for (uint32_t k = 0; k < m->margins; k++, out += each)
        if (!mw_layers_parts(m->layers, columns, k, out, &out[each - 1])) return 0;
    return 1;
}

/* By column, of which a feature may have several. */
static mw_status explain_columns(const mw_model *m, const double *row, int exact, double *out,
                                 void *scratch, mw_error *error)
{
    size_t columns = m->columns ? mw_columns_count(m->columns) : m->features, each = columns + 1;
    const double *seen = columns_of(m, row, 0, scratch);
    for (uint32_t k = 0; k < m->margins; k++) out[k * each + columns] = m->base ? m->base[k] : 0;
    if (m->weights) explain_linear(m, seen, out);
    else if (m->forest)
        return mw_forest_explain(m->forest, seen, m->first, m->trees, exact, out,
                                 estimator_scratch(m, scratch), error);
    else if (!explain_layers(m, seen, out))
        return mw_fail(error, MW_CONFIG, "a %s cannot be explained", m->objective);
    return MW_OK;
}

mw_status mw_model_explain(const mw_model *m, const double *row, int exact, double *contributions,
                           void *scratch, mw_error *error)
{
    size_t columns = m->columns ? mw_columns_count(m->columns) : m->features;
    if (m->lines) return mw_fail(error, MW_CONFIG, "leaves that are linear cannot be explained");
    double *by_column = mw_model_zeros((columns + 1) * m->margins, sizeof *by_column);
    mw_status status = explain_columns(m, row, exact, by_column, scratch, error);
    memset(contributions, 0, (m->features + 1ul) * m->margins * sizeof *contributions);
    for (uint32_t k = 0; status == MW_OK && k < m->margins; k++) {
        double *to = contributions + k * (m->features + 1ul), *of = by_column + k * (columns + 1);
        for (uint32_t i = 0; i < columns; i++)
            to[m->columns ? mw_columns_feature(m->columns, i) : i] += of[i];
        to[m->features] = of[columns];
    }
    free(by_column);
    return status;
}
