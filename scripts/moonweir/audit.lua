--- Audits: `mw.audit(name, { to, rules })`: for every event that a rule decides about, a record of
--- what it was about, what the rule read, and what it decided, sent like any event.
---
--- Nothing of it costs anything where there is no audit: once all is declared, the rules that are
--- covered, and the methods of what they may read, are wrapped.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local options = require "moonweir.options"
local ffi, R = core.ffi, core.view()
local type, error, tostring, getmetatable, ipairs, pairs =
  type, error, tostring, getmetatable, ipairs, pairs

local M = {}

--- What rules read of what is declared.
local READS = {
  window = { "add", "get" },
  state = { "get", "increment" },
  shared = { "get", "increment" },
  table = { "get" },
  model = { "score", "explain" },
  detector = { "score" },
}

--- What a covered rule has read so far, by the coroutine that it runs in: { rule, read }.
local trails = setmetatable({}, { __mode = "k" })
local main = {}

local function trail_key() return coroutine.running() or main end

--- A copy as it is now: what it was read from may change.
local function snapshot(value)
  if type(value) ~= "table" then return value end
  return (event.decode_text(encode.encode_text(event.decode(value))))
end

local function wrap_method(handle, method)
  local original = handle.methods[method]
  if not original then return end
  local version = handle.sort == "model" and handle.methods.version()
  handle.methods[method] = function(...)
    local result = original(...)
    local trail = trails[trail_key()]
    if trail and trail.rule == R.rule then -- not that of a rule that has failed
      local entry = { kind = handle.sort, name = handle.name, says = snapshot(result) }
      if method ~= READS[handle.sort][1] then entry.method = method end
      if version then entry.version = version end
      trail.read[#trail.read + 1] = entry
    end
    return result
  end
end

local function text_of(pointer, len)
  if pointer == nil then return nil end
  return (event.decode_text(ffi.string(pointer, len)))
end

--- What a line of the journal does.
local function decision_of(line, names)
  if line.to == core.TO_REPLY then
    return { reply = text_of(line.text, line.len), status = line.http_status }
  end
  local sent = text_of(line.text, line.len) or true -- true: the event, as it came
  if line.to >= core.TO_CHANNEL then
    return { channel = names.channels[line.to - core.TO_CHANNEL], event = sent }
  end
  return { sink = names.sinks[line.to], event = sent }
end

local function names_of(list, from)
  local names = {}
  for i, one in ipairs(list) do
    names[i - 1 + from] = one.name
  end
  return names
end

local function stamp(seconds)
  local whole = math.floor(seconds)
  local micros = math.floor((seconds - whole) * 1e6 + 0.5)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. (".%06dZ"):format(math.min(micros, 999999))
end

--- The record of a row, which is laid out as dead letters are, so that it can be replayed as they
--- can: the event as it came, whatever the rule has made of it.
local function write(mw, audit, rule, e, read, decided)
  local of, overlaid = mw.meta(e), R.overlaid
  local record = {
    audit = audit.name,
    rule = rule.name,
    version = of.version,
    source = of.source,
    position = of.position,
    time = stamp(of.time),
    event = e,
    read = read,
    decided = decided,
  }
  of.version, of.source, of.position, of.time = nil, nil, nil, nil
  if next(of) then record.meta = of end
  R.overlaid = 0
  audit.to:send(record)
  R.overlaid = overlaid
end

local function wrap_rule(mw, d, rule, audit)
  local fn, names = rule.fn, { sinks = names_of(d.sinks, 1), channels = names_of(d.channels, 0) }
  rule.fn = function(e)
    local key, generation, first = trail_key(), R.generation, R.send_count
    local read = setmetatable({}, encode.array_mark)
    trails[key] = { rule = R.rule, read = read }
    fn(e)
    trails[key] = nil
    -- a rule that waited goes on in another run, whose journal is another
    local from = R.generation == generation and first or R.first
    local decided = setmetatable({}, encode.array_mark)
    for i = from, R.send_count - 1 do
      local line = R.sends[i]
      if line.rule == rule.number and line.row == R.row and line.to ~= core.TO_NOBODY then
        decided[#decided + 1] = decision_of(line, names)
      end
    end
    write(mw, audit, rule, e, read, decided)
  end
end

--- Wraps what the audits cover, once all is declared. Errors begin with file:line.
---@param d table  what was declared
function M.resolve(d)
  if #d.audits == 0 then return end
  for _, handle in pairs(d.handles) do
    for _, method in ipairs(READS[handle.sort] or {}) do
      if handle.methods then wrap_method(handle, method) end
    end
  end
  for _, audit in ipairs(d.audits) do
    local left = {}
    for _, name in ipairs(audit.rules or {}) do
      left[name] = true
    end
    for _, rule in ipairs(d.rules) do
      local covered = not audit.rules or left[rule.name]
      left[rule.name] = nil
      if covered and #rule.from > 0 and rule.where ~= "the router" and not rule.trial then
        wrap_rule(audit.mw, d, rule, audit)
      end
    end
    local name = next(left)
    if name then
      error(("%s: audit '%s': there is no rule '%s'"):format(audit.where, audit.name, name), 0)
    end
  end
end

--- Adds `mw.audit`.
function M.open(mw, d, kit)
  function mw.audit(name, given)
    kit.name_of("audit", name, 2)
    local what = "audit '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    options.only(what, given, { "to", "rules" }, 2)
    if type(given.to) ~= "table" or getmetatable(given.to) ~= "sink" then
      error(what .. ": 'to' is the sink that the records go to", 2)
    end
    local rules = type(given.rules) == "string" and { given.rules } or given.rules
    if rules ~= nil and type(rules) ~= "table" then
      error(what .. ": 'rules' is a list of names of rules, not " .. tostring(rules), 2)
    end
    d.audits[#d.audits + 1] =
      { name = name, to = given.to, rules = rules, mw = mw, where = kit.where(2) }
  end
end

return M
