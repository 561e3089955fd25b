--- The environment of a flow: what a rule may use, and nothing else. No os, io, ffi, debug, jit, no
--- way to load bytecode, no raw access to what events are made of, and nothing that rules share and
--- could change.
local event = require "moonweir.event"
local budget = require "moonweir.budget"

--- `loading` is true while the flow's files run: only then may they be read.
local M = { loading = false }

local function copy(t, leave)
  local c = {}
  for k, v in pairs(t) do
    if not (leave and leave[k]) then c[k] = v end
  end
  return c
end

--- A flow's own `pairs`: an event or a part of one is walked as the plain table it means.
local function safe_pairs(t) return pairs(event.decode(t)) end
local function safe_ipairs(t) return ipairs(event.decode(t)) end
local function safe_next(t, k) return next(event.decode(t), k) end

local function safe_getmetatable(t)
  if type(t) ~= "table" then return nil end
  if event.is_view(t) then return nil end
  return getmetatable(t)
end

local function safe_setmetatable(t, mt)
  if event.is_view(t) then error("an event's metatable cannot be set", 2) end
  if type(mt) == "table" and rawget(mt, "__gc") ~= nil then error("__gc cannot be set", 2) end
  return setmetatable(t, mt)
end

--- Raw access to plain tables only: what the router hands out is closed.
local function raw(name, f)
  return function(t, ...)
    local mt = type(t) == "table" and getmetatable(t)
    if event.is_view(t) or type(mt) == "string" and mt ~= "array" then
      error(
        name
          .. " cannot be used on "
          .. (event.is_view(t) and "an event" or "what the router hands out"),
        2
      )
    end
    return f(t, ...)
  end
end

--- `tostring` without addresses, which differ from run to run.
local function safe_tostring(v)
  local kind = type(v)
  if kind == "function" or kind == "thread" or kind == "userdata" then return kind end
  if kind == "table" and not event.is_view(v) then
    local mt = getmetatable(v)
    if type(mt) ~= "table" or rawget(mt, "__tostring") == nil then
      return type(mt) == "string" and tostring(v) or "table"
    end
  elseif kind == "table" then
    return "event"
  end
  return tostring(v)
end

--- The library's functions whose cost grows with what they are given pay for it.
local function charged(strings, tables)
  local charge = budget.charge
  for _, name in ipairs { "find", "match", "gmatch", "gsub", "reverse", "upper", "lower" } do
    local f = strings[name]
    strings[name] = function(s, ...)
      if #s > 64 then charge(#s / 64) end
      return f(s, ...)
    end
  end
  local rep, sort, concat = strings.rep, tables.sort, tables.concat
  strings.rep = function(s, n, ...)
    charge(#s * n / 64)
    return rep(s, n, ...)
  end
  tables.sort = function(t, ...)
    charge(#t)
    return sort(t, ...)
  end
  tables.concat = function(t, ...)
    charge(#t / 4)
    return concat(t, ...)
  end
end

--- What a table says, and no way to change it: nobody's rules can change what others call.
local function closed(name, t)
  return setmetatable({}, {
    __index = t,
    __newindex = function(_, k)
      error("'" .. name .. "." .. tostring(k) .. "' cannot be set: it is shared by all rules", 2)
    end,
    __metatable = name,
  })
end

--- A fresh environment.
---@param mw table  the module that `require "moonweir"` gives
---@param load_module fun(name: string, env: table): any
function M.environment(mw, load_module)
  local strings, tables = copy(string, { dump = true }), copy(table)
  charged(strings, tables)
  getmetatable("").__index = strings
  local env = {
    assert = assert,
    error = error,
    type = type,
    tostring = safe_tostring,
    tonumber = tonumber,
    select = select,
    unpack = unpack,
    pcall = pcall,
    xpcall = function(f, h, ...) return xpcall(f, h, ...) end,
    pairs = safe_pairs,
    ipairs = safe_ipairs,
    next = safe_next,
    getmetatable = safe_getmetatable,
    setmetatable = safe_setmetatable,
    rawget = raw("rawget", rawget),
    rawset = raw("rawset", rawset),
    rawequal = rawequal,
    math = closed("math", copy(math, { random = true, randomseed = true })),
    string = closed("string", strings),
    table = closed("table", tables),
    bit = closed("bit", copy(bit)),
    coroutine = closed("coroutine", copy(coroutine)),
    _VERSION = _VERSION,
  }
  local globals = setmetatable({}, {
    __index = env,
    __newindex = function(_, k)
      error(
        "'"
          .. tostring(k)
          .. "' is not declared: write 'local "
          .. tostring(k)
          .. "' (globals would be shared by all rules)",
        2
      )
    end,
    __metatable = "globals",
  })
  env._G = globals
  local loaded = { moonweir = mw }
  env.require = function(name)
    if type(name) ~= "string" then error("require wants the name of a module", 2) end
    if loaded[name] == nil then
      if not M.loading then
        error(
          "modules are required where the flow is loaded, at the top of a file, not by rules",
          2
        )
      end
      local value = load_module(name, globals)
      loaded[name] = value == nil and true or value
    end
    return loaded[name]
  end
  env.print = function() error("a rule has no terminal: use mw.log.info(...)", 2) end
  return globals
end

return M
