/* comparison.c: see comparison.h. */
#include "flow/comparison.h"
#include "event/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLES = 10, NAME_BYTES = 128, REASONS_MAX = 1000 };

typedef struct reason {
    char name[NAME_BYTES];
    uint64_t count;
} reason;

/* The decisions of one source: blocks of a length, a number of events, and lines. */
typedef struct kept {
    struct kept *next;
    char *source;
    FILE *file;
    int reading;
} kept;

struct mw_comparison {
    kept *sources;
    uint64_t events, differing;
    reason *reasons;
    size_t reason_count;
    char *examples[EXAMPLES][2];
    size_t example_count;
    mw_buffer old, a, b;
    int failed;
};

typedef struct block_head {
    uint64_t len;
    uint64_t events;
} block_head;

mw_status mw_comparison_new(mw_comparison **comparison, mw_error *error)
{
    (void)error;
    *comparison = calloc(1, sizeof **comparison);
    mw_assert(*comparison != NULL);
    return MW_OK;
}

void mw_comparison_free(mw_comparison *c)
{
    if (!c) return;
    for (kept *k = c->sources, *next; k; k = next) {
        next = k->next;
        if (k->file) fclose(k->file);
        free(k->source);
        free(k);
    }
    for (size_t i = 0; i < c->example_count; i++) free(c->examples[i][0]), free(c->examples[i][1]);
    free(c->reasons);
    mw_buffer_close(&c->old);
    mw_buffer_close(&c->a);
    mw_buffer_close(&c->b);
    free(c);
}

static kept *kept_of(mw_comparison *c, const char *source, int make)
{
    for (kept *k = c->sources; k; k = k->next)
        if (strcmp(k->source, source) == 0) return k;
    if (!make) return NULL;
    kept *k = calloc(1, sizeof *k);
    mw_assert(k != NULL && (k->source = strdup(source)) != NULL);
    k->file = tmpfile();
    if (!k->file) c->failed = errno;
    k->next = c->sources;
    c->sources = k;
    return k;
}

void mw_comparison_keep(void *comparison, const char *source, const char *lines, size_t len,
                        uint32_t events)
{
    mw_comparison *c = comparison;
    kept *k = kept_of(c, source, 1);
    block_head head = {.len = len, .events = events};
    if (!k->file) return;
    if (fwrite(&head, sizeof head, 1, k->file) != 1 || fwrite(lines, 1, len, k->file) != len)
        c->failed = errno ? errno : EIO;
}

/* ---- why two decisions differ ---- */

static void count_reason(mw_comparison *c, const char *kind, mw_value name)
{
    char text[NAME_BYTES];
    size_t i = 0;
    if (name.text) snprintf(text, sizeof text, "%s %.*s", kind, (int)name.len, name.text);
    else
        snprintf(text, sizeof text, "%s", kind);
    while (i < c->reason_count && strcmp(c->reasons[i].name, text) < 0) i++;
    if (i < c->reason_count && strcmp(c->reasons[i].name, text) == 0) {
        c->reasons[i].count++;
        return;
    }
    if (c->reason_count == REASONS_MAX) return;
    c->reasons = realloc(c->reasons, (c->reason_count + 1) * sizeof *c->reasons);
    mw_assert(c->reasons != NULL);
    memmove(c->reasons + i + 1, c->reasons + i, (c->reason_count - i) * sizeof *c->reasons);
    c->reason_count++;
    c->reasons[i] = (reason){.count = 1};
    memcpy(c->reasons[i].name, text, sizeof text);
}

