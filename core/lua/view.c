/* view.c: see view.h. */
#include "lua/view.h"

#include "lua/model.h"

#include <stdlib.h>
#include <string.h>

enum { SENDS_AT_FIRST = 256 };

void mw_view_init(mw_view *v, mw_paths *paths)
{
    *v = (mw_view){.paths = paths, .shards = 1};
    v->projector = mw_projector_new(paths);
}

void mw_view_forget(mw_view *v)
{
    for (uint32_t i = 0; i < v->when_count; i++) mw_when_free(v->whens[i]);
    free(v->whens);
    v->whens = NULL, v->when_count = 0;
    v->given = v->count = 0;
}

void mw_view_close(mw_view *v)
{
    mw_view_forget(v);
    free(v->slots);
    free(v->own_events);
    free(v->sends);
    free(v->matched);
    free(v->hashes);
    mw_projector_free(v->projector);
    mw_buffer_close(&v->out);
    mw_buffer_close(&v->edits);
    mw_buffer_close(&v->keys);
    mw_buffer_close(&v->dead);
    mw_buffer_close(&v->json);
    mw_buffer_close(&v->key_bytes);
    free(v->uses);
    mw_view_models_close(v);
    free(v->given_values);
    mw_buffer_close(&v->command);
}

/* Slots for `rows` rows; what is there stays. */
static void reserve_slots(mw_view *v, uint32_t rows)
{
    uint32_t need = (rows + 1) * (v->stride ? v->stride : 1);
    if (v->slots_room >= need) return;
    v->slots_room = need + need / 2;
    v->slots = realloc(v->slots, v->slots_room * sizeof *v->slots);
    mw_assert(v->slots != NULL);
    v->values = v->slots + (size_t)v->row * v->stride;
}

void mw_view_begin(mw_view *v, mw_batch *b, mw_arena *arena, mw_event *events, uint32_t count)
{
    v->generations = (v->generations + 1) & 0x3fffffff;
    if (v->generations == 0) v->generations = 1;
    v->generation = v->generations;
    v->alone = 0, v->frame = NULL;
    v->batch = b, v->arena = arena;
    v->events = events, v->events_own = 0;
    v->count = v->given = count;
    v->row = 0, v->pending = 0, v->send_count = 0, v->rule = 0, v->overlaid = 0;
    v->stride = (uint32_t)v->paths->count;
    v->now = 0, v->due = INT64_MAX;
    reserve_slots(v, count);
    if (!v->send_room) mw_view_grow(v);
}

void mw_view_reserve_hashes(mw_view *v)
{
    if (v->hashes_room >= v->count) return;
    v->hashes_room = v->count;
    v->hashes = realloc(v->hashes, v->hashes_room * sizeof *v->hashes);
    mw_assert(v->hashes != NULL);
}

void mw_view_grow(mw_view *v)
{
    v->send_room = v->send_room ? v->send_room * 2 : SENDS_AT_FIRST;
    v->sends = realloc(v->sends, v->send_room * sizeof *v->sends);
    mw_assert(v->sends != NULL);
}

void mw_view_find(mw_view *v, uint32_t row, int32_t path)
{
    int32_t chain[MW_PATHS_MAX];
    int depth = 0;
    for (int32_t p = path; p >= 0; p = v->paths->paths[p].parent) chain[depth++] = p;
    mw_value value = mw_json_value(v->events[row].text, v->events[row].len);
    while (depth > 0 && (value.kind == MW_OBJECT || value.kind == MW_ARRAY)) {
        const mw_path *step = &v->paths->paths[chain[--depth]];
        if ((step->index == 0) != (value.kind == MW_OBJECT)) value.kind = MW_ABSENT;
        else
            value = mw_json_member(value.text, value.len, step->key, step->key_len, step->index);
        if (value.kind == MW_ABSENT) break;
    }
    if (depth > 0) value.kind = MW_ABSENT;
    v->found = value;
}

int32_t mw_view_path_key(mw_view *v, int32_t parent, const char *key, size_t len)
{
    return mw_paths_key(v->paths, parent, key, len);
}

