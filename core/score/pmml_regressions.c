/* pmml_regressions.c: see pmml_private.h. */
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *transform_of(mw_pmml *t, const mw_xml *model, uint32_t outputs)
{
    const char *how = mw_xml_text(model, "normalizationMethod", "none");
    if (strcmp(how, "none") == 0) return "same";
    if (strcmp(how, "softmax") == 0) return outputs > 1 ? "softmax" : "sigmoid";
    if (strcmp(how, "logit") == 0) return outputs > 1 ? "shares of sigmoids" : "sigmoid";
    if (strcmp(how, "exp") == 0) return "exp";
    mw_pmml_refuse(t, "the normalizationMethod", how);
    return "same";
}

/* The tables that have an output: one, or of several classes one each; of two only the second's,
 * less the first's where `less` is asked for. */
static uint32_t tables_of(mw_pmml *t, const mw_xml *model, const mw_xml **tables,
                          const mw_xml **less)
{
    uint32_t count = 0;
    if (less) *less = NULL;
    const mw_xml *one = mw_xml_child(model, "RegressionTable");
    for (; one && count < MW_PMML_CLASSES; one = mw_xml_next(one, "RegressionTable"))
        tables[count++] = one;
    if (count != 2) return count;
    if (t->class_count < 2) return mw_pmml_fault(t, "its target has no", "Value") * 0u;
    const char *second = mw_xml_text(t->classes[1], "value", "");
    if (strcmp(mw_xml_text(tables[0], "targetCategory", ""), second) != 0) {
        const mw_xml *other = tables[0];
        tables[0] = tables[1], tables[1] = other;
    }
    if (!tables[1]->child && mw_xml_number(tables[1], "intercept", 0) == 0) return 1;
    if (less && strcmp(mw_xml_text(model, "normalizationMethod", "none"), "softmax") == 0)
        *less = tables[1]; /* a softmax of two is the sigmoid of their difference */
    else
        return mw_pmml_refuse(t, "a regression of two classes with two", "RegressionTable") * 0u;
    return 1;
}

static int add_predictors(mw_pmml *t, const mw_xml *table)
{
    for (const mw_xml *p = table->child; p; p = p->next) {
        int number = mw_xml_is(p, "NumericPredictor"),
            category = mw_xml_is(p, "CategoricalPredictor");
        if (!number && !category) return mw_pmml_refuse(t, "a predictor of the kind", p->name);
        if (mw_xml_number(p, "exponent", 1) != 1)
            return mw_pmml_refuse(t, "a predictor with an", "exponent");
        if (mw_pmml_column_of(t, mw_xml_text(p, "name", ""),
                              category ? mw_xml_text(p, "value", "") : NULL) < 0)
            return 0;
    }
    return 1;
}

static void add_weights(mw_pmml *t, const mw_xml *table, double sign, double *weights)
{
    for (const mw_xml *p = table->child; p; p = p->next) {
        int category = mw_xml_is(p, "CategoricalPredictor");
        int at = mw_pmml_column_of(t, mw_xml_text(p, "name", ""),
                                   category ? mw_xml_text(p, "value", "") : NULL);
        double weight = mw_xml_number(p, "coefficient", NAN);
        if (isnan(weight))
            mw_pmml_fault(t, "a predictor's coefficient is no number:", mw_xml_text(p, "name", ""));
        weights[at] += sign * weight;
    }
}

static void put_weights(mw_pmml *t, const mw_xml *table, const mw_xml *less)
{
    double *weights = mw_model_zeros(t->column_count, sizeof *weights);
    add_weights(t, table, 1, weights);
    if (less) add_weights(t, less, -1, weights);
    mw_buffer_text(&t->json, "[");
    for (uint32_t i = 0; i < t->column_count; i++)
        mw_buffer_format(&t->json, i ? ",%.17g" : "%.17g", weights[i]);
    mw_buffer_text(&t->json, "]");
    free(weights);
}

int mw_pmml_put_regression(mw_pmml *t, const mw_xml *model)
{
    const mw_xml *tables[MW_PMML_CLASSES], *less;
    uint32_t count = tables_of(t, model, tables, &less);
    if (!count) return mw_pmml_fault(t, "a RegressionModel has no", "RegressionTable");
    for (uint32_t k = 0; k < count; k++)
        if (!add_predictors(t, tables[k])) return 0;
    if (less && !add_predictors(t, less)) return 0;
    if (!t->column_count) return mw_pmml_fault(t, "a RegressionModel has no", "predictor");
    mw_buffer_text(&t->json, ",\"layers\":[{\"activation\":\"identity\",\"weights\":[");
    for (uint32_t k = 0; k < count; k++) {
        if (k) mw_buffer_text(&t->json, ",");
        put_weights(t, tables[k], less);
    }
    mw_buffer_text(&t->json, "],\"bias\":[");
    for (uint32_t k = 0; k < count; k++)
        mw_buffer_format(&t->json, k ? ",%.17g" : "%.17g",
                         mw_xml_number(tables[k], "intercept", 0) -
                             (less ? mw_xml_number(less, "intercept", 0) : 0));
    mw_buffer_format(&t->json, "]}],\"output\":\"%s\"", transform_of(t, model, count));
    return t->status == MW_OK;
}

/* ---- chains: ensembles, each an output, and a regression of them ---- */

static const mw_xml *segment_of(const mw_xml *segments, const char *output)
{
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment")) {
        const mw_xml *model = mw_pmml_model_in(s),
                     *outputs = model ? mw_xml_child(model, "Output") : NULL;
        const mw_xml *f = outputs ? mw_xml_child(outputs, "OutputField") : NULL;
        for (; f; f = mw_xml_next(f, "OutputField"))
            if (strcmp(mw_xml_text(f, "name", ""), output) == 0 &&
                strcmp(mw_xml_text(f, "feature", "predictedValue"), "predictedValue") == 0)
                return model;
    }
    return NULL;
}

int mw_pmml_put_chain(mw_pmml *t, const mw_xml *segments)
{
    const mw_xml *tables[MW_PMML_CLASSES], *last = NULL;
    for (const mw_xml *s = mw_xml_child(segments, "Segment"); s; s = mw_xml_next(s, "Segment"))
        last = mw_pmml_model_in(s);
    if (!last || !mw_xml_is(last, "RegressionModel"))
        return mw_pmml_refuse(t, "a modelChain that ends with", last ? last->name : "none");
    uint32_t count = tables_of(t, last, tables, NULL);
    if (!count) return mw_pmml_fault(t, "a RegressionModel has no", "RegressionTable");
    t->width = 1;
    mw_buffer_text(&t->json, ",\"trees\":[");
    for (uint32_t k = 0; k < count; k++) {
        const mw_xml *p = mw_xml_child(tables[k], "NumericPredictor");
        const mw_xml *from = p ? segment_of(segments, mw_xml_text(p, "name", "")) : NULL;
        if (!from || mw_xml_number(p, "coefficient", 1) != 1 || mw_xml_next(p, "NumericPredictor"))
            return mw_pmml_refuse(t, "a chain's RegressionTable of more than one output times 1:",
                                  mw_xml_text(tables[k], "targetCategory", ""));
        if (!mw_pmml_put_ensemble(t, from, k)) return 0;
        t->base[k] += mw_xml_number(tables[k], "intercept", 0);
    }
    t->outputs = count;
    mw_buffer_format(&t->json, "],\"outputs\":%u,\"width\":1,\"output\":\"%s\"", count,
                     transform_of(t, last, count));
    return t->status == MW_OK;
}