static int same(mw_value a, mw_value b)
{
    if (!a.text || !b.text) return a.text == b.text;
    return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

/* The n-th send of a decision, counted from 0. */
static mw_value send_at(mw_value sends, size_t n)
{
    size_t cursor = 0;
    mw_value key, v = {0};
    for (size_t i = 0; i <= n; i++)
        if (sends.kind != MW_ARRAY || !mw_json_next(sends.text, sends.len, &cursor, &key, &v))
            return (mw_value){0};
    return v;
}

/* Sends are held against each other in order; each rule and sink is named once an event. */
static void compare_sends(mw_comparison *c, mw_value old, mw_value new)
{
    char seen[8][NAME_BYTES];
    size_t count = 0;
    for (size_t i = 0;; i++) {
        mw_value x = send_at(old, i), y = send_at(new, i);
        if (!x.text && !y.text) return;
        if (same(x, y)) continue;
        for (int side = 0; side < 2; side++)
            for (int what = 0; what < 2; what++) {
                const char *kind = what ? "sink" : "rule";
                mw_value name = mw_json_field(side ? y : x, kind);
                char text[NAME_BYTES];
                size_t j = 0;
                if (!name.text) continue;
                snprintf(text, sizeof text, "%s %.*s", kind, (int)name.len, name.text);
                while (j < count && strcmp(seen[j], text) != 0) j++;
                if (j < count) continue;
                if (count < 8) memcpy(seen[count++], text, sizeof text);
                count_reason(c, kind, name);
            }
    }
}

static mw_value decision(mw_buffer *to, const char *line, size_t len)
{
    to->len = 0;
    mw_buffer_append(to, line, len);
    memset(mw_buffer_reserve(to, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    return mw_json_value(to->bytes, to->len);
}

static void compare_line(mw_comparison *c, const char *old, size_t old_len, const char *new,
                         size_t new_len)
{
    if (old_len == new_len && memcmp(old, new, old_len) == 0) return;
    mw_value a = decision(&c->a, old, old_len), b = decision(&c->b, new, new_len);
    c->differing++;
    compare_sends(c, mw_json_field(a, "sends"), mw_json_field(b, "sends"));
    if (!same(mw_json_field(a, "reply"), mw_json_field(b, "reply")))
        count_reason(c, "reply", (mw_value){0});
    if (!same(mw_json_field(a, "dead_letter"), mw_json_field(b, "dead_letter")))
        count_reason(c, "dead_letter", (mw_value){0});
    if (c->example_count == EXAMPLES) return;
    c->examples[c->example_count][0] = strndup(old, old_len);
    c->examples[c->example_count][1] = strndup(new, new_len);
    c->example_count++;
}

static int next_block(mw_comparison *c, const char *source, uint32_t events)
{
    kept *k = kept_of(c, source, 0);
    block_head head;
    c->old.len = 0;
    if (!k || !k->file) return 0;
    if (!k->reading) rewind(k->file), k->reading = 1;
    if (fread(&head, sizeof head, 1, k->file) != 1 || head.events != events) return 0;
    char *room = mw_buffer_reserve(&c->old, head.len + 1);
    if (fread(room, 1, head.len, k->file) != head.len) return 0;
    c->old.len = head.len;
    return 1;
}

void mw_comparison_hold_against(void *comparison, const char *source, const char *lines, size_t len,
                                uint32_t events)
{
    mw_comparison *c = comparison;
    c->events += events;
    if (!next_block(c, source, events)) {
        mw_value name = {.text = source, .len = (uint32_t)strlen(source)};
        c->differing += events;
        for (uint32_t i = 0; i < events; i++) count_reason(c, "source", name);
        return;
    }
    if (c->old.len == len && memcmp(c->old.bytes, lines, len) == 0) return;
    const char *old = c->old.bytes, *old_end = old + c->old.len, *end = lines + len;
    while (lines < end && old < old_end) {
        const char *stop = memchr(lines, '\n', (size_t)(end - lines)),
                   *old_stop = memchr(old, '\n', (size_t)(old_end - old));
        if (!stop) stop = end;
        if (!old_stop) old_stop = old_end;
        compare_line(c, old, (size_t)(old_stop - old), lines, (size_t)(stop - lines));
        lines = stop + 1, old = old_stop + 1;
    }
}

/* ---- what came of it ---- */

mw_status mw_comparison_counts(const mw_comparison *c, uint64_t *events, uint64_t *differing,
                               mw_error *error)
{
    *events = c->events, *differing = c->differing;
    if (!c->failed) return MW_OK;
    return mw_fail(error, MW_IO, "decisions could not be kept for comparison: %s (TMPDIR is where)",
                   strerror(c->failed));
}

void mw_comparison_json(const mw_comparison *c, mw_buffer *out)
{
    mw_buffer_format(out, "{\"events\":%llu,\"differ\":%llu,\"by\":{",
                     (unsigned long long)c->events, (unsigned long long)c->differing);
    for (size_t i = 0; i < c->reason_count; i++) {
        mw_buffer_text(out, i ? "," : "");
        mw_json_quote(out, c->reasons[i].name, strlen(c->reasons[i].name));
        mw_buffer_format(out, ":%llu", (unsigned long long)c->reasons[i].count);
    }
    mw_buffer_text(out, "},\"examples\":[");
    for (size_t i = 0; i < c->example_count; i++)
        mw_buffer_format(out, "%s{\"old\":%s,\"new\":%s}", i ? "," : "", c->examples[i][0],
                         c->examples[i][1]);
    mw_buffer_text(out, "]}");
}

void mw_comparison_each(const mw_comparison *c,
                        void (*reason)(void *self, const char *name, uint64_t count),
                        void (*example)(void *self, const char *old, const char *new), void *self)
{
    for (size_t i = 0; i < c->reason_count; i++)
        reason(self, c->reasons[i].name, c->reasons[i].count);
    for (size_t i = 0; i < c->example_count; i++)
        example(self, c->examples[i][0], c->examples[i][1]);
}
