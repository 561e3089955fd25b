--- Alerts that say a thing once: thresholds with hysteresis, and the same alert not again for a
--- while.
---
---   local alerts = require "moonweir.alerts"
---   local hot = alerts.threshold("hot", { above = 90, below = 80, ["for"] = 3 })
---   local change = hot:look(e.device, e.temperature)   -- "raised", "cleared", or nil
---   local once = alerts.once("once", { within = "1h" })
---   if once:first(e.device .. ":hot") then … end
local mw = require "moonweir"

local M = {}

--- Raised when a value has been above `above` so many times in a row (`for`, 1); cleared when it is
--- below `below` (the same as `above`).
function M.threshold(name, options)
  local state = mw.state(name, { ttl = options.ttl or "7d" })
  local above, below, times = options.above, options.below or options.above, options["for"] or 1
  local threshold = {}
  function threshold.look(_, key, value)
    state:want_here(key)
    local record = state:get(key) or { raised = false, count = 0 }
    local change
    if record.raised then
      if value < below then
        record.raised, record.count, change = false, 0, "cleared"
      end
    elseif value > above then
      record.count = record.count + 1
      if record.count >= times then
        record.raised, change = true, "raised"
      end
    else
      record.count = 0
    end
    state:set(key, record)
    return change
  end
  return threshold
end

--- True for the first of a key within a time; what comes again does not prolong it.
function M.once(name, options)
  local seen = mw.state(name, { ttl = options.within or "1h" })
  local once = {}
  function once.first(_, key)
    return seen:compare_and_set(key, "at", nil, mw.now())
  end
  return once
end

return M
