/* pmml_predicates.c: predicates of PMML's trees, which are true, false or unknown, as tests of a
 * tree that are true or false: what a field's missing value makes of a predicate is a test of its
 * own, where it leads elsewhere. See pmml_private.h. */
#include "score/pmml_private.h"

#include <math.h>
#include <string.h>

typedef struct test {
    int column, turned, strict; /* turned: what is true is to the right */
    double threshold;
} test;

static int read_set(mw_pmml *t, const mw_xml *p, test *to)
{
    const char *operator= mw_xml_text(p, "booleanOperator", "");
    const mw_xml *values = mw_xml_child(p, "Array");
    if (!values) return mw_pmml_fault(t, "a set has no", "Array");
    to->turned = strcmp(operator, "isIn") == 0;
    if (!to->turned && strcmp(operator, "isNotIn") != 0)
        return mw_pmml_refuse(t, "a set with the operator", operator);
    to->column = mw_pmml_column_in(t, mw_xml_text(p, "field", ""), values);
    return to->column >= 0;
}

static int read_test(mw_pmml *t, const mw_xml *p, test *to)
{
    const char *operator= mw_xml_text(p, "operator", ""), *field = mw_xml_text(p, "field", "");
    const char *value = mw_xml_text(p, "value", "");
    int equal = strcmp(operator, "equal") == 0, other = strcmp(operator, "notEqual") == 0;
    *to = (test){.threshold = 0.5};
    if (mw_xml_is(p, "SimpleSetPredicate")) return read_set(t, p, to);
    if (equal || other) {
        to->column = mw_pmml_column_equal(t, field, p), to->turned = equal;
        return to->column >= 0;
    }
    to->column = mw_pmml_column_of(t, field, NULL);
    to->threshold = mw_xml_number(p, "value", NAN);
    if (to->column >= 0 && mw_pmml_is_float(t, to->column))
        to->threshold = (double)(float)to->threshold;
    int greater = strcmp(operator, "greaterThan") == 0,
        at_least = strcmp(operator, "greaterOrEqual") == 0;
    to->turned = greater || at_least;
    to->strict = strcmp(operator, "lessThan") == 0 || at_least;
    if (!to->turned && !to->strict && strcmp(operator, "lessOrEqual") != 0)
        return mw_pmml_refuse(t, "a predicate with the operator", operator);
    if (to->column >= 0 && isnan(to->threshold))
        return mw_pmml_fault(t, "a predicate compares with", value);
    return to->column >= 0;
}

static int is_one_field(const mw_xml *p)
{
    return mw_xml_is(p, "SimplePredicate") || mw_xml_is(p, "SimpleSetPredicate");
}

static int is_about_missing(const mw_xml *p)
{
    return mw_xml_is(p, "SimplePredicate") &&
           strstr(mw_xml_text(p, "operator", ""), "issing") != NULL;
}

int mw_pmml_is_contrary(mw_pmml *t, const mw_xml *p, const mw_xml *other)
{
    test a, b;
    if (!p || !other || !is_one_field(p) || !is_one_field(other) || is_about_missing(p) ||
        is_about_missing(other))
        return 0;
    if (!read_test(t, p, &a) || !read_test(t, other, &b)) return 0;
    return a.column == b.column && a.threshold == b.threshold && a.turned != b.turned &&
           a.strict == b.strict;
}

static int is_known(const mw_pmml_known *k, uint32_t field)
{
    while (k && k->field != field) k = k->before;
    return k != NULL;
}

static int is_same_way(const mw_pmml_way *a, const mw_pmml_way *b)
{
    return a == b || (a->kind != MW_PMML_REST && a->kind == b->kind && a->node == b->node &&
                      a->child == b->child);
}

static void lead(mw_pmml *t, uint32_t from, const test *of, int64_t yes, int64_t no, int to_yes)
{
    mw_pmml_node *n = &t->nodes[from];
    n->feature = of->column, n->threshold = of->threshold, n->strict = of->strict;
    n->left = (double)(of->turned ? no : yes), n->right = (double)(of->turned ? yes : no);
    n->missing_left = of->turned ? !to_yes : to_yes;
}

/* Whether a field is there at all: any value is below or at infinity. */
static int64_t add_presence(mw_pmml *t, uint32_t field, const mw_xml *p, const mw_pmml_ways *to,
                            const mw_pmml_known *k, int depth)
{
    const mw_pmml_known with = {field, k};
    const test of = {.column = mw_pmml_plain_column(t, field), .threshold = INFINITY};
    uint32_t at = mw_pmml_add_node(t);
    int64_t there = p ? mw_pmml_add_predicate(t, p, to, &with, depth + 1)
                      : mw_pmml_add_way(t, to->yes, &with, depth + 1);
    int64_t missing = mw_pmml_add_way(t, p ? to->unknown : to->no, k, depth + 1);
    lead(t, at, &of, there, missing, 0);
    return there < 0 || missing < 0 ? -1 : (int64_t)at;
}

