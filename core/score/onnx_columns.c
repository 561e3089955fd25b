/* onnx_columns.c: what an ONNX file's model sees: columns of its inputs, each by way of the
 * operators before the model, which compute in float32. See onnx_private.h. */
#include "event/json.h"
#include "score/model_private.h"
#include "score/onnx_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 1 << 16, DEEP = 32, WORK_MOST = 1 << 26 };

/* The texts that encoders know of a feature, which are its categories. */
typedef struct mw_onnx_texts {
    mw_onnx_name *list;
    uint32_t count, room;
} mw_onnx_texts;

int mw_onnx_add_column(mw_onnx_translation *t, uint32_t feature)
{
    if (t->count == COLUMNS_MOST) return mw_onnx_fault(t, "it has too many columns");
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->columns = realloc(t->columns, t->room * sizeof *t->columns);
        mw_assert(t->columns != NULL);
    }
    t->columns[t->count++] = (mw_onnx_column){.feature = feature};
    return 1;
}

static uint32_t features_of(const mw_onnx_translation *t)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->onnx.input_count; i++) count += t->onnx.inputs[i].columns;
    return count < COLUMNS_MOST ? count : COLUMNS_MOST;
}

/* The number that stands for a text of a feature. */
static double code_of(mw_onnx_translation *t, uint32_t feature, mw_onnx_name text)
{
    if (!t->texts) t->texts = mw_model_zeros(features_of(t), sizeof *t->texts);
    mw_onnx_texts *x = &t->texts[feature];
    for (uint32_t i = 0; i < x->count; i++)
        if (mw_onnx_same(x->list[i], text)) return i;
    t->work += x->count;
    if (x->count == x->room) {
        x->room = x->room ? 2 * x->room : 16;
        x->list = realloc(x->list, x->room * sizeof *x->list);
        mw_assert(x->list != NULL);
    }
    x->list[x->count] = text;
    return x->count++;
}

static void add_op(mw_onnx_column *c, const char *op, double number)
{
    mw_buffer_format(&c->ops, c->ops.len ? ",[\"%s\"," : "[\"%s\",", op);
    mw_json_number(&c->ops, number);
    mw_buffer_text(&c->ops, "]");
}

static void add_plain(mw_onnx_column *c, const char *op)
{
    mw_buffer_format(&c->ops, c->ops.len ? ",[\"%s\"]" : "[\"%s\"]", op);
}

static void add_float(mw_onnx_column *c)
{
    add_plain(c, "float");
}

/* The columns from one on that an operator has made others of, which stand behind them. */
static void drop(mw_onnx_translation *t, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) mw_buffer_close(&t->columns[i].ops);
    memmove(t->columns + from, t->columns + from + count,
            (t->count - from - count) * sizeof *t->columns);
    t->count -= count;
}

/* One number for all of some columns, or one each. */
static int per_column(mw_onnx_translation *t, uint32_t from, const char *op, const double *list,
                      size_t count)
{
    if (count != 1 && count != t->count - from)
        return mw_onnx_fault(t, "an operator is not of as many columns as it has");
    for (uint32_t i = from; i < t->count; i++) {
        if (t->columns[i].is_text) return mw_onnx_fault(t, "an operator of numbers has texts");
        add_float(&t->columns[i]);
        add_op(&t->columns[i], op, list[count == 1 ? 0 : i - from]);
        add_float(&t->columns[i]);
    }
    return 1;
}

static int scale(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *offset, *factor;
    size_t offsets, factors;
    int good = mw_onnx_floats(n, "offset", &offset, &offsets) &
               mw_onnx_floats(n, "scale", &factor, &factors);
    good = good ? per_column(t, from, "subtract", offset, offsets) &&
                      per_column(t, from, "multiply", factor, factors)
                : mw_onnx_fault(t, "a Scaler without offset and scale");
    free(offset), free(factor);
    return good;
}

static int impute(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *list;
    size_t count;
    int good = mw_onnx_floats(n, "imputed_value_floats", &list, &count);
    if (!isnan(mw_onnx_float(n, "replaced_value_float", NAN)))
        good = mw_onnx_fault(t, "an Imputer of other values than NaN");
    else
        good = good ? per_column(t, from, "impute", list, count)
                    : mw_onnx_fault(t, "an Imputer without imputed_value_floats");
    free(list);
    return good;
}

