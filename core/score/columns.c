/* columns.c: see columns.h. */
#include "score/columns.h"

#include "score/document.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 1 << 16, OPS_MOST = 1 << 20 };

enum op_kind { IMPUTE, MISSING, SUBTRACT, DIVIDE, MULTIPLY, ADD, CLIP, IS, FLOAT, TRUNCATE, MAP };

static const struct {
    const char *name;
    int numbers; /* behind it */
} kinds[] = {[IMPUTE] = {"impute", 1},
             [MISSING] = {"missing", 0},
             [SUBTRACT] = {"subtract", 1},
             [DIVIDE] = {"divide", 1},
             [MULTIPLY] = {"multiply", 1},
             [ADD] = {"add", 1},
             [CLIP] = {"clip", 2},
             [IS] = {"is", 1},
             [FLOAT] = {"float", 0},
             [TRUNCATE] = {"truncate", 0},
             [MAP] = {"map", 4}};

typedef struct op {
    enum op_kind kind;
    double a, b;       /* map: what is unknown, and what is missing, become */
    double *from, *to; /* map, owned */
    size_t count;
} op;

typedef struct column {
    uint32_t feature, first, count; /* of its operations */
} column;

struct mw_columns {
    column *columns;
    op *ops;
    uint32_t count, op_count;
};

void mw_columns_free(mw_columns *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < c->op_count; i++) free(c->ops[i].from), free(c->ops[i].to);
    free(c->columns), free(c->ops), free(c);
}

/* The value that a list begins with, and the n-th behind it. */
static mw_value item(mw_value list, size_t n)
{
    mw_value key, v = {0};
    size_t cursor = 0;
    for (size_t i = 0; i <= n; i++)
        if (list.kind != MW_ARRAY || !mw_json_next(list.text, list.len, &cursor, &key, &v))
            return (mw_value){0};
    return v;
}

static int read_map(op *o, mw_value list)
{
    size_t count;
    int good = mw_document_numbers(item(list, 1), 0, &o->from, &o->count) &&
               mw_document_numbers(item(list, 2), 0, &o->to, &count) && count == o->count;
    o->a = mw_document_number(item(list, 3), NAN), o->b = mw_document_number(item(list, 4), NAN);
    return good;
}

static int read_op(op *o, mw_value list)
{
    mw_value name = item(list, 0);
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!mw_document_is(name, kinds[k].name)) continue;
        o->kind = k;
        if (k == MAP) return read_map(o, list);
        mw_value a = item(list, 1), b = item(list, 2);
        if (kinds[k].numbers > 0 && a.kind != MW_NUMBER) return k == IMPUTE && a.kind == MW_NULL;
        if (kinds[k].numbers > 1 && b.kind != MW_NUMBER) return 0;
        o->a = a.number, o->b = b.number;
        return 1;
    }
    return 0;
}

static mw_status read_column(mw_columns *c, mw_value v, uint32_t features, uint32_t *room,
                             mw_error *error)
{
    mw_value ops = mw_json_field(v, "ops"), key, one;
    double feature = mw_document_number(mw_json_field(v, "feature"), -1);
    size_t cursor = 0;
    if (!(feature >= 0 && feature < features))
        return mw_fail(error, MW_INVALID, "column %u has a feature that there is not", c->count);
    column *to = &c->columns[c->count];
    *to = (column){(uint32_t)feature, c->op_count, 0};
    while (ops.kind == MW_ARRAY && mw_json_next(ops.text, ops.len, &cursor, &key, &one)) {
        if (c->op_count == *room) {
            *room = *room ? *room * 2 : 64;
            c->ops = realloc(c->ops, *room * sizeof *c->ops);
            mw_assert(c->ops != NULL);
        }
        op *o = &c->ops[c->op_count];
        memset(o, 0, sizeof *o);
        if (c->op_count++ >= OPS_MOST || !read_op(o, one))
            return mw_fail(error, MW_INVALID, "column %u has an operation that is not known (%.*s)",
                           c->count, (int)(one.len < 60 ? one.len : 60), one.text);
        to->count++;
    }
    c->count++;
    return MW_OK;
}

mw_status mw_columns_read(mw_columns **columns, mw_value list, uint32_t features, mw_error *error)
{
    mw_value key, v;
    size_t cursor = 0, count = list.kind == MW_ARRAY ? mw_json_length(list.text, list.len) : 0;
    uint32_t room = 0;
    mw_status status = MW_OK;
    if (!count || count > COLUMNS_MOST)
        return mw_fail(error, MW_INVALID, "its columns are not from 1 to %d", COLUMNS_MOST);
    mw_columns *c = *columns = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->columns = calloc(count, sizeof *c->columns);
    mw_assert(c->columns != NULL);
    while (status == MW_OK && mw_json_next(list.text, list.len, &cursor, &key, &v))
        status = read_column(c, v, features, &room, error);
    return status;
}

uint32_t mw_columns_count(const mw_columns *c)
{
    return c->count;
}

uint32_t mw_columns_feature(const mw_columns *c, uint32_t at)
{
    return c->columns[at].feature;
}

static double map(const op *o, double x)
{
    if (isnan(x)) return o->b;
    for (size_t i = 0; i < o->count; i++)
        if (o->from[i] == x) return o->to[i];
    return o->a;
}

static double run(const op *o, double x)
{
    switch (o->kind) {
    case IMPUTE:
        return isnan(x) ? o->a : x;
    case MISSING:
        return isnan(x);
    case SUBTRACT:
        return x - o->a;
    case DIVIDE:
        return x / o->a;
    case MULTIPLY:
        return x * o->a;
    case ADD:
        return x + o->a;
    case CLIP:
        return x < o->a ? o->a : x > o->b ? o->b : x;
    case IS:
        return x == o->a;
    case FLOAT:
        return (double)(float)x;
    case TRUNCATE:
        return trunc(x);
    default:
        return map(o, x);
    }
}

void mw_columns_run(const mw_columns *c, const double *row, double *to)
{
    for (uint32_t i = 0; i < c->count; i++) {
        double x = row[c->columns[i].feature];
        uint32_t first = c->columns[i].first;
        for (uint32_t n = 0; n < c->columns[i].count; n++) x = run(&c->ops[first + n], x);
        to[i] = x;
    }
}
