--- The C side as Lua sees it: the structures of core/lua/view.h, core/event/value.h and batch.h,
--- and the calls of a view. Nothing here is reachable from a rule: rules see tables and functions,
--- never a pointer.
local ffi = require "ffi"

ffi.cdef [[
typedef struct { double number; const char *text; int32_t len; int32_t kind; } mw_value;
typedef struct { const char *text; const char *raw; int32_t len, raw_len, origin, dead; int64_t time, mark; } mw_event;
typedef struct { const char *text; const char *options; int32_t len, options_len, to, row, rule, http_status; } mw_send;
typedef struct { double events, filtered, failed, sent; } mw_rule_count;
typedef struct { char *bytes; size_t len, room; } mw_buffer;
typedef struct { int64_t start, finish; double epoch, pane; int32_t id, span, correction; } mw_window_result;
typedef struct {
  int32_t generation, count, given, row, stride, send_count, send_room, rule, pending, shards, overlaid;
  mw_value *slots, *values;
  mw_event *events;
  mw_send *sends;
  mw_rule_count *counts;
  uint64_t *hashes;
  uint32_t *matched;
  int32_t *tried;
  double *compared;
  double now;
  mw_buffer out;
  mw_value found;
  double *numbers;
  mw_window_result *results;
  mw_value key;
  int64_t due;
  int32_t alone, blocked, first, base;
  mw_value *reply;
  int32_t reply_count, asks;
  const char *reply_error;
} mw_view;
typedef struct mw_when mw_when;

void mw_view_grow(mw_view *v);
void mw_view_forget(mw_view *v);
void mw_view_find(mw_view *v, uint32_t row, int32_t path);
int32_t mw_view_path_key(mw_view *v, int32_t parent, const char *key, size_t len);
int32_t mw_view_path_index(mw_view *v, int32_t parent, uint32_t index);
void mw_view_learned(mw_view *v);
int mw_view_next(mw_view *v, const char *text, size_t len, size_t *cursor, mw_value *key, mw_value *value);
void mw_view_unescape(mw_view *v, const char *text, size_t len);
const char *mw_view_keep(mw_view *v);
const char *mw_view_keep_plain(mw_view *v);
void mw_view_edit_begin(mw_view *v);
void mw_view_edit_key(mw_view *v, const char *key, size_t len);
void mw_view_edit_index(mw_view *v, uint32_t index);
void mw_view_edit_end(mw_view *v, int remove);
int mw_view_edit_finish(mw_view *v, uint32_t row, mw_send *line);
uint32_t mw_view_derive(mw_view *v, uint32_t line);
int mw_view_route(mw_view *v, uint32_t row, uint32_t channel);
void mw_view_alive(mw_view *v);
void mw_view_fail(mw_view *v, uint32_t row, uint32_t rule, uint32_t mark, const char *why, size_t len);
void mw_view_settle(mw_view *v, uint32_t row, uint32_t first);
uint32_t mw_view_match(mw_view *v, uint32_t group, uint32_t row);
uint32_t mw_view_when_add(mw_view *v);
mw_when *mw_view_when(mw_view *v, uint32_t group);
void mw_when_add(mw_when *w, uint32_t rule, int32_t path, uint32_t kind, double number, const char *text, size_t len);
void mw_when_build(mw_when *w);

void mw_json_quote(mw_buffer *out, const char *text, size_t len);
void mw_json_number(mw_buffer *out, double number);
void mw_view_put_text(mw_view *v, const char *name, size_t name_len, const char *text, size_t len);
void mw_view_put_number(mw_view *v, const char *name, size_t name_len, double number);
void mw_view_put_boolean(mw_view *v, const char *name, size_t name_len, bool value);
void mw_view_put_end(mw_view *v);
mw_value mw_json_value(const char *text, size_t len);
int mw_json_check(const char *text, size_t len);
uint64_t mw_key_of_text(const char *text, size_t len);
]]

local M = {}

M.ffi = ffi
M.C = ffi.C

--- Kinds of a value, as in core/event/value.h.
M.ABSENT, M.STRING, M.NUMBER, M.NULL, M.FALSE, M.TRUE, M.ESCAPED, M.INTEGER, M.OBJECT, M.ARRAY =
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9

--- Whom a line of the journal is for, as in core/lua/view.h.
M.TO_NOBODY, M.TO_REPLY, M.TO_CHANNEL = 0x7fffffff, 0x40000000, 0x20000000

M.ROOT, M.NONE = -1, -2

--- The shard's view; given by C as an address before anything else of this state runs.
---@return ffi.cdata*
function M.view() return ffi.cast("mw_view *", M.view_address) end

return M