static int arithmetic(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from, const char *op)
{
    double *list;
    size_t count;
    if (n->input_count != 2 || !mw_onnx_constant(&t->onnx, n->inputs[1], &list, &count))
        return mw_onnx_refuse(t, "before the model two columns meet in the operator", n->op);
    int good = per_column(t, from, op, list, count);
    free(list);
    return good;
}

/* To another type of numbers: whole ones are cut off behind the point. */
static int cast(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    enum { FLOAT = 1, INT32 = 6, INT64 = 7, DOUBLE = 11 };
    int64_t to = mw_onnx_int(n, "to", 0);
    if (to != FLOAT && to != DOUBLE && to != INT32 && to != INT64)
        return mw_onnx_refuse(t,
                              "before the model, another type than float, double, int32 or int64 "
                              "comes of the operator",
                              n->op);
    for (uint32_t i = from; i < t->count; i++) {
        if (t->columns[i].is_text) return mw_onnx_fault(t, "texts are cast to numbers");
        if (to != DOUBLE) add_plain(&t->columns[i], to == FLOAT ? "float" : "truncate");
    }
    return 1;
}

/* An operator that joins or chooses does so by columns. */
static int is_by_column(mw_onnx_translation *t, const mw_onnx_node *n, int64_t otherwise)
{
    int64_t axis = mw_onnx_int(n, "axis", otherwise);
    return axis == 1 || axis == -1 ||
           mw_onnx_refuse(t, "before the model, not by columns (axis 1) works the operator", n->op);
}

/* Columns by their numbers. */
static int select_columns(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    double *list;
    size_t count;
    uint32_t had = t->count - from;
    int good = 1;
    if (n->input_count != 2 || !mw_onnx_constant(&t->onnx, n->inputs[1], &list, &count))
        return mw_onnx_refuse(t, "columns are chosen by no constant in", n->op);
    if (!count) good = mw_onnx_fault(t, "no columns are chosen");
    for (size_t i = 0; good && i < count; i++) {
        if (!(list[i] >= 0 && list[i] < (double)had))
            good = mw_onnx_fault(t, "a column is chosen that is not there");
        else if ((good = mw_onnx_add_column(t, t->columns[from + (uint32_t)list[i]].feature))) {
            const mw_onnx_column *old = &t->columns[from + (uint32_t)list[i]];
            mw_onnx_column *new = &t->columns[t->count - 1];
            mw_buffer_append(&new->ops, old->ops.bytes, old->ops.len);
            new->is_text = old->is_text;
        }
    }
    drop(t, from, had);
    free(list);
    return good;
}

/* Keys of an encoder as numbers: texts by their codes. */
static size_t keys_of(mw_onnx_translation *t, const mw_onnx_node *n, const mw_onnx_column *c,
                      const char *const *names, double **keys)
{
    int64_t *ints;
    mw_onnx_name *texts;
    size_t count = 0;
    *keys = NULL;
    if (c->is_text && mw_onnx_names(n, names[0], &texts, &count)) {
        *keys = mw_model_zeros(count, sizeof **keys);
        for (size_t i = 0; i < count && t->work <= WORK_MOST; i++)
            (*keys)[i] = code_of(t, c->feature, texts[i]);
        if (t->work > WORK_MOST) mw_onnx_fault(t, "its encoders have too many texts");
        free(texts);
    } else if (!c->is_text && mw_onnx_ints(n, names[1], &ints, &count)) {
        *keys = mw_model_zeros(count, sizeof **keys);
        for (size_t i = 0; i < count; i++) (*keys)[i] = (double)ints[i];
        free(ints);
    } else if (!c->is_text && names[2])
        mw_onnx_floats(n, names[2], keys, &count);
    if (!count) mw_onnx_refuse(t, "there are no keys of its columns' type in the operator", n->op);
    return count;
}

