/* capture_reader.c: see capture_reader.h. */
#include "event/capture_reader.h"
#include "event/capture.h"
#include "event/json.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct mw_capture_reader {
    char **paths; /* what is to be read, in order */
    size_t count, next;
    FILE *file;
    const char *path; /* of the file */
    uint64_t size;    /* the same */
    int is_letters;
    uint64_t line;
    uint32_t segment; /* number of the file's name */
    char *text;       /* a line; getline's */
    size_t text_room;
    mw_buffer about, bytes;
    mw_buffer source, partition, reject, meta;
};

/* ---- which files ---- */

static void add_path(mw_capture_reader *r, const char *path)
{
    r->paths = realloc(r->paths, (r->count + 1) * sizeof *r->paths);
    mw_assert(r->paths != NULL && (r->paths[r->count++] = strdup(path)) != NULL);
}

static mw_status find_segments(mw_capture_reader *r, const char *folder, mw_error *error)
{
    mw_buffer pattern = {0};
    glob_t found = {0};
    mw_buffer_format(&pattern, "%s/*%s", folder, MW_CAPTURE_SUFFIX);
    mw_buffer_append(&pattern, "", 1);
    if (glob(pattern.bytes, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) add_path(r, found.gl_pathv[i]);
    globfree(&found);
    mw_buffer_close(&pattern);
    if (r->count) return MW_OK;
    return mw_fail(error, MW_INVALID, "there is no capture in '%s' (no *%s)", folder,
                   MW_CAPTURE_SUFFIX);
}

static mw_status open_next(mw_capture_reader *r, mw_error *error)
{
    char magic[MW_CAPTURE_MAGIC_BYTES];
    if (r->file) fclose(r->file), r->file = NULL;
    if (r->next == r->count) return MW_END;
    r->path = r->paths[r->next++];
    r->file = fopen(r->path, "rb");
    if (!r->file) return mw_fail(error, MW_IO, "cannot read '%s': %s", r->path, strerror(errno));
    struct stat st;
    r->size = fstat(fileno(r->file), &st) == 0 ? (uint64_t)st.st_size : 0;
    setvbuf(r->file, NULL, _IOFBF, 1 << 20);
    size_t n = fread(magic, 1, sizeof magic, r->file);
    r->is_letters = n != sizeof magic || memcmp(magic, MW_CAPTURE_MAGIC, sizeof magic) != 0;
    r->line = 0;
    const char *name = strrchr(r->path, '/');
    r->segment = (uint32_t)strtoull(name ? name + 1 : r->path, NULL, 10);
    if (r->is_letters) rewind(r->file);
    return MW_OK;
}

mw_status mw_capture_reader_open(mw_capture_reader **reader, const char *path, mw_error *error)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return mw_fail(error, MW_IO, "cannot read '%s': %s", path, strerror(errno));
    mw_capture_reader *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    mw_status status = MW_OK;
    if (S_ISDIR(st.st_mode)) status = find_segments(r, path, error);
    else
        add_path(r, path);
    if (status == MW_OK) status = open_next(r, error);
    if (status == MW_OK) *reader = r;
    else
        mw_capture_reader_close(r);
    return status;
}

void mw_capture_reader_close(mw_capture_reader *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->count; i++) free(r->paths[i]);
    free(r->paths);
    if (r->file) fclose(r->file);
    free(r->text);
    mw_buffer_close(&r->about);
    mw_buffer_close(&r->bytes);
    mw_buffer_close(&r->source);
    mw_buffer_close(&r->partition);
    mw_buffer_close(&r->reject);
    mw_buffer_close(&r->meta);
    free(r);
}

/* ---- what is said of the bytes ---- */

static const char *text(mw_value v, mw_buffer *to)
{
    to->len = 0;
    if (v.kind != MW_STRING && v.kind != MW_ESCAPED) return NULL;
    mw_json_unescape(to, v.text, v.len);
    mw_buffer_append(to, "", 1);
    return to->bytes;
}

/* The members of an object as they stand, behind a comma. */
static const char *members(mw_value v, mw_buffer *to)
{
    static const char mark[] = "\"moonweir\":1";
    to->len = 0;
    if (v.kind == MW_OBJECT) {
        const char *from = v.text + 1, *end = v.text + v.len - 1;
        while (end > from && end[0] != '}') end--;
        size_t skip = sizeof mark - 1;
        if ((size_t)(end - from) >= skip && memcmp(from, mark, skip) == 0) from += skip;
        else if (end > from)
            mw_buffer_text(to, ",");
        mw_buffer_append(to, from, (size_t)(end - from));
    }
    mw_buffer_append(to, "", 1);
    return to->bytes;
}

static void describe(mw_capture_reader *r, mw_value about, mw_captured *c)
{
    *c = (mw_captured){.source = text(mw_json_field(about, "source"), &r->source),
                       .partition = text(mw_json_field(about, "partition"), &r->partition),
                       .reject = text(mw_json_field(about, "reject"), &r->reject),
                       .meta = members(mw_json_field(about, "meta"), &r->meta),
                       .first = mw_json_field(about, "first").kind == MW_TRUE};
    mw_value position = mw_json_field(about, "position"), time = mw_json_field(about, "time_ns");
    if (position.text) c->position = strtoull(position.text, NULL, 10);
    if (time.text) c->time_ns = strtoll(time.text, NULL, 10);
}

