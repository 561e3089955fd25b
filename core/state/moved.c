/* moved.c: see moved.h. */
#include "state/moved.h"
#include "base/hex.h"
#include "event/json.h"

#include <string.h>

void mw_moved_write(mw_buffer *out, const char *row, size_t row_len, const char *value, size_t len)
{
    mw_buffer_text(out, "\"row\":\"");
    mw_hex_write(out, row, row_len);
    mw_buffer_text(out, "\",\"bytes\":\"");
    mw_hex_write(out, value, len);
    mw_buffer_text(out, "\"");
}

int mw_moved_row(mw_moved *m, const char *row, size_t row_len, const char *value, size_t len)
{
    if (row_len < 3 || memcmp(row, "k/", 2) != 0) return 0;
    const char *end = memchr(row, 0, row_len);
    if (!end || row + row_len < end + 3) return 0;
    *m = (mw_moved){.name = row + 2, .row = row, .row_len = row_len, .value = value, .len = len};
    m->key.bytes = end + 3, m->key.len = (uint32_t)(row + row_len - m->key.bytes);
    m->key.kind = (unsigned char)end[2];
    if (!mw_key_is_sound(m->key.kind, m->key.bytes, m->key.len)) return 0;
    m->key.hash = mw_key_rehash(m->key.kind, m->key.bytes, m->key.len);
    return mw_key_group(m->key.hash) == (unsigned char)end[1];
}

mw_status mw_moved_keeper(mw_keeper **k, const char *name, const char *options, mw_error *error)
{
    const char *slash = strchr(name, '/');
    char sort[16] = "";
    if (!slash || slash - name >= (long)sizeof sort)
        return mw_fail(error, MW_CONFIG, "'%s' is no name of what is kept", name);
    memcpy(sort, name, (size_t)(slash - name));
    return mw_keeper_new(k, sort, slash + 1, options, error);
}

/* ---- lines ---- */

static int unhex_field(mw_value line, const char *name, mw_buffer *out)
{
    mw_value v = mw_json_field(line, name);
    out->len = 0;
    mw_buffer_reserve(out, 1);
    return v.kind == MW_STRING && mw_hex_read(out, v.text, v.len);
}

int mw_moved_line(const char *line, size_t len, mw_buffer *scratch, mw_buffer *row,
                  mw_buffer *value)
{
    scratch->len = 0;
    mw_buffer_append(scratch, line, len);
    memset(mw_buffer_reserve(scratch, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    if (mw_json_check(scratch->bytes, len) >= 0) return 0;
    mw_value v = mw_json_value(scratch->bytes, len);
    return unhex_field(v, "row", row) && unhex_field(v, "bytes", value);
}

static int is_of(const mw_keeper *k, const char *name, const char *options)
{
    return k && strcmp(k->name, name) == 0 && strcmp(k->options, options) == 0;
}

mw_status mw_moved_read(mw_moved_reader *r, const char *line, size_t len, mw_moved_options options,
                        void *self, mw_moved *m, mw_error *error)
{
    static const char wrong[] = "this is no line of an export";
    if (!mw_moved_line(line, len, &r->line, &r->row, &r->value) ||
        !mw_moved_row(m, r->row.bytes, r->row.len, r->value.bytes, r->value.len))
        return mw_fail(error, MW_INVALID, "%s", wrong);
    const char *declared = options(self, m->name);
    if (!declared)
        return mw_fail(error, MW_CONFIG, "nothing of the name '%s' is kept here", m->name);
    if (!is_of(r->keeper, m->name, declared)) {
        mw_keeper_free(r->keeper);
        r->keeper = NULL;
        mw_status status = mw_moved_keeper(&r->keeper, m->name, declared, error);
        if (status != MW_OK) return status;
    }
    mw_entries *t = mw_keeper_entries(r->keeper);
    uint32_t id = mw_entries_restore(t, &m->key, m->value, m->len);
    int good = id != 0;
    if (!id) id = mw_entries_find(t, &m->key);
    mw_entries_remove(t, id);
    if (!good)
        return mw_fail(error, MW_INVALID,
                       "%s of '%s' as it is declared here: it keeps something else, or is damaged",
                       wrong, m->name);
    return MW_OK;
}

void mw_moved_close(mw_moved_reader *r)
{
    mw_keeper_free(r->keeper);
    mw_buffer_close(&r->line);
    mw_buffer_close(&r->row);
    mw_buffer_close(&r->value);
}
