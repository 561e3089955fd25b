-- Delivery: file -> rule -> file, exactly once beside at least once.
local m = require "measure"
local s = require "support"

local input = m.payments "plain"

local function copy(delivery, shards)
  return function()
    return m.moonweir(
      ([[
      local mw = require "moonweir"
      mw.flow { delivery = "%s", checkpoint = "%s" }
      local payments = mw.source.file("payments", { path = "%s" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("copy", { from = payments, by = "card" }, function(e) if e.amount > 0 then out:send(e) end end)
    ]]):format(delivery, "1s", input),
      shards,
      nil,
      m.run_quietly
    )
  end
end

m.title(("Delivery: file -> rule -> file, %d events of 300 bytes"):format(m.events))
for _, shards in ipairs { 1, 2 } do
  local r = m.in_turn { copy("at-least-once", shards), copy("exactly-once", shards) }
  m.line(
    "%d shard%s  at least once %5.0f ns/event   exactly once %5.0f ns/event   %.2f x its rate",
    shards,
    shards > 1 and "s" or " ",
    m.figure(r[1], "wall") / m.events * 1e9,
    m.figure(r[2], "wall") / m.events * 1e9,
    1 / m.ratio(r[2], r[1], "wall")
  )
end

-- The disk buffer: what one connection of tcp sends, taken in, synced, read and discarded, beside writing the same bytes in a row.
local count = m.events
local bytes = m.payments("plain", count)

assert(os.execute(("cc -O2 -o %s/write_limit %s/spec/bench/write_limit.c"):format(m.folder, s.root)) == 0, "write_limit.c does not compile")

local function sequential() -- in the folder of the state: the same disk
  local path = s.folder() .. "/written"
  local r = m.run { m.folder .. "/write_limit", bytes, path, "100" }
  os.remove(path)
  return r
end

local function send_to(host, port)
  os.execute(("bash -c 'cat %s > /dev/tcp/%s/%d'"):format(bytes, host, port))
end

local function received() -- over tcp, and written in a row: what is left of that when the bytes come by a socket
  local path = s.folder() .. "/written"
  local p = s.start { m.folder .. "/write_limit", "tcp", path, "100" }
  local port
  s.eventually(function()
    port = p:stdout():match "(%d+)\n"
    return port
  end)
  local start = m.now()
  send_to("127.0.0.1", tonumber(port))
  assert(p:wait(30) == 0)
  os.remove(path)
  return { wall = m.now() - start }
end

-- with `out`, a sink: until that had all of them; without: until all were taken in, while the sinks are away
local function buffered(out)
  return function()
    local folder = s.folder()
    local p = s.router(
      folder,
      ([[
      local mw = require "moonweir"
      local input = mw.source.tcp("input", { listen = "127.0.0.1:0", buffer = { size = "4GiB", sync = "100ms" } })
      local out = %s
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(out or 'mw.sink.tcp("out", { connect = "127.0.0.1:9", queue = "64KiB" })'),
      { "--state", "state", "--shards", "2", "--admin", "127.0.0.1:0", "--no-watch", "--drain-timeout", "0" }
    )
    local host, port = p:address "input"
    local ahost, aport = p:address "admin"
    local counter, all = 'moonweir_sink_events_total{sink="out"}', count
    if not out then
      counter, all = 'moonweir_source_bytes_total{source="input"}', #s.read(bytes)
    end
    local start = m.now()
    send_to(host, port)
    s.eventually(function()
      local _, text = s.post(ahost, aport, "/metrics")
      return tonumber(text:match(counter:gsub("[%p]", "%%%0") .. " (%d+)")) == all
    end, 60, function() return p:stderr() end)
    local wall = m.now() - start
    p:kill(s.SIGKILL)
    p:wait()
    os.execute("rm -rf " .. folder .. "/*")
    return { wall = wall }
  end
end

m.title(("Disk buffer: %d events of 300 bytes, synced every 100 ms"):format(count))
local r = m.in_turn({ sequential, received, buffered(), buffered 'mw.sink.discard("out", {})' }, 3)
for i, what in ipairs {
  "written in a row",
  "received over tcp and written in a row",
  "taken in by the buffer, its sinks away",
  "taken in, read again, and through a rule",
} do
  m.line("%-42s %5.0f ns/event   %.2f x the rate in a row", what, m.figure(r[i], "wall") / count * 1e9, 1 / m.ratio(r[i], r[1], "wall"))
end

-- A restart with 1 GiB in the buffer.
do
  local folder = s.folder()
  local flow = [[
    local mw = require "moonweir"
    local input = mw.source.tcp("input", { listen = "127.0.0.1:0", buffer = { size = "4GiB" } })
    local out = mw.sink.tcp("out", { connect = "127.0.0.1:9", queue = "64KiB" })
    mw.rule("r", { from = input }, function(e) out:send(e) end)
  ]]
  local arguments = { "--state", "state", "--shards", "1", "--no-supervisor", "--no-watch" }
  local p = s.router(folder, flow, arguments)
  local host, port = p:address "input"
  for _ = 1, math.ceil(2 ^ 30 / (count * 300)) do
    send_to(host, port)
  end
  s.sleep(1)
  p:kill(s.SIGKILL)
  p:wait()
  local mib = io.popen("du -sm " .. folder .. "/state/buffers | cut -f1"):read "*n"
  local start = m.now()
  p = s.router(folder, flow, arguments)
  m.line("restart with %d MiB in the buffer: ready in %.3f s", mib, m.now() - start)
  p:kill(s.SIGKILL)
  p:wait()
end
s.clean()
