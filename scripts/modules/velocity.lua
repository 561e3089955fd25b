--- Velocity and spending limits: how often and how much, over several spans at once.
---
---   local velocity = require "moonweir.velocity"
---   local card = velocity.limits("card", { by = "card", amount = "amount",
---     limits = { ["1m"] = { count = 3 }, ["24h"] = { total = 2000 } } })
---   local broken = card:add(e)   -- a list of { span, what, value, limit }; empty: all is well
local mw = require "moonweir"

local M = {}

function M.limits(name, options)
  local spans = {}
  for span in pairs(options.limits) do
    spans[#spans + 1] = span
  end
  table.sort(spans)
  local keep = { count = mw.count() }
  if options.amount then keep.total = mw.sum(options.amount) end
  for field, of in pairs(options.distinct or {}) do
    keep[field] = mw.distinct(of)
  end
  local window =
    mw.window(name, { by = options.by, span = spans, slide = options.slide, keep = keep })
  local limits = {}
  --- Adds an event; which limits it breaks.
  function limits.add(_, e)
    local result, broken = window:add(e), mw.array {}
    if not result then return broken end
    for _, span in ipairs(spans) do
      local now = #spans > 1 and result[span] or result
      for what, limit in pairs(options.limits[span]) do
        local value = now[what]
        if value and value > limit then
          broken[#broken + 1] = { span = span, what = what, value = value, limit = limit }
        end
      end
    end
    table.sort(broken, function(a, b)
      if a.span ~= b.span then return a.span < b.span end
      return a.what < b.what
    end)
    return broken
  end
  --- What was counted for a key so far; nil: nothing.
  function limits.get(_, key) return window:get(key) end
  return limits
end

return M
