--- Events as rules see them: tables without contents, whose fields are found in the event's bytes
--- when they are read.
---
--- A handle holds the row and the generation of its run, under the keys `true` and `false`, which
--- no JSON field can be; a part of an event (`e.device`) is a handle too, which holds the number of
--- its path under 0, which no list counts from. A handle is good while its rule runs, and refused
--- after. One that never escapes a rule is never allocated: the JIT compiler keeps it in registers
--- (which is why a part does not simply hold its event: what is stored in a table escapes).
---
--- What a rule assigns is kept in an overlay, a tree of plain tables. There is one at a time, that
--- of the rule that runs; R.overlaid says that it is not empty, and is cleared before each rule.
local core = require "moonweir.core"
local encode = require "moonweir.encode"
local C, ffi, R = core.C, core.ffi, core.view()
local ffi_string, uint64, int64 = ffi.string, ffi.typeof "uint64_t", ffi.typeof "int64_t"
local STRING, NUMBER, NULL, FALSE, TRUE, ESCAPED, INTEGER, ABSENT, OBJECT =
  core.STRING,
  core.NUMBER,
  core.NULL,
  core.FALSE,
  core.TRUE,
  core.ESCAPED,
  core.INTEGER,
  core.ABSENT,
  core.OBJECT
local setmetatable, getmetatable, type, error, next = setmetatable, getmetatable, type, error, next
local null = encode.null

local M = {}

local Event, Part = {}, {}
M.Event, M.Part = Event, Part

--- Path numbers by field: roots["amount"], children[path]["os"].
local roots, children = {}, {}
--- Key and parent of each path, for overlays.
local path_names = {}
local REMOVED = {}

--- A handle of a row. `generation` is R.generation, read outside the loop over the rows: only then
--- can the compiler keep the handle in registers (what is stored in a sunk table must not change
--- within the loop). Here, and wherever many calls may be in one trace, the parentheses around a
--- returned call keep it from being a tail call, of which a trace may hold only a few.
function M.new(row, generation)
  local e = { [true] = 0, [false] = 0 }
  e[true] = row
  e[false] = generation
  return (setmetatable(e, Event))
end

local function stale(level)
  error(
    "this event is over: take what you need of it with mw.decode(e) while its rule runs",
    level + 1
  )
end

--- Row of an event; an error when it is over.
local function row_of(e)
  local row = e[true]
  if e[false] ~= R.generation or row ~= R.row then stale(3) end
  return row
end
M.row_of = row_of

-- reading

--- An exact integer: what a double cannot hold is a 64-bit integer, and what those cannot hold is
--- the nearest double.
local function integer(v)
  local digits = ffi_string(v.text, v.len)
  local negative = digits:sub(1, 1) == "-"
  local body = negative and digits:sub(2) or digits
  if #body > 20 or (#body == 20 and body > "18446744073709551615") then return v.number end
  local n = uint64(0)
  for i = 1, #body do
    n = n * 10 + (body:byte(i) - 48)
  end
  if negative then
    if n > 9223372036854775808ULL then return v.number end
    return -ffi.cast(int64, n)
  end
  if n <= 9223372036854775807ULL then return ffi.cast(int64, n) end
  return n
end

local function text_of(v)
  if v.kind == STRING then return ffi_string(v.text, v.len) end
  C.mw_view_unescape(R, v.text, v.len)
  return ffi_string(R.out.bytes, R.out.len)
end

local decode_text

local cursor, key_out, value_out = ffi.new "size_t[1]", ffi.new "mw_value", ffi.new "mw_value"

local function decode_value(v)
  local kind = v.kind
  if kind == STRING or kind == ESCAPED then return text_of(v) end
  if kind == NUMBER then return v.number end
  if kind == TRUE then return true end
  if kind == FALSE then return false end
  if kind == INTEGER then return integer(v) end
  if kind == ABSENT then return nil end
  if kind == NULL then return null end
  return decode_text(v.text, v.len, kind == OBJECT)
end

--- A container as plain tables. `cursor` is shared by all levels, so each keeps its own place.
function decode_text(text, len, is_object)
  local t, n, at = is_object and {} or setmetatable({}, encode.array_mark), 0, ffi.cast("size_t", 0)
  while true do
    cursor[0] = at
    if C.mw_view_next(R, text, len, cursor, key_out, value_out) == 0 then return t end
    at = cursor[0]
    local k
    if is_object then
      k = text_of(key_out)
    else
      n = n + 1
      k = n
    end
    t[k] = decode_value(value_out)
  end
end

