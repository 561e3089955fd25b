--- Events that come twice: the first of a key within a time.
---
---   local dedup = require "moonweir.dedup"
---   local fresh = dedup.by("fresh", { by = { "order", "line" }, within = "1h" })
---   if fresh:first(e) then out:send(e) end
local mw = require "moonweir"

local M = {}

function M.by(name, options)
  local seen = mw.state(name, { ttl = options.within or "1h" })
  local fields = type(options.by) == "table" and options.by or { options.by }
  local dedup = {}
  function dedup.first(_, e)
    local key = e[fields[1]]
    if #fields > 1 then
      key = {}
      for i, field in ipairs(fields) do
        key[i] = e[field]
      end
    end
    return seen:compare_and_set(key, "at", nil, mw.now())
  end
  return dedup
end

return M
