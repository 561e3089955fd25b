/* contents.c: see contents.h. */
#include "flow/contents.h"
#include "flow/keeping.h"
#include "state/moved.h"

#include <stdlib.h>
#include <string.h>

struct mw_wish {
    mw_wish *next;
    unsigned cut; /* whose checkpoint it waits for; 0: the next one */
    mw_report_done done;
    void *self;
};

struct mw_import {
    mw_import *next;
    mw_buffer rows; /* each: two lengths, row, value */
    unsigned awaited;
    _Atomic uint32_t left_out;
    mw_report_done done;
    void *self;
};

/* ---- checkpoints ---- */

void mw_flow_checkpoint(mw_flow *f, mw_report_done done, void *self)
{
    if (!mw_cut_is_used(f) || !f->store) {
        mw_report_tell(done, self, NULL);
        return;
    }
    mw_wish *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    *w = (mw_wish){.next = f->contents.wishes, .done = done, .self = self};
    f->contents.wishes = w;
    atomic_store(&f->cut.wanted, 1);
    if (f->phase != MW_OPENING) mw_cut_begin(f);
}

void mw_contents_begun(mw_flow *f, unsigned cut)
{
    for (mw_wish *w = f->contents.wishes; w; w = w->next)
        if (!w->cut) w->cut = cut;
}

static void grant(mw_flow *f, unsigned cut, const char *why)
{
    for (mw_wish **at = &f->contents.wishes, *w; (w = *at);) {
        if (!why && (!w->cut || w->cut > cut)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        mw_report_tell(w->done, w->self, why);
        free(w);
    }
}

void mw_contents_stored(mw_flow *f, unsigned cut)
{
    grant(f, cut, NULL);
}

/* ---- rows ---- */

typedef struct page {
    const mw_buffer *after;
    size_t most;
    mw_buffer *out;
} page;

static int add_row(void *self, const char *row, size_t row_len, const char *value, size_t len)
{
    page *p = self;
    if (row_len == p->after->len && memcmp(row, p->after->bytes, row_len) == 0) return 1;
    mw_buffer_text(p->out, "{");
    mw_moved_write(p->out, row, row_len, value, len);
    mw_buffer_text(p->out, "}\n");
    return p->out->len < p->most;
}

void mw_flow_rows(const mw_flow *f, const mw_buffer *prefix, const mw_buffer *after, size_t most,
                  mw_buffer *out)
{
    page p = {.after = after, .most = most, .out = out};
    if (f->store) mw_store_from(f->store, prefix, after->len ? after : prefix, add_row, &p);
}

/* ---- import ---- */

static const char *declared(void *self, const char *name)
{
    const mw_graph *g = &((mw_flow *)self)->version->graph;
    const char *slash = strchr(name, '/');
    for (uint32_t i = 0; slash && i < g->keep_count; i++) {
        const mw_kept_declared *d = &g->keeps[i];
        size_t sort = (size_t)(slash - name);
        if (strlen(d->sort) == sort && memcmp(d->sort, name, sort) == 0 &&
            strcmp(d->name, slash + 1) == 0)
            return d->options;
    }
    return NULL;
}

static void add_import(mw_import *i, const mw_moved *m)
{
    mw_buffer_append(&i->rows, &m->row_len, sizeof m->row_len);
    mw_buffer_append(&i->rows, &m->len, sizeof m->len);
    mw_buffer_append(&i->rows, m->row, m->row_len);
    mw_buffer_append(&i->rows, m->value, m->len);
}

static size_t next_import(const mw_import *i, size_t at, mw_moved *m)
{
    size_t row_len, len;
    if (at == i->rows.len) return 0;
    memcpy(&row_len, i->rows.bytes + at, sizeof row_len);
    memcpy(&len, i->rows.bytes + at + sizeof row_len, sizeof len);
    const char *row = i->rows.bytes + at + sizeof row_len + sizeof len;
    mw_assert(mw_moved_row(m, row, row_len, row + row_len, len));
    return (size_t)(row + row_len + len - i->rows.bytes);
}

static void free_import(mw_import *i)
{
    mw_buffer_close(&i->rows);
    free(i);
}

/* 0, or the number of the line that is wrong. */
static unsigned read_lines(mw_flow *f, mw_import *i, const char *lines, size_t len, mw_error *error)
{
    mw_moved_reader reader = {0};
    mw_status status = MW_OK;
    unsigned number = 0;
    for (size_t at = 0; at < len && status == MW_OK; number++) {
        const char *end = memchr(lines + at, '\n', len - at);
        size_t line = end ? (size_t)(end - lines) - at : len - at;
        mw_moved m;
        status = mw_moved_read(&reader, lines + at, line, declared, f, &m, error);
        if (status == MW_OK) add_import(i, &m);
        at += line + 1;
    }
    mw_moved_close(&reader);
    return status == MW_OK ? 0 : number;
}

void mw_flow_import(mw_flow *f, const char *lines, size_t len, int tries, mw_report_done done,
                    void *self)
{
    mw_error error, why;
    mw_import *i = calloc(1, sizeof *i);
    mw_assert(i != NULL);
    unsigned wrong = read_lines(f, i, lines, len, &error);
    if (wrong) mw_fail(&why, MW_INVALID, "%u: %s", wrong, error.message);
    if (!wrong && f->phase != MW_RUNNING)
        wrong = 1, mw_fail(&why, MW_INVALID, "the router is starting or stopping");
    if (wrong || tries) {
        mw_report_tell(done, self, wrong ? why.message : NULL);
        free_import(i);
        return;
    }
    i->done = done, i->self = self;
    i->awaited = f->shards;
    i->next = f->contents.imports, f->contents.imports = i;
    mw_flow_broadcast(f, MW_MSG_IMPORT, 0, i);
}

void mw_contents_import(mw_shard *s, mw_import *i)
{
    mw_moved m;
    uint32_t left_out = 0;
    for (size_t at = 0; (at = next_import(i, at, &m));)
        if (mw_key_shard(m.key.hash, s->flow->shards) == s->index)
            left_out += !mw_keeping_import(s, &m);
    atomic_fetch_add(&i->left_out, left_out);
    mw_shard_report(s, MW_MSG_IMPORTED, 0, i);
}

int mw_contents_message(mw_flow *f, mw_message m)
{
    mw_import *i = m.body, **at = &f->contents.imports;
    if (m.kind != MW_MSG_IMPORTED) return 0;
    if (--i->awaited) return 1;
    while (*at != i) at = &(*at)->next;
    *at = i->next;
    mw_report_tell(i->done, i->self,
                   atomic_load(&i->left_out)
                       ? "the flow was reloaded meanwhile, and keeps some of it no more"
                       : NULL);
    free_import(i);
    return 1;
}

/* ---- the end ---- */

void mw_contents_stop(mw_flow *f)
{
    grant(f, 0, "the router is stopping");
    for (mw_import *i = f->contents.imports; i; i = i->next)
        mw_report_tell(i->done, i->self, "the router is stopping");
}

void mw_contents_free(mw_flow *f)
{
    for (mw_import *i = f->contents.imports, *next; i; i = next) next = i->next, free_import(i);
}