static int one_hot(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    static const char *const names[] = {"cats_strings", "cats_int64s", NULL};
    uint32_t had = t->count - from;
    for (uint32_t i = 0; t->status == MW_OK && i < had; i++) {
        mw_onnx_column of = t->columns[from + i];
        double *keys;
        size_t count = keys_of(t, n, &of, names, &keys);
        for (size_t k = 0; k < count && mw_onnx_add_column(t, of.feature); k++) {
            mw_onnx_column *c = &t->columns[t->count - 1];
            mw_buffer_append(&c->ops, of.ops.bytes, of.ops.len);
            add_op(c, "is", keys[k]);
        }
        free(keys);
    }
    drop(t, from, had);
    return t->status == MW_OK;
}

static void add_list(mw_buffer *out, const double *list, size_t count)
{
    mw_buffer_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i) mw_buffer_text(out, ",");
        mw_json_number(out, list[i]);
    }
    mw_buffer_text(out, "],");
}

/* The numbers that a LabelEncoder makes of its keys, and of anything else. */
static size_t values_of(const mw_onnx_node *n, double **to, double *other)
{
    int64_t *ints;
    size_t count;
    *other = mw_onnx_float(n, "default_float", -0.0);
    if (mw_onnx_floats(n, "values_floats", to, &count)) return count;
    if (!mw_onnx_ints(n, "values_int64s", &ints, &count)) return 0;
    *to = mw_model_zeros(count, sizeof **to);
    for (size_t i = 0; i < count; i++) (*to)[i] = (double)ints[i];
    *other = (double)mw_onnx_int(n, "default_int64", -1);
    free(ints);
    return count;
}

static int encode(mw_onnx_translation *t, const mw_onnx_node *n, uint32_t from)
{
    static const char *const names[] = {"keys_strings", "keys_int64s", "keys_floats"};
    double *to, *keys, other;
    size_t count = values_of(n, &to, &other);
    for (uint32_t i = from; t->status == MW_OK && i < t->count; i++) {
        mw_onnx_column *c = &t->columns[i];
        double missing = other;
        size_t key_count = keys_of(t, n, c, names, &keys);
        if (key_count != count)
            mw_onnx_fault(t, "a LabelEncoder's keys and numbers differ in number");
        for (size_t k = 0; t->status == MW_OK && k < count; k++)
            if (isnan(keys[k])) missing = to[k];
        if (!c->is_text) add_float(c);
        mw_buffer_text(&c->ops, c->ops.len ? ",[\"map\"," : "[\"map\",");
        add_list(&c->ops, keys, key_count), add_list(&c->ops, to, count);
        mw_json_number(&c->ops, other), mw_buffer_text(&c->ops, ",");
        mw_json_number(&c->ops, missing), mw_buffer_text(&c->ops, "]");
        c->is_text = 0;
        free(keys);
    }
    free(to);
    return t->status == MW_OK;
}

static int add_input(mw_onnx_translation *t, mw_onnx_name tensor)
{
    uint32_t feature = 0;
    for (uint32_t i = 0; i < t->onnx.input_count; i++) {
        const mw_onnx_input *in = &t->onnx.inputs[i];
        if (mw_onnx_same(in->name, tensor)) {
            if (!in->columns || feature + in->columns > COLUMNS_MOST)
                return mw_onnx_refuse(t, "it does not say how many columns it takes as", tensor);
            for (uint32_t k = 0; k < in->columns; k++) {
                if (!mw_onnx_add_column(t, feature + k)) return 0;
                t->columns[t->count - 1].is_text = in->is_text;
            }
            return 1;
        }
        feature += in->columns;
    }
    return mw_onnx_refuse(t, "nothing makes", tensor);
}

static const struct {
    const char *op, *column_op;
} arithmetics[] = {{"Add", "add"}, {"Sub", "subtract"}, {"Mul", "multiply"}, {"Div", "divide"}};

static int is_any(mw_onnx_name op, const char *const *names, size_t count)
{
    size_t i = 0;
    while (i < count && !mw_onnx_is(op, names[i])) i++;
    return i < count;
}

