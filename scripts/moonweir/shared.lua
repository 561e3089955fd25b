--- Shared states: `mw.shared(name, { url, timeout, on_failure, prefix, ttl })`: records in Redis,
--- seen by every instance. A record is a Redis hash under the key `prefix .. key`.
---
--- A call waits for Redis: other events of its key wait with it, everything else goes on; what many
--- events ask leaves together.
local core = require "moonweir.core"
local options = require "moonweir.options"
local park = require "moonweir.park"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local C, R = core.C, core.view()
--- How a command stands to the records that are cached, as in core/lua/park.h.
local PLAIN, READ, CHANGE = 0, 1, 2
local type, error, tostring, tonumber, pairs = type, error, tostring, tonumber, pairs

local M = {}

local OPTIONS = {
  {
    name = "url",
    type = "text",
    fallback = "!",
    doc = "redis://…, unix:///… or redis-sentinel://…",
  },
  { name = "timeout", type = "duration", fallback = "200ms", doc = "how long a call may take" },
  { name = "prefix", type = "text", doc = "what keys in Redis begin with; NAME: without it" },
  {
    name = "ttl",
    type = "duration",
    fallback = "0s",
    doc = "how long a record lives after a change",
  },
  {
    name = "cache",
    type = "size",
    fallback = "0",
    doc = "a shard's room for records it read, until Redis says they changed; 0: none",
  },
}

--- What Redis does as one step. ARGV[1] is the time to live in milliseconds, 0: none.
local EXPIRE = "if ARGV[1]~='0' then redis.call('PEXPIRE',KEYS[1],ARGV[1]) end "
local scripts = {
  SET = "redis.call('DEL',KEYS[1]) "
    .. "if #ARGV>1 then redis.call('HSET',KEYS[1],unpack(ARGV,2)) end "
    .. EXPIRE
    .. "return 1",
  PUT = "if ARGV[3] then redis.call('HSET',KEYS[1],ARGV[2],ARGV[3]) "
    .. "else redis.call('HDEL',KEYS[1],ARGV[2]) end "
    .. EXPIRE
    .. "return 1",
  ADD = "local v=redis.call('HINCRBYFLOAT',KEYS[1],ARGV[2],ARGV[3]) " .. EXPIRE .. "return v",
  SWAP = "local v=redis.call('HGET',KEYS[1],ARGV[2]) if v==false then v='' end "
    .. "if v~=ARGV[3] then return 0 end redis.call('HSET',KEYS[1],ARGV[2],ARGV[4]) "
    .. EXPIRE
    .. "return 1",
}

