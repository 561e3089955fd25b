-- Reloads: the longest request over 200 of them beside the longest without any, under the same load in the same run; the time a
-- shard's swap takes; and how long after a save a flow of 1,000 lines with 50 tests decides.
local m = require "measure"
local s = require "support"

local RELOADS, SECONDS = 200, 24

local function flow(version)
  return ([[
    local mw = require "moonweir"
    local payments = mw.source.http("payments", { listen = "127.0.0.1:0", path = "/payments" })
    local review = mw.sink.discard("review", {})
    mw.rule("decide", { from = payments, by = "card" }, function(e)
      if e.amount > 900 and e.device.os == "unknown" then
        review:send(e)
        return mw.reply(e, { decision = "review", v = %d })
      end
      return mw.reply(e, { decision = "accept", v = %d })
    end)
  ]]):format(version, version)
end

local EVENT = '{"id":"p000000001","amount":95.08,"country":"FR","ts":1700000000007,"card":"c0162890","merchant":"m01334",'
  .. '"currency":"EUR","channel":"pos","ip":"10.50.135.175","attempt":2,"device":{"os":"windows","model":"m218","app":"4.22.1"}}'

local function save(folder, text)
  s.write(folder .. "/.new", text)
  os.rename(folder .. "/.new", folder .. "/flow.lua")
end

local function status(p)
  local host, port = p:address "admin"
  local _, body = s.post(host, port, "/status")
  return s.json.decode(body)
end

local function seconds(text)
  local n, unit = text:match "([%d%.]+)(%a+)"
  return tonumber(n) * ({ us = 1e-6, ms = 1e-3, s = 1 })[unit]
end

--- Loads the router for a while; the longest request, and how many there were.
local function load_for(p, during)
  local host, port = p:address "payments"
  local script = s.folder() .. "/post.lua"
  s.write(script, ("wrk.method = 'POST' wrk.body = %q wrk.headers['Content-Type'] = 'application/json'"):format(EVENT))
  local pipe = io.popen(("wrk -t1 -c64 -d%ds --latency -s %s http://%s:%d/payments"):format(SECONDS, script, host, port))
  during()
  local text = pipe:read "*a"
  pipe:close()
  assert(not text:find "Non%-2xx" and not text:find "Socket errors", text)
  local max = text:match "Latency%s+%S+%s+%S+%s+(%S+)"
  return { longest = seconds(max) * 1000, p99 = seconds(text:match "\n%s+99%%%s+(%S+)") * 1000, requests = tonumber(text:match "(%d+) requests in") }
end

m.title(("pause: %d reloads in %d s of HTTP load at 64 connections, two shards"):format(RELOADS, SECONDS))
local folder = s.folder()
local p = s.router(folder, flow(0), { "--shards", "2", "--state", "state", "--admin", "127.0.0.1:0", "--probation", "0" })
local version, swaps = 0, {}
local function quiet() return load_for(p, function() end) end
local function reloading()
  return load_for(p, function()
    local until_ns = m.now() + SECONDS - 1
    for i = 1, RELOADS do
      version = version + 1
      local next_at = until_ns - (RELOADS - i) * (SECONDS - 1) / RELOADS
      save(folder, flow(version))
      while m.now() < next_at do s.sleep(0.002) end
      local report = status(p).last_reload
      for _, us in ipairs(report and report.swap_us or {}) do swaps[#swaps + 1] = us end
    end
  end)
end
quiet() -- the compiler is warm
local r = m.in_turn({ quiet, reloading }, math.min(3, m.rounds))
table.sort(swaps)
m.line("without reloads   longest %6.2f ms   p99 %5.2f ms   %d requests", m.figure(r[1], "longest"), m.figure(r[1], "p99"), m.figure(r[1], "requests"))
m.line("with reloads      longest %6.2f ms   p99 %5.2f ms   %d requests   longest %.2f x", m.figure(r[2], "longest"), m.figure(r[2], "p99"),
  m.figure(r[2], "requests"), m.ratio(r[2], r[1], "longest"))
local after = status(p).reloads
m.line("swap of a shard   p50 %6.1f us   p99 %6.1f us   longest %6.1f us   (%d reloads accepted, %d refused)", swaps[math.floor(#swaps * 0.5)],
  swaps[math.floor(#swaps * 0.99)], swaps[#swaps], after.accepted, after.refused)
p:kill()
p:wait(10)
s.clean()

-- 90 rules, 50 tests, 1,100 lines
local function large(v)
  local t = { 'local mw = require "moonweir"', 'local input = mw.source.http("input", { listen = "127.0.0.1:0" })', 'local out = mw.sink.discard("out", {})',
    ('mw.rule("version", { from = input }, function(e) mw.reply(e, { v = %d }) end)'):format(v) }
  for i = 1, 90 do
    t[#t + 1] = ([[
mw.rule("rule%d", { from = input, by = "card" }, function(e)
  if e.type == "t%d" and e.amount > %d then
    local factor = 1
    for i = 1, 3 do
      factor = factor * i
    end
    out:send(e, { rule = %d, factor = factor })
  end
end)
]]):format(i, i, i, i)
  end
  for i = 1, 50 do
    t[#t + 1] = ([[
mw.test("test %d", function(t)
  t:push(input, { type = "t%d", amount = %d, card = "c" })
  t:expect(out, { { rule = %d } })
end)]]):format(i, i, i + 1, i)
  end
  return table.concat(t, "\n") .. "\n"
end

folder = s.folder()
p = s.router(folder, large(0), { "--shards", "2", "--state", "state", "--probation", "0" })
local _, lines = large(0):gsub("\n", "")
m.title(("save to live: a flow of %d lines with 50 tests, two shards"):format(lines))
local times = {}
local c = s.connect(p:address "input")
for v = 1, 30 do
  s.sleep(0.1)
  save(folder, large(v))
  local start = m.now()
  repeat
    local _, body = s.request(c, "POST", "/", '{"type":"x"}')
    s.sleep(0.001)
  until s.json.decode(body).v == v
  times[v] = (m.now() - start) * 1000
end
table.sort(times)
m.line("save to the first decision by it   median %.0f ms   longest of %d: %.0f ms", times[15], #times, times[#times])
p:kill()
p:wait(10)
s.clean()
