/* json_project.c: the projector: documents that look like those before them are validated by
 * comparing skeletons.
 *
 * A *node* is the path of a scalar (or array, or empty object) that was seen; an *edge* is the run
 * of bytes that stood between one such value and the next: punctuation, keys, opening and closing
 * braces. What may follow a value depends on its path alone (all containers around it are objects,
 * and the path names them), so an edge that was valid once behind a path is valid there always.
 * Running a document is walking edges: compare the run, check the scalar, go on. A document is
 * valid when its last edge ends it. Whatever does not fit goes to the scanner, and from there new
 * edges are learned.
 *
 * The edges that the last document took are remembered in their order (`steps`): the next one most
 * likely takes the same, and walking a list has no loads that wait for one another. The ends of
 * values come from masks (json_masks.h), for the same reason.
 *
 * Duplicate keys: a scalar that comes again overwrites, as it should. A container that comes again
 * would have to forget what it left below, which is the scanner's business: both ways out are
 * marked "scanner" below. */
#include "event/json_masks.h"
#include "event/json_private.h"

#include <stdlib.h>

enum {
    RUN_BYTES = 64,
    WIDE = 32,
    EDGES = 4,
    OPENS = 3,
    NODES_MAX = 1024,
    FREE_LESSONS = 64,
    LESSON_EVERY = 32,
    STEPS = 128,
    UNLIKE_MAX = 4,
    ALONE = 200
};

typedef struct node node;

typedef struct edge {
    char run[RUN_BYTES]; /* the bytes, then zeros */
    char mask[WIDE];     /* ones where the run has bytes */
    uint16_t len;
    uint8_t opens; /* containers with a slot that this run opens */
    uint8_t plain; /* it is short, opens nothing, and leads to a value without slots: most are */
    node *to;      /* NULL: the document ends */
    struct {
        int32_t path;
        uint32_t offset;
    } open[OPENS];
} edge;

struct node {
    int32_t path;   /* slot to fill or MW_PATH_NONE */
    int32_t parent; /* of the tree of keys; -1: root */
    int32_t child, sibling;
    char *key;
    uint32_t key_len;
    uint32_t depth;
    uint32_t edges;
    uint32_t lesson; /* the last one that passed here: a key that comes twice teaches nothing */
    uint32_t has_children; /* paths below this one have slots */
    edge edge[EDGES];
};

typedef struct step {
    const node *from;
    const edge *edge;
} step;

struct mw_projector {
    const mw_paths *paths;
    int32_t paths_known; /* count when the nodes were made */
    node *nodes; /* NODES_MAX, which stay where they are; nodes[0] is the root: before the first
                    value */
    int32_t count;
    mw_json_masker masker;
    int (*run_one)(mw_projector *p, const char *text, size_t len, mw_value *values);
    int (*run_pair)(mw_projector *p, const mw_pair *d);
    uint32_t unlike, alone; /* pairs that failed in a row; documents to go without */
    mw_json_masks masks[2];
    step steps[STEPS];
    uint32_t lessons, misses;
    int32_t previous; /* learning: the node behind which the next run begins */
    const char *run;  /* learning: where it begins */
    edge pending;     /* learning: the containers it opened */
    int teachable;
};

static int32_t node_add(mw_projector *p, int32_t parent, const char *key, size_t len)
{
    if (p->count == NODES_MAX) return -1;
    int32_t index = p->count++;
    node *n = &p->nodes[index];
    *n = (node){.path = MW_PATH_NONE, .parent = parent, .child = -1, .sibling = -1};
    if (parent < 0) {
        n->path = MW_PATH_ROOT;
        return index;
    }
    node *up = &p->nodes[parent];
    n->depth = up->depth + 1;
    n->key = malloc(len + 1);
    mw_assert(n->key != NULL);
    memcpy(n->key, key, len), n->key_len = (uint32_t)len;
    n->sibling = up->child, up->child = index;
    if (up->path != MW_PATH_NONE) {
        mw_buffer text = {0};
        mw_json_unescape(&text, key, len);
        n->path = mw_paths_find(p->paths, up->path, text.bytes ? text.bytes : "", text.len);
        mw_buffer_close(&text);
        n->has_children = n->path >= 0 && p->paths->paths[n->path].child >= 0;
    }
    return index;
}

