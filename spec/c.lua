--- The C side through the FFI: the shared library that the build makes for the specs.
local ffi = require "ffi"
local s = require "support"

ffi.cdef [[
typedef struct { double number; const char *text; uint32_t len; uint32_t kind; } mw_value;
typedef struct { char *key; uint32_t key_len, index; int32_t parent, child, sibling; } mw_path;
typedef struct { mw_path *paths; int32_t count, roots; } mw_paths;
typedef struct { const char *what; size_t at; } mw_json_fault;
typedef struct { char *bytes; size_t len, room; } mw_buffer;
typedef struct { int status; char message[1000]; } mw_error;
typedef struct mw_projector mw_projector;
typedef struct { const char **keys; const uint32_t *key_lens; const uint32_t *indices; uint32_t depth, text_len; const char *text; } mw_edit;
typedef struct mw_when mw_when;
typedef struct { struct mw_sequenced *next; uint64_t number; } mw_sequenced;
typedef struct { mw_sequenced *waiting; uint64_t next; } mw_sequencer;
typedef struct { uint32_t kind, target; void *body; } mw_message;

void mw_paths_init(mw_paths *p);
void mw_paths_close(mw_paths *p);
int32_t mw_paths_key(mw_paths *p, int32_t parent, const char *key, size_t len);
int32_t mw_paths_index(mw_paths *p, int32_t parent, uint32_t index);
int mw_json_scan(const char *text, size_t len, const mw_paths *paths, mw_value *values, mw_json_fault *fault);
mw_projector *mw_projector_new(const mw_paths *paths);
void mw_projector_free(mw_projector *p);
int mw_projector_run(mw_projector *p, const char *text, size_t len, mw_value *values, mw_json_fault *fault);
void mw_buffer_close(mw_buffer *b);
void mw_json_quote(mw_buffer *out, const char *text, size_t len);
void mw_json_number(mw_buffer *out, double number);
void mw_json_unescape(mw_buffer *out, const char *text, size_t len);
int mw_json_splice(mw_buffer *out, const char *text, size_t len, const mw_edit *edits, size_t count, mw_error *error);
mw_when *mw_when_new(void);
void mw_when_free(mw_when *w);
void mw_when_add(mw_when *w, uint32_t rule, int32_t path, uint32_t kind, double number, const char *text, size_t len);
void mw_when_build(mw_when *w);
uint32_t mw_when_match(const mw_when *w, const mw_value *values, uint32_t *matched);
void mw_sequencer_push(mw_sequencer *s, mw_sequenced *item);
mw_sequenced *mw_sequencer_pop(mw_sequencer *s);
uint64_t mw_key_of_text(const void *bytes, size_t len);
typedef struct { const char *bytes; uint32_t len, kind; uint64_t hash; } mw_key;
int mw_key_make(mw_key *k, const mw_value *const *values, uint32_t count, mw_buffer *scratch, uint32_t *at);
void mw_key_json(uint32_t kind, const char *bytes, uint32_t len, mw_buffer *out);
typedef struct mw_entries mw_entries;
mw_entries *mw_entries_new(uint32_t payload_bytes, const void *codec, void *self);
void mw_entries_free(mw_entries *t);
void mw_entries_track(mw_entries *t);
uint32_t mw_entries_find(const mw_entries *t, const mw_key *key);
uint32_t mw_entries_add(mw_entries *t, const mw_key *key);
void mw_entries_remove(mw_entries *t, uint32_t id);
char *mw_entries_at(const mw_entries *t, uint32_t id);
void mw_entries_touch(mw_entries *t, uint32_t id);
uint64_t mw_entries_count(const mw_entries *t);
uint32_t mw_entries_next(const mw_entries *t, uint32_t *cursor);
void mw_entries_cut(mw_entries *t);
int mw_entries_take(mw_entries *t, uint32_t most, mw_buffer *out);
uint32_t mw_entries_restore(mw_entries *t, const mw_key *key, const char *value, size_t len);
typedef struct { uint32_t bytes, value_len; uint64_t hash; uint16_t key_len; uint8_t key_kind, removed; char key[]; } mw_entry_record;
typedef struct mw_window mw_window;
typedef struct { int64_t start_ns, finish_ns; double epoch, pane; uint32_t id, span, correction; } mw_window_result;
int mw_window_new(mw_window **window, const char *json, size_t len, mw_error *error);
void mw_window_free(mw_window *w);
mw_entries *mw_window_entries(mw_window *w);
int mw_window_add(mw_window *w, const mw_key *key, uint32_t hint, const mw_value *const *values, int64_t at_ns, int64_t mark_ns);
double *mw_window_numbers(mw_window *w);
mw_window_result *mw_window_results(mw_window *w);
int mw_window_correction(mw_window *w);
int mw_window_get(mw_window *w, const mw_key *key, int64_t at_ns);
int mw_window_read(mw_window *w, const mw_window_result *r, uint32_t aggregate, double *number, mw_buffer *out);
int mw_window_key(const mw_window *w, const mw_window_result *r, mw_buffer *out);
int64_t mw_window_due(const mw_window *w);
int mw_window_close_next(mw_window *w, int64_t watermark_ns, uint32_t most);
void mw_window_save(const mw_window *w, mw_buffer *out);
void mw_window_load(mw_window *w, unsigned shard, unsigned shards, const char *bytes, size_t len);
int mw_window_is_closing(const mw_window *w);
void mw_window_hold(mw_window *w, int held);
void mw_window_restored(mw_window *w);
typedef struct mw_distinct mw_distinct;
void mw_distinct_add(mw_distinct **d, uint64_t hash);
double mw_distinct_count(const mw_distinct *d);
void mw_distinct_merge(mw_distinct **into, const mw_distinct *from);
void mw_distinct_free(mw_distinct *d);
typedef struct mw_quantile mw_quantile;
void mw_quantile_add(mw_quantile **s, double value);
void mw_quantile_merge(mw_quantile **into, const mw_quantile *from);
double mw_quantile_at(const mw_quantile *s, double q);
void mw_quantile_free(mw_quantile *s);
typedef struct mw_top mw_top;
void mw_top_add(mw_top **t, uint32_t k, const mw_value *value, uint64_t hash);
void mw_top_merge(mw_top **into, const mw_top *from);
void mw_top_json(const mw_top *t, mw_buffer *out);
void mw_top_free(mw_top *t);
typedef struct mw_member mw_member;
void mw_member_add(mw_member **m, uint32_t capacity, uint64_t hash);
int mw_member_has(const mw_member *m, uint64_t hash);
void mw_member_free(mw_member *m);
]]

local M = { lib = ffi.load(s.build .. "/libmoonweir_c.so") }

--- Text with the padding that the JSON functions want behind it.
function M.padded(text)
  local p = ffi.new("char[?]", #text + 64)
  ffi.copy(p, text, #text)
  return p
end

--- What a call with a buffer first appends.
function M.buffer(f, ...)
  local b = ffi.new "mw_buffer"
  local status = f(b, ...)
  local text = ffi.string(b.bytes, b.len)
  M.lib.mw_buffer_close(b)
  return text, status
end

return M
