/* files.c: see files.h. */
#include "lua/files.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "lua/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

mw_mark mw_mark_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return (mw_mark){0};
    return (mw_mark){.device = (uint64_t)st.st_dev,
                     .inode = (uint64_t)st.st_ino,
                     .size = (uint64_t)st.st_size,
                     .modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
}

int mw_mark_same(const mw_mark *a, const mw_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns;
}

static char *copy(const char *text)
{
    char *c = strdup(text);
    mw_assert(c != NULL);
    return c;
}

static void read_file(mw_file *file)
{
    mw_buffer bytes = {0};
    size_t got;
    file->mark = mw_mark_of(file->path); /* before it is read: a write in between shows later */
    FILE *f = fopen(file->path, "rb");
    if (!f) {
        file->why = copy(strerror(errno));
        return;
    }
    while ((got = fread(mw_buffer_reserve(&bytes, 65536), 1, 65536, f)) > 0) bytes.len += got;
    if (ferror(f)) {
        file->why = copy(strerror(errno));
        mw_buffer_close(&bytes);
    } else {
        file->len = bytes.len;
        memset(mw_buffer_reserve(&bytes, MW_FILE_PADDING), 0, MW_FILE_PADDING);
        file->text = bytes.bytes;
    }
    fclose(f);
}

mw_files *mw_files_new(void)
{
    mw_files *f = calloc(1, sizeof *f);
    mw_assert(f != NULL);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

static mw_file *new_file(mw_files *f, const char *path)
{
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 8;
        f->list = realloc(f->list, f->room * sizeof(mw_file *));
        mw_assert(f->list != NULL);
    }
    mw_file *file = calloc(1, sizeof *file);
    mw_assert(file != NULL);
    file->path = copy(path);
    f->list[f->count++] = file;
    return file;
}

void mw_files_copy(mw_files *to, const mw_files *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const mw_file *was = from->list[i];
        mw_file *file = new_file(to, was->path);
        file->mark = was->mark;
        if (was->why) file->why = copy(was->why);
        if (!was->text) continue;
        file->len = was->len;
        file->text = malloc(was->len + MW_FILE_PADDING);
        mw_assert(file->text != NULL);
        memcpy(file->text, was->text, was->len + MW_FILE_PADDING);
    }
}

const mw_file *mw_files_get(mw_files *f, const char *path)
{
    mw_file *file = NULL;
    pthread_mutex_lock(&f->lock);
    for (uint32_t i = 0; i < f->count && !file; i++)
        if (strcmp(f->list[i]->path, path) == 0) file = f->list[i];
    if (!file) read_file(file = new_file(f, path));
    pthread_mutex_unlock(&f->lock);
    return file;
}

void mw_files_free(mw_files *f)
{
    if (!f) return;
    for (uint32_t i = 0; i < f->count; i++) {
        free(f->list[i]->path);
        free(f->list[i]->text);
        free(f->list[i]->why);
        free(f->list[i]);
    }
    free(f->list);
    mw_models_release(f->models);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static const char *line_of(const mw_file *file, long number, size_t *len)
{
    const char *at = file->text, *end = at + file->len;
    for (long n = 1; at < end; n++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        *len = (size_t)((stop ? stop : end) - at);
        if (n == number) return at;
        if (!stop) break;
        at = stop + 1;
    }
    return NULL;
}

void mw_files_explain(const mw_files *f, const char *message, mw_buffer *out)
{
    mw_buffer_text(out, message);
    for (uint32_t i = 0; i < f->count; i++) {
        const mw_file *file = f->list[i];
        size_t path_len = strlen(file->path), len = 0;
        if (!file->text || strncmp(message, file->path, path_len) != 0 || message[path_len] != ':')
            continue;
        long number = strtol(message + path_len + 1, NULL, 10);
        const char *line = line_of(file, number, &len);
        if (!line || len > 500) return;
        size_t indent = 0;
        while (indent < len && (line[indent] == ' ' || line[indent] == '\t')) indent++;
        mw_buffer_format(out, "\n%6ld | %.*s\n       | %.*s^", number, (int)len, line, (int)indent,
                         line);
        return;
    }
}

void mw_files_version(const mw_files *f, char *to, size_t room)
{
    uint64_t parts[2] = {0, 0};
    for (uint32_t i = 0; i < f->count; i++) {
        if (!f->list[i]->text) continue;
        parts[1] = mw_hash(f->list[i]->text, f->list[i]->len);
        parts[0] = mw_hash(parts, sizeof parts);
    }
    snprintf(to, room, "%012llx", (unsigned long long)(parts[0] & 0xffffffffffff));
}
