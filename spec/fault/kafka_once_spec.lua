-- Exactly once through a real broker: a consumer of its own (kcat, read_committed) counts what came out.
local s = require "support"
local kafka = require "kafka_broker"

local KEYS = 20

local FLOW = [[
  local mw = require "moonweir"
  mw.flow { delivery = "exactly-once", checkpoint = "%CHECKPOINT%" }
  local kafka = { brokers = "%BROKER%", topic = "in-%T%", group = "g-%T%", session = "6s", member = "one", format = "ndjson" }
  local input = mw.source.kafka("input", kafka)
  local even = mw.sink.kafka("even", { brokers = "%BROKER%", topic = "even-%T%", key = "{k}", linger = "1ms" })
  local odd = mw.sink.kafka("odd", { brokers = "%BROKER%", topic = "odd-%T%", key = "{k}", linger = "1ms" })
  local file = mw.sink.file("file", { path = "file.ndjson" })
  local count, span = mw.state "count", mw.window("span", { by = "k", span = "24h", keep = { n = mw.count() } })
  mw.rule("r", { from = input, by = "k" }, function(e)
    local sent = { n = e.n, k = e.k, count = count:increment(e.k, "n", 1), window = span:add(e).n }
    if e.n % 2 == 0 then even:send(sent) else odd:send(sent) end
    if e.n % 10 == 0 then file:send(sent) end
  end)
]]

local function flow(values) return kafka.fill(FLOW, values) end

local function events(from, to) return kafka.events(from, to, KEYS) end

local function start(folder, text, shards)
  return s.start(
    s.command("run", folder, text, { "--state", "state", "--shards", tostring(shards), "--no-supervisor" }),
    { cwd = folder }
  )
end