local function learn(parent, k)
  local path
  if type(k) == "string" then
    path = C.mw_view_path_key(R, parent, k, #k)
  elseif type(k) == "number" and k >= 1 and k % 1 == 0 and k <= 64 then
    path = C.mw_view_path_index(R, parent, k)
  else
    return nil
  end
  if path < 0 then return nil end
  local of = parent == core.ROOT and roots or children[parent]
  of[k] = path
  children[path] = children[path] or {}
  path_names[path] = { key = k, parent = parent }
  if R.generation ~= 0 then C.mw_view_learned(R) end
  return path
end
M.learn = learn

--- Fields that have no path of their own (an index past 64, or more paths than can be learned):
--- found by a walk.
local function unlearned(row, parent, k)
  if type(k) ~= "string" and type(k) ~= "number" then return nil end
  if parent == core.ROOT then
    R.found = C.mw_json_value(R.events[row].text, R.events[row].len)
  else
    C.mw_view_find(R, row, parent)
  end
  local v = R.found
  if v.kind ~= core.OBJECT and v.kind ~= core.ARRAY then return nil end
  return decode_text(v.text, v.len, v.kind == OBJECT)[k]
end

local function value_of(v, row, path)
  local kind = v.kind
  if kind == NUMBER then return v.number end
  if kind == STRING then return (ffi_string(v.text, v.len)) end
  if kind == ABSENT then return nil end
  if kind == TRUE then return true end
  if kind == FALSE then return false end
  if kind == NULL then return null end
  if kind == ESCAPED then return text_of(v) end
  if kind == INTEGER then return integer(v) end
  local part = { [true] = 0, [false] = 0, [0] = 0 }
  part[true] = row
  part[false] = R.generation
  part[0] = path
  return (setmetatable(part, Part))
end

--- Reads a field of the event's bytes (not of its overlay).
local function read(row, parent, k)
  local path = (parent == core.ROOT and roots or children[parent])[k] or learn(parent, k)
  if not path then return unlearned(row, parent, k) end
  return value_of(R.values[path], row, path)
end

-- overlays

--- The keys that lead to a path, from the root.
local function chain_of(path)
  local keys = {}
  while path ~= core.ROOT do
    local entry = path_names[path]
    table.insert(keys, 1, entry.key)
    path = entry.parent
  end
  return keys
end

--- What the overlay says of a chain of keys: the value, or nil and the overlay's node there (nil
--- when it says nothing).
local function overlaid(node, keys, k)
  for i = 1, #keys do
    if not node then return nil, nil end
    local set = node.set[keys[i]]
    if set ~= nil then
      if type(set) ~= "table" or set == REMOVED or set == null then return REMOVED end
      for j = i + 1, #keys do
        set = set[keys[j]]
        if type(set) ~= "table" then return REMOVED end
      end
      local v = set[k]
      if v == nil then return REMOVED end
      return v
    end
    node = node.sub[keys[i]]
  end
  if not node then return nil, nil end
  return node.set[k], node
end

--- The overlay of the rule that runs: `set` by field, `sub` by container, and the order of
--- assignment.
local overlay

--- The overlay of a rule that waits, and back.
function M.overlay() return overlay end
function M.set_overlay(o) overlay = o end

local function index_slow(e, path, k)
  local row = row_of(e)
  if R.overlaid ~= 0 then
    local v = overlaid(overlay, path == core.ROOT and {} or chain_of(path), k)
    if v == REMOVED then return nil end
    if v ~= nil then return v end
  end
  return read(row, path, k)
end

