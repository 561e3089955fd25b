/* place.c: see place.h. */
#include "cli/place.h"
#include "base/hex.h"
#include "cli/router.h"
#include "event/json.h"
#include "state/moved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POST_BYTES = 4 << 20 };

struct mw_place {
    mw_store *store; /* NULL: it is a router */
    const char *address;
};

static mw_status open_folder(mw_place *p, const char *where, mw_error *error)
{
    mw_buffer path = {0};
    mw_buffer_format(&path, "%s/data.mdb", where);
    int readable = access(path.bytes, R_OK) == 0;
    mw_buffer_close(&path);
    if (!readable)
        return mw_fail(error, MW_IO,
                       "'%s' is no state folder, and no address (HOST:PORT) of a running router",
                       where);
    return mw_store_open(&p->store, where, error);
}

mw_status mw_place_open(mw_place **place, const char *where, mw_error *error)
{
    struct stat st;
    mw_status status = MW_OK;
    mw_place *p = calloc(1, sizeof *p);
    mw_assert(p != NULL);
    if (strchr(where, ':') && stat(where, &st) != 0) p->address = where;
    else
        status = open_folder(p, where, error);
    if (status != MW_OK) {
        mw_place_close(p);
        return status;
    }
    *place = p;
    return MW_OK;
}

void mw_place_close(mw_place *p)
{
    if (!p) return;
    mw_store_close(p->store);
    free(p);
}

/* ---- a router ---- */

static mw_status ask(mw_place *p, const char *path, const mw_buffer *body, mw_buffer *answer,
                     mw_error *error)
{
    long status = 0;
    answer->len = 0;
    if (mw_router_ask(p->address, path, body, answer, &status, error) != MW_OK) return MW_IO;
    if (status == 200) return MW_OK;
    mw_value all = mw_json_value(answer->bytes, answer->len), why = mw_json_field(all, "error");
    mw_buffer text = {0};
    if (why.kind == MW_STRING || why.kind == MW_ESCAPED) mw_json_unescape(&text, why.text, why.len);
    else
        mw_buffer_format(&text, "the router at %s answers with status %ld", p->address, status);
    mw_fail(error, MW_INVALID, "%.*s", (int)text.len, text.bytes);
    mw_buffer_close(&text);
    return MW_INVALID;
}

mw_status mw_place_settle(mw_place *p, mw_error *error)
{
    const mw_buffer nothing = {0};
    mw_buffer answer = {0};
    mw_status status = p->store ? MW_OK : ask(p, "/state?checkpoint", &nothing, &answer, error);
    mw_buffer_close(&answer);
    return status;
}

typedef struct page {
    mw_buffer answer, scratch, row, value, path;
    int stops;
} page;

static mw_status show_page(page *to, mw_store_visit each, void *self, mw_error *error)
{
    for (size_t at = 0; at < to->answer.len && !to->stops;) {
        const char *line = to->answer.bytes + at, *end = memchr(line, '\n', to->answer.len - at);
        if (!end || !mw_moved_line(line, (size_t)(end - line), &to->scratch, &to->row, &to->value))
            return mw_fail(error, MW_INVALID, "the router's answer is not one of this version's");
        to->stops = !each(self, to->row.bytes, to->row.len, to->value.bytes, to->value.len);
        at += (size_t)(end - line) + 1;
    }
    return MW_OK;
}

static mw_status each_of_router(mw_place *p, const mw_buffer *prefix, mw_store_visit each,
                                void *self, mw_error *error)
{
    page one = {0};
    mw_status status;
    do {
        one.path.len = 0;
        mw_buffer_text(&one.path, "/state?prefix=");
        mw_hex_write(&one.path, prefix->bytes, prefix->len);
        mw_buffer_text(&one.path, "&after=");
        mw_hex_write(&one.path, one.row.bytes, one.row.len);
        mw_buffer_append(&one.path, "", 1);
        status = ask(p, one.path.bytes, NULL, &one.answer, error);
        if (status == MW_OK) status = show_page(&one, each, self, error);
    } while (status == MW_OK && one.answer.len && !one.stops);
    mw_buffer_close(&one.answer);
    mw_buffer_close(&one.scratch);
    mw_buffer_close(&one.row);
    mw_buffer_close(&one.value);
    mw_buffer_close(&one.path);
    return status;
}

mw_status mw_place_each(mw_place *p, const mw_buffer *prefix, mw_store_visit each, void *self,
                        mw_error *error)
{
    if (!p->store) return each_of_router(p, prefix, each, self, error);
    mw_store_each(p->store, prefix->bytes, prefix->len, each, self);
    return MW_OK;
}

