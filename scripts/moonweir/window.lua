--- Windows: `mw.window(name, { by, span, slide, gap, keep, lateness, late })`.
---
--- A window's functions are generated: what it keeps becomes a table constructor, which the JIT
--- compiler can leave out where a rule reads only some of it.
local core = require "moonweir.core"
local event = require "moonweir.event"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local aggregates = require "moonweir.aggregates"
local encode = require "moonweir.encode"
local C, ffi, R = core.C, core.ffi, core.view()
local getmetatable, setmetatable, type, error = getmetatable, setmetatable, type, error
local Event = event.Event

local M = {}

--- A result as a plain table.
event.result = function(t) return debug.getmetatable(t).plain(t) end

local ADDED, LATE, CORRECTED, NOT_NUMBER = 0, 1, 2, 3
local RESERVED = { key = true, start = true, finish = true, correction = true, span = true }
local KNOWN = { "by", "span", "slide", "gap", "keep", "lateness", "late" }
local LEAST_NS, MOST_NS = 1e6, 3652 * 86400e9

-- declaring

local function duration(what, name, v, level)
  local ns, expected = options.duration(v)
  if not ns then error(what .. ": '" .. name .. "' must be " .. expected, level + 1) end
  if ns < LEAST_NS or ns % LEAST_NS ~= 0 or ns > MOST_NS then
    error(what .. ": '" .. name .. "' must be whole milliseconds, ten years at most", level + 1)
  end
  return ns
end

--- Spans as a list of { name, span, slide }.
local function spans_of(what, given, level)
  if given.gap ~= nil then
    if given.span ~= nil or given.slide ~= nil then
      error(what .. ": a session has a 'gap', and no 'span' or 'slide'", level + 1)
    end
    return {}
  end
  if given.span == nil then
    error(what .. ": the option 'span' is missing (or 'gap', for sessions)", level + 1)
  end
  local list = type(given.span) == "table" and given.span or { given.span }
  if #list == 0 or #list > 8 then error(what .. ": 'span' has one to eight spans", level + 1) end
  local spans = {}
  for i, v in ipairs(list) do
    local span = duration(what, "span", v, level + 1)
    local slide = given.slide
    if type(slide) == "table" then slide = slide[i] end
    slide = slide ~= nil and duration(what, "slide", slide, level + 1) or span
    if slide > span then slide = span end
    if span % slide ~= 0 then error(what .. ": 'span' must be a multiple of 'slide'", level + 1) end
    spans[i] = { name = tostring(v), span = span, slide = slide }
  end
  return spans
end