int32_t mw_view_path_index(mw_view *v, int32_t parent, uint32_t index)
{
    return mw_paths_index(v->paths, parent, index);
}

void mw_view_learned(mw_view *v)
{
    mw_json_fault fault;
    v->stride = (uint32_t)v->paths->count;
    reserve_slots(v, v->count);
    v->values = v->slots + (size_t)v->row * v->stride;
    for (uint32_t row = 0; row < v->count; row++)
        if (!v->events[row].dead)
            mw_json_scan(v->events[row].text, v->events[row].len, v->paths,
                         v->slots + (size_t)row * v->stride, &fault);
}

int mw_view_next(mw_view *v, const char *text, size_t len, size_t *cursor, mw_value *key,
                 mw_value *value)
{
    (void)v;
    return mw_json_next(text, len, cursor, key, value);
}

void mw_view_unescape(mw_view *v, const char *text, size_t len)
{
    v->out.len = 0;
    mw_json_unescape(&v->out, text, len);
}

const char *mw_view_keep(mw_view *v)
{
    char *kept = mw_arena_get(v->arena, v->out.len + MW_JSON_PADDING);
    memcpy(kept, v->out.bytes ? v->out.bytes : "", v->out.len);
    memset(kept + v->out.len, 0, MW_JSON_PADDING);
    return kept;
}

const char *mw_view_keep_plain(mw_view *v)
{
    return mw_arena_copy(v->arena, v->out.bytes ? v->out.bytes : "", v->out.len);
}

static void put_name(mw_view *v, const char *name, size_t len)
{
    mw_buffer_append(&v->out, v->out.len ? "," : "{", 1);
    mw_json_quote(&v->out, name, len);
    mw_buffer_append(&v->out, ":", 1);
}

void mw_view_put_text(mw_view *v, const char *name, size_t name_len, const char *text, size_t len)
{
    put_name(v, name, name_len);
    mw_json_quote(&v->out, text, len);
}

void mw_view_put_number(mw_view *v, const char *name, size_t name_len, double number)
{
    put_name(v, name, name_len);
    mw_json_number(&v->out, number);
}

void mw_view_put_boolean(mw_view *v, const char *name, size_t name_len, _Bool value)
{
    put_name(v, name, name_len);
    mw_buffer_append(&v->out, value ? "true" : "false", value ? 4 : 5);
}

void mw_view_put_end(mw_view *v)
{
    mw_buffer_append(&v->out, "}", 1);
}

/* ---- edits: `keys` holds each step as it is pushed, `edits` the finished ones ---- */

typedef struct step {
    const char *key;
    uint32_t len, index;
} step;

void mw_view_edit_begin(mw_view *v)
{
    v->edits.len = 0, v->keys.len = 0, v->edit_count = 0;
}

void mw_view_edit_key(mw_view *v, const char *key, size_t len)
{
    step s = {.key = mw_arena_copy(v->arena, key, len), .len = (uint32_t)len};
    mw_buffer_append(&v->keys, &s, sizeof s);
}

void mw_view_edit_index(mw_view *v, uint32_t index)
{
    step s = {.index = index};
    mw_buffer_append(&v->keys, &s, sizeof s);
}

void mw_view_edit_end(mw_view *v, int remove)
{
    uint32_t depth = (uint32_t)(v->keys.len / sizeof(step));
    const step *steps = (const step *)v->keys.bytes;
    const char **keys = mw_arena_get(v->arena, depth * sizeof *keys);
    uint32_t *lens = mw_arena_get(v->arena, depth * sizeof *lens);
    uint32_t *indices = mw_arena_get(v->arena, depth * sizeof *indices);
    for (uint32_t i = 0; i < depth; i++)
        keys[i] = steps[i].key, lens[i] = steps[i].len, indices[i] = steps[i].index;
    mw_edit e = {.keys = keys, .key_lens = lens, .indices = indices, .depth = depth};
    if (!remove) {
        e.text_len = (uint32_t)v->out.len;
        e.text = mw_view_keep(v);
    }
    mw_buffer_append(&v->edits, &e, sizeof e);
    v->edit_count++;
    v->keys.len = 0;
}