static int64_t add_presence_test(mw_pmml *t, const mw_xml *p, const mw_pmml_ways *to,
                                 const mw_pmml_known *k, int depth)
{
    int wants_it = strcmp(mw_xml_text(p, "operator", ""), "isNotMissing") == 0;
    int field = mw_pmml_field_of(t, mw_xml_text(p, "field", ""));
    const mw_pmml_ways ways = {wants_it ? to->yes : to->no, wants_it ? to->no : to->yes, NULL};
    if (field < 0) return -1;
    if (is_known(k, (uint32_t)field)) return mw_pmml_add_way(t, ways.yes, k, depth + 1);
    return add_presence(t, (uint32_t)field, NULL, &ways, k, depth);
}

static int64_t add_test(mw_pmml *t, const mw_xml *p, const mw_pmml_ways *to, const mw_pmml_known *k,
                        int depth)
{
    test of;
    if (is_about_missing(p)) return add_presence_test(t, p, to, k, depth);
    if (!read_test(t, p, &of)) return -1;
    uint32_t field = t->columns[of.column].field;
    int as_yes = is_same_way(to->unknown, to->yes);
    if (!as_yes && !is_same_way(to->unknown, to->no) && !is_known(k, field))
        return add_presence(t, field, p, to, k, depth);
    uint32_t at = mw_pmml_add_node(t);
    int64_t yes = mw_pmml_add_way(t, to->yes, k, depth + 1);
    int64_t no = mw_pmml_add_way(t, to->no, k, depth + 1);
    lead(t, at, &of, yes, no, as_yes);
    return yes < 0 || no < 0 ? -1 : (int64_t)at;
}

int64_t mw_pmml_add_rest(mw_pmml *t, const mw_pmml_rest *rest, const mw_pmml_known *k, int depth)
{
    const mw_pmml_ways *to = &rest->to;
    if (!rest->part) {
        int yes = rest->how == MW_PMML_AND || (rest->how == MW_PMML_XOR && rest->odd);
        int unknown = rest->unknown || rest->how == MW_PMML_SURROGATE;
        return mw_pmml_add_way(t, unknown ? to->unknown : yes ? to->yes : to->no, k, depth + 1);
    }
    mw_pmml_rest next = *rest, other;
    next.part = rest->part->next;
    other = next;
    const mw_pmml_way on = {MW_PMML_REST, .rest = &next}, aside = {MW_PMML_REST, .rest = &other};
    mw_pmml_ways ways = {&on, &on, &aside};
    other.unknown = 1;
    switch (rest->how) {
    case MW_PMML_AND:
        ways.no = to->no;
        break;
    case MW_PMML_OR:
        ways.yes = to->yes;
        break;
    case MW_PMML_XOR:
        other.unknown = 0, other.odd = !next.odd;
        ways.yes = &aside, ways.unknown = to->unknown;
        break;
    default:
        ways = (mw_pmml_ways){to->yes, to->no, &on};
    }
    return mw_pmml_add_predicate(t, rest->part, &ways, k, depth + 1);
}

static int64_t add_compound(mw_pmml *t, const mw_xml *p, const mw_pmml_ways *to,
                            const mw_pmml_known *k, int depth)
{
    static const char *const names[] = {"and", "or", "xor", "surrogate"};
    const char *how = mw_xml_text(p, "booleanOperator", "");
    mw_pmml_rest rest = {.part = p->child, .to = *to};
    while (rest.how < 4 && strcmp(names[rest.how], how) != 0) rest.how++;
    if (rest.how == 4) return mw_pmml_refuse(t, "a compound with the operator", how) - 1;
    if (!p->child) return mw_pmml_fault(t, "a compound has no", "predicate") - 1;
    return mw_pmml_add_rest(t, &rest, k, depth + 1);
}

int64_t mw_pmml_add_predicate(mw_pmml *t, const mw_xml *p, const mw_pmml_ways *to,
                              const mw_pmml_known *k, int depth)
{
    if (depth > MW_PMML_DEEP) return mw_pmml_fault(t, "its trees are too deep:", "Node") - 1;
    if (mw_xml_is(p, "True")) return mw_pmml_add_way(t, to->yes, k, depth + 1);
    if (mw_xml_is(p, "False")) return mw_pmml_add_way(t, to->no, k, depth + 1);
    if (mw_xml_is(p, "CompoundPredicate")) return add_compound(t, p, to, k, depth);
    if (!is_one_field(p)) return mw_pmml_refuse(t, "a predicate of the kind", p->name) - 1;
    return add_test(t, p, to, k, depth);
}
