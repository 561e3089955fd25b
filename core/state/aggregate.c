/* aggregate.c: see aggregate.h. */
#include "state/aggregate.h"
#include "event/json.h"
#include "state/collect.h"
#include "state/distinct.h"
#include "state/kept.h"
#include "state/member.h"
#include "state/quantile.h"
#include "state/top.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t cells, numeric, handle;
} kinds[MW_AGGREGATES] = {
    [MW_COUNT] = {"count", 1, 0, 0},
    [MW_SUM] = {"sum", 1, 1, 0},
    [MW_MIN] = {"min", 1, 1, 0},
    [MW_MAX] = {"max", 1, 1, 0},
    [MW_MEAN] = {"mean", 2, 1, 0},
    [MW_VARIANCE] = {"variance", 3, 1, 0},
    [MW_RATE] = {"rate", 1, 0, 0},
    [MW_EWMA] = {"ewma", 3, 1, 0},
    [MW_SEEN] = {"seen", 1, 0, 1},
    [MW_DISTINCT] = {"distinct", 1, 0, 1},
    [MW_QUANTILE] = {"quantile", 1, 1, 1},
    [MW_FIRST] = {"first", 3, 0, 1},
    [MW_LAST] = {"last", 3, 0, 1},
    [MW_TOP] = {"top", 1, 0, 1},
    [MW_HISTOGRAM] = {"histogram", 0, 1, 0},
    [MW_COLLECT] = {"collect", 1, 0, 1},
};

mw_aggregate_kind mw_aggregate_find(const char *name)
{
    uint32_t kind = 0;
    while (kind < MW_AGGREGATES && strcmp(kinds[kind].name, name) != 0) kind++;
    return kind;
}

uint32_t mw_aggregate_cells(const mw_aggregate *a)
{
    return a->kind == MW_HISTOGRAM ? a->bound_count + 1 : kinds[a->kind].cells;
}

int mw_aggregate_is_numeric(uint32_t kind)
{
    return kinds[kind].numeric;
}

void mw_aggregate_begin(const mw_aggregate *a, mw_cell *c)
{
    if (a->kind == MW_MIN) c->number = INFINITY;
    if (a->kind == MW_MAX) c->number = -INFINITY;
}

/* ---- numbers ---- */

static void add_variance(mw_cell *c, double x)
{
    double n = ++c[0].number, delta = x - c[1].number;
    c[1].number += delta / n;
    c[2].number += delta * (x - c[1].number);
}

static void merge_variance(mw_cell *c, const mw_cell *from)
{
    double n = c[0].number, m = from[0].number, all = n + m, delta = from[1].number - c[1].number;
    if (m == 0) return;
    c[0].number = all;
    c[1].number += delta * m / all;
    c[2].number += from[2].number + delta * delta * n * m / all;
}

/* Sum and weight as of cells[2].at; what is older weighs less. */
static void merge_ewma(const mw_aggregate *a, mw_cell *c, double sum, double weight, int64_t at)
{
    if (weight == 0) return;
    int64_t age = c[1].number == 0 ? 0 : at - c[2].at;
    double factor = exp2(-fabs((double)age) / a->parameter);
    if (c[1].number == 0 || age >= 0) {
        c[0].number = c[0].number * factor + sum, c[1].number = c[1].number * factor + weight;
        c[2].at = at;
    } else {
        c[0].number += sum * factor, c[1].number += weight * factor;
    }
}

static void add_histogram(const mw_aggregate *a, mw_cell *c, double x)
{
    uint32_t i = 0;
    while (i < a->bound_count && x >= a->bounds[i]) i++;
    c[i].number++;
}

/* ---- values ---- */

/* First and last: the time, and a mw_kept in two cells. */
static mw_kept *kept_of(const mw_cell *c)
{
    return (mw_kept *)(c + 1);
}

static int has_kept(const mw_cell *c)
{
    return kept_of(c)->kind != MW_ABSENT;
}

static void add_first(mw_cell *c, const mw_value *v, int64_t at)
{
    if (has_kept(c) && at >= c->at) return;
    c->at = at;
    mw_kept_set(kept_of(c), v);
}

