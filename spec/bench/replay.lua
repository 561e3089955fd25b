-- Capture and replay, and rules on trial: what a capture costs a run, how fast captured events go through the rules again beside
-- the run itself, and what a shadow rule costs beside the rule.
local m = require "measure"
local s = require "support"

local RULE = 'e.amount and e.amount > 900 and e.country == "FR" or e.device.os == "ios"'

local function flow(input, more)
  return ([[
    local mw = require "moonweir"
    local payments = mw.source.file("payments", { path = "%s" })
    local a = mw.sink.file("a", { path = "%s/a.ndjson" })
    local b = mw.sink.file("b", { path = "%s/b.ndjson" })
    mw.rule("route", { from = payments }, function(e)
      if %s then a:send(e) else b:send(e) end
    end)
    %s
  ]]):format(input, m.folder, m.folder, RULE, more or "")
end

local function clear() os.execute(("rm -rf %s/[ab].ndjson %s/kept"):format(m.folder, m.folder)) end
local function router(text, shards)
  return function()
    clear()
    local r = m.moonweir(text, shards, nil, m.run_quietly)
    s.clean()
    return r
  end
end

local input = m.payments "plain"
local kept = ('mw.capture("kept", { from = payments, path = "%s/kept", keep = "4GiB" })'):format(m.folder)
local function ns(results) return m.figure(results, "wall") / m.events * 1e9 end

--- In its steady state, in which the oldest segment is written over.
local steady = ('mw.capture("kept", { from = payments, path = "%s/steady", keep = "64MiB" })'):format(m.folder)

m.title(("capture: file -> rule -> two files, %d events, beside the same without"):format(m.events))
router(flow(input, steady), 1)()
for shards = 1, 2 do
  local r = m.in_turn { router(flow(input), shards), router(flow(input, steady), shards) }
  m.line("%d shards   %5.0f ns/event   with capture %5.0f ns/event   %+.1f %% (10 %% is the aim)", shards, ns(r[1]), ns(r[2]), (m.ratio(r[2], r[1], "wall") - 1) * 100)
end

m.title "replay of what was captured, beside the run (both from memory)"
router(flow(input, kept), 2)()
local folder = s.folder()
s.write(folder .. "/flow.lua", flow(input))
local function replay(shards)
  return function()
    local r = m.run_quietly({ s.program, "replay", "flow.lua", m.folder .. "/kept", "--shards", tostring(shards) }, { cwd = folder })
    assert(r.code == 0, r.err)
    return r
  end
end
local function run(shards)
  return function()
    os.execute(("rm -f %s/[ab].ndjson"):format(m.folder))
    local other = folder .. "/state"
    os.execute("rm -rf " .. other)
    return m.run_quietly({ s.program, "run", "flow.lua", "--quiet", "--shards", tostring(shards), "--state", other }, { cwd = folder })
  end
end
for shards = 1, 2 do
  local r = m.in_turn { run(shards), replay(shards) }
  m.line("%d shards   run %5.0f ns/event   replay %5.0f ns/event   %.0f %% of the run's rate (80 %% is the aim)", shards, ns(r[1]), ns(r[2]),
    m.ratio(r[1], r[2], "wall") * 100)
end
s.write(folder .. "/other.lua", (flow(input):gsub("> 900", "> 901")))
local r = m.run({ s.program, "replay", "flow.lua", m.folder .. "/kept", "--against", "other.lua" }, { cwd = folder })
assert(r.code == 3, r.err)
m.line("2 shards   two flows compared: %5.0f ns/event", r.wall / m.events * 1e9)
s.clean()

m.title "a shadow rule, beside the rule, and beside the same rule twice (one shard, no files written)"
local TRIAL = [[
  local mw = require "moonweir"
  local payments = mw.source.file("payments", { path = "%s" })
  local a = mw.sink.discard("a", {})
  mw.rule("route", { from = payments }, function(e) if %s then a:send(e) end end)
  %s
]]
local function second(more) return router(TRIAL:format(input, RULE, more), 1) end
local body = (", function(e) if %s then a:send(e) end end)"):format(RULE)
r = m.in_turn({ second "", second('mw.rule("second", { from = payments }' .. body), second('mw.rule("shadow", { from = payments, shadow = true }' .. body) },
  math.max(9, m.rounds))
local one, two, shadow = ns(r[1]), ns(r[2]), ns(r[3])
m.line("one rule %5.0f ns/event   a second one %+5.1f ns   a shadow %+5.1f ns   (the whole run of the one rule is the limit: %.2f x)", one, two - one,
  shadow - one, (shadow - one) / one)
clear()
os.execute("rm -rf " .. m.folder .. "/steady")
os.remove(input)