int mw_view_edit_finish(mw_view *v, uint32_t row, mw_send *line)
{
    mw_error error = {0};
    v->out.len = 0;
    if (mw_json_splice(&v->out, v->events[row].text, v->events[row].len,
                       (const mw_edit *)v->edits.bytes, v->edit_count, &error) != MW_OK) {
        v->out.len = 0;
        mw_buffer_text(&v->out, error.message);
        return 0;
    }
    line->len = (uint32_t)v->out.len;
    line->text = mw_view_keep(v);
    return 1;
}

/* ---- rows that rules make ---- */

static mw_event *add_row(mw_view *v)
{
    if (!v->events_own || v->count == v->events_room) {
        uint32_t room = v->count * 2 + 16;
        if (room > v->events_room) {
            v->own_events = realloc(v->own_events, room * sizeof *v->own_events);
            mw_assert(v->own_events != NULL);
            v->events_room = room;
        }
        if (!v->events_own) memcpy(v->own_events, v->events, v->count * sizeof *v->events);
        v->events = v->own_events, v->events_own = 1;
    }
    return &v->events[v->count++];
}

uint32_t mw_view_derive(mw_view *v, uint32_t line)
{
    mw_send *s = &v->sends[line];
    mw_event from = v->events[s->row];
    mw_event *e = add_row(v);
    *e = from;
    if (s->text) e->text = s->text, e->len = s->len, e->raw = NULL, e->raw_len = 0;
    uint32_t row = v->count - 1;
    reserve_slots(v, v->count);
    mw_json_fault fault;
    mw_projector_run(v->projector, e->text, e->len, v->slots + (size_t)row * v->stride, &fault);
    s->to = MW_TO_NOBODY;
    return row;
}

int mw_view_route(mw_view *v, uint32_t row, uint32_t channel)
{
    return v->route ? v->route(v->host, v, row, channel) : 0;
}

void mw_view_meta(mw_view *v, uint32_t row)
{
    v->out.len = 0;
    v->meta(v->host, v, row, &v->out);
}

void mw_view_alive(mw_view *v)
{
    if (v->alive) v->alive(v->host);
}

void mw_view_fail(mw_view *v, uint32_t row, uint32_t rule, uint32_t mark, const char *why,
                  size_t len)
{
    mw_view_alive(v);
    for (uint32_t i = mark; i < v->send_count; i++)
        if (mw_send_is_to(&v->sends[i], MW_TO_CHANNEL)) v->pending--;
    v->send_count = mark;
    if (v->send_count == v->send_room) mw_view_grow(v);
    mw_send *s = &v->sends[v->send_count++];
    *s = (mw_send){.to = MW_TO_DEAD, .row = row, .rule = rule};
    v->dead.len = 0;
    v->dead_letter(v->host, v, &v->dead, row, rule, why, len);
    s->text = mw_arena_copy(v->arena, v->dead.bytes, v->dead.len);
    s->len = (uint32_t)v->dead.len;
}

/* ---- conditions ---- */

uint32_t mw_view_when_add(mw_view *v)
{
    v->whens = realloc(v->whens, (v->when_count + 1) * sizeof *v->whens);
    mw_assert(v->whens != NULL);
    v->whens[v->when_count] = mw_when_new();
    return v->when_count++;
}

mw_when *mw_view_when(mw_view *v, uint32_t group)
{
    return v->whens[group];
}

uint32_t mw_view_match(mw_view *v, uint32_t group, uint32_t row)
{
    mw_when *w = v->whens[group];
    uint32_t rules = (uint32_t)mw_when_rules(w);
    if (v->matched_room < rules) {
        v->matched = realloc(v->matched, rules * sizeof *v->matched);
        mw_assert(v->matched != NULL);
        v->matched_room = rules;
    }
    return mw_when_match(w, v->slots + (size_t)row * v->stride, v->matched);
}
