/* quantile.c: see quantile.h. */
#include "state/quantile.h"
#include "base/status.h"
#include "state/kept.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* No number is below or above these buckets: ln(1e-12) and ln(1.8e308), by gamma_log. */
enum { BUCKETS_MAX = 2048, INDEX_LEAST = -1382, INDEX_MOST = 35492 };
static const double smallest = 1e-12, gamma_log = 0.020000666706669544; /* ln(1.01 / 0.99) */

/* Buckets of numbers of one sign, from the one with index `first` on. */
typedef struct store {
    int32_t first;
    uint32_t len, room;
    uint32_t *counts;
} store;

struct mw_quantile {
    uint64_t count, zeros;
    store positive, negative;
};

static int32_t index_of(double magnitude)
{
    return (int32_t)ceil(log(magnitude) / gamma_log);
}

static double middle_of(int32_t index)
{
    double gamma = exp(gamma_log);
    return 2 * exp(index * gamma_log) / (gamma + 1);
}

/* Makes the store reach from `low` to `high`; what is below them by too much goes into the lowest.
 */
static void reach(store *s, int32_t low, int32_t high)
{
    if (s->len) {
        int32_t last = s->first + (int32_t)s->len - 1;
        if (low > s->first) low = s->first;
        if (high < last) high = last;
    }
    if (high - low >= BUCKETS_MAX) low = high - BUCKETS_MAX + 1;
    uint32_t len = (uint32_t)(high - low + 1);
    if (s->len == len && s->first == low) return;
    uint32_t *counts = calloc(len + len / 4 + 4, sizeof *counts);
    mw_assert(counts != NULL);
    for (uint32_t i = 0; i < s->len; i++) {
        int32_t to = s->first + (int32_t)i - low;
        counts[to < 0 ? 0 : to] += s->counts[i];
    }
    free(s->counts);
    *s = (store){.first = low, .len = len, .room = len + len / 4 + 4, .counts = counts};
}

static void count(store *s, int32_t index, uint32_t n)
{
    int32_t at = index - s->first;
    if (!s->len || at < 0 || at >= (int32_t)s->len) {
        if (s->len && at == (int32_t)s->len && s->len < s->room && s->len < BUCKETS_MAX) s->len++;
        else
            reach(s, index, index);
        at = index - s->first;
    }
    s->counts[at < 0 ? 0 : at] += n;
}

static mw_quantile *made(mw_quantile **s)
{
    if (!*s) *s = calloc(1, sizeof **s);
    mw_assert(*s != NULL);
    return *s;
}

void mw_quantile_add(mw_quantile **sketch, double value)
{
    mw_quantile *s = made(sketch);
    if (!isfinite(value)) return;
    s->count++;
    if (fabs(value) < smallest) s->zeros++;
    else
        count(value > 0 ? &s->positive : &s->negative, index_of(fabs(value)), 1);
}

static void merge_store(store *into, const store *from)
{
    if (!from->len) return;
    reach(into, from->first, from->first + (int32_t)from->len - 1);
    for (uint32_t i = 0; i < from->len; i++)
        if (from->counts[i]) count(into, from->first + (int32_t)i, from->counts[i]);
}

void mw_quantile_merge(mw_quantile **into, const mw_quantile *from)
{
    if (!from) return;
    mw_quantile *s = made(into);
    s->count += from->count, s->zeros += from->zeros;
    merge_store(&s->positive, &from->positive);
    merge_store(&s->negative, &from->negative);
}

double mw_quantile_at(const mw_quantile *s, double q)
{
    if (!s || !s->count) return NAN;
    double rank = q * (double)(s->count - 1), below = 0;
    for (uint32_t i = s->negative.len; i-- > 0;) {
        below += s->negative.counts[i];
        if (below > rank) return -middle_of(s->negative.first + (int32_t)i);
    }
    below += (double)s->zeros;
    if (below > rank) return 0;
    for (uint32_t i = 0; i < s->positive.len; i++) {
        below += s->positive.counts[i];
        if (below > rank) return middle_of(s->positive.first + (int32_t)i);
    }
    return middle_of(s->positive.first + (int32_t)s->positive.len - 1);
}

void mw_quantile_free(mw_quantile *s)
{
    if (!s) return;
    free(s->positive.counts);
    free(s->negative.counts);
    free(s);
}

size_t mw_quantile_bytes(const mw_quantile *s)
{
    return s ? sizeof *s + (s->positive.room + s->negative.room) * sizeof(uint32_t) : 0;
}

static void save_store(const store *s, mw_buffer *out)
{
    mw_buffer_append(out, &s->first, sizeof s->first);
    mw_buffer_append(out, &s->len, sizeof s->len);
    mw_buffer_append(out, s->counts, s->len * sizeof *s->counts);
}

static int load_store(store *s, const char **at, const char *end)
{
    if (!mw_load(&s->first, sizeof s->first, at, end) || !mw_load(&s->len, sizeof s->len, at, end))
        return 0;
    if (s->len > BUCKETS_MAX || s->first < INDEX_LEAST || s->first > INDEX_MOST) {
        s->len = 0;
        return 0;
    }
    s->room = s->len;
    s->counts = calloc(s->len + 1, sizeof *s->counts);
    mw_assert(s->counts != NULL);
    return mw_load(s->counts, s->len * sizeof *s->counts, at, end);
}

void mw_quantile_save(const mw_quantile *s, mw_buffer *out)
{
    static const mw_quantile none = {0};
    if (!s) s = &none;
    mw_buffer_append(out, &s->count, sizeof s->count);
    if (!s->count) return;
    mw_buffer_append(out, &s->zeros, sizeof s->zeros);
    save_store(&s->positive, out);
    save_store(&s->negative, out);
}

int mw_quantile_load(mw_quantile **s, const char **at, const char *end)
{
    uint64_t counted;
    *s = NULL;
    if (!mw_load(&counted, sizeof counted, at, end)) return 0;
    if (!counted) return 1;
    made(s)->count = counted;
    return mw_load(&(*s)->zeros, sizeof counted, at, end) && load_store(&(*s)->positive, at, end) &&
           load_store(&(*s)->negative, at, end);
}
