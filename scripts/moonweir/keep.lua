--- What windows, states and timers have in common: their number, the paths that make their keys,
--- values handed to C, and what C's answers mean.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local park = require "moonweir.park"
local C, ffi, R = core.C, core.ffi, core.view()
local type, error, tostring, tonumber = type, error, tostring, tonumber

ffi.cdef [[
void mw_view_use(mw_view *v, uint32_t index, uint32_t part, int32_t path);
void mw_view_key_parts(mw_view *v, uint32_t index, uint32_t parts);
mw_value *mw_view_given(mw_view *v, uint32_t n);
int mw_view_add(mw_view *v, uint32_t index, uint32_t row, int given);
int mw_view_get(mw_view *v, uint32_t index);
uint32_t mw_view_call(mw_view *v, uint32_t index, uint32_t operation, uint32_t row, int given, const char *name, uint32_t len, double by, double ttl_ns);
int mw_view_correction(mw_view *v, uint32_t index);
int mw_view_more(mw_view *v, uint32_t index, uint32_t id, double epoch, double pane, uint32_t span, uint32_t aggregate, int json);
void mw_view_result_key(mw_view *v, uint32_t index);
int mw_view_record_get(mw_view *v, uint32_t index);
void mw_view_record_field(mw_view *v, uint32_t index, uint32_t n);
int mw_view_record_read(mw_view *v, uint32_t index, const char *name, uint32_t len);
int mw_view_record_set(mw_view *v, uint32_t index, const char *name, uint32_t len);
int mw_view_record_increment(mw_view *v, uint32_t index, const char *name, uint32_t len, double by);
int mw_view_record_clear(mw_view *v, uint32_t index);
int mw_view_record_delete(mw_view *v, uint32_t index);
int mw_view_record_live(mw_view *v, uint32_t index, double ttl_ns);
typedef struct mw_record_cursor {
  uint32_t id, loads, row_len;
  int32_t in_store;
  char row[512];
} mw_record_cursor;
int mw_view_record_next(mw_view *v, uint32_t index, mw_record_cursor *cursor);
int mw_view_timer_set(mw_view *v, uint32_t index, double after_ns, double at_s);
int mw_view_timer_cancel(mw_view *v, uint32_t index);
int mw_view_timer_beat(mw_view *v, uint32_t index, double period_ns);
int32_t mw_view_next_due(mw_view *v, uint32_t row);
]]

local M = {}

--- Texts that C is looking at: kept from the collector until the next values are given.
local anchors = {}

--- Gives C a value, as the n-th.
function M.give(n, v)
  local to = C.mw_view_given(R, n)
  local kind = type(v)
  to.number = 0
  if kind == "string" then
    anchors[n] = v
    to.kind, to.text, to.len = core.STRING, v, #v
  elseif kind == "number" then
    to.kind, to.number = core.NUMBER, v
  elseif kind == "boolean" then
    to.kind = v and core.TRUE or core.FALSE
  elseif v == nil then
    to.kind = core.ABSENT
  elseif v == encode.null then
    to.kind = core.NULL
  elseif kind == "cdata" then
    local text = tostring(v):gsub("[UL]+$", "")
    anchors[n] = text
    to.kind, to.text, to.len, to.number = core.INTEGER, text, #text, tonumber(v)
  elseif kind == "table" then
    local text = encode.encode_text(event.decode(v))
    anchors[n] = text .. (" "):rep(64)
    local list = text:sub(1, 1) == "["
    to.kind, to.text, to.len = list and core.ARRAY or core.OBJECT, anchors[n], #text
  else
    error("a " .. kind .. " cannot be kept", 3)
  end
end

--- The parts of a key, given as one value or as a list of them.
function M.give_key(key, parts, level)
  if parts == 1 then
    M.give(0, key)
    return 1
  end
  if type(key) ~= "table" or #key ~= parts then
    error("the key is a list of " .. parts .. " values", level + 1)
  end
  for i = 1, parts do
    M.give(i - 1, key[i])
  end
  return parts
end

--- A value of C's as a Lua value.
function M.taken(v) return (event.value(v)) end

--- The key that C shows.
function M.shown_key()
  if R.key.kind == core.STRING then return (ffi.string(R.key.text, R.key.len)) end
  return (event.decode_text(ffi.string(R.out.bytes, R.out.len)))
end

--- Operations on keys of another shard, as in core/lua/keep.h.
M.ADD, M.GET, M.RECORD_GET, M.RECORD_READ, M.RECORD_SET, M.RECORD_INCREMENT, M.RECORD_DELETE =
  0, 1, 2, 3, 4, 5, 6
M.RECORD_REPLACE, M.RECORD_COMPARE, M.RECORD_PUSH, M.RECORD_LIVE = 7, 8, 9, 10
M.TIMER_AFTER, M.TIMER_AT, M.TIMER_CANCEL = 11, 12, 13
--- What a call says whose key is there.
M.ELSEWHERE = 9

--- Calls such an operation, and waits: what it came to, and what came with it. `ttl` in
--- nanoseconds.
---@return integer status, table? answer
function M.far(index, operation, given, name, by, ttl)
  name = name or ""
  park.check()
  park.await(C.mw_view_call(R, index, operation, R.row, given, name, #name, by or 0, ttl or -1))
  local status = R.reply[0].number
  if R.reply_count < 2 then return status, nil end
  local text = R.reply[1]
  return status, (event.decode_text(ffi.string(text.text, text.len)))
end

--- Raises what a fault means. `what` is "window 'spend'", `fields` the names of its key's parts.
function M.fault(status, what, fields, level)
  level = level + 1
  if status == 8 then error(what .. " is used by rules, not while the flow is declared", level) end
  if status == 9 then
    error(
      what
        .. ": this key is kept on another shard, where this cannot be done: give the rule a 'by' "
        .. "of the same key, or run with --shards 1",
      level
    )
  end
  local part = fields and fields[status % 16 + 1]
  local name = part and "the key '" .. part .. "'" or "the key"
  if status < 32 then error(what .. ": " .. name .. " is missing", level) end
  if status < 48 then
    error(what .. ": " .. name .. " is an object or a list; keys are plain values", level)
  end
  error(what .. ": " .. name .. " is longer than 400 bytes", level)
end

--- Path number of a field such as "device.os".
function M.path(name, what)
  local path = core.ROOT
  for part in name:gmatch "[^%.]+" do
    path = event.learn(path, part)
    if not path then error(what .. ": too many different fields are read by this flow", 0) end
  end
  return path
end

--- A field of an event, or of a table, by such a name.
function M.field(of, name)
  for part in name:gmatch "[^%.]+" do
    if type(of) ~= "table" then return nil end
    of = of[part]
  end
  return of
end

--- Checks the option `by`: a list of names of fields.
function M.by(what, by, options, level)
  local list = type(by) == "string" and { by } or by
  if type(list) ~= "table" then
    error(
      what .. ": 'by' must be a field or a list of fields, not " .. tostring(by) .. options,
      level + 1
    )
  end
  local names = {}
  for i, name in ipairs(list) do
    if type(name) ~= "string" or name == "" then
      error(what .. ": in 'by', a field is named by a string", level + 1)
    end
    names[i] = name
  end
  if #names > 15 then error(what .. ": a key has at most 15 parts", level + 1) end
  return names
end

return M
