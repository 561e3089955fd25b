/* state.c: moonweir state: what a flow keeps by key, in the state folder of a router that is not
 * running: listed, looked at, exported and imported. */
#include "cli/command.h"
#include "event/json.h"
#include "state/keeper.h"
#include "state/records.h"
#include "state/store.h"
#include "state/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One row of an entry, or of a declaration, as the store has it. */
typedef struct visit {
    mw_store *store;
    mw_keeper *keeper; /* that knows how to read values */
    const char *name;  /* "state/NAME" */
    const char *only;  /* a key as JSON; NULL: all */
    size_t head;
    int rows, wrong, raw;
    size_t bytes;
    mw_buffer *names; /* texts, each ended by 0 */
} visit;

static int note_name(void *self, const char *key, size_t len, const char *value, size_t value_len)
{
    visit *v = self;
    (void)value, (void)value_len;
    mw_buffer_append(v->names, key + 2, len - 2); /* behind "o/", the 0 included */
    return 1;
}

static void add_hex(mw_buffer *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) mw_buffer_format(out, "%02x", (unsigned char)bytes[i]);
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

static int show_entry(void *self, const char *row, size_t len, const char *value, size_t value_len)
{
    visit *v = self;
    mw_buffer key_json = {0}, out = {0};
    mw_key key = {.bytes = row + v->head + 2,
                  .len = (uint32_t)(len - v->head - 2),
                  .kind = (unsigned char)row[v->head + 1]};
    v->rows++, v->bytes += len + value_len;
    mw_key_json(key.kind, key.bytes, key.len, &key_json);
    mw_buffer_append(&key_json, "", 1);
    if (v->keeper && (!v->only || strcmp(v->only, key_json.bytes) == 0)) {
        key.hash = mw_key_rehash(key.kind, key.bytes, key.len);
        uint32_t id = mw_entries_restore(mw_keeper_entries(v->keeper), &key, value, value_len);
        v->wrong += !id;
        mw_buffer_format(&out, "{\"name\":\"%s\",\"key\":%s,\"value\":", v->name, key_json.bytes);
        if (id) value_json(v, id, &out);
        else
            mw_buffer_text(&out, "null");
        if (v->raw) {
            mw_buffer_text(&out, ",\"row\":\"");
            add_hex(&out, row, len);
            mw_buffer_text(&out, "\",\"bytes\":\"");
            add_hex(&out, value, value_len);
            mw_buffer_text(&out, "\"");
        }
        mw_buffer_text(&out, "}\n");
        fwrite(out.bytes, 1, out.len, stdout);
        if (id) mw_entries_remove(mw_keeper_entries(v->keeper), id);
    }
    mw_buffer_close(&key_json);
    mw_buffer_close(&out);
    return 1;
}

static void prefix(mw_buffer *key, const char *sort, const char *name)
{
    key->len = 0;
    mw_buffer_text(key, sort);
    mw_buffer_text(key, name);
    mw_buffer_append(key, "", 1);
}

static mw_status visit_name(visit *v, const char *name, mw_error *error)
{
    mw_buffer key = {0}, options = {0};
    const char *slash = strchr(name, '/');
    mw_status status = MW_OK;
    v->name = name, v->keeper = NULL;
    prefix(&key, "o/", name);
    if (!slash || !mw_store_find(v->store, key.bytes, key.len, &options)) {
        mw_buffer_close(&key);
        return mw_fail(error, MW_CONFIG,
                       "nothing is kept under '%s' (see: moonweir state DIR list)", name);
    }
    mw_buffer_append(&options, "", 1);
    char sort[16] = "";
    memcpy(sort, name, (size_t)(slash - name) < sizeof sort ? (size_t)(slash - name) : 0);
    status = mw_keeper_new(&v->keeper, sort, slash + 1, options.bytes, error);
    prefix(&key, "k/", name);
    v->head = key.len, v->rows = 0, v->bytes = 0;
    if (status == MW_OK) mw_store_each(v->store, key.bytes, key.len, show_entry, v);
    mw_keeper_free(v->keeper);
    v->keeper = NULL;
    mw_buffer_close(&key);
    mw_buffer_close(&options);
    return status;
}

static void count_name(visit *v, const char *name)
{
    mw_buffer key = {0};
    prefix(&key, "k/", name);
    v->keeper = NULL, v->rows = 0, v->bytes = 0, v->head = key.len;
    mw_store_each(v->store, key.bytes, key.len, show_entry, v);
    printf("{\"name\":\"%s\",\"keys\":%d,\"bytes\":%zu}\n", name, v->rows, v->bytes);
    mw_buffer_close(&key);
}

/* Every name there is; those that begin with `name` where it is given. */
static mw_status all_names(visit *v, int exports, const char *name, mw_error *error)
{
    mw_buffer names = {0};
    mw_status status = MW_OK;
    v->names = &names;
    mw_store_each(v->store, "o/", 2, note_name, v);
    for (size_t at = 0; at < names.len && status == MW_OK; at += strlen(names.bytes + at) + 1) {
        if (name && strcmp(name, names.bytes + at) != 0) continue;
        if (exports) status = visit_name(v, names.bytes + at, error);
        else
            count_name(v, names.bytes + at);
    }
    mw_buffer_close(&names);
    return status;
}