static int add_columns(mw_onnx_translation *t, mw_onnx_name tensor, int depth)
{
    static const char *const joining[] = {"Concat", "FeatureVectorizer"};
    static const char *const plain[] = {"Identity", "Reshape", "Flatten"};
    static const char *const choosing[] = {"ArrayFeatureExtractor", "Gather"};
    const mw_onnx_node *n = mw_onnx_maker(&t->onnx, tensor);
    uint32_t from = t->count;
    if (depth > DEEP || t->work > WORK_MOST)
        return mw_onnx_fault(t, "its nodes are too deep, in a ring, or shared by too many");
    if (!n) return add_input(t, tensor);
    int joins = is_any(n->op, joining, 2);
    for (uint32_t i = 0; i < (joins ? n->input_count : n->input_count > 0); i++)
        if (!add_columns(t, n->inputs[i], depth + 1)) return 0;
    t->work += 1 + t->count - from;
    if (is_any(n->op, plain, 3)) return 1;
    if (joins) return is_by_column(t, n, 1);
    if (is_any(n->op, choosing, 2)) {
        int by_column = is_by_column(t, n, mw_onnx_is(n->op, "Gather") ? 0 : -1);
        return by_column && select_columns(t, n, from);
    }
    if (mw_onnx_is(n->op, "Cast")) return cast(t, n, from);
    if (mw_onnx_is(n->op, "Scaler")) return scale(t, n, from);
    if (mw_onnx_is(n->op, "Imputer")) return impute(t, n, from);
    if (mw_onnx_is(n->op, "OneHotEncoder")) return one_hot(t, n, from);
    if (mw_onnx_is(n->op, "LabelEncoder")) return encode(t, n, from);
    for (size_t i = 0; i < sizeof arithmetics / sizeof *arithmetics; i++)
        if (mw_onnx_is(n->op, arithmetics[i].op))
            return arithmetic(t, n, from, arithmetics[i].column_op);
    return mw_onnx_refuse(t, "before the model there is the operator", n->op);
}

int mw_onnx_read_columns(mw_onnx_translation *t, mw_onnx_name tensor)
{
    if (!add_columns(t, tensor, 0)) return 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->columns[i].is_text) return mw_onnx_refuse(t, "the model sees texts of", tensor);
    return 1;
}

static void put_texts(mw_onnx_translation *t, const mw_onnx_texts *x)
{
    mw_buffer_text(&t->json, ",\"texts\":[");
    for (uint32_t i = 0; i < x->count; i++) {
        if (i) mw_buffer_text(&t->json, ",");
        mw_json_quote(&t->json, x->list[i].len ? x->list[i].text : "", x->list[i].len);
    }
    mw_buffer_text(&t->json, "]");
}

void mw_onnx_put_columns(mw_onnx_translation *t)
{
    mw_buffer name = {0};
    uint32_t n = 0;
    mw_buffer_text(&t->json, ",\"features\":[");
    for (uint32_t i = 0; i < t->onnx.input_count; i++) {
        const mw_onnx_input *in = &t->onnx.inputs[i];
        for (uint32_t k = 0; k < in->columns && n < COLUMNS_MOST; k++, n++) {
            name.len = 0;
            mw_buffer_append(&name, in->name.text, in->name.len);
            if (in->columns > 1) mw_buffer_format(&name, "%u", k);
            mw_buffer_text(&t->json, n ? ",{\"name\":" : "{\"name\":");
            mw_json_quote(&t->json, name.bytes ? name.bytes : "", name.len);
            if (t->texts && t->texts[n].count) put_texts(t, &t->texts[n]);
            mw_buffer_text(&t->json, "}");
        }
    }
    mw_buffer_text(&t->json, "],\"columns\":[");
    for (uint32_t i = 0; i < t->count; i++) {
        const mw_onnx_column *c = &t->columns[i];
        mw_buffer_format(&t->json, "%s{\"feature\":%u,\"ops\":[", i ? "," : "", c->feature);
        mw_buffer_append(&t->json, c->ops.bytes, c->ops.len);
        mw_buffer_text(&t->json, "]}");
    }
    mw_buffer_text(&t->json, "]");
    mw_buffer_close(&name);
}

void mw_onnx_columns_close(mw_onnx_translation *t)
{
    for (uint32_t i = 0; t->texts && i < features_of(t); i++) free(t->texts[i].list);
    for (uint32_t i = 0; i < t->count; i++) mw_buffer_close(&t->columns[i].ops);
    free(t->texts), free(t->columns);
}
