--- Timers: `mw.timer(name, fn [, options])` by key, and `mw.every(name, period, fn [, options])`.
local core = require "moonweir.core"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local C, R = core.C, core.view()
local type, error = type, error

local M = {}

local TIME = {
  {
    name = "time",
    type = "text",
    fallback = "event",
    choices = "event|clock",
    doc = "which time it is set by",
  },
}
local EVERY = {
  {
    name = "time",
    type = "text",
    fallback = "clock",
    choices = "event|clock",
    doc = "which time it is called by",
  },
}
local KEY = "every"

--- Adds `mw.timer` and `mw.every`.
function M.open(mw, kit)
  local function function_of(what, fn)
    if type(fn) ~= "function" then
      error(what .. ": the last argument is the function to call, not a " .. type(fn), 3)
    end
  end

  --- Key and data of the timer that fires.
  local function firing()
    local key = keep.shown_key()
    local data = keep.taken(R.found)
    return { key = key, data = data }
  end

  function mw.timer(name, fn, given)
    kit.name_of("timer", name, 2)
    local what = "timer '" .. name .. "'"
    function_of(what, fn)
    local resolved = options.check(what, kit.table_of(what, given, 2), TIME, 2)
    local declared = kit.keep("timer", name, { by_clock = resolved.time == "clock" }, 3)
    local index = declared.index
    kit.handler(declared, name, function(fired) fn(fired.key, fired.data) end, firing, 2)
    local methods = {}

    function methods.set(_, key, after, data)
      local ns, expected = options.duration(after)
      if not ns then error(what .. ": set wants " .. expected .. " after the key", 2) end
      keep.give(0, key)
      keep.give(1, data)
      local status = C.mw_view_timer_set(R, index, ns, 0)
      if status == keep.ELSEWHERE then
        keep.far(index, keep.TIMER_AFTER, 1, nil, ns)
      elseif status ~= 0 then keep.fault(status, what, nil, 2) end
    end

    --- At a time in seconds since 1970.
    function methods.at(_, key, seconds, data)
      if type(seconds) ~= "number" then error(what .. ": at wants seconds since 1970", 2) end
      keep.give(0, key)
      keep.give(1, data)
      local status = C.mw_view_timer_set(R, index, -1, seconds)
      if status == keep.ELSEWHERE then
        keep.far(index, keep.TIMER_AT, 1, nil, seconds)
      elseif status ~= 0 then keep.fault(status, what, nil, 2) end
    end

    function methods.cancel(_, key)
      keep.give(0, key)
      local status = C.mw_view_timer_cancel(R, index)
      if status == -1 - keep.ELSEWHERE then
        local cancelled = keep.far(index, keep.TIMER_CANCEL, 1)
        return cancelled == 1
      end
      if status < 0 then keep.fault(-1 - status, what, nil, 2) end
      return status == 1
    end

    return kit.handle_of("timer", name, index, methods)
  end

  function mw.every(name, period, fn, given)
    kit.name_of("timer", name, 2)
    local what = "every '" .. name .. "'"
    function_of(what, fn)
    local ns, expected = options.duration(period)
    if not ns or ns < 1e6 then
      error(what .. ": the period must be " .. (expected or "at least 1ms"), 2)
    end
    local resolved = options.check(what, kit.table_of(what, given, 2), EVERY, 2)
    local declared = kit.keep("timer", name, { by_clock = resolved.time == "clock", every = ns }, 3)
    declared.every = ns
    local index = declared.index
    kit.handler(declared, name, function()
      local now = R.now
      keep.give(0, KEY)
      keep.give(1, nil)
      C.mw_view_timer_beat(R, index, ns)
      if now >= 1 then fn(now) end -- by event time it begins with the first event
    end, firing, 2)
  end
end

return M