static int from_hex(mw_value text, mw_buffer *out)
{
    out->len = 0;
    for (uint32_t i = 0; i + 1 < text.len; i += 2) {
        char pair[3] = {text.text[i], text.text[i + 1], 0}, *end;
        char byte = (char)strtol(pair, &end, 16);
        if (*end) return 0;
        mw_buffer_append(out, &byte, 1);
    }
    return text.kind == MW_STRING && text.len % 2 == 0;
}

/* Lines as export writes them; what is there under their keys is replaced. */
static mw_status import(mw_store *store, const char *path, mw_error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!file) return mw_fail(error, MW_IO, "cannot open '%s'", path);
    mw_store_writer *w = mw_store_begin(store);
    mw_buffer padded = {0}, row = {0}, bytes = {0};
    char *line = NULL;
    size_t room = 0;
    long number = 0, bad = 0;
    for (ssize_t n; !bad && (n = getline(&line, &room, file)) > 0;) {
        number++;
        padded.len = 0;
        mw_buffer_append(&padded, line, (size_t)n);
        memset(mw_buffer_reserve(&padded, MW_JSON_PADDING), 0, MW_JSON_PADDING);
        if (mw_json_check(padded.bytes, padded.len) >= 0) bad = number;
        mw_value v = mw_json_value(padded.bytes, bad ? 0 : padded.len);
        if (!bad && from_hex(mw_json_field(v, "row"), &row) && row.len > 2 &&
            memcmp(row.bytes, "k/", 2) == 0 && from_hex(mw_json_field(v, "bytes"), &bytes))
            mw_store_add(w, row.bytes, row.len, bytes.bytes ? bytes.bytes : "", bytes.len);
        else
            bad = number;
    }
    if (bad) mw_store_abandon(w);
    mw_status status =
        bad ? mw_fail(error, MW_INVALID,
                      "%s:%ld: this is no line of an export; nothing was imported", path, bad)
            : mw_store_end(w, error);
    if (status == MW_OK) fprintf(stderr, "moonweir: %ld keys imported\n", number);
    free(line);
    mw_buffer_close(&padded);
    mw_buffer_close(&row);
    mw_buffer_close(&bytes);
    if (file != stdin) fclose(file);
    return status;
}

static int usage(void)
{
    fputs(
        "moonweir: state wants: DIR list | DIR get NAME KEY | DIR export [NAME] | DIR import FILE\n"
        "  (NAME as list shows it; KEY as JSON, or a text; FILE as export writes it)\n",
        stderr);
    return MW_EXIT_WRONG;
}

/* A key as JSON; what is none is a text. */
static void key_argument(const char *text, mw_buffer *out)
{
    mw_buffer padded = {0};
    size_t len = strlen(text);
    mw_buffer_append(&padded, text, len);
    memset(mw_buffer_reserve(&padded, MW_JSON_PADDING), 0, MW_JSON_PADDING);
    if (len && mw_json_check(padded.bytes, len) < 0) mw_buffer_append(out, text, len);
    else
        mw_json_quote(out, text, len);
    mw_buffer_append(out, "", 1);
    mw_buffer_close(&padded);
}

int mw_command_state(int argc, char **argv)
{
    mw_error error = {0};
    visit v = {0};
    mw_buffer only = {0}, path = {0};
    mw_status status = MW_OK;
    if (argc < 2) return usage();
    const char *what = argv[1];
    mw_buffer_format(&path, "%s/data.mdb", argv[0]);
    if (access(path.bytes, R_OK) != 0)
        status = mw_fail(&error, MW_IO,
                         "'%s' is no state folder (a running router has its own; stop it first)",
                         argv[0]);
    mw_buffer_close(&path);
    if (status == MW_OK) status = mw_store_open(&v.store, argv[0], &error);
    if (status != MW_OK) {
        mw_command_complain(error.message);
        return MW_EXIT_FAILED;
    }
    if (strcmp(what, "list") == 0 && argc == 2) {
        status = all_names(&v, 0, NULL, &error);
    } else if (strcmp(what, "get") == 0 && argc == 4) {
        key_argument(argv[3], &only);
        v.only = only.bytes;
        status = visit_name(&v, argv[2], &error);
    } else if (strcmp(what, "export") == 0 && argc <= 3) {
        v.raw = 1;
        status = argc == 3 ? visit_name(&v, argv[2], &error) : all_names(&v, 1, NULL, &error);
    } else if (strcmp(what, "import") == 0 && argc == 3) {
        status = import(v.store, argv[2], &error);
    } else {
        mw_store_close(v.store);
        return usage();
    }
    mw_store_close(v.store);
    mw_buffer_close(&only);
    if (status == MW_OK && v.wrong)
        status = mw_fail(&error, MW_INVALID, "%d records are damaged", v.wrong);
    if (status == MW_OK) return MW_EXIT_DONE;
    mw_command_complain(error.message);
    return MW_EXIT_FAILED;
}
