/* onnx.c: see onnx.h. */
#include "score/onnx.h"

#include <stdlib.h>
#include <string.h>

static mw_onnx_name name_of(mw_proto bytes)
{
    return (mw_onnx_name){(const char *)bytes.at, mw_proto_len(&bytes)};
}

int mw_onnx_is(mw_onnx_name name, const char *text)
{
    return name.len == strlen(text) && memcmp(name.text, text, name.len) == 0;
}

int mw_onnx_same(mw_onnx_name a, mw_onnx_name b)
{
    return a.len == b.len && (!a.len || memcmp(a.text, b.text, a.len) == 0);
}

const mw_onnx_node *mw_onnx_maker(const mw_onnx *o, mw_onnx_name tensor)
{
    for (uint32_t i = 0; i < o->node_count; i++)
        for (uint32_t k = 0; k < o->nodes[i].output_count; k++)
            if (mw_onnx_same(o->nodes[i].outputs[k], tensor)) return &o->nodes[i];
    return NULL;
}

/* ---- the graph ---- */

static const char *read_node(mw_onnx_node *n, mw_proto p)
{
    mw_proto_field f;
    n->attributes = p;
    while (mw_proto_next(&p, &f)) {
        if (f.type != 2) continue;
        if (f.number == 1 && n->input_count < MW_ONNX_EDGES)
            n->inputs[n->input_count++] = name_of(f.bytes);
        else if (f.number == 2 && n->output_count < MW_ONNX_EDGES)
            n->outputs[n->output_count++] = name_of(f.bytes);
        else if (f.number == 4)
            n->op = name_of(f.bytes);
        else if (f.number <= 2)
            return "a node has too many inputs or outputs";
    }
    return p.bad ? "a node is damaged" : NULL;
}

/* Types and shapes: TypeProto.tensor_type (1) has elem_type (1) and shape (2), whose dims (1) have
 * dim_value (1). */
static void read_type(mw_onnx_input *in, mw_proto type)
{
    mw_proto_field f, g, h;
    in->columns = 1;
    while (mw_proto_next(&type, &f)) {
        if (f.number != 1 || f.type != 2) continue;
        while (mw_proto_next(&f.bytes, &g)) {
            if (g.number == 1 && g.type == 0) in->is_text = g.word == 8;
            if (g.number != 2 || g.type != 2) continue;
            while (mw_proto_next(&g.bytes, &h)) {
                mw_proto_field d;
                uint64_t size = 0;
                while (h.type == 2 && mw_proto_next(&h.bytes, &d))
                    if (d.number == 1 && d.type == 0) size = d.word;
                in->columns = size <= 1 << 16 ? (uint32_t)size : 0;
            }
        }
    }
}

static void read_input(mw_onnx_input *in, mw_proto p)
{
    mw_proto_field f;
    while (mw_proto_next(&p, &f)) {
        if (f.number == 1 && f.type == 2) in->name = name_of(f.bytes);
        if (f.number == 2 && f.type == 2) read_type(in, f.bytes);
    }
}

static const char *read_graph(mw_onnx *o, mw_proto p)
{
    mw_proto_field f;
    o->graph = p;
    while (mw_proto_next(&p, &f)) {
        if (f.type != 2) continue;
        if (f.number == 1) {
            if (o->node_count == MW_ONNX_NODES) return "it has too many nodes";
            const char *fault = read_node(&o->nodes[o->node_count++], f.bytes);
            if (fault) return fault;
        } else if (f.number == 11) {
            if (o->input_count == MW_ONNX_INPUTS) return "it has too many inputs";
            read_input(&o->inputs[o->input_count++], f.bytes);
        }
    }
    return p.bad ? "its graph is damaged" : NULL;
}

