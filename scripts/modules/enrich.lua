--- Enrichment: fields of a row that is looked up by a field of the event.
---
---   local enrich = require "moonweir.enrich"
---   local merchants = mw.table("merchants", { file = "merchants.csv", key = "id" })
---   local with_merchant =
---     enrich.from(merchants, "merchant", { country = "country", risk = "class" }, { class = 5 })
---   mw.rule("r", { from = payments }, function(e)
---     with_merchant(e)             -- e.country, e.risk
---
--- The lookup is anything with `get`: a table, a state, a shared state (then the rule waits).
local M = {}

--- A function of an event that sets `fields` (name of the event's field = name of the row's), and
--- gives the row. Where there is none: those of `otherwise`, or nothing is set and nil is given.
function M.from(lookup, by, fields, otherwise)
  return function(e)
    local key = e[by]
    local row = key ~= nil and lookup:get(key) or otherwise
    if not row then return nil end
    for to, from in pairs(fields) do
      e[to] = row[from]
    end
    return row
  end
end

return M
