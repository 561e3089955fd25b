/* fuzz_json.cc: the JSON scanner and the projector against a reference (nlohmann/json): the same
 * documents are valid, the same values are found, whatever the projector saw before; and splicing
 * and walking keep valid documents valid. */
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

extern "C" {
typedef struct mw_value {
    double number;
    const char *text;
    uint32_t len, kind;
} mw_value;
typedef struct mw_paths {
    void *paths;
    int32_t count, roots;
} mw_paths;
typedef struct mw_json_fault {
    const char *what;
    size_t at;
} mw_json_fault;
typedef struct mw_buffer {
    char *bytes;
    size_t len, room;
} mw_buffer;
typedef struct mw_projector mw_projector;
void mw_paths_init(mw_paths *p);
void mw_paths_close(mw_paths *p);
void mw_projector_free(mw_projector *p);
int32_t mw_paths_key(mw_paths *p, int32_t parent, const char *key, size_t len);
int32_t mw_paths_index(mw_paths *p, int32_t parent, uint32_t index);
int mw_json_scan(const char *text, size_t len, const mw_paths *paths, mw_value *values,
                 mw_json_fault *fault);
mw_projector *mw_projector_new(const mw_paths *paths);
int mw_projector_run(mw_projector *p, const char *text, size_t len, mw_value *values,
                     mw_json_fault *fault);
typedef struct mw_pair {
    const char *text[2];
    size_t len[2];
    mw_value *values[2];
} mw_pair;
int mw_projector_run_pair(mw_projector *p, const mw_pair *documents);
int mw_json_split(const char *text, size_t len, void (*found)(void *, const char *, size_t),
                  void *self);
void mw_json_unescape(mw_buffer *out, const char *text, size_t len);
mw_value mw_json_value(const char *text, size_t len);
int mw_json_next(const char *text, size_t len, size_t *cursor, mw_value *key, mw_value *value);
}

enum { ABSENT, STRING, NUMBER, NIL, FALSE_, TRUE_, ESCAPED, INTEGER, OBJECT, ARRAY };

using nlohmann::json;

static void check(bool good)
{
    if (!good) __builtin_trap();
}

static std::string text_of(const mw_value &v)
{
    mw_buffer b = {};
    mw_json_unescape(&b, v.text, v.len);
    std::string s(b.bytes ? b.bytes : "", b.len);
    free(b.bytes);
    return s;
}

static bool has_surrogate(const std::string &s)
{
    return s.find("\xef\xbf\xbd") != std::string::npos;
}

/* Our value means what the reference's does. */
static void same(const mw_value &v, const json *want)
{
    if (!want) {
        check(v.kind == ABSENT);
        return;
    }
    switch (v.kind) {
    case STRING:
    case ESCAPED: {
        std::string s = text_of(v);
        check(want->is_string() && (s == want->get<std::string>() || has_surrogate(s)));
        break;
    }
    case NUMBER:
    case INTEGER: {
        double d = want->get<double>();
        check(want->is_number() && (d == v.number || std::isinf(v.number)));
        break;
    }
    case NIL:
        check(want->is_null());
        break;
    case TRUE_:
        check(want->is_boolean() && want->get<bool>());
        break;
    case FALSE_:
        check(want->is_boolean() && !want->get<bool>());
        break;
    case OBJECT:
        check(want->is_object());
        break;
    case ARRAY:
        check(want->is_array());
        break;
    default:
        check(false);
    }
}

static const json *member(const json *of, const char *key)
{
    return of && of->is_object() && of->contains(key) ? &(*of)[key] : nullptr;
}

static const json *element(const json *of, size_t index)
{
    return of && of->is_array() && of->size() >= index ? &(*of)[index - 1] : nullptr;
}

static int depth_of(const char *p, size_t len)
{
    int depth = 0, most = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '[' || p[i] == '{') most = ++depth > most ? depth : most;
        if (p[i] == ']' || p[i] == '}') depth--;
    }
    return most;
}

static size_t walk(const char *text, size_t len)
{
    mw_value key, v;
    size_t cursor = 0, count = 0;
    while (mw_json_next(text, len, &cursor, &key, &v)) {
        count++;
        if (v.kind == OBJECT || v.kind == ARRAY) walk(v.text, v.len);
    }
    return count;
}