mw_status mw_onnx_read(mw_onnx *o, const char *bytes, size_t len, mw_error *error)
{
    mw_proto p = mw_proto_of(bytes, len);
    mw_proto_field f;
    const char *fault = "it has no graph";
    *o = (mw_onnx){0};
    o->nodes = calloc(MW_ONNX_NODES, sizeof *o->nodes);
    o->inputs = calloc(MW_ONNX_INPUTS, sizeof *o->inputs);
    mw_assert(o->nodes && o->inputs);
    while (mw_proto_next(&p, &f))
        if (f.number == 7 && f.type == 2) fault = read_graph(o, f.bytes);
    if (p.bad) fault = "it is damaged";
    return fault ? mw_fail(error, MW_INVALID, "%s; is it an ONNX model?", fault) : MW_OK;
}

void mw_onnx_close(mw_onnx *o)
{
    free(o->nodes), free(o->inputs);
}

static double float_of(uint64_t word)
{
    uint32_t half = (uint32_t)word;
    float number;
    memcpy(&number, &half, sizeof number);
    return (double)number;
}

/* ---- constants: TensorProto's data_type 2, and its numbers as float_data 4, int32_data 5,
 * int64_data 7, double_data 10, or raw_data 9, little endian ---- */

enum { FLOAT = 1, INT32 = 6, INT64 = 7, DOUBLE = 11 };

static size_t width_of(uint64_t type)
{
    return type == FLOAT || type == INT32 ? 4 : type == INT64 || type == DOUBLE ? 8 : 0;
}

static double raw_number(uint64_t type, const unsigned char *at)
{
    uint64_t word = 0;
    float f;
    double d;
    for (size_t i = width_of(type); i-- > 0;) word = word << 8 | at[i];
    uint32_t half = (uint32_t)word;
    memcpy(&f, &half, sizeof f), memcpy(&d, &word, sizeof d);
    return type == FLOAT    ? (double)f
           : type == DOUBLE ? d
           : type == INT32  ? (int32_t)half
                            : (double)(int64_t)word;
}

static size_t read_packed(uint64_t type, mw_proto_field *f, double *list)
{
    uint64_t word;
    size_t count = 0, width = width_of(type);
    int whole = type == INT32 || type == INT64;
    if (f->type == 0 && whole) list[count++] = (double)(int64_t)f->word;
    while (f->type == 2 && whole && f->number != 9 && mw_proto_varint(&f->bytes, &word))
        list[count++] = (double)(int64_t)word;
    if (f->type == 2 && (!whole || f->number == 9))
        for (; mw_proto_len(&f->bytes) >= width; f->bytes.at += width)
            list[count++] = raw_number(type, f->bytes.at);
    return count;
}

static int find_constant(const mw_onnx *o, mw_onnx_name tensor, mw_proto *found, uint64_t *type)
{
    mw_proto p = o->graph;
    mw_proto_field f, g;
    while (mw_proto_next(&p, &f)) {
        int named = 0;
        if (f.number != 5 || f.type != 2) continue;
        *found = f.bytes, *type = 0;
        while (mw_proto_next(&f.bytes, &g)) {
            if (g.number == 8 && g.type == 2) named = mw_onnx_same(name_of(g.bytes), tensor);
            if (g.number == 2 && g.type == 0) *type = g.word;
        }
        if (named) return width_of(*type) != 0;
    }
    return 0;
}

int mw_onnx_constant(const mw_onnx *o, mw_onnx_name tensor, double **list, size_t *count)
{
    static const uint32_t data[] = {[FLOAT] = 4, [INT32] = 5, [INT64] = 7, [DOUBLE] = 10};
    mw_proto p;
    mw_proto_field f;
    uint64_t type;
    *list = NULL, *count = 0;
    if (!find_constant(o, tensor, &p, &type)) return 0;
    *list = malloc((mw_proto_len(&p) + 1) * sizeof **list);
    mw_assert(*list != NULL);
    while (mw_proto_next(&p, &f)) {
        if (f.number == data[type] && f.type == 5) (*list)[(*count)++] = float_of(f.word);
        else if (f.number == data[type] || f.number == 9)
            *count += read_packed(type, &f, *list + *count);
    }
    return 1;
}

