/* state.c: moonweir state: what a flow keeps by key, in a state folder or in a router that runs:
 * listed, looked at, exported and imported. */
#include "cli/command.h"
#include "cli/place.h"
#include "event/json.h"
#include "state/moved.h"
#include "state/records.h"
#include "state/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is done with rows: of all names, or those of one. */
typedef struct visit {
    mw_place *place;
    mw_keeper *keeper; /* that knows how to read values; NULL: rows are counted only */
    const char *name;  /* "state/NAME" */
    int count, wrong, raw;
    size_t bytes;
    mw_buffer *names; /* texts, each ended by 0 */
    mw_buffer *options;
} visit;

static int note_name(void *self, const char *key, size_t len, const char *value, size_t value_len)
{
    visit *v = self;
    (void)value, (void)value_len;
    mw_buffer_append(v->names, key + 2, len - 2); /* behind "o/", the 0 included */
    return 1;
}

static int note_options(void *self, const char *key, size_t len, const char *value,
                        size_t value_len)
{
    visit *v = self;
    (void)key, (void)len;
    mw_buffer_append(v->options, value, value_len);
    mw_buffer_append(v->options, "", 1);
    return 0;
}

static void record_json(mw_records *r, uint32_t id, mw_buffer *out)
{
    uint32_t count, len;
    const mw_record_field *f = mw_records_at(r, id, &count);
    mw_buffer_text(out, "{");
    for (uint32_t i = 0; i < count; i++) {
        const char *name = mw_records_name(r, f[i].name, &len);
        if (i) mw_buffer_text(out, ",");
        mw_json_quote(out, name, len);
        mw_buffer_text(out, ":");
        mw_kept_json(&f[i].value, out);
    }
    mw_buffer_text(out, "}");
}

/* What an entry holds, as JSON. */
static void value_json(visit *v, uint32_t id, mw_buffer *out)
{
    mw_keeper *k = v->keeper;
    if (k->kind == MW_KEEPS_WINDOW) {
        mw_window_entry_json(k->window, id, out);
    } else if (k->kind == MW_KEEPS_RECORDS) {
        record_json(k->records, id, out);
    } else if (k->kind == MW_KEEPS_CELLS) {
        mw_buffer_text(out, "{}"); /* what a detector has learned is nothing to look at */
    } else {
        mw_value data;
        int64_t at = mw_timers_look(k->timers, id, &data);
        mw_kept kept = {0};
        mw_kept_set(&kept, &data);
        mw_buffer_text(out, "{\"at\":");
        mw_json_number(out, (double)at / 1e9);
        mw_buffer_text(out, ",\"data\":");
        mw_kept_json(&kept, out);
        mw_buffer_text(out, "}");
        mw_kept_release(&kept);
    }
}

static void print_entry(visit *v, const mw_moved *m)
{
    mw_buffer out = {0};
    mw_entries *t = mw_keeper_entries(v->keeper);
    uint32_t id = mw_entries_restore(t, &m->key, m->value, m->len);
    v->wrong += !id;
    mw_buffer_format(&out, "{\"name\":\"%s\",\"key\":", v->name);
    mw_key_json(m->key.kind, m->key.bytes, m->key.len, &out);
    mw_buffer_text(&out, ",\"value\":");
    if (id) value_json(v, id, &out);
    else
        mw_buffer_text(&out, "null");
    if (v->raw) {
        mw_buffer_text(&out, ",");
        mw_moved_write(&out, m->row, m->row_len, m->value, m->len);
    }
    mw_buffer_text(&out, "}\n");
    fwrite(out.bytes, 1, out.len, stdout);
    if (id) mw_entries_remove(t, id);
    mw_buffer_close(&out);
}

static int show_entry(void *self, const char *row, size_t len, const char *value, size_t value_len)
{
    visit *v = self;
    mw_moved m;
    v->count++, v->bytes += len + value_len;
    if (!mw_moved_row(&m, row, len, value, value_len)) v->wrong++;
    else if (v->keeper)
        print_entry(v, &m);
    return 1;
}

static void begin_row(mw_buffer *row, const char *sort, const char *name)
{
    row->len = 0;
    mw_buffer_text(row, sort);
    mw_buffer_text(row, name);
    mw_buffer_append(row, "", 1);
}

static mw_status open_keeper(visit *v, const char *name, mw_error *error)
{
    mw_buffer row = {0}, options = {0};
    v->name = name, v->options = &options;
    begin_row(&row, "o/", name);
    mw_status status = mw_place_each(v->place, &row, note_options, v, error);
    if (status == MW_OK && !options.len)
        status = mw_fail(error, MW_CONFIG, "nothing is kept under '%s' (list shows what is)", name);
    if (status == MW_OK) status = mw_moved_keeper(&v->keeper, name, options.bytes, error);
    mw_buffer_close(&row);
    mw_buffer_close(&options);
    return status;
}

