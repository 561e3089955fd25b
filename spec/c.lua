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
uint64_t mw_hash(const void *bytes, size_t len);
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