static void add_last(mw_cell *c, const mw_value *v, int64_t at)
{
    if (has_kept(c) && at < c->at) return;
    c->at = at;
    mw_kept_set(kept_of(c), v);
}

void mw_aggregate_add(const mw_aggregate *a, mw_cell *c, const mw_value *v, int64_t at_ns)
{
    if (a->input >= 0 && (v->kind == MW_ABSENT || v->kind == MW_NULL)) return;
    switch (a->kind) {
    case MW_COUNT:
    case MW_RATE:
        c->number++;
        break;
    case MW_SUM:
        c->number += v->number;
        break;
    case MW_MIN:
        if (v->number < c->number) c->number = v->number;
        break;
    case MW_MAX:
        if (v->number > c->number) c->number = v->number;
        break;
    case MW_MEAN:
        c[0].number++, c[1].number += v->number;
        break;
    case MW_VARIANCE:
        add_variance(c, v->number);
        break;
    case MW_EWMA:
        merge_ewma(a, c, v->number, 1, at_ns);
        break;
    case MW_SEEN:
        mw_member_add((mw_member **)&c->handle, (uint32_t)a->parameter, mw_json_hash(v));
        break;
    case MW_DISTINCT:
        mw_distinct_add((mw_distinct **)&c->handle, mw_json_hash(v));
        break;
    case MW_QUANTILE:
        mw_quantile_add((mw_quantile **)&c->handle, v->number);
        break;
    case MW_FIRST:
        add_first(c, v, at_ns);
        break;
    case MW_LAST:
        add_last(c, v, at_ns);
        break;
    case MW_TOP:
        mw_top_add((mw_top **)&c->handle, (uint32_t)a->parameter, v, mw_json_hash(v));
        break;
    case MW_HISTOGRAM:
        add_histogram(a, c, v->number);
        break;
    default:
        mw_collect_add((mw_collect **)&c->handle, (uint32_t)a->parameter, v);
    }
}

static void merge_kept(mw_cell *c, const mw_cell *from, int first)
{
    if (!has_kept(from)) return;
    if (has_kept(c) && (first ? from->at >= c->at : from->at < c->at)) return;
    c->at = from->at;
    mw_kept_copy(kept_of(c), kept_of(from));
}

void mw_aggregate_merge(const mw_aggregate *a, mw_cell *c, const mw_cell *from)
{
    switch (a->kind) {
    case MW_MIN:
        if (from->number < c->number) c->number = from->number;
        break;
    case MW_MAX:
        if (from->number > c->number) c->number = from->number;
        break;
    case MW_VARIANCE:
        merge_variance(c, from);
        break;
    case MW_EWMA:
        merge_ewma(a, c, from[0].number, from[1].number, from[2].at);
        break;
    case MW_SEEN:
        break; /* asked pane by pane */
    case MW_DISTINCT:
        mw_distinct_merge((mw_distinct **)&c->handle, from->handle);
        break;
    case MW_QUANTILE:
        mw_quantile_merge((mw_quantile **)&c->handle, from->handle);
        break;
    case MW_FIRST:
    case MW_LAST:
        merge_kept(c, from, a->kind == MW_FIRST);
        break;
    case MW_TOP:
        mw_top_merge((mw_top **)&c->handle, from->handle);
        break;
    case MW_COLLECT:
        mw_collect_merge((mw_collect **)&c->handle, from->handle);
        break;
    default:
        for (uint32_t i = 0, n = mw_aggregate_cells(a); i < n; i++) c[i].number += from[i].number;
    }
}

double mw_aggregate_number(const mw_aggregate *a, const mw_cell *c, double span_s)
{
    switch (a->kind) {
    case MW_COUNT:
    case MW_SUM:
        return c->number;
    case MW_MIN:
    case MW_MAX:
        return isinf(c->number) ? NAN : c->number;
    case MW_MEAN:
        return c[0].number > 0 ? c[1].number / c[0].number : NAN;
    case MW_VARIANCE:
        return c[0].number > 1 ? c[2].number / (c[0].number - 1) : NAN;
    case MW_RATE:
        return span_s > 0 ? c->number / span_s : NAN;
    case MW_EWMA:
        return c[1].number > 0 ? c[0].number / c[1].number : NAN;
    case MW_DISTINCT:
        return mw_distinct_count(c->handle);
    case MW_QUANTILE:
        return mw_quantile_at(c->handle, a->parameter);
    default:
        return NAN;
    }
}

