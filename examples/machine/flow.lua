-- Watches the machine it runs on: reads its package logs, takes telemetry over HTTP and answers it.
-- Change a rule, run `moonweir test flow.lua`, and run the quickstart again.
local mw = require "moonweir"

local logs = mw.source.file(
  "logs",
  { path = { "/var/log/dpkg.log", "/var/log/dpkg.log.*" }, format = "lines" }
)
local telemetry =
  mw.source.http("telemetry", { listen = mw.env("LISTEN", "127.0.0.1:8471"), path = "/telemetry" })

local packages = mw.sink.file("packages", { path = "out/packages-{action}.ndjson" })
local readings = mw.sink.file("readings", { path = "out/readings.ndjson" })
local alerts = mw.sink.file("alerts", { path = "out/alerts.ndjson" })

-- 2026-11-24 20:31:07 install libuv1:amd64 <none> 1.44.2-1
mw.rule("packages", { from = logs }, function(e)
  local day, time, action, package = e.line:match "^(%S+) (%S+) (%a+) (%S+:%S+)"
  if action == "install" or action == "upgrade" or action == "remove" then
    packages:send { at = day .. "T" .. time, action = action, package = package }
  end
end)

mw.rule("watch", { from = telemetry, by = "host" }, function(e)
  local decision, reason = "ok", nil
  if e.memory.used_percent > 90 then
    decision, reason = "alarm", "memory"
  end
  if e.cpu.busy_percent > 80 then
    decision, reason = "busy", "cpu"
  end
  if e.disk.used_percent > 95 then
    decision, reason = "alarm", "disk"
  end
  readings:send(e, { decision = decision })
  if decision ~= "ok" then alerts:send(e, { decision = decision, reason = reason }) end
  mw.reply(e, { decision = decision, reason = reason or mw.null })
end)

mw.test("a full disk is an alarm, and it is answered", function(t)
  t:push(
    telemetry,
    {
      host = "a",
      cpu = { busy_percent = 5 },
      memory = { used_percent = 10 },
      disk = { used_percent = 99 },
    }
  )
  t:expect(alerts, { { host = "a", reason = "disk" } })
  t:expect(readings, { { decision = "alarm" } })
  t:expect_reply({ decision = "alarm", reason = "disk" })
end)

mw.test("installed packages are told from other lines of the log", function(t)
  t:push(
    logs,
    "2026-01-01 10:00:00 install libuv1:amd64 <none> 1.44.2-1\n"
      .. "2026-01-01 10:00:01 status installed libuv1:amd64 1.44.2-1\n"
  )
  t:expect(
    packages,
    { { action = "install", package = "libuv1:amd64", at = "2026-01-01T10:00:00" } }
  )
end)
