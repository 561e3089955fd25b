-- Predictive maintenance: telemetry, a detector and a model, and for what is probably an anomaly a
-- corrective action, once an incident.
local mw = require "moonweir"

local readings = mw.source.stdin("readings", { time = "at" })
local actions = mw.sink.http("actions", { url = mw.env("ACTIONS", "http://127.0.0.1:1/actions") })

local odd = mw.detector("odd", { by = "machine" }) -- watches `value`
local hour = mw.window("hour", {
  by = "machine",
  span = "1h",
  slide = "5m",
  keep = { mean = mw.mean "value", variance = mw.variance "value" },
})
local failure = mw.model("failure", { file = "failure.json" })

-- one incident a machine at a time: while it is open, nothing new is opened
local incidents = mw.state "incidents"

-- `id` is the same for whatever is sent again after a crash, so that it is done once
local function act(machine, incident, action, more)
  local told = { machine = machine, incident = incident.number, action = action, at = mw.now() }
  told.id = ("%s-%d-%s"):format(machine, incident.number, action)
  for name, value in pairs(more or {}) do
    told[name] = value
  end
  actions:send(told)
end

local escalate = mw.timer("escalate", function(machine)
  local incident = incidents:get(machine)
  if incident and incident.open then act(machine, incident, "page") end
end)

local recover = mw.timer("recover", function(machine)
  local incident = incidents:get(machine)
  if not (incident and incident.open) then return end
  incidents:set(machine, { number = incident.number, open = false })
  escalate:cancel(machine)
  act(machine, incident, "return to service")
end)

mw.rule("watch", { from = readings, by = "machine" }, function(e)
  local anomaly = odd:score(e).anomaly
  local h = hour:add(e)
  local spread = math.sqrt(math.max(h.variance or 0, 0))
  local deviation = spread > 0 and math.abs(e.value - h.mean) / spread or 0
  local risk = failure:score({ anomaly = anomaly, deviation = deviation })
  if anomaly < 0.5 or risk < 0.5 then return end
  local incident = incidents:get(e.machine) or { number = 0 }
  recover:set(e.machine, "2h") -- it is well when nothing was odd for so long
  if incident.open then return end
  incident = { number = incident.number + 1, open = true, since = mw.now() }
  incidents:set(e.machine, incident)
  escalate:set(e.machine, "30m")
  act(e.machine, incident, "drain", { value = e.value, anomaly = anomaly, risk = risk })
end)

mw.test("a failing machine raises one incident, is paged for, and recovers", function(t)
  local at = 1700000000
  local function reading(value)
    at = at + 300
    t:push(readings, { machine = "m1", at = at, value = value })
  end
  for n = 1, 500 do
    reading(70 + n % 5)
  end
  t:expect(actions, 0)
  for _ = 1, 4 do
    reading(120)
  end
  t:expect(actions, { { machine = "m1", incident = 1, action = "drain" } })
  for n = 1, 5 do
    reading(70 + n % 5)
  end
  t:expect(actions, { { action = "drain" }, { incident = 1, action = "page" } })
  for n = 1, 40 do
    reading(70 + n % 5)
  end
  t:expect(actions, 3)
end)