void mw_aggregate_json(const mw_aggregate *a, const mw_cell *c, mw_buffer *out)
{
    if (a->kind == MW_TOP) mw_top_json(c->handle, out);
    else if (a->kind == MW_COLLECT)
        mw_collect_json(c->handle, out);
    else if (a->kind == MW_FIRST || a->kind == MW_LAST)
        mw_kept_json(kept_of(c), out);
    else if (a->kind == MW_HISTOGRAM) {
        for (uint32_t i = 0; i <= a->bound_count; i++) {
            mw_buffer_text(out, i ? "," : "[");
            mw_json_number(out, c[i].number);
        }
        mw_buffer_text(out, "]");
    } else {
        mw_buffer_text(out, "null");
    }
}

int mw_aggregate_has(const mw_aggregate *a, const mw_cell *c, uint64_t hash)
{
    (void)a;
    return mw_member_has(c->handle, hash);
}

void mw_aggregate_release(const mw_aggregate *a, mw_cell *c)
{
    if (!kinds[a->kind].handle) return;
    switch (a->kind) {
    case MW_SEEN:
        mw_member_free(c->handle);
        break;
    case MW_DISTINCT:
        mw_distinct_free(c->handle);
        break;
    case MW_QUANTILE:
        mw_quantile_free(c->handle);
        break;
    case MW_TOP:
        mw_top_free(c->handle);
        break;
    case MW_COLLECT:
        mw_collect_free(c->handle);
        break;
    default:
        mw_kept_release(kept_of(c));
        return;
    }
    c->handle = NULL;
}

size_t mw_aggregate_bytes(const mw_aggregate *a, const mw_cell *c)
{
    switch (a->kind) {
    case MW_SEEN:
        return mw_member_bytes(c->handle);
    case MW_DISTINCT:
        return mw_distinct_bytes(c->handle);
    case MW_QUANTILE:
        return mw_quantile_bytes(c->handle);
    case MW_TOP:
        return mw_top_bytes(c->handle);
    case MW_COLLECT:
        return mw_collect_bytes(c->handle);
    case MW_FIRST:
    case MW_LAST:
        return mw_kept_bytes(kept_of(c));
    default:
        return 0;
    }
}

void mw_aggregate_save(const mw_aggregate *a, const mw_cell *c, mw_buffer *out)
{
    switch (a->kind) {
    case MW_SEEN:
        mw_member_save(c->handle, out);
        break;
    case MW_DISTINCT:
        mw_distinct_save(c->handle, out);
        break;
    case MW_QUANTILE:
        mw_quantile_save(c->handle, out);
        break;
    case MW_TOP:
        mw_top_save(c->handle, out);
        break;
    case MW_COLLECT:
        mw_collect_save(c->handle, out);
        break;
    case MW_FIRST:
    case MW_LAST:
        mw_buffer_append(out, c, sizeof *c);
        mw_kept_save(kept_of(c), out);
        break;
    default:
        mw_buffer_append(out, c, mw_aggregate_cells(a) * sizeof *c);
    }
}

int mw_aggregate_load(const mw_aggregate *a, mw_cell *c, const char **at, const char *end)
{
    switch (a->kind) {
    case MW_SEEN:
        return mw_member_load((mw_member **)&c->handle, at, end);
    case MW_DISTINCT:
        return mw_distinct_load((mw_distinct **)&c->handle, at, end);
    case MW_QUANTILE:
        return mw_quantile_load((mw_quantile **)&c->handle, at, end);
    case MW_TOP:
        return mw_top_load((mw_top **)&c->handle, at, end);
    case MW_COLLECT:
        return mw_collect_load((mw_collect **)&c->handle, at, end);
    case MW_FIRST:
    case MW_LAST:
        return mw_load(c, sizeof *c, at, end) && mw_kept_load(kept_of(c), at, end);
    default:
        return mw_load(c, mw_aggregate_cells(a) * sizeof *c, at, end);
    }
}
