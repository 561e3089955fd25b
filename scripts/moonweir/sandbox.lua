--- The environment of a flow: what a rule may use, and nothing else. No os, io, ffi, debug, jit, no
--- way to load bytecode, no raw access to what events are made of.
local event = require "moonweir.event"

local M = {}

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

local function raw(name, f)
  return function(t, ...)
    if event.is_view(t) then error(name .. " cannot be used on an event", 2) end
    return f(t, ...)
  end
end

--- A fresh environment.
---@param mw table  the module that `require "moonweir"` gives
---@param load_module fun(name: string, env: table): any
function M.environment(mw, load_module)
  local env = {
    assert = assert,
    error = error,
    type = type,
    tostring = tostring,
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
    math = copy(math, { random = true, randomseed = true }),
    string = copy(string, { dump = true }),
    table = copy(table),
    bit = copy(bit),
    coroutine = copy(coroutine),
    _VERSION = _VERSION,
  }
  env._G = env
  local loaded = { moonweir = mw }
  env.require = function(name)
    if type(name) ~= "string" then error("require wants the name of a module", 2) end
    if loaded[name] == nil then
      local value = load_module(name, env)
      loaded[name] = value == nil and true or value
    end
    return loaded[name]
  end
  env.print = function() error("a rule has no terminal: use mw.log.info(...)", 2) end
  return env
end

return M
