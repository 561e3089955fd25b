-- Readings of machines: rolled up by the minute, and an alert when one is too hot, said once.
local mw = require "moonweir"
local alerts = require "moonweir.alerts"
local dedup = require "moonweir.dedup"

local readings = mw.source.tcp("readings", {
  listen = mw.env("LISTEN", "127.0.0.1:0"),
  time = "ts",
  lateness = "10s",
})
local minutes = mw.sink.file("minutes", { path = mw.env("MINUTES", "minutes.ndjson") })
local actions = mw.sink.file("actions", { path = mw.env("ACTIONS", "actions.ndjson") })

local machines = mw.table("machines", { file = "machines.csv", key = "device" })
local fresh = dedup.by("fresh", { by = { "device", "ts" }, within = "10m" })
local hot = alerts.threshold("hot", { above = 90, below = 80, ["for"] = 2 })
local minute = mw.window("minute", {
  by = "device",
  span = "1m",
  keep = {
    count = mw.count(),
    mean = mw.mean("temp"),
    highest = mw.max("temp"),
    p95 = mw.quantile("temp", 0.95),
  },
})
local silent = mw.timer(
  "silent",
  function(device) actions:send { device = device, action = "look", why = "silent" } end
)

mw.rule("watch", { from = readings, by = "device" }, function(e)
  if not fresh:first(e) then return end
  minute:add(e)
  silent:set(e.device, "5m")
  local change = hot:look(e.device, e.temp)
  if change then
    local machine = machines:get(e.device)
    actions:send {
      device = e.device,
      hall = machine and machine.hall,
      action = change,
      temp = e.temp,
    }
  end
end)

minute:on_close(function(w) minutes:send(w) end)

mw.test("a machine that stays hot is said once, and again when it is cool", function(t)
  for i, temp in ipairs { 91, 89, 91, 92, 95, 85, 79, 79 } do
    t:push(readings, { device = "m1", temp = temp, ts = 1700000000 + i })
  end
  t:expect(actions, {
    { device = "m1", hall = "north", action = "raised", temp = 92 },
    { device = "m1", hall = "north", action = "cleared", temp = 79 },
  })
end)

mw.test("readings that come twice count once, late ones count too", function(t)
  t:push(readings, { device = "m2", temp = 10, ts = 1700000040 })
  t:push(readings, { device = "m2", temp = 10, ts = 1700000040 })
  t:push(readings, { device = "m2", temp = 30, ts = 1700000105 })
  t:push(readings, { device = "m2", temp = 20, ts = 1700000099 })
  t:push(readings, { device = "m2", temp = 30, ts = 1700000111 })
  t:expect(minutes, { { key = "m2", count = 2, mean = 15, highest = 20, start = 1700000040 } })
  t:finish()
  t:expect(minutes, 2)
end)

mw.test("a machine that says nothing for five minutes is looked at", function(t)
  t:push(readings, { device = "m3", temp = 10, ts = 1700000000 })
  t:push(readings, { device = "m1", temp = 10, ts = 1700000400 })
  t:expect(actions, { { device = "m3", action = "look" } })
end)