struct world {
    mw_paths paths;
    int32_t a, b, ba, c, c1, c2d;
    mw_projector *projector;
    world()
    {
        mw_paths_init(&paths);
        a = mw_paths_key(&paths, -1, "a", 1);
        b = mw_paths_key(&paths, -1, "b", 1);
        ba = mw_paths_key(&paths, b, "a", 1);
        c = mw_paths_key(&paths, -1, "c", 1);
        c1 = mw_paths_index(&paths, c, 1);
        c2d = mw_paths_key(&paths, mw_paths_index(&paths, c, 2), "d", 1);
        projector = mw_projector_new(&paths);
    }
    ~world()
    {
        mw_projector_free(projector);
        mw_paths_close(&paths);
    }
};

struct elements {
    size_t count = 0;
    bool valid = true;
};

static void on_element(void *self, const char *text, size_t len)
{
    elements *e = (elements *)self;
    mw_json_fault fault;
    std::vector<char> padded(len + 64);
    memcpy(padded.data(), text, len);
    e->count++;
    e->valid &= mw_json_scan(padded.data(), len, nullptr, nullptr, &fault) == 0;
}

/* Valid elements make a valid array, and a valid array of objects is cut into as many as it has. */
static void split(const char *text, size_t len)
{
    elements e;
    mw_json_fault fault;
    bool cut = mw_json_split(text, len, on_element, &e);
    bool good = mw_json_scan(text, len, nullptr, nullptr, &fault) == 0;
    if (cut && e.valid && depth_of(text, len) < 500) check(good);
    if (!good) return;
    mw_value key, v;
    size_t cursor = 0, count = 0;
    bool simple = mw_json_value(text, len).kind == ARRAY;
    while (simple && mw_json_next(text, len, &cursor, &key, &v)) {
        count++;
        simple &= v.kind == OBJECT || v.kind == ARRAY;
    }
    check(!simple || (cut && e.count == count && e.valid));
}

static bool same_values(const world &w, const mw_value *x, const mw_value *y);

static void one(world &w, const char *bytes, size_t len)
{
    std::vector<char> padded(len + 64);
    if (len) memcpy(padded.data(), bytes, len);
    const char *text = padded.data();
    mw_value slow[64], fast[64];
    mw_json_fault fault;
    int scanned = mw_json_scan(text, len, &w.paths, slow, &fault);
    int projected = mw_projector_run(w.projector, text, len, fast, &fault);
    check(scanned == projected);
    mw_value first[64], second[64];
    mw_pair pair = {{text, text}, {len, len}, {first, second}};
    if (mw_projector_run_pair(w.projector, &pair)) {
        check(scanned == 0);
        check(same_values(w, first, slow) && same_values(w, second, slow));
    }
    split(text, len);
    if (depth_of(text, len) > 500) return; /* we limit depth, the reference does not */
    if (memchr(text, 0, len)) return; /* a NUL ends the reference's input, where ours refuses it */
    /* the reference refuses numbers past double's range and lone surrogates, and takes a byte order
     * mark */
    json want = json::parse(text, text + len, nullptr, false);
    bool marked = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    if (want.is_discarded()) {
        std::string all(text, len);
        bool escapes = all.find("\\u") != std::string::npos;
        bool large = all.find_first_of("eE") != std::string::npos || len > 300;
        check(scanned != 0 || escapes || large);
        return;
    }
    if (marked) return;
    check(scanned == 0);
    const json *b = member(&want, "b"), *c = member(&want, "c");
    for (const mw_value *v : {slow, fast}) {
        same(v[w.a], member(&want, "a"));
        same(v[w.b], b);
        same(v[w.ba], member(b, "a"));
        same(v[w.c], c);
        same(v[w.c1], element(c, 1));
        same(v[w.c2d], member(element(c, 2), "d"));
    }
    mw_value all = mw_json_value(text, len);
    if (all.kind == OBJECT || all.kind == ARRAY) walk(all.text, all.len);
}

static bool same_values(const world &w, const mw_value *x, const mw_value *y)
{
    for (int32_t i : {w.a, w.b, w.ba, w.c, w.c1, w.c2d}) {
        if (x[i].kind != y[i].kind) return false;
        if (x[i].kind == ABSENT) continue;
        if (x[i].text != y[i].text) return false;
        if (x[i].kind != OBJECT && x[i].len != y[i].len) return false;
    }
    return true;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world w; /* documents are lines, so that the projector learns from those before */
    const char *p = (const char *)data, *end = p + size;
    while (p < end) {
        const char *line = (const char *)memchr(p, '\n', (size_t)(end - p));
        if (!line) line = end;
        one(w, p, (size_t)(line - p));
        one(w, p, (size_t)(line - p));
        p = line + 1;
    }
    return 0;
}