/* A key as on the command line: JSON, and what is none is a text. Appends what a row says of it. */
static mw_status add_key(mw_buffer *row, const char *text, mw_error *error)
{
    mw_buffer json = {0}, scratch = {0};
    mw_value list[16], none;
    const mw_value *values[16];
    uint32_t count = 0, at;
    size_t cursor = 0, len = strlen(text);
    mw_key key;
    mw_buffer_append(&json, text, len);
    memset(mw_buffer_reserve(&json, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    if (len == 0 || mw_json_check(json.bytes, len) >= 0) {
        json.len = 0;
        mw_json_quote(&json, text, len);
        memset(mw_buffer_reserve(&json, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    }
    mw_value v = mw_json_value(json.bytes, json.len);
    if (v.kind != MW_ARRAY) list[count++] = v;
    while (v.kind == MW_ARRAY && count < 16 &&
           mw_json_next(v.text, v.len, &cursor, &none, &list[count]))
        count++;
    for (uint32_t i = 0; i < count; i++) values[i] = &list[i];
    int good = count && mw_key_make(&key, values, count, &scratch, &at) == MW_KEY_GOOD;
    if (good) {
        const char two[2] = {(char)mw_key_group(key.hash), (char)key.kind};
        mw_buffer_append(row, two, 2);
        mw_buffer_append(row, key.bytes, key.len);
    }
    mw_buffer_close(&json);
    mw_buffer_close(&scratch);
    if (good) return MW_OK;
    return mw_fail(error, MW_INVALID, "%s is no key: a text, a number, true, false, or a list",
                   text);
}

static int show_one(void *self, const char *row, size_t len, const char *value, size_t value_len)
{
    visit *v = self;
    if (len == v->bytes) show_entry(v, row, len, value, value_len);
    return 0;
}

static mw_status get(visit *v, const char *name, const char *key, mw_error *error)
{
    mw_buffer row = {0};
    mw_status status = open_keeper(v, name, error);
    begin_row(&row, "k/", name);
    if (status == MW_OK) status = add_key(&row, key, error);
    v->bytes = row.len; /* longer keys may begin with this one */
    if (status == MW_OK) status = mw_place_each(v->place, &row, show_one, v, error);
    mw_buffer_close(&row);
    mw_keeper_free(v->keeper);
    return status;
}

static mw_status show_name(visit *v, const char *name, int exports, mw_error *error)
{
    mw_buffer row = {0};
    v->name = name, v->keeper = NULL, v->count = 0, v->bytes = 0;
    mw_status status = exports ? open_keeper(v, name, error) : MW_OK;
    begin_row(&row, "k/", name);
    if (status == MW_OK) status = mw_place_each(v->place, &row, show_entry, v, error);
    if (status == MW_OK && !exports)
        printf("{\"name\":\"%s\",\"keys\":%d,\"bytes\":%zu}\n", name, v->count, v->bytes);
    mw_buffer_close(&row);
    mw_keeper_free(v->keeper);
    return status;
}

static mw_status show_all(visit *v, int exports, mw_error *error)
{
    mw_buffer names = {0}, row = {.bytes = (char[]){'o', '/'}, .len = 2};
    v->names = &names;
    mw_status status = mw_place_each(v->place, &row, note_name, v, error);
    for (size_t at = 0; at < names.len && status == MW_OK; at += strlen(names.bytes + at) + 1)
        status = show_name(v, names.bytes + at, exports, error);
    mw_buffer_close(&names);
    return status;
}

static int usage(void)
{
    fputs("moonweir: state wants: WHERE list | WHERE get NAME KEY | WHERE export [NAME] | WHERE "
          "import FILE\n"
          "  (WHERE: a state folder, or the admin address of a running router; NAME as list shows "
          "it; KEY as\n"
          "  JSON, or a text; FILE as export writes it)\n",
          stderr);
    return MW_EXIT_WRONG;
}

enum action { LIST, GET, EXPORT, IMPORT, UNKNOWN };

static enum action action_of(int argc, char **argv)
{
    static const struct {
        const char *name;
        int least, most;
    } known[] = {{"list", 2, 2}, {"get", 4, 4}, {"export", 2, 3}, {"import", 3, 3}};
    for (int i = LIST; i < UNKNOWN && argc > 1; i++)
        if (strcmp(argv[1], known[i].name) == 0 && argc >= known[i].least && argc <= known[i].most)
            return (enum action)i;
    return UNKNOWN;
}

static mw_status act(visit *v, enum action action, int argc, char **argv, mw_error *error)
{
    long count = 0;
    mw_status status = action == IMPORT ? MW_OK : mw_place_settle(v->place, error);
    if (status != MW_OK) return status;
    switch (action) {
    case LIST:
        return show_all(v, 0, error);
    case GET:
        return get(v, argv[2], argv[3], error);
    case EXPORT:
        v->raw = 1;
        return argc == 3 ? show_name(v, argv[2], 1, error) : show_all(v, 1, error);
    default:
        status = mw_place_import(v->place, argv[2], &count, error);
        if (status == MW_OK) fprintf(stderr, "moonweir: %ld keys imported\n", count);
        return status;
    }
}

int mw_command_state(int argc, char **argv)
{
    mw_error error = {0};
    visit v = {0};
    enum action action = action_of(argc, argv);
    if (action == UNKNOWN) return usage();
    mw_status status = mw_place_open(&v.place, argv[0], &error);
    if (status == MW_OK) status = act(&v, action, argc, argv, &error);
    mw_place_close(v.place);
    if (status == MW_OK && v.wrong)
        status = mw_fail(&error, MW_INVALID, "%d records are damaged", v.wrong);
    if (status == MW_OK) return MW_EXIT_DONE;
    mw_command_complain(error.message);
    return MW_EXIT_FAILED;
}
