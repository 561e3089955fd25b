/* aggregate.h: what windows keep of events: one file for what fits into a few numbers, and one each
 * for what does not (distinct.h, quantile.h, top.h, collect.h, member.h).
 *
 * An aggregate owns some cells of 8 bytes in every pane. Its functions do not allocate but for the
 * ones whose cell is a handle. Thread: the shard that owns the pane. */
#ifndef MW_AGGREGATE_H
#define MW_AGGREGATE_H

#include "base/buffer.h"
#include "event/value.h"

typedef union mw_cell {
    double number;
    int64_t at;
    void *handle;
} mw_cell;

typedef enum mw_aggregate_kind {
    MW_COUNT,
    MW_SUM,
    MW_MIN,
    MW_MAX,
    MW_MEAN,
    MW_VARIANCE, /* of a sample: n - 1; Welford 1962, put together as Chan et al. 1979 */
    MW_RATE,     /* events a second */
    MW_EWMA,     /* mean in which a value counts half after `parameter` ns */
    MW_SEEN,     /* whether the value came before; parameter: capacity */
    MW_SCALARS,  /* those above are one number, read with every event; these are read when asked */
    MW_DISTINCT = MW_SCALARS,
    MW_QUANTILE,  /* parameter: 0 to 1 */
    MW_FIRST,     /* by time of event */
    MW_LAST,      /* of equal times, the one that came last */
    MW_TOP,       /* parameter: how many */
    MW_HISTOGRAM, /* by bounds */
    MW_COLLECT,   /* parameter: how many at most */
    MW_AGGREGATES,
} mw_aggregate_kind;

typedef struct mw_aggregate {
    char *name; /* in results */
    uint32_t kind;
    int32_t input; /* number of the window's input; -1: none */
    uint32_t cell; /* its first */
    double parameter;
    double
        *bounds; /* of a histogram, ascending: bucket i is below bounds[i], the last is the rest */
    uint32_t bound_count;
} mw_aggregate;

/* By name ("count", "sum", …); MW_AGGREGATES: there is none. */
mw_aggregate_kind mw_aggregate_find(const char *name);
uint32_t mw_aggregate_cells(const mw_aggregate *a);
/* Whether its input must be a number. */
int mw_aggregate_is_numeric(uint32_t kind);

/* `cells` are those of the pane, zeroed before `begin`. */
void mw_aggregate_begin(const mw_aggregate *a, mw_cell *cells);
/* A value that is absent or null changes nothing (but a count without input). */
void mw_aggregate_add(const mw_aggregate *a, mw_cell *cells, const mw_value *v, int64_t at_ns);
void mw_aggregate_merge(const mw_aggregate *a, mw_cell *into, const mw_cell *from);
/* Its number; NaN: there is none. `span_s`: of the window, for rates. */
double mw_aggregate_number(const mw_aggregate *a, const mw_cell *cells, double span_s);
/* Appends what is not a number, as JSON. */
void mw_aggregate_json(const mw_aggregate *a, const mw_cell *cells, mw_buffer *out);
int mw_aggregate_has(const mw_aggregate *a, const mw_cell *cells, uint64_t hash);
void mw_aggregate_release(const mw_aggregate *a, mw_cell *cells);
size_t mw_aggregate_bytes(const mw_aggregate *a, const mw_cell *cells); /* beyond its cells */
void mw_aggregate_save(const mw_aggregate *a, const mw_cell *cells, mw_buffer *out);
int mw_aggregate_load(const mw_aggregate *a, mw_cell *cells, const char **at, const char *end);

#endif