static int32_t node_of_key(mw_projector *p, int32_t parent, const char *key, size_t len)
{
    for (int32_t c = p->nodes[parent].child; c >= 0; c = p->nodes[c].sibling)
        if (p->nodes[c].key_len == len && memcmp(p->nodes[c].key, key, len) == 0) return c;
    return node_add(p, parent, key, len);
}

static void forget(mw_projector *p)
{
    for (int32_t i = 0; i < p->count; i++) free(p->nodes[i].key);
    p->count = 0, p->misses = 0;
    memset(p->steps, 0, sizeof p->steps);
    p->paths_known = p->paths->count;
    node_add(p, -1, NULL, 0);
}

mw_projector *mw_projector_new(const mw_paths *paths)
{
    mw_projector *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    p->paths = paths;
    p->nodes = calloc(NODES_MAX, sizeof *p->nodes);
    mw_assert(p->nodes != NULL);
    forget(p);
    return p;
}

void mw_projector_free(mw_projector *p)
{
    if (!p) return;
    for (int32_t i = 0; i < p->count; i++) free(p->nodes[i].key);
    free(p->nodes);
    free(p);
}

/* ---- learning: a walk over a document that the scanner found valid ---- */

static void learn_run(mw_projector *p, const char *run_end, node *to)
{
    size_t len = (size_t)(run_end - p->run);
    if (len > RUN_BYTES || p->pending.opens > OPENS) p->teachable = 0;
    if (!p->teachable) return;
    node *n = &p->nodes[p->previous];
    for (uint32_t i = 0; i < n->edges; i++)
        if (n->edge[i].len == len && n->edge[i].to == to &&
            memcmp(n->edge[i].run, p->run, len) == 0)
            return;
    uint32_t place = n->edges < EDGES ? n->edges++ : EDGES - 1;
    edge *e = &n->edge[place];
    *e = p->pending;
    memset(e->run, 0, RUN_BYTES);
    memcpy(e->run, p->run, len);
    e->len = (uint16_t)len, e->to = to;
    e->plain = len <= WIDE && e->opens == 0 && to && to->path < 0;
    memset(e->mask, 0, WIDE);
    memset(e->mask, 0xff, len < WIDE ? len : WIDE);
}

static int visit(mw_projector *p, int32_t index)
{
    if (index < 0 || p->nodes[index].lesson == p->lessons) return p->teachable = 0;
    p->nodes[index].lesson = p->lessons;
    return 1;
}

static const char *learn_value(mw_projector *p, const char *at, const char *end, int32_t here)
{
    mw_json_reader r = {.end = end};
    const char *inside = *at == '{' ? mw_json_space(at + 1, end) : NULL;
    if (!inside || *inside == '}') { /* a scalar, an array, an empty object: one value */
        learn_run(p, at, &p->nodes[here]);
        at = mw_json_read_value(&r, at, NULL, MW_PATH_NONE, NULL, 0);
        p->previous = here, p->run = at, p->pending.opens = 0;
        return at;
    }
    if (p->nodes[here].path >= 0) {
        if (p->pending.opens < OPENS) {
            p->pending.open[p->pending.opens].path = p->nodes[here].path;
            p->pending.open[p->pending.opens].offset = (uint32_t)(at - p->run);
        }
        p->pending.opens++;
    }
    for (at = inside; p->teachable;) {
        int plain;
        const char *key = at + 1, *key_end = mw_json_string_end(&r, key, &plain);
        int32_t child = node_of_key(p, here, key, (size_t)(key_end - key));
        if (!visit(p, child)) break;
        at = mw_json_space(key_end + 1, end);
        at = mw_json_space(at + 1, end);
        at = learn_value(p, at, end, child);
        if (!p->teachable) break;
        at = mw_json_space(at, end);
        if (*at == '}') return at + 1;
        at = mw_json_space(at + 1, end);
    }
    return at;
}