/* ---- segments ---- */

static int read_exactly(FILE *f, mw_buffer *to, size_t len)
{
    to->len = 0;
    char *room = mw_buffer_reserve(to, len + MW_JSON_PADDING);
    if (fread(room, 1, len, f) != len) return 0;
    to->len = len;
    memset(room + len, 0, MW_JSON_PADDING);
    return 1;
}

static mw_status next_record(mw_capture_reader *r, mw_captured *c, mw_error *error)
{
    mw_capture_head head;
    long at = ftell(r->file);
    size_t n = fread(&head, 1, sizeof head, r->file);
    if (n == 0) return MW_END;
    if (n == sizeof head && head.magic == MW_CAPTURE_RECORD && head.segment != r->segment) {
        fseek(r->file, 0, SEEK_END); /* what was there before the segment was written over */
        return MW_END;
    }
    int good =
        n == sizeof head && head.magic == MW_CAPTURE_RECORD &&
        (uint64_t)at + n + head.about_len + head.len <= r->size &&
        read_exactly(r->file, &r->about, head.about_len) &&
        read_exactly(r->file, &r->bytes, head.len) &&
        mw_capture_hash(r->about.bytes, head.about_len, r->bytes.bytes, head.len) == head.hash &&
        mw_json_check(r->about.bytes, r->about.len) < 0;
    if (good) {
        describe(r, mw_json_value(r->about.bytes, r->about.len), c);
        c->bytes = r->bytes.bytes, c->len = r->bytes.len;
        if (c->source) return MW_OK;
    }
    fseek(r->file, 0, SEEK_END); /* where the next one begins cannot be known */
    return mw_fail(error, MW_INVALID,
                   "%s: at byte %ld, the record is torn; the rest of the segment "
                   "is left out",
                   r->path, at);
}

/* ---- dead letters ---- */

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static void add_base64(mw_buffer *out, const char *from, size_t len)
{
    uint32_t word = 0;
    int bits = 0;
    for (size_t i = 0; i < len && digit(from[i]) >= 0; i++) {
        word = word << 6 | (uint32_t)digit(from[i]);
        if ((bits += 6) < 8) continue;
        bits -= 8;
        char byte = (char)(word >> bits & 255);
        mw_buffer_append(out, &byte, 1);
    }
}

/* "2026-11-24T20:28:01.123Z" */
static int64_t read_time(const char *stamp)
{
    struct tm tm = {0};
    const char *rest = stamp ? strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!rest) return 0;
    double fraction = *rest == '.' ? strtod(rest, NULL) : 0;
    return (int64_t)timegm(&tm) * 1000000000 + (int64_t)(fraction * 1e9 + 0.5);
}

static mw_status next_letter(mw_capture_reader *r, mw_captured *c, mw_error *error)
{
    ssize_t n = getline(&r->text, &r->text_room, r->file);
    if (n <= 0) return MW_END;
    r->line++;
    while (n > 0 && (r->text[n - 1] == '\n' || r->text[n - 1] == '\r')) n--;
    r->about.len = 0;
    mw_buffer_append(&r->about, r->text, (size_t)n);
    memset(mw_buffer_reserve(&r->about, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    if (mw_json_check(r->about.bytes ? r->about.bytes : "", r->about.len) >= 0)
        return mw_fail(error, MW_INVALID,
                       "%s:%llu: it is no capture, and this line is no dead letter", r->path,
                       (unsigned long long)r->line);
    mw_value letter = mw_json_value(r->about.bytes, r->about.len);
    mw_value event = mw_json_field(letter, "event"), raw = mw_json_field(letter, "raw"),
             coded = mw_json_field(letter, "raw_base64");
    describe(r, letter, c);
    mw_buffer stamp = {0};
    c->time_ns = read_time(text(mw_json_field(letter, "time"), &stamp));
    mw_buffer_close(&stamp);
    r->bytes.len = 0;
    if (event.text) {
        size_t quotes = event.kind == MW_STRING || event.kind == MW_ESCAPED;
        mw_buffer_append(&r->bytes, event.text - quotes, event.len + 2 * quotes);
        c->is_json = 1;
    } else if (raw.text) {
        mw_json_unescape(&r->bytes, raw.text, raw.len);
    } else if (coded.text) {
        add_base64(&r->bytes, coded.text, coded.len);
    }
    memset(mw_buffer_reserve(&r->bytes, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    c->bytes = r->bytes.bytes, c->len = r->bytes.len;
    if (c->source && c->len) return MW_OK;
    return mw_fail(error, MW_INVALID, "%s:%llu: this is no dead letter: it has no %s", r->path,
                   (unsigned long long)r->line, c->source ? "event" : "source");
}

mw_status mw_capture_reader_next(mw_capture_reader *r, mw_captured *c, mw_error *error)
{
    mw_status status = r->file ? MW_OK : MW_END;
    while (status == MW_OK) {
        status = r->is_letters ? next_letter(r, c, error) : next_record(r, c, error);
        if (status != MW_END) return status;
        status = open_next(r, error);
    }
    return status;
}