describe("exactly once through Kafka", function()
  local broker
  setup(function() broker = kafka.start(4) end)
  teardown(function()
    broker:kill(s.SIGTERM)
    s.clean()
  end)

  --- All that came out, each event once; how many.
  local function out(topic, note)
    local seen, count = {}, 0
    for _, name in ipairs { "even-" .. topic, "odd-" .. topic } do
      for _, line in ipairs(broker:consume(name, "%s")) do
        local e = s.json.decode(line)
        assert(not seen[e.n], e.n .. " came twice, " .. note)
        seen[e.n] = e
        count = count + 1
      end
    end
    return count, seen
  end

  local function check(folder, topic, total, note)
    local count, seen = out(topic, note)
    assert.equal(total, count, note)
    for n, e in pairs(seen) do
      local want = math.floor((n - 1) / KEYS) + 1
      assert.same({ want, want }, { e.count, e.window }, n .. ", " .. note)
    end
    local in_file = {}
    for _, e in ipairs(s.events(folder .. "/file.ndjson")) do
      assert(not in_file[e.n], e.n .. " is in the file twice, " .. note)
      in_file[e.n] = true
    end
    for n = 10, total, 10 do
      assert(in_file[n], n .. " is not in the file, " .. note)
    end
  end

  it("has everything once when all goes well, and the group knows how far", function()
    local folder, text = s.folder(), flow { BROKER = broker.address, T = "a", CHECKPOINT = "100ms" }
    broker:produce("in-a", events(1, 2000), true)
    for _, shards in ipairs { 1, 2 } do
      local p = start(folder, text, shards)
      s.eventually(function() return out("a", "a") == 2000 * shards end, 60, function() return p:stderr() end)
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
      if shards == 1 then broker:produce("in-a", events(2001, 4000), true) end
    end
    check(folder, "a", 4000, "a")
    local other = s.folder() -- which has none of the state, and is told by the group
    local p = start(other, text, 1)
    s.sleep(2)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal(4000, (out("a", "by another")))
  end)

  it("loses nothing and repeats nothing in thirty rounds of kill -9, and counts are exact", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local folder, note, total = s.folder(), "seed " .. seed, 0
    local text = flow { BROKER = broker.address, T = "k", CHECKPOINT = "30ms" }
    for _ = 1, s.build:find "release" and 30 or 8 do
      local p = start(folder, text, math.random(1, 3))
      local feed = broker:feed("in-k", events(total + 1, total + 1500), 15)
      total = total + 1500
      s.sleep(0.2 + math.random() * 0.5)
      p:kill(s.SIGKILL)
      assert.equal(-9, p:wait(10), p:stderr())
      assert.equal(0, feed:wait(30), feed:stderr())
    end
    local p = start(folder, text, 2)
    s.eventually(function() return (out("k", note)) == total end, 60, function()
      return ("%d of %d, %s: %s"):format((out("k", note)), total, note, p:stderr())
    end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    check(folder, "k", total, note)
  end)

  it("settles a transaction whose end was lost, or came through though nobody was told", function()
    local port, folder, total = s.free_port(), s.folder(), 0
    local behind = kafka.start(4, port)
    local wish = folder .. "/wish"
    s.write(wish, "")
    local proxy = s.start { "luajit", s.root .. "/spec/fault/kafka_proxy.lua", tostring(port), tostring(behind.port), wish }
    s.eventually(function() return proxy:stdout():find "ready" end, 10, function() return proxy:stderr() end)
    local outer = broker
    broker = behind -- for `out` and `check`
    local text = flow { BROKER = "127.0.0.1:" .. port, T = "c", CHECKPOINT = "20ms" }
    local verdicts = {}
    for round = 1, 6 do
      local _, before = proxy:stdout():gsub("did", "")
      behind:produce("in-c", events(total + 1, total + 500), true)
      total = total + 500
      s.write(wish, round % 2 == 1 and "lose\n" or "mute\n")
      local p = start(folder, text, round % 3 + 1)
      s.eventually(
        function() return select(2, proxy:stdout():gsub("did", "")) > before end, 30,
        function() return "a transaction ends: " .. p:stderr() .. proxy:stderr() end
      )
      s.sleep(0.1)
      p:kill(s.SIGKILL)
      p:wait(10)
      s.write(wish, "")
      -- and how it is settled
      p = start(folder, text, 1)
      s.eventually(function() return p:stderr():find "is ready" and (out("c", "crash point")) == total end, 60, function() return p:stderr() end)
      verdicts[round] = p:stderr():find("and committed", 1, true) and "promoted" or p:stderr():find("and not committed", 1, true) and "discarded"
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
    end
    check(folder, "c", total, "crash points")
    assert.same({ "discarded", "promoted", "discarded", "promoted", "discarded", "promoted" }, verdicts)
    proxy:kill()
    broker:kill(s.SIGTERM)
    broker = outer
  end)

  local on_release = s.build:find "release" and it or function() end -- which the example runs
  on_release("shows in the example, which anybody can run", function()
    local code, text, err = s.run({ "sh", s.root .. "/examples/kafka-fraud/run.sh" }, {
      env = { PORT = tostring(s.free_port()), CONTROLLER_PORT = tostring(s.free_port()) },
    }, 120)
    assert.equal(0, code, text .. err)
    assert(text:find("20000 payments came out once, 0 more than once", 1, true), text)
  end)

  it("goes from a file into Kafka, and what the broker refuses is a dead letter", function()
    local folder, lines = s.folder(), {}
    for n = 1, 3000 do
      lines[n] = ('{"n":%d,"k":"a"}'):format(n)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    local text = ([[
      local mw = require "moonweir"
      mw.flow { delivery = "exactly-once", checkpoint = "50ms" }
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.kafka("out", { brokers = "%s", topic = "even-f", config = { ["message.max.bytes"] = "3000000" } })
      mw.rule("r", { from = input }, function(e)
        if e.n == 777 or e.n == 2222 then out:send { n = e.n, text = ("x"):rep(2000000) } else out:send(e) end
      end)
    ]]):format(broker.address)
    local code, _, err = s.moonweir("run", folder, text, { "--state", "state" }, nil, 60)
    assert.equal(0, code, err)
    assert.equal(2998, (out("f", "file")), err)
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    table.sort(dead, function(a, b) return a.event.n < b.event.n end)
    assert.same({ 777, 2222 }, { dead[1].event.n, dead[2] and dead[2].event.n })
    assert.equal(2, #dead)
    assert.matches("Kafka refused it", dead[1].error)
  end)
end)