static void learn(mw_projector *p, const char *text, size_t len)
{
    if (p->misses++ > FREE_LESSONS && p->misses % LESSON_EVERY) return;
    const char *end = text + len;
    p->lessons++;
    p->teachable = 1, p->previous = 0, p->run = text, p->pending = (edge){0};
    const char *at = mw_json_space(text, end);
    if (*at != '{') return; /* only objects have a skeleton */
    const char *inside = mw_json_space(at + 1, end);
    if (*inside == '}') return;
    learn_value(p, at, end, 0);
    if (p->teachable) learn_run(p, end, NULL);
}

/* ---- running ---- */

#define INLINE static inline __attribute__((always_inline))

/* Whether the run stands at p: its first 32 bytes. The variants differ in the vectors they use. */
INLINE int run_head_plain(const edge *e, const char *p)
{
    return memcmp(p, e->run, e->len < WIDE ? e->len : WIDE) == 0;
}

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,bmi,bmi2")))

AVX2 INLINE int run_head_avx2(const edge *e, const char *p)
{
    __m256i differ = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p),
                                      _mm256_loadu_si256((const __m256i *)e->run));
    return _mm256_testz_si256(differ, _mm256_loadu_si256((const __m256i *)e->mask));
}

INLINE int run_head_sse2(const edge *e, const char *p)
{
    __m128i zero = _mm_setzero_si128();
    __m128i low = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p),
                                _mm_loadu_si128((const __m128i *)e->run));
    __m128i high = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(p + 16)),
                                 _mm_loadu_si128((const __m128i *)(e->run + 16)));
    low = _mm_and_si128(low, _mm_loadu_si128((const __m128i *)e->mask));
    high = _mm_and_si128(high, _mm_loadu_si128((const __m128i *)(e->mask + 16)));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(low, high), zero)) == 0xffff;
}
#endif

typedef int (*run_head)(const edge *e, const char *p);

INLINE int rest_matches(const edge *e, const char *p)
{
    return e->len <= WIDE || memcmp(p + WIDE, e->run + WIDE, e->len - WIDE) == 0;
}

static __attribute__((noinline)) const edge *edge_at(const node *n, const char *p)
{
    for (uint32_t i = 0; i < n->edges; i++)
        if (run_head_plain(&n->edge[i], p) && rest_matches(&n->edge[i], p)) return &n->edge[i];
    return NULL;
}

/* Behind a number at i: digits, at most one point between digits, no exponent, no leading zero,
 * which is what nearly all numbers are; 0 for what is something else. */
INLINE size_t number_end(const char *text, const uint64_t *others, size_t i)
{
    size_t start = i += text[i] == '-';
    i = mw_mask_next(others, i);
    if (i == start || (text[start] == '0' && i - start > 1)) return 0;
    if (text[i] == '.') {
        size_t fraction = ++i;
        i = mw_mask_next(others, i);
        if (i == fraction) return 0;
    }
    return i; /* an exponent is not what the next run begins with */
}

INLINE void fill(mw_value *v, uint32_t kind, const char *text, size_t len)
{
    v->text = text, v->len = (uint32_t)len, v->kind = kind;
}