--- What is kept, sorted by name, and the list of fields that feed it.
local function kept_of(what, given, level)
  if type(given) ~= "table" or next(given) == nil then
    error(
      what .. ": 'keep' is a table of names and aggregates, such as { n = mw.count() }",
      level + 1
    )
  end
  local names, list, inputs, number = {}, {}, {}, {}
  for name, a in pairs(given) do
    if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
      error(what .. ": in 'keep', names are made of letters, digits and '_'", level + 1)
    end
    if RESERVED[name] then
      error(what .. ": in 'keep', '" .. name .. "' is a name that every result has", level + 1)
    end
    if not aggregates.is(a) then
      error(what .. ": in 'keep', '" .. name .. "' is no aggregate, such as mw.count()", level + 1)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local a = given[name]
    local input = -1
    if a.field then
      if not number[a.field] then
        inputs[#inputs + 1] = a.field
        number[a.field] = #inputs - 1
      end
      input = number[a.field]
    end
    list[i] =
      { name = name, kind = a.kind, input = input, parameter = a.parameter, bounds = a.bounds }
  end
  if #inputs > 40 then error(what .. ": 'keep' reads more than 40 fields", level + 1) end
  return list, inputs
end

-- results

--- Reads what is no scalar, when it is asked for; nil when the result is over.
local function more(index, id, epoch, pane, span, number, a)
  local json = not aggregates.is_number[a.kind]
  if C.mw_view_more(R, index, id, epoch, pane, span, number, json and 1 or 0) == 0 then
    error("this result is over: read '" .. a.name .. "' while the rule runs that got it", 3)
  end
  if not json then
    local n = R.key.number
    if n ~= n then return nil end
    return n
  end
  local v = event.decode_text(ffi.string(R.out.bytes, R.out.len))
  if v == encode.null and (a.kind == "first" or a.kind == "last") then return nil end
  return v
end

--- A metatable for results that have more than scalars. What they are of is under `true` (the id)
--- and `false` (a table of the rest would escape: the epoch, pane and span are under numbers below
--- zero), which no field can be.
local function lazy_metatable(index, list)
  local by_name = {}
  for number, a in ipairs(list) do
    if aggregates.lazy[a.kind] then by_name[a.name] = { number = number - 1, a = a } end
  end
  local mt = { __metatable = "window result" }
  function mt.__index(t, name)
    local of = by_name[name]
    if not of then return nil end
    local value = more(index, t[true], t[false], t[-1], t[-2], of.number, of.a)
    return value
  end
  function mt.plain(t)
    local all = {}
    for k, v in next, t do
      if type(k) == "string" then all[k] = v end
    end
    for name in pairs(by_name) do
      all[name] = mt.__index(t, name)
    end
    return all
  end
  return mt
end

--- Source text of a table constructor for span number `s`, from numbers `n` and the result `r`.
local function constructor(list, s, lazy)
  local times = "start = tonumber(r[%d].start) / 1e9, finish = tonumber(r[%d].finish) / 1e9"
  local parts = { times:format(s, s) }
  for i, a in ipairs(list) do
    if not aggregates.lazy[a.kind] then
      local at = ("n[%d]"):format(s * #list + i - 1)
      local value = (a.kind == "count" or a.kind == "sum" or a.kind == "rate") and at
        or a.kind == "seen" and ("known(%s)"):format(at)
        or ("number(%s)"):format(at)
      parts[#parts + 1] = ("%s = %s"):format(a.name, value)
    end
  end
  if lazy then
    local hidden = "[true] = r[%d].id, [false] = r[%d].epoch, [-1] = r[%d].pane, [-2] = r[%d].span"
    parts[#parts + 1] = hidden:format(s, s, s, s)
    return "setmetatable({ " .. table.concat(parts, ", ") .. " }, lazy)"
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local READ = [[
local R, setmetatable, lazy = ...
local function number(v) if v ~= v then return nil end return v end
local function known(v) if v ~= v then return nil end return v ~= 0 end
return function()
  local n, r = R.numbers, R.results
  return %s
end]]

--- A function that makes a table of the window's last numbers.
local function reader(spans, list, lazy)
  local body
  if #spans <= 1 then
    body = constructor(list, 0, lazy)
  else
    local parts = {}
    for i, s in ipairs(spans) do
      parts[i] = ("[%q] = %s"):format(s.name, constructor(list, i - 1, lazy))
    end
    body = "{ " .. table.concat(parts, ", ") .. " }"
  end
  return assert(loadstring(READ:format(body), "=window"))(R, setmetatable, lazy)
end

local CLOSED = [[
local R, C, number, more, key, spans, list = ...
return function()
  local r, n = R.results[0], R.numbers + R.results[0].span * %d
  C.mw_view_result_key(R, %d)
  local w = { key = key(), start = tonumber(r.start) / 1e9, finish = tonumber(r.finish) / 1e9, %s }
  if r.correction ~= 0 then w.correction = true end
  %s
  return w
end]]

local function number_or_nil(v)
  if v ~= v then return nil end
  return v
end

--- A function that makes a table of the window that was closed, with all that it keeps: of
--- generated text too, without a loop, so that it can be part of the trace that closes windows.
local function closed_reader(index, spans, list)
  local fields, rest = {}, {}
  for i, a in ipairs(list) do
    if aggregates.lazy[a.kind] then
      local call = "w.%s = more(%d, r.id, r.epoch, r.pane, r.span, %d, list[%d])"
      rest[#rest + 1] = call:format(a.name, index, i - 1, i)
    elseif a.kind ~= "seen" then
      fields[#fields + 1] = ("%s = number(n[%d])"):format(a.name, i - 1)
    end
  end
  if #spans > 1 then rest[#rest + 1] = "w.span = spans[r.span + 1].name" end
  local text = CLOSED:format(#list, index, table.concat(fields, ", "), table.concat(rest, "\n  "))
  local make = assert(loadstring(text, "=window"))
  return make(R, C, number_or_nil, more, keep.shown_key, spans, list)
end

-- the declaration

--- Adds `mw.window`. `kit` is what declarations share (declare.lua).
function M.open(mw, d, kit)
  function mw.window(name, given)
    kit.name_of("window", name, 2)
    local what = "window '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    options.only(what, given, KNOWN, 2)
    local by = keep.by(what, given.by == nil and {} or given.by, "", 2)
    local spans = spans_of(what, given, 2)
    local list, inputs = kept_of(what, given.keep, 2)
    local gap = given.gap ~= nil and duration(what, "gap", given.gap, 2) or 0
    local lateness = given.lateness ~= nil and duration(what, "lateness", given.lateness, 2) or 0
    local late = given.late
    if late ~= nil and not (d.handles[late] and d.handles[late].sort == "channel") then
      error(what .. ": 'late' must be a channel", 2)
    end
    local plain_list, plain_spans = {}, {}
    for i, a in ipairs(list) do
      plain_list[i] = {
        name = a.name,
        kind = a.kind,
        input = a.input,
        parameter = a.parameter,
        bounds = a.bounds,
      }
    end
    for i, s in ipairs(spans) do
      plain_spans[i] = { name = s.name, span = s.span, slide = s.slide }
    end
    local declared = kit.keep("window", name, {
      by = mw.array(by),
      inputs = mw.array(inputs),
      spans = mw.array(plain_spans),
      gap = gap,
      lateness = lateness,
      keep = mw.array(plain_list),
    }, 3)
    local index = declared.index
    local lazy
    for _, a in ipairs(list) do
      if aggregates.lazy[a.kind] then lazy = lazy or lazy_metatable(index, list) end
    end
    local read, read_closed = reader(spans, list, lazy), closed_reader(index, spans, list)
    declared.bind = function()
      for i, field in ipairs(by) do
        C.mw_view_use(R, index, i - 1, keep.path(field, what))
      end
      for i, field in ipairs(inputs) do
        C.mw_view_use(R, index, #by + i - 1, keep.path(field, what))
      end
    end

    --- Of what is no unchanged event: its fields are given one by one.
    local function add_given(e)
      if type(e) ~= "table" then error("add wants an event or a table, not a " .. type(e), 3) end
      for i, field in ipairs(by) do
        keep.give(i - 1, keep.field(e, field))
      end
      for i, field in ipairs(inputs) do
        keep.give(#by + i - 1, keep.field(e, field))
      end
      return C.mw_view_add(R, index, R.row, 1)
    end

    local on_close

    --- The same where the key lives on another shard. Nil: it was late.
    local function add_far(as_given, e)
      local status, answer = keep.far(index, keep.ADD, as_given)
      if status == LATE then
        if late then late:send(e) end
        return nil
      end
      if status == NOT_NUMBER then
        error(what .. ": '" .. inputs[answer[1] + 1] .. "' is no number", 4)
      end
      for i = 2, on_close and #answer or 0 do
        on_close(answer[i])
      end
      return answer[1]
    end

    --- What an addition came to that is not simply added. Nil: it was late.
    local function other(status, e, as_given)
      if status == keep.ELSEWHERE then
        local result = add_far(as_given, e)
        return result
      end
      if status == CORRECTED then
        local result = read()
        while on_close and C.mw_view_correction(R, index) ~= 0 do
          on_close(read_closed())
        end
        return result
      end
      if status == LATE then
        if late then late:send(e) end
        return nil
      end
      if status == NOT_NUMBER then
        error(what .. ": '" .. inputs[R.key.number + 1] .. "' is no number", 3)
      end
      keep.fault(status, what, by, 3)
    end

    local methods = {}

    function methods.add(_, e)
      local status
      local as_given = 0
      if
        getmetatable(e) == Event
        and R.overlaid == 0
        and e[true] == R.row
        and e[false] == R.generation
      then
        status = C.mw_view_add(R, index, R.row, 0)
      else
        as_given = 1
        status = add_given(e)
      end
      if status ~= ADDED then
        local result = other(status, e, as_given)
        return result
      end
      return (read())
    end

    function methods.get(_, key)
      if #by > 0 then keep.give_key(key, #by, 2) end
      local status = C.mw_view_get(R, index)
      if status == 1 then return (read()) end
      if status == 0 then return nil end
      if status == keep.ELSEWHERE then
        local _, answer = keep.far(index, keep.GET, 1)
        return answer and answer[1]
      end
      keep.fault(status, what, by, 2)
    end

    function methods.on_close(_, fn)
      if type(fn) ~= "function" then error("on_close wants a function", 2) end
      if declared.emits then error(what .. " has an on_close already", 2) end
      declared.emits, on_close = true, fn
      kit.handler(declared, name .. ".on_close", fn, read_closed, 2)
    end

    return kit.handle_of("window", name, index, methods)
  end
end

return M
