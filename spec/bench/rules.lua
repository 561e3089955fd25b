-- Many rules on one source: without conditions the cost grows with their number, with conditions with those that match.
local m = require "measure"
local s = require "support"

local count = math.floor(m.events / 10)
local input = m.payments("plain", count)

local function flow(rules, indexed)
  local parts = { ([[
    local mw = require "moonweir"
    local payments = mw.source.file("payments", { path = "%s" })
    local out = mw.sink.discard("out", {})
  ]]):format(input) }
  for i = 1, rules do
    local when = indexed and (', when = { country = "%s", merchant = "m%05d" }'):format(i % 2 == 0 and "FR" or "DE", i) or ""
    parts[#parts + 1] = ('mw.rule("r%d", { from = payments%s }, function(e) if e.amount > %d then out:send(e) end end)'):format(
      i, when, 1000 - (i % 10))
  end
  return table.concat(parts, "\n")
end

m.title(("many rules, %d events, one shard, median of 3 rounds"):format(count))
local base
for _, indexed in ipairs { false, true } do
  for _, rules in ipairs { 1, 10, 50, 200, 1000 } do
    local text = flow(rules, indexed)
    local r = m.in_turn({ function()
      local one = m.moonweir(text, 1)
      s.clean()
      return one
    end }, 3)[1]
    local ns = m.figure(r, "wall") / count * 1e9
    base = base or ns
    m.line("%5d rules %s %8.0f ns/event   %7.2f ns a rule   %.1f x one rule", rules, indexed and "with conditions   " or "without conditions", ns,
      (ns - base) / rules, ns / base)
  end
end
os.remove(input)
