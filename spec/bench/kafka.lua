-- Kafka: topic -> rule -> two topics, acks=all, against a bare consume-and-produce program of librdkafka on the same broker.
local m = require "measure"
local s = require "support"
local kafka = require "kafka_broker"

local count = math.floor(m.events / 2)
local broker = kafka.start(4)
local run = 0

assert(
  os.execute(("cc -O2 -o %s/kafka_limit %s/spec/bench/kafka_limit.c -lrdkafka"):format(m.folder, s.root)) == 0,
  "spec/bench/kafka_limit.c does not compile"
)

--- The payments, keyed by their card.
do
  local plain, keyed = m.payments("plain", count), m.folder .. "/keyed"
  os.execute(([[sed -E 's/^(.*"card":"(c[0-9]+)".*)$/\2|\1/' %s > %s]]):format(plain, keyed))
  local code, _, err = s.run({ "kcat", "-b", broker.address, "-P", "-t", "payments", "-K|", "-X", "partitioner=murmur2_random" }, { stdin = keyed }, 300)
  assert(code == 0, err)
  os.remove(keyed)
end

local function topics()
  run = run + 1
  return "a" .. run, "b" .. run, "g" .. run
end

local function bare()
  local a, b, group = topics()
  local r = m.run { m.folder .. "/kafka_limit", broker.address, "payments", group, a, b }
  assert(r.code == 0, r.err)
  return r
end

local function router(delivery)
  return function()
    local a, b, group = topics()
    return m.moonweir(
      ([[
      local mw = require "moonweir"
      mw.flow { delivery = "%s", checkpoint = "100ms" }
      local payments = mw.source.kafka("payments", { brokers = "%s", topic = "payments", group = "%s" })
      local a = mw.sink.kafka("a", { brokers = "%s", topic = "%s", key = "{card}" })
      local b = mw.sink.kafka("b", { brokers = "%s", topic = "%s", key = "{card}" })
      mw.rule("route", { from = payments, by = "card" }, function(e)
        if e.device.os == "ios" then a:send(e) else b:send(e) end
      end)
    ]]):format(delivery, broker.address, group, broker.address, a, broker.address, b),
      1,
      nil,
      nil,
      { "--once" }
    )
  end
end

local streams = s.root .. "/build/peers/streams"
assert(os.execute("sh " .. s.root .. "/spec/bench/peers/streams.sh > /dev/null") == 0, "Kafka Streams cannot be had")

local function kafka_streams(guarantee)
  return function()
    local a, b, group = topics()
    for _, t in ipairs { a, b } do broker:produce(t, { "{}" }) end -- it does not make its topics
    local r = m.run {
      "java", "-Xmx1g", "-cp", streams .. "/classes:" .. streams .. "/jars/*", "Route",
      broker.address, guarantee, group, a, b, tostring(count), "2", s.folder(),
    }
    assert(r.code == 0, r.err)
    return r
  end
end

m.title(("Kafka: topic -> rule -> two topics, acks=all, %d events of 300 bytes, start and end included"):format(count))
local r = m.in_turn({ bare, router "at-least-once", router "exactly-once", kafka_streams "at_least_once", kafka_streams "exactly_once_v2" }, 3)
local function line(name, x, rest)
  m.line("%-42s %6.0f ns/event, of CPU %5.0f, %4d MiB   %s", name, m.figure(x, "wall") / count * 1e9,
    m.figure(x, "cpu") / count * 1e9, m.figure(x, "kib") / 1024, rest)
end
line("librdkafka alone", r[1], "")
line("moonweir, 1 shard", r[2], ("%.2f x librdkafka's rate"):format(1 / m.ratio(r[2], r[1], "wall")))
line("moonweir, exactly once, commits by 100 ms", r[3], ("%.2f x at least once"):format(1 / m.ratio(r[3], r[2], "wall")))
line("Kafka Streams 3.9, 2 threads", r[4], ("moonweir: %.1f x as fast, CPU 1/%.1f"):format(m.ratio(r[4], r[2], "wall"), m.ratio(r[4], r[2], "cpu")))
line("Kafka Streams 3.9, exactly_once_v2", r[5],
  ("moonweir, exactly once: %.1f x as fast, CPU 1/%.1f"):format(m.ratio(r[5], r[3], "wall"), m.ratio(r[5], r[3], "cpu")))

-- Recovery: a million keys of state, kill -9, and the time from the start to the first event that comes out.
do
  local keys, folder = 1000000, s.folder()
  local path = folder .. "/keys"
  local file = assert(io.open(path, "w"))
  for n = 1, keys do file:write(('{"k":"key-%d","n":%d}\n'):format(n, n)) end
  file:close()
  assert(s.run({ "kcat", "-b", broker.address, "-P", "-t", "keys" }, { stdin = path }, 300) == 0)
  os.remove(path)
  local argv = s.command("run", folder, ([[
    local mw = require "moonweir"
    mw.flow { delivery = "exactly-once", checkpoint = "200ms" }
    local input = mw.source.kafka("input", { brokers = "%s", topic = "keys", group = "keys", member = "one" })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    local st = mw.state "st"
    mw.rule("r", { from = input, by = "k" }, function(e) out:send { n = e.n, seen = st:increment(e.k, "n", 1) } end)
  ]]):format(broker.address), { "--state", "state", "--shards", "2", "--no-supervisor", "--quiet" })
  local function size() return tonumber(io.popen("stat -c %s " .. folder .. "/out.ndjson 2>/dev/null || echo 0"):read "*l") end
  local p = s.start(argv, { cwd = folder })
  s.eventually(function() return #s.lines(folder .. "/out.ndjson") == keys end, 120, function() return p:stderr() end)
  s.sleep(2)
  local times = {}
  for round = 1, 3 do
    p:kill(s.SIGKILL)
    p:wait()
    broker:produce("keys", { ('{"k":"key-%d","n":0}'):format(round) })
    local before, start = size(), m.now()
    p = s.start(argv, { cwd = folder })
    while size() <= before do s.sleep(0.002) end
    times[round] = m.now() - start
    s.sleep(1)
  end
  m.line("recovery with %d keys: %.2f s from the start to the first new output", keys, m.median(times))
  p:kill(s.SIGKILL)
  p:wait()
end
broker:kill(s.SIGTERM)
s.clean()