local function assign(e, path, k, v)
  row_of(e)
  local kind = type(k)
  if kind ~= "string" and not (kind == "number" and k >= 1 and k % 1 == 0) then
    error("the name of a field is a string (or a whole number in a list), not a " .. kind, 3)
  end
  kind = type(v)
  if kind == "function" or kind == "userdata" or kind == "thread" then
    error("a " .. kind .. " cannot be the value of a field", 3)
  end
  if kind == "table" then v = M.decode(v) end
  if R.overlaid == 0 then
    R.overlaid = 1
    overlay = { set = {}, sub = {}, order = {} }
  end
  local node, keys = overlay, path == core.ROOT and {} or chain_of(path)
  for i = 1, #keys do
    local set = node.set[keys[i]]
    if set ~= nil then
      if type(set) ~= "table" or set == REMOVED or set == null then
        error("'" .. tostring(keys[i]) .. "' is no table any more", 3)
      end
      for j = i + 1, #keys do
        set = set[keys[j]]
      end
      set[k] = v
      return
    end
    if not node.sub[keys[i]] then node.sub[keys[i]] = { set = {}, sub = {} } end
    node = node.sub[keys[i]]
  end
  node.set[k] = v == nil and REMOVED or v
  node.sub[k] = nil
  keys[#keys + 1] = k
  overlay.order[#overlay.order + 1] = keys
end

Event.__index = function(e, k)
  local row = e[true]
  if row == R.row and e[false] == R.generation and R.overlaid == 0 then
    local path = roots[k]
    if path then return (value_of(R.values[path], row, path)) end
  end
  return index_slow(e, core.ROOT, k)
end

Event.__newindex = function(e, k, v) assign(e, core.ROOT, k, v) end

Part.__index = function(part, k)
  local row = part[true]
  if row == R.row and part[false] == R.generation and R.overlaid == 0 then
    local path = children[part[0]][k]
    if path then return (value_of(R.values[path], row, path)) end
  end
  return index_slow(part, part[0], k)
end

Part.__newindex = function(part, k, v) assign(part, part[0], k, v) end

Event.__metatable, Part.__metatable = Event, Part

-- whole events

--- The edits that the overlay makes, into the view; each path once, with its last value.
local function edit_overlay()
  local root = overlay
  -- in the order of assignment: a list grows at its end, and new fields stand in the order they
  -- were given
  local seen = {}
  for i = 1, #root.order do
    local keys = root.order[i]
    local node, n = root, #keys
    for j = 1, n - 1 do
      node = node and node.sub[keys[j]]
    end
    local k = keys[n]
    local v = node and node.set[k]
    if v ~= nil and not (seen[node] and seen[node][k]) then
      seen[node] = seen[node] or {}
      seen[node][k] = true
      for j = 1, n do
        local step = keys[j]
        if type(step) == "string" then
          C.mw_view_edit_key(R, step, #step)
        else
          C.mw_view_edit_index(R, step)
        end
      end
      if v ~= REMOVED then encode.encode(v) end
      C.mw_view_edit_end(R, v == REMOVED and 1 or 0)
    end
  end
end

local function add_field(name, value)
  C.mw_view_edit_key(R, name, #name)
  encode.value(value)
  C.mw_view_edit_end(R, 0)
end

--- Edits that add fields, in order of name.
local function add_fields(fields)
  local a, av, b, bv, c, cv = encode.few(fields)
  if a ~= nil then
    add_field(a, av)
    if b ~= nil then add_field(b, bv) end
    if c ~= nil then add_field(c, cv) end
    return
  end
  local names, n = {}, 0
  for k in next, fields do
    if type(k) ~= "string" then
      error("the names of added fields are strings, not a " .. type(k), 4)
    end
    n = n + 1
    names[n] = k
  end
  table.sort(names)
  for i = 1, n do
    add_field(names[i], fields[names[i]])
  end
end

--- Writes an event's text, with its overlay and `fields` added, into a journal line; nothing where
--- it is as it came.
function M.render(e, fields, line)
  local row = row_of(e)
  local changed = R.overlaid ~= 0
  if not changed and fields == nil then
    line.text = nil
    return
  end
  C.mw_view_edit_begin(R)
  if changed then edit_overlay() end
  if fields ~= nil then add_fields(fields) end
  if C.mw_view_edit_finish(R, row, line) == 0 then error(ffi_string(R.out.bytes, R.out.len), 3) end
end

--- An event as it is now, with its overlay.
local function whole_value(e)
  local row = row_of(e)
  if R.overlaid == 0 then return C.mw_json_value(R.events[row].text, R.events[row].len) end
  local line = ffi.new "mw_send" -- only its text is used: as a place to leave the spliced event
  M.render(e, nil, line)
  return C.mw_json_value(line.text, line.len)
end

local function part_value(part)
  local v = whole_value(part)
  local keys = chain_of(part[0])
  for i = 1, #keys do
    local found
    local at, n = ffi.cast("size_t", 0), 0
    while true do
      cursor[0] = at
      if C.mw_view_next(R, v.text, v.len, cursor, key_out, value_out) == 0 then break end
      at = cursor[0]
      n = n + 1
      if v.kind == OBJECT and text_of(key_out) == keys[i] or v.kind ~= OBJECT and n == keys[i] then
        found = ffi.new("mw_value", value_out)
      end
    end
    if not found then return nil end
    v = found
  end
  return v
end

--- A plain, independent copy of an event or of a part of one; any other value as it is.
---@generic T
---@param e T
---@return table|T
function M.decode(e)
  if type(e) ~= "table" then return e end
  local mt = getmetatable(e)
  if mt == Event then return decode_value(whole_value(e)) end
  if mt == Part then
    local v = part_value(e)
    return v and decode_value(v)
  end
  if mt == "window result" or mt == "row" then return (M.result(e)) end
  return e
end

--- The Lua value of a value of C's.
M.value = decode_value

--- The JSON of an event or of a part of one, for the encoder; of what stands for a table, that.
encode.view_text = function(t)
  local mt = getmetatable(t)
  if mt == "window result" or mt == "row" then return (M.result(t)) end
  if mt ~= Event and mt ~= Part then return nil end
  local v = mt == Event and whole_value(t) or part_value(t)
  if not v then return "null" end
  local quotes = (v.kind == STRING or v.kind == ESCAPED) and 1 or 0
  return ffi_string(v.text - quotes, v.len + 2 * quotes)
end

--- True for events and parts of events.
function M.is_view(v)
  if type(v) ~= "table" then return false end
  local mt = getmetatable(v)
  return mt == Event or mt == Part
end

--- JSON text to a plain value; nil and where it fails when it is not valid.
function M.decode_text(text)
  local padded = ffi.new("char[?]", #text + 64)
  ffi.copy(padded, text, #text)
  local at = C.mw_json_check(padded, #text)
  if at >= 0 then return nil, at end
  local v = C.mw_json_value(padded, #text)
  return decode_value(v), padded
end

return M
