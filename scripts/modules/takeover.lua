--- Signs that an account was taken over: a login after failures, from a device or country that the
--- account has not been seen with, or soon after its password or address was changed.
---
---   local takeover = require "moonweir.takeover"
---   local watch = takeover.watch("accounts", { by = "user" })
---   local signs = watch:add(e)   -- { "new_device", "after_failures", … }, and their number as
---   weight
local mw = require "moonweir"

local M = {}

--- Options: `by`; `type` (the field that says what happened), `device`, `country`; `failures` (how
--- many
--- failed logins are a sign, 3), `within` (how long they count, 15m), `quiet` (how long after a
--- change
--- of the account payments are a sign, 24h).
function M.watch(name, options)
  local by, kind = options.by, options.type or "type"
  local device, country = options.device or "device", options.country or "country"
  local known = mw.window(name .. ".known", {
    by = by,
    span = options.memory or "90d",
    keep = { device = mw.seen(device, 50), country = mw.seen(country, 50), n = mw.count() },
  })
  local recent = mw.state(name .. ".recent", { ttl = options.within or "15m" })
  local changed = mw.state(name .. ".changed", { ttl = options.quiet or "24h" })
  local failures = options.failures or 3
  local watch = {}

  function watch.add(_, e)
    local what, key, signs = e[kind], e[by], mw.array {}
    if what == "login_failed" then
      recent:increment(key, "failed", 1)
      return signs
    end
    if what == "password_changed" or what == "address_changed" then
      changed:put(key, what, mw.now())
      return signs
    end
    local before = known:add(e)
    local failed = recent:get(key, "failed") or 0
    if failed >= failures then signs[#signs + 1] = "after_failures" end
    if before and before.n > 1 then
      if before.device == false then signs[#signs + 1] = "new_device" end
      if before.country == false then signs[#signs + 1] = "new_country" end
    end
    if what ~= "login" and changed:get(key) then signs[#signs + 1] = "after_change" end
    if what == "login" then recent:delete(key) end
    return signs
  end

  return watch
end

return M