/* The value at i, checked and put into its slot; the result is behind it, or 0: ask the scanner. */
INLINE size_t take_value(mw_projector *pr, const mw_json_masks *masks, const node *n,
                         const char *text, size_t i, size_t len, mw_value *values)
{
    mw_value *v = n->path >= 0 ? &values[n->path] : NULL;
    if (n->has_children && v->kind != MW_ABSENT) return 0;
    mw_json_reader r = {.end = text + len};
    const char *p = text + i;
    uint32_t kind;
    if (*p == '"') {
        size_t end = mw_mask_next(masks->stops, i + 1);
        int plain = 1;
        if (text[end] != '"' || end >= len) {
            const char *quote = mw_json_string_end(&r, text + end, &plain);
            if (!quote || quote >= r.end) return 0;
            plain &= !memchr(p + 1, '\\', (size_t)(quote - p - 1));
            end = (size_t)(quote - text);
        }
        if (v) fill(v, plain ? MW_STRING : MW_ESCAPED, p + 1, end - i - 1);
        return end + 1;
    }
    if (*p == '-' || (unsigned char)(*p - '0') <= 9) {
        size_t end = number_end(text, masks->others, i);
        if (!end || end > len) {
            const char *behind = mw_json_number_end(&r, p);
            if (!behind) return 0;
            end = (size_t)(behind - text);
        }
        if (v) mw_json_number_read(v, p, end - i);
        return end;
    }
    if (*p == '{' || *p == '[')
        p = mw_json_read_value(&r, p, pr->paths, n->path, values, (int)n->depth);
    else if ((p = mw_json_atom_end(&r, p, &kind)) && v)
        fill(v, kind, text + i, (size_t)(p - text) - i);
    return p ? (size_t)(p - text) : 0;
}

/* 0 when a container comes again: what it left below would have to be forgotten, which the scanner
 * does. */
INLINE int open_containers(const edge *e, const char *text, size_t i, size_t len, mw_value *values)
{
    for (uint32_t k = 0; k < e->opens; k++) {
        mw_value *v = &values[e->open[k].path];
        size_t at = i + e->open[k].offset;
        if (v->kind != MW_ABSENT || at >= len) return 0;
        fill(v, MW_OBJECT, text + at, len - at);
    }
    return 1;
}

/* 1: valid and projected; 0: ask the scanner. What stands behind the document may be read, and even
 * followed; then the last edge does not end where the document does. */
/* Behind a value at i that nobody asked for, where it is a simple string or number; else 0. */
INLINE size_t skip_value(const mw_json_masks *masks, const char *text, size_t i)
{
    if (text[i] == '"') {
        size_t end = mw_mask_next(masks->stops, i + 1);
        return text[end] == '"' ? end + 1 : 0;
    }
    return (unsigned char)(text[i] - '0') <= 9 ? number_end(text, masks->others, i) : 0;
}

INLINE int run_with(mw_projector *pr, const mw_json_masks *masks, const char *text, size_t len,
                    mw_value *values, run_head head)
{
    const node *n = pr->nodes;
    size_t i = 0;
    for (step *s = pr->steps, *last = s + STEPS - 1;; s += s < last) {
        const edge *e = s->edge;
        if (__builtin_expect(s->from != n || !head(e, text + i), 0)) {
            e = edge_at(n, text + i);
            if (!e) return 0;
            s->from = n, s->edge = e;
        }
        if (__builtin_expect(e->plain, 1)) {
            i += e->len, n = e->to;
            if (i >= len) return 0;
            size_t end = skip_value(masks, text, i);
            if (!end) end = take_value(pr, masks, n, text, i, len, values);
            if (!(i = end)) return 0;
            continue;
        }
        if (!rest_matches(e, text + i) || !open_containers(e, text, i, len, values)) return 0;
        i += e->len, n = e->to;
        if (!n) return i == len;
        if (i >= len || !(i = take_value(pr, masks, n, text, i, len, values))) return 0;
    }
}

/* Two documents side by side: what one waits for, the other fills. 0 where they are not alike: then
 * each goes alone. */
