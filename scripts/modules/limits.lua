--- Rate limits and samples.
---
---   local limits = require "moonweir.limits"
---   local tokens = limits.bucket("tokens", { rate = 10, burst = 20 })
---   if tokens:take(e.client) then … end
---   if limits.sample(e.user, 0.1) then … end    -- the same tenth of the users, always
local mw = require "moonweir"

local M = {}

--- A token bucket a key: `rate` tokens a second, at most `burst`.
function M.bucket(name, options)
  local rate, burst = options.rate, options.burst or options.rate
  local state = mw.state(name, { ttl = math.max(1, burst / rate * 2) })
  local bucket = {}
  --- Takes so many tokens (1); false, and nothing is taken, when there are not so many.
  function bucket.take(_, key, tokens)
    tokens = tokens or 1
    state:want_here(key)
    local now, record = mw.now(), state:get(key)
    local left = record and math.min(burst, record.left + (now - record.at) * rate) or burst
    local good = left >= tokens
    state:set(key, { left = good and left - tokens or left, at = now })
    return good
  end
  return bucket
end

--- Whether a key is in a share (0 to 1) of all keys: always the same ones.
function M.sample(key, share) return mw.share(key) < share end

return M