int mw_onnx_is_one(const mw_onnx *o, mw_onnx_name tensor)
{
    double *list;
    size_t count, ones = 0;
    mw_onnx_constant(o, tensor, &list, &count);
    while (ones < count && list[ones] == 1) ones++;
    free(list);
    return count && ones == count;
}

/* ---- attributes: name 1, f 2, i 3, s 4, floats 7, ints 8, strings 9 ---- */

static int attribute(const mw_onnx_node *n, const char *name, mw_proto *found)
{
    mw_proto p = n->attributes;
    mw_proto_field f, g;
    while (mw_proto_next(&p, &f)) {
        if (f.number != 5 || f.type != 2) continue;
        mw_proto of = f.bytes;
        while (mw_proto_next(&f.bytes, &g))
            if (g.number == 1 && g.type == 2 && mw_onnx_is(name_of(g.bytes), name)) {
                *found = of;
                return 1;
            }
    }
    return 0;
}

int mw_onnx_floats(const mw_onnx_node *n, const char *name, double **list, size_t *count)
{
    mw_proto p;
    mw_proto_field f;
    float number;
    *list = NULL, *count = 0;
    if (!attribute(n, name, &p)) return 0;
    *list = malloc((mw_proto_len(&p) / 4 + 1) * sizeof **list);
    mw_assert(*list != NULL);
    while (mw_proto_next(&p, &f)) {
        if (f.number != 7) continue;
        if (f.type == 5) (*list)[(*count)++] = float_of(f.word);
        while (f.type == 2 && mw_proto_float(&f.bytes, &number))
            (*list)[(*count)++] = (double)number;
    }
    return 1;
}

int mw_onnx_ints(const mw_onnx_node *n, const char *name, int64_t **list, size_t *count)
{
    mw_proto p;
    mw_proto_field f;
    uint64_t word;
    *list = NULL, *count = 0;
    if (!attribute(n, name, &p)) return 0;
    *list = malloc((mw_proto_len(&p) + 1) * sizeof **list);
    mw_assert(*list != NULL);
    while (mw_proto_next(&p, &f)) {
        if (f.number != 8) continue;
        if (f.type == 0) (*list)[(*count)++] = (int64_t)f.word;
        while (f.type == 2 && mw_proto_varint(&f.bytes, &word)) (*list)[(*count)++] = (int64_t)word;
    }
    return 1;
}

int mw_onnx_names(const mw_onnx_node *n, const char *name, mw_onnx_name **list, size_t *count)
{
    mw_proto p;
    mw_proto_field f;
    *list = NULL, *count = 0;
    if (!attribute(n, name, &p)) return 0;
    *list = malloc((mw_proto_len(&p) / 2 + 1) * sizeof **list);
    mw_assert(*list != NULL);
    while (mw_proto_next(&p, &f))
        if (f.number == 9 && f.type == 2) (*list)[(*count)++] = name_of(f.bytes);
    return 1;
}

mw_onnx_name mw_onnx_text(const mw_onnx_node *n, const char *name, const char *fallback)
{
    mw_proto p;
    mw_proto_field f;
    mw_onnx_name found = {fallback, strlen(fallback)};
    if (attribute(n, name, &p))
        while (mw_proto_next(&p, &f))
            if (f.number == 4 && f.type == 2) found = name_of(f.bytes);
    return found;
}

int64_t mw_onnx_int(const mw_onnx_node *n, const char *name, int64_t fallback)
{
    mw_proto p;
    mw_proto_field f;
    if (attribute(n, name, &p))
        while (mw_proto_next(&p, &f))
            if (f.number == 3 && f.type == 0) fallback = (int64_t)f.word;
    return fallback;
}

double mw_onnx_float(const mw_onnx_node *n, const char *name, double fallback)
{
    mw_proto p;
    mw_proto_field f;
    if (attribute(n, name, &p))
        while (mw_proto_next(&p, &f))
            if (f.number == 2 && f.type == 5) fallback = float_of(f.word);
    return fallback;
}
