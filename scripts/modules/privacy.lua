--- Masks: what leaves need not say who.
---
---   local privacy = require "moonweir.privacy"
---   e.card = privacy.card(e.card)      -- "************4242"
---   e.email = privacy.email(e.email)   -- "j***@example.org"
---   local pseudonym = privacy.pseudonyms(mw.env.PSEUDONYM_KEY)
---   e.user = pseudonym(e.user)         -- "9f86d081884c7d659a2feaa0c55ad015"
local mw = require "moonweir"

local M = {}

--- All but the last `show` (4) characters.
function M.tail(text, show)
  text, show = tostring(text), show or 4
  if #text <= show then return ("*"):rep(#text) end
  return ("*"):rep(#text - show) .. text:sub(-show)
end

function M.card(number) return M.tail((tostring(number):gsub("[%s%-]", "")), 4) end

function M.email(address)
  local first, rest = tostring(address):match "^(.)[^@]*(@.+)$"
  if not first then return "***" end
  return first .. "***" .. rest
end

--- An address of the internet without its last part: of 4 bytes the last, of 16 all but the first
--- three groups.
function M.ip(address)
  local text = tostring(address)
  local head = text:match "^(%d+%.%d+%.%d+%.)%d+$"
  if head then return head .. "0" end
  head = text:match "^(%x*:%x*:%x*):"
  return head and head .. "::" or "***"
end

--- A function that gives pseudonyms: the first half of the HMAC-SHA-256 of a value under a secret
--- key, as 32 hexadecimal digits. The same for the same value as long as the key is; without it
--- nobody can tell whose it is, nor try all card numbers.
function M.pseudonyms(key)
  if type(key) ~= "string" or #key < 16 then
    error("pseudonyms want a secret key of at least 16 characters", 2)
  end
  return function(value) return mw.digest(tostring(value), key):sub(1, 32) end
end

--- Replaces the fields that are named by functions: privacy.apply(e, { card = privacy.card }).
function M.apply(e, fields)
  for name, mask in pairs(fields) do
    if e[name] ~= nil then e[name] = mask(e[name]) end
  end
  return e
end

return M
