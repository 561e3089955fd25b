--- Lua values into JSON, through a C buffer. Keys of objects are written in order of their bytes,
--- so that the same decision is always the same bytes.
local core = require "moonweir.core"
local C, ffi = core.C, core.ffi
local append, quote, number = C.mw_buffer_append, C.mw_json_quote, C.mw_json_number
local type, tostring, next, sort, getmetatable = type, tostring, next, table.sort, getmetatable
local istype, int64, uint64 = ffi.istype, ffi.typeof "int64_t", ffi.typeof "uint64_t"

local M = {}

local MAX_DEPTH = 100

--- JSON null, which a nil in a table cannot be.
M.null = setmetatable(
  {},
  {
    __tostring = function() return "null" end,
    __newindex = function() error("mw.null cannot be changed", 2) end,
  }
)

--- Marks lists, so that an empty one is written [] (an unmarked empty table is written {}).
M.array_mark = { __name = "array" }

--- Set by event.lua: writes an event or a part of one; false when the value is neither.
M.write_view = function() return false end

--- A list is a table whose keys are exactly 1..n.
local function list_length(t)
  local n = #t
  if n == 0 then return next(t) == nil and getmetatable(t) == M.array_mark and 0 or nil end
  local count = 0
  for _ in next, t do
    count = count + 1
  end
  return count == n and n or nil
end

local encode

local function sorted_keys(t)
  local keys, n = {}, 0
  for k in next, t do
    local kind = type(k)
    if kind ~= "string" then
      if kind ~= "number" then error("a " .. kind .. " cannot be the key of a JSON object") end
    end
    n = n + 1
    keys[n] = k
  end
  if n > 8 then
    sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    return keys, n
  end
  for i = 2, n do
    local k, j = keys[i], i - 1
    while j > 0 and tostring(keys[j]) > tostring(k) do
      keys[j + 1] = keys[j]
      j = j - 1
    end
    keys[j + 1] = k
  end
  return keys, n
end

local function encode_table(out, t, depth)
  if depth > MAX_DEPTH then
    error("a table nested deeper than " .. MAX_DEPTH .. " (or that holds itself) cannot be JSON")
  end
  if t == M.null then
    append(out, "null", 4)
    return
  end
  if M.write_view(out, t) then return end
  local n = list_length(t)
  if n then
    append(out, "[", 1)
    for i = 1, n do
      if i > 1 then append(out, ",", 1) end
      encode(out, t[i], depth + 1)
    end
    append(out, "]", 1)
    return
  end
  append(out, "{", 1)
  local keys, count = sorted_keys(t)
  for i = 1, count do
    local k = keys[i]
    local name = tostring(k)
    if i > 1 then append(out, ",", 1) end
    quote(out, name, #name)
    append(out, ":", 1)
    encode(out, t[k], depth + 1)
  end
  append(out, "}", 1)
end

local function encode_cdata(out, v)
  if not (istype(int64, v) or istype(uint64, v)) then
    error("a cdata that is no integer cannot be JSON")
  end
  local digits = tostring(v):gsub("U?LL$", "")
  append(out, digits, #digits)
end

--- Appends a value.
---@param out ffi.cdata* mw_buffer
---@param v any
---@param depth integer
function encode(out, v, depth)
  local kind = type(v)
  if kind == "string" then
    quote(out, v, #v)
  elseif kind == "number" then
    number(out, v)
  elseif kind == "table" then
    encode_table(out, v, depth)
  elseif kind == "boolean" then
    if v then
      append(out, "true", 4)
    else
      append(out, "false", 5)
    end
  elseif kind == "nil" then
    append(out, "null", 4)
  elseif kind == "cdata" then
    encode_cdata(out, v)
  else
    error("a " .. kind .. " cannot be JSON")
  end
end

--- Replaces what the buffer holds by a value's JSON.
---@param out ffi.cdata* mw_buffer
function M.encode(out, v)
  out.len = 0
  encode(out, v, 1)
end

--- A value's JSON as a string (off the hot path).
---@return string
function M.text(v)
  local out = core.ffi.new "mw_buffer"
  local ok, why = pcall(encode, out, v, 1)
  local text = ok and ffi.string(out.bytes, out.len)
  C.free(out.bytes)
  if not ok then error(why, 2) end
  return text
end

core.ffi.cdef "void free(void *);"

return M