INLINE int run_pair_with(mw_projector *pr, const mw_pair *d, run_head head)
{
    const node *n = pr->nodes;
    const char *a = d->text[0], *b = d->text[1];
    size_t i = 0, j = 0, alen = d->len[0], blen = d->len[1];
    const mw_json_masks *am = &pr->masks[0], *bm = &pr->masks[1];
    for (const step *s = pr->steps, *last = s + STEPS - 1;; s += s < last) {
        const edge *e = s->edge;
        if (s->from != n || !head(e, a + i) || !head(e, b + j)) return 0;
        if (__builtin_expect(e->plain, 1)) {
            i += e->len, j += e->len, n = e->to;
            if (i >= alen || j >= blen) return 0;
            size_t p = skip_value(am, a, i), q = skip_value(bm, b, j);
            if (!p) p = take_value(pr, am, n, a, i, alen, d->values[0]);
            if (!q) q = take_value(pr, bm, n, b, j, blen, d->values[1]);
            if (!(i = p) || !(j = q)) return 0;
            continue;
        }
        if (!rest_matches(e, a + i) || !open_containers(e, a, i, alen, d->values[0])) return 0;
        if (!rest_matches(e, b + j) || !open_containers(e, b, j, blen, d->values[1])) return 0;
        i += e->len, j += e->len, n = e->to;
        if (!n) return i == alen && j == blen;
        if (i >= alen || !(i = take_value(pr, am, n, a, i, alen, d->values[0]))) return 0;
        if (j >= blen || !(j = take_value(pr, bm, n, b, j, blen, d->values[1]))) return 0;
    }
}

#if defined(__x86_64__)
#define PLAIN_HEAD run_head_sse2
AVX2 static int run_avx2(mw_projector *pr, const char *text, size_t len, mw_value *values)
{
    return run_with(pr, pr->masks, text, len, values, run_head_avx2);
}

AVX2 static int run_pair_avx2(mw_projector *pr, const mw_pair *d)
{
    return run_pair_with(pr, d, run_head_avx2);
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}
#else
#define PLAIN_HEAD    run_head_plain
#define run_avx2      run_plain
#define run_pair_avx2 run_pair_plain
static int has_avx2(void)
{
    return 0;
}
#endif

static int run_plain(mw_projector *pr, const char *text, size_t len, mw_value *values)
{
    return run_with(pr, pr->masks, text, len, values, PLAIN_HEAD);
}

static int run_pair_plain(mw_projector *pr, const mw_pair *d)
{
    return run_pair_with(pr, d, PLAIN_HEAD);
}

static void choose_runners(mw_projector *p)
{
    p->masker = mw_json_masker_best();
    p->run_one = has_avx2() ? run_avx2 : run_plain;
    p->run_pair = has_avx2() ? run_pair_avx2 : run_pair_plain;
}

static void clear(mw_projector *p, mw_value *values)
{
    for (int32_t i = 0; i < p->paths->count; i++) values[i].kind = MW_ABSENT;
}

mw_status mw_projector_run(mw_projector *p, const char *text, size_t len, mw_value *values,
                           mw_json_fault *fault)
{
    if (p->paths_known != p->paths->count) forget(p);
    if (!p->run_one) choose_runners(p);
    if (len <= MW_MASKED_BYTES && p->nodes->edges) {
        clear(p, values);
        p->masker(text, len, p->masks);
        if (p->run_one(p, text, len, values)) return MW_OK;
    }
    mw_status status = mw_json_scan(text, len, p->paths, values, fault);
    if (status == MW_OK) learn(p, text, len);
    return status;
}

int mw_projector_run_pair(mw_projector *p, const mw_pair *d)
{
    if (p->alone) { /* pairs have failed: not again for a while */
        p->alone--;
        return 0;
    }
    if (!p->run_one || p->paths_known != p->paths->count || !p->nodes->edges) return 0;
    if (d->len[0] > MW_MASKED_BYTES || d->len[1] > MW_MASKED_BYTES) return 0;
    for (int i = 0; i < 2; i++) {
        clear(p, d->values[i]);
        p->masker(d->text[i], d->len[i], &p->masks[i]);
    }
    if (p->run_pair(p, d)) {
        p->unlike = 0;
        return 1;
    }
    if (++p->unlike > UNLIKE_MAX) p->unlike = 0, p->alone = ALONE;
    return 0;
}
