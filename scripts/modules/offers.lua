--- Next best offer: what was this visitor just doing, what may they be offered, and how often.
---
---   local offers = require "moonweir.offers"
---   local book = offers.book("offers", { by = "user", gap = "30m", page = "page", offers = {
---     { name = "upgrade", weight = 3, cap = 2, per = "24h", when = function(e, s) return s.pages
---     >= 3 end },
---   } })
---   local offer = book:next(e)    -- the offer, counted; or nil
local mw = require "moonweir"

local M = {}

--- Of the offers whose `when(e, session)` is true and whose `cap` in `per` is not reached, the one
--- of
--- most weight (a number, or a function of event and session).
function M.book(name, options)
  local by = options.by
  local session = mw.window(name .. ".session", {
    by = by,
    gap = options.gap or "30m",
    keep = {
      pages = mw.count(),
      first = mw.first(options.page or "page"),
      last = mw.last(options.page or "page"),
    },
  })
  local shown = {}
  for i, offer in ipairs(options.offers) do
    if offer.cap then
      shown[i] = mw.state(name .. "." .. offer.name, { ttl = offer.per or "24h" })
    end
  end
  local book = {}

  --- How often it was shown in the period that its first showing began.
  local function shows(i, key)
    shown[i]:want_here(key)
    local record, period = shown[i]:get(key), mw.duration(options.offers[i].per or "24h")
    if not record or mw.now() - record.since >= period then return { n = 0, since = mw.now() } end
    return record
  end

  function book.next(_, e)
    local s = session:add(e)
    local best, most
    for i, offer in ipairs(options.offers) do
      local free = not shown[i] or shows(i, e[by]).n < offer.cap
      if free and (not offer.when or offer.when(e, s)) then
        local weight = type(offer.weight) == "function" and offer.weight(e, s) or offer.weight or 1
        if not most or weight > most then
          best, most = i, weight
        end
      end
    end
    if not best then return nil end
    if shown[best] then
      local record = shows(best, e[by])
      record.n = record.n + 1
      shown[best]:set(e[by], record)
    end
    return options.offers[best].name
  end

  --- The visit so far, nil when there is none.
  function book.session(_, key) return session:get(key) end
  return book
end

return M
