--- What the JSON encoder (core/lua/encode.c) has to know, and how it is called. C adds `encode(v)`,
--- which leaves the JSON in R.out, and `encode_text(v)`, which returns it.
local core = require "moonweir.core"
local C, R = core.C, core.view()
local next, type, getmetatable = next, type, getmetatable

local M = {}

--- JSON null, which a nil in a table cannot be.
M.null = setmetatable({}, {
  __tostring = function() return "null" end,
  __newindex = function() error("mw.null cannot be changed", 2) end,
  __metatable = "null",
})

--- Marks lists, so that an empty one is written [] (an unmarked empty table is written {}).
M.array_mark = { __name = "array", __metatable = "array" }

--- Set by event.lua: the JSON of an event or of a part of one; nil when the value is neither.
M.view_text = function() return nil end

--- The fields of a table of one to three fields, in order of name: name, value, name, value, …
--- Nothing for any other table. Written without a loop: around a loop of so few turns the compiler
--- gives up, and the short tables of replies and of added fields are what rules make for every
--- event.
function M.few(t)
  local a, av = next(t)
  if type(a) ~= "string" or getmetatable(t) ~= nil then return end
  local b, bv = next(t, a)
  if b == nil then return a, av end
  if type(b) ~= "string" then return end
  local c, cv = next(t, b)
  if a > b then a, av, b, bv = b, bv, a, av end
  if c == nil then return a, av, b, bv end
  if type(c) ~= "string" or next(t, c) ~= nil then return end
  if b > c then b, bv, c, cv = c, cv, b, bv end
  if a > b then a, av, b, bv = b, bv, a, av end
  return a, av, b, bv, c, cv
end

--- Leaves a value's JSON in R.out.
function M.value(v)
  local kind = type(v)
  if kind == "string" then
    R.out.len = 0
    C.mw_json_quote(R.out, v, #v)
  elseif kind == "number" then
    R.out.len = 0
    C.mw_json_number(R.out, v)
  else
    M.encode(v)
  end
end

local function put(k, v)
  local kind = type(v)
  if kind == "string" then C.mw_view_put_text(R, k, #k, v, #v)
  elseif kind == "number" then C.mw_view_put_number(R, k, #k, v)
  elseif kind == "boolean" then C.mw_view_put_boolean(R, k, #k, v)
  else return false end
  return true
end

--- Leaves a table's JSON in R.out.
function M.table(t)
  local a, av, b, bv, c, cv = M.few(t)
  if a ~= nil then
    R.out.len = 0
    if put(a, av) and (b == nil or put(b, bv)) and (c == nil or put(c, cv)) then
      C.mw_view_put_end(R)
      return
    end
  end
  M.encode(t)
end

return M
