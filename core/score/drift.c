/* drift.c: see drift.h. */
#include "score/drift.h"

#include "score/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS_MOST = 1000 };

void mw_drift_free(mw_drift *d)
{
    if (!d) return;
    for (uint32_t i = 0; i < d->count; i++)
        free(d->histograms[i].name), free(d->histograms[i].edges), free(d->histograms[i].shares);
    free(d->histograms), free(d);
}

static int is_good(const mw_histogram *h, size_t edges)
{
    double sum = 0;
    if (h->bins != edges + 1 || !edges || h->bins > BINS_MOST) return 0;
    for (size_t i = 0; i < edges; i++)
        if (isnan(h->edges[i]) || (i && h->edges[i] <= h->edges[i - 1])) return 0;
    for (uint32_t i = 0; i < h->bins; i++) {
        if (!(h->shares[i] >= 0)) return 0;
        sum += h->shares[i];
    }
    return sum > 0;
}

/* Shares are made to sum to 1, so that counts are shares, too. */
static mw_status add(mw_drift *d, const mw_model *m, const char *name, size_t len, int score,
                     mw_value v, mw_error *error)
{
    size_t edges, shares;
    d->histograms = realloc(d->histograms, (d->count + 1) * sizeof *d->histograms);
    mw_assert(d->histograms != NULL);
    mw_histogram *h = &d->histograms[d->count++];
    *h = (mw_histogram){
        strndup(name, len), score ? -1 : mw_model_find(m, name, len), 0, d->bins, NULL, NULL};
    if (!score && h->feature < 0)
        return mw_fail(error, MW_INVALID, "the model has no feature '%s'", h->name);
    int read = mw_document_numbers(mw_json_field(v, "edges"), 0, &h->edges, &edges) &
               mw_document_numbers(mw_json_field(v, "shares"), 0, &h->shares, &shares);
    h->bins = (uint32_t)shares;
    if (!read || !is_good(h, edges))
        return mw_fail(error, MW_INVALID,
                       "the histogram '%s' wants 'edges' that rise and one more 'shares'",
                       score ? "score" : h->name);
    double sum = 0;
    for (uint32_t i = 0; i < h->bins; i++) sum += h->shares[i];
    for (uint32_t i = 0; i < h->bins; i++) h->shares[i] /= sum;
    d->bins += h->bins;
    return MW_OK;
}

mw_status mw_drift_read(mw_drift **drift, const mw_model *m, const char *bytes, size_t len,
                        const char *name, mw_error *error)
{
    mw_buffer text = {0}, plain = {0};
    mw_value root, key, v;
    mw_error inner;
    size_t cursor = 0;
    mw_drift *d = *drift = calloc(1, sizeof *d);
    mw_assert(d != NULL);
    mw_status status = mw_document_read(&text, bytes, len, "it", &root, &inner);
    if (status == MW_OK) {
        mw_value score = mw_json_field(root, "score"), all = mw_json_field(root, "features");
        if (score.kind != MW_ABSENT) status = add(d, m, "", 0, 1, score, &inner);
        while (status == MW_OK && all.kind == MW_OBJECT &&
               mw_json_next(all.text, all.len, &cursor, &key, &v)) {
            plain.len = 0;
            if (key.kind == MW_ESCAPED) mw_json_unescape(&plain, key.text, key.len);
            else
                mw_buffer_append(&plain, key.text, key.len);
            status = add(d, m, plain.bytes ? plain.bytes : "", plain.len, 0, v, &inner);
        }
        if (status == MW_OK && !d->count)
            status = mw_fail(&inner, MW_INVALID, "there is no histogram in it");
    }
    if (status != MW_OK) {
        mw_fail(error, status, "%s: %s", name, inner.message);
        mw_drift_free(d), *drift = NULL;
    }
    mw_buffer_close(&text), mw_buffer_close(&plain);
    return status;
}

void mw_drift_count(const mw_drift *d, const double *row, const double *scores, uint64_t *counts)
{
    for (uint32_t i = 0; i < d->count; i++) {
        const mw_histogram *h = &d->histograms[i];
        double value = h->feature < 0 ? scores[0] : row[h->feature];
        uint32_t bin = 0;
        if (isnan(value)) continue;
        while (bin + 1 < h->bins && value > h->edges[bin]) bin++;
        counts[h->first + bin]++;
    }
}

/* An empty bin would make it infinite: half an event is taken to be there, as is usual. */
double mw_drift_index(const mw_histogram *h, const uint64_t *counts)
{
    double all = 0, index = 0;
    for (uint32_t i = 0; i < h->bins; i++) all += (double)counts[h->first + i];
    if (all == 0) return 0;
    for (uint32_t i = 0; i < h->bins; i++) {
        double live = fmax((double)counts[h->first + i], 0.5) / all;
        double trained = fmax(h->shares[i], 1e-4);
        index += (live - trained) * log(live / trained);
    }
    return index;
}
