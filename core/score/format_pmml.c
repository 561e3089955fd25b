/* format_pmml.c: PMML 4 files (dmg.org) of trees, sums and averages of trees, and regressions, also
 * chained (as JPMML writes them): put as the JSON that format_sklearn.c reads. */
#include "score/document.h"
#include "score/model_private.h"
#include "score/pmml_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mw_pmml_refuse(mw_pmml *t, const char *what, const char *name)
{
    if (t->status != MW_OK) return 0;
    t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s' is not supported", what, name);
    return 0;
}

int mw_pmml_fault(mw_pmml *t, const char *what, const char *name)
{
    if (t->status == MW_OK) t->status = mw_fail(t->error, MW_INVALID, "%s '%.60s'", what, name);
    return 0;
}

int mw_pmml_class_of(mw_pmml *t, const char *value)
{
    for (uint32_t i = 0; i < t->class_count; i++)
        if (strcmp(mw_xml_text(t->classes[i], "value", ""), value) == 0) return (int)i;
    mw_pmml_fault(t, "the target has no such value as", value);
    return -1;
}

/* ---- models ---- */

const mw_xml *mw_pmml_model_in(const mw_xml *e)
{
    static const char *const kinds[] = {"TreeModel", "RegressionModel", "MiningModel"};
    for (const mw_xml *c = e->child; c; c = c->next)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (mw_xml_is(c, kinds[i])) return c;
    return NULL;
}

const char *mw_pmml_other_model(const mw_xml *e)
{
    for (const mw_xml *c = e->child; c; c = c->next)
        if (strstr(c->name, "Model") || strstr(c->name, "Network")) return c->name;
    return "none";
}

/* ---- the whole ---- */

static uint64_t count_elements(const mw_xml *e)
{
    uint64_t count = 1;
    for (const mw_xml *c = e->child; c; c = c->next) count += count_elements(c);
    return count;
}

static int translate(mw_pmml *t, const mw_xml *root)
{
    const mw_xml *model = mw_pmml_model_in(root),
                 *segments = model ? mw_xml_child(model, "Segmentation") : NULL;
    if (!mw_xml_is(root, "PMML")) return mw_pmml_fault(t, "it begins with", root->name);
    if (!model) return mw_pmml_refuse(t, "a model of the kind", mw_pmml_other_model(root));
    t->elements = count_elements(root);
    mw_buffer_format(&t->json, "{\"moonweir\":1,\"kind\":\"%s\"", model->name);
    if (!mw_pmml_read_fields(t, root, model)) return 0;
    mw_pmml_put_features(t);
    int chain =
        segments && strcmp(mw_xml_text(segments, "multipleModelMethod", ""), "modelChain") == 0;
    int good = mw_xml_is(model, "RegressionModel") ? mw_pmml_put_regression(t, model)
               : chain                             ? mw_pmml_put_chain(t, segments)
                                                   : mw_pmml_put_trees(t, model);
    if (!good || !mw_pmml_put_columns(t)) return 0;
    if (t->trees) {
        mw_buffer_text(&t->json, ",\"base\":[");
        for (uint32_t k = 0; k < t->outputs; k++)
            mw_buffer_format(&t->json, k ? ",%.17g" : "%.17g", t->base[k]);
        mw_buffer_text(&t->json, "]");
    }
    mw_buffer_text(&t->json, "}");
    return t->status == MW_OK;
}

mw_status mw_model_read_pmml(mw_model *m, const mw_model_file *file, mw_error *error)
{
    mw_error inner;
    mw_arena arena;
    mw_xml *root = NULL;
    mw_pmml *t = mw_model_zeros(1, sizeof *t);
    t->error = &inner;
    mw_arena_init(&arena, 1 << 16);
    t->status = mw_xml_read(&root, &arena, file->bytes, file->len, &inner);
    if (t->status == MW_OK) translate(t, root);
    mw_status status = t->status;
    if (status != MW_OK) mw_fail(error, status, "%s: %s", file->name, inner.message);
    else {
        mw_model_file json = {t->json.bytes, t->json.len, file->name};
        status = mw_model_read_sklearn(m, &json, error);
        m->kind = "pmml";
    }
    for (uint32_t i = 0; i < t->field_count; i++) mw_buffer_close(&t->fields[i].ops);
    free(t->fields), free(t->columns), free(t->nodes), free(t->values);
    mw_buffer_close(&t->json), mw_arena_close(&arena), free(t);
    return status;
}
