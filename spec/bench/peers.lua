-- The same job, file -> rule -> two files, in others, beside moonweir with one shard in the same run.
local m = require "measure"
local s = require "support"

local count = math.floor(m.events / 4)
local input = m.payments("plain", count)
local build = s.root .. "/build/peers"
os.execute("mkdir -p " .. build)

local function set_up(name)
  local ok = os.execute(("sh %s/spec/bench/peers/%s.sh %s"):format(s.root, name, build)) == 0
  if not ok then print(name .. " could not be set up here: left out") end
  return ok
end

local A, B = m.folder .. "/a.ndjson", m.folder .. "/b.ndjson"
local function run(argv, env)
  return function()
    os.execute(("rm -f %s %s"):format(A, B))
    local r = m.run(argv, { env = env })
    if r.code ~= 0 then error(argv[1] .. " failed: " .. r.err:sub(1, 2000)) end
    return r
  end
end

local FLOW = ([[
  local mw = require "moonweir"
  local payments = mw.source.file("payments", { path = "%s" })
  local a, b = mw.sink.file("a", { path = "%s" }), mw.sink.file("b", { path = "%s" })
  mw.rule("route", { from = payments }, function(e)
    if e.amount > 900 and e.country == "FR" or e.device.os == "ios" then a:send(e) else b:send(e) end
  end)
]]):format(input, A, B)
local function router()
  os.execute(("rm -f %s %s"):format(A, B))
  local r = m.moonweir(FLOW, 1)
  s.clean()
  return r
end

m.title(("peers: file -> rule -> two files, %d events, one thread of rules each"):format(count))
local function beside(name, other)
  local r = m.in_turn({ other, router }, 1)
  m.line("%-40s %7.0f ns/event   %5d MiB   moonweir is %.0f x as fast", name, r[1][1].wall / count * 1e9,
    r[1][1].kib / 1024, r[1][1].wall / r[2][1].wall)
end

-- jq writes one output only, so that is what we do beside it
local ONE = ([[
  local mw = require "moonweir"
  local payments, out = mw.source.file("payments", { path = "%s" }), mw.sink.stdout("out", {})
  mw.rule("select", { from = payments }, function(e)
    if e.amount > 900 and e.country == "FR" or e.device.os == "ios" then out:send(e) end
  end)
]]):format(input)
local r = m.in_turn({
  run { "sh", "-c", ([[jq -c 'select((.amount > 900 and .country == "FR") or .device.os == "ios")' %s > %s]]):format(input, A) },
  function() return m.moonweir(ONE, 1, { stdout = B }) end,
}, 1)
m.line("%-40s %7.0f ns/event   %5d MiB   moonweir is %.0f x as fast", "jq -c select, to one file", r[1][1].wall / count * 1e9,
  r[1][1].kib / 1024, r[1][1].wall / r[2][1].wall)
if set_up "benthos" then
  s.write(m.folder .. "/benthos.yaml", ([[
input: { file: { paths: [ "%s" ], scanner: { lines: {} } } }
output:
  switch:
    cases:
      - check: '(this.amount > 900 && this.country == "FR") || this.device.os == "ios"'
        output: { file: { path: "%s", codec: lines } }
      - output: { file: { path: "%s", codec: lines } }
logger: { level: ERROR }
http: { enabled: false }
]]):format(input, A, B))
  beside("Redpanda Connect core 4.48", run { build .. "/benthos", "-c", m.folder .. "/benthos.yaml" })
end
if set_up "bytewax" then
  beside("Bytewax 0.21", run({ build .. "/bytewax/bin/python", "-m", "bytewax.run", s.root .. "/spec/bench/peers/bytewax_flow.py" },
    { INPUT = input, A = A, B = B }))
end
os.remove(input)
