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

m.title(("Kafka: topic -> rule -> two topics, acks=all, %d events of 300 bytes, start and end included"):format(count))
local r = m.in_turn({ bare, router "at-least-once", router "exactly-once" }, 3)
local function line(name, x, rest)
  m.line("%s %6.0f ns/event, of CPU %5.0f, %4d MiB   %s", name, m.figure(x, "wall") / count * 1e9, m.figure(x, "cpu") / count * 1e9, m.figure(x, "kib") / 1024, rest)
end
line("librdkafka alone                       ", r[1], "")
line("moonweir, 1 shard                      ", r[2], ("%.2f x librdkafka's rate"):format(1 / m.ratio(r[2], r[1], "wall")))
line("moonweir, exactly once, commits by 100ms", r[3], ("%.2f x at least once"):format(1 / m.ratio(r[3], r[2], "wall")))
broker:kill(s.SIGTERM)
s.clean()