--- What stands for Redis in a fixture, where nothing outside is asked: the commands that the
--- methods
--- below send, on plain tables. Each returns as the reply would.
local function fake()
  local hashes = {}
  local function live(key)
    local h = hashes[key]
    local now = tonumber(R.events[R.row].time) / 1e6
    if h and h.till and h.till <= now then
      hashes[key] = nil
      return nil
    end
    return h
  end
  local function made(key)
    if not live(key) then hashes[key] = { fields = {} } end
    return hashes[key]
  end
  local function expire(key, ttl)
    if ttl ~= "0" then made(key).till = tonumber(R.events[R.row].time) / 1e6 + tonumber(ttl) end
  end
  local commands = {}
  function commands.HGET(key, field) return live(key) and live(key).fields[field] end
  function commands.HGETALL(key)
    local list = {}
    for k, v in pairs(live(key) and live(key).fields or {}) do
      list[#list + 1] = k
      list[#list + 1] = v
    end
    return list
  end
  function commands.DEL(key)
    local there = live(key) and 1 or 0
    hashes[key] = nil
    return there
  end
  function commands.SCRIPT(_, script) return script end
  local run = {
    [scripts.SET] = function(key, ttl, ...)
      hashes[key] = { fields = {} }
      for i = 1, select("#", ...), 2 do
        local k, v = select(i, ...)
        hashes[key].fields[k] = v
      end
      expire(key, ttl)
      return 1
    end,
    [scripts.PUT] = function(key, ttl, field, value)
      made(key).fields[field] = value
      expire(key, ttl)
      return 1
    end,
    [scripts.ADD] = function(key, ttl, field, by)
      local h = made(key)
      h.fields[field] = ("%.17g"):format(tonumber(h.fields[field] or 0) + tonumber(by))
      expire(key, ttl)
      return h.fields[field]
    end,
    [scripts.SWAP] = function(key, ttl, field, before, after)
      local h = made(key)
      if (h.fields[field] or "") ~= before then return 0 end
      h.fields[field] = after
      expire(key, ttl)
      return 1
    end,
  }
  function commands.EVALSHA(script, _, key, ...)
    if not run[script] then error("a fixture has no Redis to run this script", 0) end
    return run[script](key, ...)
  end
  return function(command, ...)
    if not commands[command] then error("a fixture has no Redis to do " .. tostring(command), 0) end
    return commands[command](...)
  end
end

--- A value as Redis keeps it: texts and numbers as they are, everything else as JSON.
local function to_text(v)
  local kind = type(v)
  if kind == "string" then return v end
  if kind == "number" and v % 1 == 0 and v > -1e15 and v < 1e15 then return ("%d"):format(v) end
  if kind == "number" then return ("%.17g"):format(v) end
  if kind == "cdata" then return (tostring(v):gsub("[UL]+$", "")) end
  if kind == "function" or kind == "thread" or kind == "userdata" then
    error("a " .. kind .. " cannot be kept", 3)
  end
  return encode.encode_text(event.decode(v))
end

--- And back: what reads as a number is one, what reads as JSON is what it says.
local function to_value(text)
  local first = text:byte(1)
  if not first then return text end
  if first <= 57 and (first >= 48 or first == 45) then
    local n = #text < 17 and text:find "^%-?%d+%.?%d*[eE]?[%+%-]?%d*$" and tonumber(text)
    if n then return n end
  elseif text == "true" then
    return true
  elseif text == "false" then
    return false
  elseif text == "null" then
    return encode.null
  elseif first == 123 or first == 91 then
    local v = event.decode_text(text)
    if v ~= nil then return v end
  end
  return text
end

--- Adds `mw.shared`.
function M.open(mw, d, kit)
  function mw.shared(name, given)
    kit.name_of("shared", name, 2)
    local what = "shared '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    local on_failure, rest = given.on_failure or "dead-letter", {}
    for k, v in pairs(given) do
      if k ~= "on_failure" then rest[k] = v end
    end
    if
      on_failure ~= "dead-letter"
      and on_failure ~= "default"
      and type(on_failure) ~= "function"
    then
      error(what .. ': \'on_failure\' must be "dead-letter", "default" or a function', 2)
    end
    local resolved = options.check(what, rest, OPTIONS, 2)
    local prefix, ttl_ms = resolved.prefix or (name .. ":"), math.floor(resolved.ttl / 1e6)
    local index, cached = #d.stores, resolved.cache > 0
    d.stores[index + 1] = {
      name = name,
      where = kit.where(2),
      connection = { url = resolved.url, timeout = resolved.timeout, cache = resolved.cache },
    }

    local answer = fake()

    --- What a call gives when Redis does not answer, or answers an error.
    local function failed(call, key, why)
      if on_failure == "default" then return nil end
      if on_failure == "dead-letter" then error(what .. ": " .. call .. ": " .. why, 4) end
      return (on_failure(call, key, why))
    end

    --- Sends one command about a key, and waits for its reply. Nil and why where there is none.
    local function ask(how, key, ...)
      if R.asks ~= 0 and R.given ~= 0 then return park.ask(index, how, key, ...) end
      if R.given == 0 then error(what .. " is used by rules, not while the flow is declared", 4) end
      local reply = answer(...)
      return reply
    end

    --- A whole record, as Redis lists it.
    local function read(key)
      if cached and C.mw_view_cached(R, index, key, #key) == 1 then return park.reply() end
      return ask(READ, key, "HGETALL", key)
    end

    local function record_of(reply)
      if #reply == 0 then return nil end
      local record = {}
      for i = 1, #reply, 2 do
        record[reply[i]] = to_value(reply[i + 1])
      end
      return record
    end

    local function key_of(key, level)
      local kind = type(key)
      if kind == "string" then return prefix .. key end
      if kind == "number" or kind == "boolean" or kind == "cdata" then
        return prefix .. to_text(key)
      end
      error(what .. ": the key is " .. (key == nil and "missing" or "a " .. kind), level + 1)
    end

    local function ttl_of(how)
      if not how or how.ttl == nil then return ttl_ms end
      local ns, expected = options.duration(how.ttl)
      if not ns then error(what .. ": 'ttl' must be " .. expected, 3) end
      return math.floor(ns / 1e6)
    end

    local SET, PUT, ADD, SWAP = scripts.SET, scripts.PUT, scripts.ADD, scripts.SWAP

    --- Hashes of scripts that the server was given, by their text.
    local loaded = {}

    --- Runs a script by its hash; the server is given it first, and again where it has forgotten.
    local function run_script(script, keys, key, ...)
      local hash, why = loaded[script], nil
      for _ = 1, 2 do
        if not hash then
          hash, why = ask(PLAIN, key, "SCRIPT", "LOAD", script)
          if why then return nil, why end
          loaded[script] = hash
        end
        local reply
        if keys == "0" then
          reply, why = ask(PLAIN, "", "EVALSHA", hash, keys, ...)
        else
          reply, why = ask(CHANGE, key, "EVALSHA", hash, keys, key, ...)
        end
        if not why or not why:find "^NOSCRIPT" then return reply, why end
        hash = nil
      end
      return nil, why
    end

    local methods = {}

    function methods.get(_, key, field)
      local full = key_of(key, 2)
      local reply, why
      if field ~= nil and not cached then
        reply, why = ask(PLAIN, full, "HGET", full, field)
        if why then return (failed("get", key, why)) end
        return reply and to_value(reply)
      end
      reply, why = read(full)
      if why then return (failed("get", key, why)) end
      if field == nil then return record_of(reply) end
      for i = 1, #reply, 2 do
        if reply[i] == field then return to_value(reply[i + 1]) end
      end
      return nil
    end

    --- The records of several keys, by key; what they ask leaves together.
    function methods.get_all(_, keys)
      if type(keys) ~= "table" then
        error(what .. ": get_all wants a list of keys, not a " .. type(keys), 2)
      end
      local asks, records = {}, {}
      for i, key in ipairs(keys) do
        asks[i] = function() records[key] = methods.get(nil, key) end
      end
      park.all_of(asks)
      return records
    end

    function methods.set(_, key, record, how)
      if type(record) ~= "table" then
        error(what .. ": set wants a table of fields, not a " .. type(record), 2)
      end
      local list = {}
      for k, v in pairs(event.decode(record)) do
        list[#list + 1] = tostring(k)
        list[#list + 1] = to_text(v)
      end
      local _, why = run_script(SET, "1", key_of(key, 2), tostring(ttl_of(how)), unpack(list))
      if why then return (failed("set", key, why)) end
      return true
    end

    function methods.put(_, key, field, value, how)
      local ttl = tostring(ttl_of(how))
      local _, why
      if value == nil then
        _, why = run_script(PUT, "1", key_of(key, 2), ttl, field)
      else
        _, why = run_script(PUT, "1", key_of(key, 2), ttl, field, to_text(value))
      end
      if why then return (failed("put", key, why)) end
      return true
    end

    function methods.increment(_, key, field, by, how)
      if by ~= nil and type(by) ~= "number" then
        error("increment adds a number, not a " .. type(by), 2)
      end
      local ttl = tostring(ttl_of(how))
      local reply, why = run_script(ADD, "1", key_of(key, 2), ttl, field, to_text(by or 1))
      if why then return (failed("increment", key, why)) end
      return tonumber(reply)
    end

    function methods.compare_and_set(_, key, field, before, after, how)
      local ttl = tostring(ttl_of(how))
      local old = before == nil and "" or to_text(before)
      local reply, why = run_script(SWAP, "1", key_of(key, 2), ttl, field, old, to_text(after))
      if why then return (failed("compare_and_set", key, why)) end
      return reply == 1
    end

    function methods.delete(_, key)
      local full = key_of(key, 2)
      local reply, why = ask(CHANGE, full, "DEL", full)
      if why then return (failed("delete", key, why)) end
      return reply == 1
    end

    --- A script of the flow's own, which Redis runs as one step: its keys get the prefix.
    function methods.eval(_, script, keys, arguments)
      local list = {}
      for i, key in ipairs(keys or {}) do
        list[i] = key_of(key, 2)
      end
      local n = #list
      for i, argument in ipairs(arguments or {}) do
        list[n + i] = to_text(argument)
      end
      if n == 0 then table.insert(list, 1, "") end
      local reply, why = run_script(script, tostring(n), unpack(list))
      if why then return (failed("eval", keys and keys[1], why)) end
      return reply
    end

    --- Any command, as Redis knows it; nothing is added to its keys.
    function methods.command(_, ...)
      local list = { ... }
      for i, argument in ipairs(list) do
        list[i] = to_text(argument)
      end
      local reply, why = ask(CHANGE, list[2] or "", unpack(list))
      if why then return (failed("command", list[2], why)) end
      return reply
    end

    return kit.handle_of("shared", name, index, methods)
  end
end

return M