/* ---- import ---- */

/* What the folder has under a name. */
typedef struct folder {
    mw_store *store;
    mw_buffer key, options;
} folder;

static const char *options_in_folder(void *self, const char *name)
{
    folder *f = self;
    f->key.len = f->options.len = 0;
    mw_buffer_format(&f->key, "o/%s", name);
    mw_buffer_append(&f->key, "", 1);
    if (!mw_store_find(f->store, f->key.bytes, f->key.len, &f->options)) return NULL;
    mw_buffer_append(&f->options, "", 1);
    return f->options.bytes;
}

static mw_status wrong_line(const char *path, long number, const char *what, mw_error *error)
{
    return mw_fail(error, MW_INVALID, "%s:%ld: %s; nothing was imported", path, number, what);
}

static mw_status import_to_folder(mw_place *p, FILE *file, const char *path, long *count,
                                  mw_error *error)
{
    mw_store_writer *w = mw_store_begin(p->store);
    mw_moved_reader reader = {0};
    folder f = {.store = p->store};
    mw_status status = MW_OK;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; status == MW_OK && (n = getline(&line, &room, file)) > 0;) {
        mw_moved m;
        mw_error why;
        *count += 1;
        status = mw_moved_read(&reader, line, (size_t)n, options_in_folder, &f, &m, &why);
        if (status == MW_OK) mw_store_add(w, m.row, m.row_len, m.value, m.len);
        else
            wrong_line(path, *count, why.message, error);
    }
    if (status != MW_OK) mw_store_abandon(w);
    else
        status = mw_store_end(w, error);
    mw_moved_close(&reader);
    mw_buffer_close(&f.key);
    mw_buffer_close(&f.options);
    free(line);
    return status;
}

/* Some lines, of which the first has the number `first`; an error names the line in the file. */
static mw_status post_lines(mw_place *p, const mw_buffer *lines, const char *path, long first,
                            int tries, mw_error *error)
{
    mw_buffer answer = {0};
    mw_error why;
    mw_status status = ask(p, tries ? "/state?try" : "/state", lines, &answer, &why);
    mw_buffer_close(&answer);
    char *rest = NULL;
    long number = status == MW_INVALID ? strtol(why.message, &rest, 10) : 0;
    if (status == MW_OK) return MW_OK;
    if (number > 0 && strncmp(rest, ": ", 2) == 0)
        return wrong_line(path, first + number - 1, rest + 2, error);
    *error = why;
    return status;
}

static mw_status post_file(mw_place *p, FILE *file, const char *path, int tries, long *count,
                           mw_error *error)
{
    mw_buffer lines = {0};
    mw_status status = MW_OK;
    char *line = NULL;
    size_t room = 0;
    long first = 1;
    ssize_t n;
    *count = 0;
    rewind(file);
    do {
        n = getline(&line, &room, file);
        if (n > 0) mw_buffer_append(&lines, line, (size_t)n), *count += 1;
        if (lines.len < POST_BYTES && n > 0) continue;
        if (lines.len) status = post_lines(p, &lines, path, first, tries, error);
        lines.len = 0, first = *count + 1;
    } while (n > 0 && status == MW_OK);
    free(line);
    mw_buffer_close(&lines);
    return status;
}

/* First all of it is tried, and then taken in. */
static mw_status import_to_router(mw_place *p, FILE *file, const char *path, long *count,
                                  mw_error *error)
{
    mw_status status = post_file(p, file, path, 1, count, error);
    return status == MW_OK ? post_file(p, file, path, 0, count, error) : status;
}

/* Standard input, to be read twice. */
static FILE *copy_of_input(void)
{
    FILE *copy = tmpfile();
    char bytes[65536];
    for (size_t n; copy && (n = fread(bytes, 1, sizeof bytes, stdin)) > 0;)
        if (fwrite(bytes, 1, n, copy) != n) fclose(copy), copy = NULL;
    if (copy) rewind(copy);
    return copy;
}

mw_status mw_place_import(mw_place *p, const char *path, long *count, mw_error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? copy_of_input() : fopen(path, "r");
    if (!file) return mw_fail(error, MW_IO, "cannot read '%s'", path);
    mw_status status = p->store ? import_to_folder(p, file, path, count, error)
                                : import_to_router(p, file, path, count, error);
    fclose(file);
    return status;
}
