-- Kafka as source and sink, against a real broker.
local s = require "support"
local kafka = require "kafka_broker"

local function flow(broker, source, rest)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.kafka("input", { brokers = "%s", %s })
    local out = mw.sink.kafka("out", { brokers = "%s", topic = "{to}", key = "{k}", linger = "1ms" })
  ]]):format(broker.address, source, broker.address) .. rest
end

local SOURCE = [[topic = "in-%s", group = "g-%s", commit = "50ms"]]
local COPY = [[ mw.rule("copy", { from = input, by = "k" }, function(e) out:send { to = "out-" .. e.t, k = e.k, n = e.n } end) ]]

--- `n` events of `keys` keys, numbered by key.
local function events(topic, from, to, keys)
  local lines = {}
  for n = from, to do
    local k = "k" .. n % keys
    lines[#lines + 1] = ('%s:{"t":"%s","k":"%s","n":%d}'):format(k, topic, k, n)
  end
  return lines
end

describe("Kafka", function()
  local broker
  setup(function()
    broker = kafka.start(4)
  end)
  teardown(function()
    broker:kill(s.SIGTERM)
    s.clean()
  end)

  --- Numbers by key, in the order of the topic; how many messages.
  local function read(topic)
    local seen, count = {}, 0
    for _, line in ipairs(broker:consume(topic, "%p %k %s")) do
      local _, key, text = line:match "^(%d+) (%S+) (.*)$"
      local e = s.json.decode(text)
      assert.equal(key, e.k)
      local list = seen[key] or {}
      seen[key] = list
      list[#list + 1] = e.n
      count = count + 1
    end
    return seen, count
  end

  local function count(topic)
    local _, n = read(topic)
    return n
  end

  it("goes from topic to topic, in order by key, and on where it was", function()
    local folder = s.folder()
    broker:produce("in-a", events("a", 1, 3000, 50), true)
    local text = flow(broker, SOURCE:format("a", "a"), COPY)
    local p = s.router(folder, text, { "--state", "state", "--shards", "2" })
    s.eventually(function() return count "out-a" == 3000 end, 30, "all are copied")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    broker:produce("in-a", events("a", 3001, 4000, 50), true)
    p = s.router(folder, text, { "--state", "state", "--shards", "3" })
    s.eventually(function() return count "out-a" >= 4000 end, 30, "the rest is copied")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    local seen, n = read "out-a"
    assert.equal(4000, n)
    for k, list in pairs(seen) do
      assert.equal(80, #list, k)
      for i = 2, #list do
        assert.equal(list[i - 1] + 50, list[i])
      end
    end
    -- where another takes over it is not read again: the group knows
    p = s.router(s.folder(), text, { "--state", "state" })
    broker:produce("in-a", events("a", 4001, 4050, 50), true)
    s.eventually(function() return count "out-a" >= 4050 end, 30, "another goes on")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal(4050, count "out-a")
  end)

  it("shows rules what a message is besides its bytes, and sends what they say", function()
    local folder = s.folder()
    broker:produce("in-m", { 'k1:{"x":1}' }, true, "-H", "trace=abc", "-p", "2")
    broker:produce("in-m", { "k2:" }, true, "-Z", "-p", "2")
    local p = s.router(folder, flow(broker, SOURCE:format("m", "m"), [[
      mw.rule("r", { from = input }, function(e)
        local m = mw.meta(e)
        out:send({ to = "out-m", k = "none", meta = m, x = e.x }, nil, { key = m.key .. "!", headers = { a = "b" }, partition = 1, tombstone = m.tombstone })
      end)
    ]]), { "--state", "state" })
    s.eventually(function() return #broker:consume("out-m", "%p %k %h %S %s") == 2 end, 30, "both are sent")
    local lines = broker:consume("out-m", "%p %k %h %S %s")
    local partition, key, headers, _, text = lines[1]:match "^(%S+) (%S+) (%S+) (%S+) (.*)$"
    assert.same({ "1", "k1!", "a=b" }, { partition, key, headers })
    local meta = s.json.decode(text).meta
    assert.same({ "in-m", 2, 0, "k1", "abc" }, { meta.topic, meta.partition_number, meta.offset, meta.key, meta.headers.trace })
    assert(math.abs(meta.timestamp - os.time()) < 100)
    assert(lines[2]:find "^1 k2! a=b %-1", lines[2])
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("loses nothing to kill -9, and states are exact", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local folder, note = s.folder(), "seed " .. seed
    local text = flow(broker, SOURCE:format("c", "c") .. [[, member = "one"]], [[
      mw.flow { checkpoint = "50ms" }
      local st = mw.state "st"
      mw.rule("count", { from = input, by = "k" }, function(e)
        out:send { to = "out-c", k = e.k, n = e.n, count = st:increment(e.k, "n", 1) }
      end)
    ]])
    local total, rounds = 0, s.build:find "release" and 30 or 8
    for round = 1, rounds do
      local p = s.start(s.command("run", folder, text, { "--state", "state", "--shards", tostring(math.random(1, 3)), "--no-supervisor", "--quiet" }), { cwd = folder })
      broker:produce("in-c", events("c", total + 1, total + 2000, 40), true)
      total = total + 2000
      if round == rounds then
        s.eventually(function()
          local seen = {}
          for _, line in ipairs(broker:consume("out-c", "%s")) do
            seen[s.json.decode(line).n] = true
          end
          return #seen == total
        end, 60, "all are counted, " .. note)
        p:kill()
        assert.equal(0, p:wait(20), p:stderr())
      else
        s.sleep(math.random() * 0.6)
        p:kill(s.SIGKILL)
        p:wait(10)
      end
    end
    for _, line in ipairs(broker:consume("out-c", "%s")) do
      local e = s.json.decode(line)
      assert.equal(math.floor((e.n - 1) / 40) + (e.n % 40 == 0 and 1 or 1), e.count, note .. ", event " .. e.n)
    end
  end)

  it("reads on from where the group is, when another has read meanwhile", function()
    local one, other = s.folder(), s.folder()
    local text = flow(broker, SOURCE:format("o", "o"), COPY)
    for round, folder in ipairs { one, other, one, one } do
      broker:produce("in-o", events("o", round * 100 - 99, round * 100, 10), true)
      local p = s.router(folder, text, { "--state", "state" })
      s.eventually(function() return count "out-o" >= round * 100 end, 30, "round " .. round)
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
      assert.equal(round * 100, count "out-o")
    end
  end)

  it("begins where it was told to, for good, though nothing was read before the next start", function()
    local folder = s.folder()
    local text = flow(broker, SOURCE:format("l", "l") .. [[, start = "latest"]], COPY)
    broker:produce("in-l", events("l", 1, 100, 10), true)
    local p = s.router(folder, text, { "--state", "state" })
    s.eventually(function() return p:stderr():find "4 partitions came" end, 30, "it has its partitions")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    broker:produce("in-l", events("l", 101, 150, 10), true)
    p = s.router(folder, text, { "--state", "state" })
    s.eventually(function() return count "out-l" >= 50 end, 30, "what came meanwhile is read")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal(50, count "out-l")
  end)

  it("reads all topics that a pattern names", function()
    local folder = s.folder()
    for i = 1, 3 do
      broker:produce("pat-" .. i, events("pat", i * 100 - 99, i * 100, 10), true)
    end
    broker:produce("other-pat", events("pat", 1, 50, 10), true)
    local code, _, err = s.moonweir(
      "run", folder, flow(broker, [[topic = "^pat-.*", group = "g-pat"]], COPY:gsub('"out%-" .. e.t', '"all-pat"')),
      { "--state", "state", "--once", "--quiet" }, nil, 60
    )
    assert.equal(0, code, err)
    assert.equal(300, count "all-pat")
  end)

  it("tells in the metrics how it is", function()
    local folder = s.folder()
    broker:produce("in-s", events("s", 1, 200, 10), true)
    local config = [[config = { ["statistics.interval.ms"] = "200" }]]
    local text = flow(broker, SOURCE:format("s", "s") .. ", " .. config, COPY):gsub('linger = "1ms"', 'linger = "1ms", ' .. config)
    local p = s.router(folder, text, { "--state", "state", "--admin", "127.0.0.1:0" })
    local host, port = p:address "admin"
    local function stat(sort, name, which)
      local _, answer = s.post(host, port, "/metrics")
      return tonumber(answer:match(('moonweir_%s_stat{%s="%s",stat="%s"} (%%S+)'):format(sort, sort, name, which)))
    end
    s.eventually(function() return count "out-s" == 200 and stat("source", "input", "lag_messages") == 0 end, 20, "it has caught up")
    s.eventually(function() return (stat("sink", "out", "sent_bytes") or 0) > 0 end, 10, "it has sent")
    broker:produce("in-s", events("s", 201, 300, 10), true)
    s.eventually(function() return stat("source", "input", "round_trip_seconds") > 0 end, 10, "it has measured its broker")
    s.eventually(function() return stat("source", "input", "rebalances") >= 1 end, 10, "it has joined its group")
    s.eventually(function() return stat("sink", "out", "queue_messages") == 0 end, 10, "nothing waits")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("is a table that is kept up to date, over a restart too", function()
    local folder = s.folder()
    broker:produce("shops", { 'a:{"name":"A"}', 'b:{"name":"B"}', 'a:{"name":"A2"}' }, true)
    broker:produce("shops2", { '7:{"id":7,"name":"seven"}', '8:{"id":8,"name":"eight"}' }, true)
    local text = flow(broker, SOURCE:format("tab", "tab"), [[
      local function source(topic) return mw.source.kafka(topic, { brokers = "%s", topic = topic, group = "g-" .. topic, commit = "50ms" }) end
      local shops = mw.table("shops", { source = source "shops" })
      local numbers = mw.table("numbers", { source = source "shops2", key = "id" })
      mw.rule("look", { from = input }, function(e)
        local shop, number = shops:get(e.shop), numbers:get(e.number)
        out:send { to = "out-tab", k = "k", n = e.n, name = shop and shop.name, number = number and number.name }
      end)
    ]]):gsub("%%s", broker.address)
    local function look(n)
      broker:produce("in-tab", { ('k:{"n":%d,"shop":"a","number":7}'):format(n), ('k:{"n":%d,"shop":"b","number":8}'):format(n + 1) }, true)
      local got = {}
      s.eventually(function()
        got = {}
        for _, line in ipairs(broker:consume("out-tab", "%s")) do
          local e = s.json.decode(line)
          if e.n >= n then got[e.n - n + 1] = (e.name or "none") .. " " .. (e.number or "none") end
        end
        return #got == 2
      end, 30, "both are looked up")
      return got
    end
    local p = s.router(folder, text, { "--state", "state" })
    s.eventually(function() local got = look(1) return got[1] == "A2 seven" and got[2] == "B eight" end, 30, "the topics are read")
    broker:produce("shops", { "a:" }, true, "-Z")
    broker:produce("shops2", { "7:" }, true, "-Z")
    s.eventually(function() local got = look(11) return got[1] == "none none" and got[2] == "B eight" end, 30, "the rows are gone")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    p = s.router(folder, text, { "--state", "state", "--shards", "1" })
    assert.same({ "none none", "B eight" }, look(21))
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
  end)

  it("begins at an offset, at a time, or only where the group knows", function()
    local function run(start, group)
      local folder = s.folder()
      local text = flow(broker, SOURCE:format("f", group) .. (', start = "%s"'):format(start), COPY:gsub('"out%-" .. e.t', ('"out-%s"'):format(group)))
      local code, _, err = s.moonweir("run", folder, text, { "--state", "state", "--once", "--quiet" }, nil, 60)
      return code, err, count("out-" .. group)
    end
    broker:produce("in-f", events("f", 1, 30, 1), true, "-p", "0")
    s.sleep(1.2)
    local time = os.date("!%Y-%m-%dT%H:%M:%SZ")
    s.sleep(1.2)
    broker:produce("in-f", events("f", 31, 50, 1), true, "-p", "0")
    assert.same({ 0, 25 }, { run("25", "fo"), select(3, run("25", "fo")) })
    local code, err, n = run(time, "ft")
    assert.same({ 0, 20 }, { code, n }, err)
    local folder = s.folder() -- which does not take it for a position of its own
    for _ = 1, 2 do
      local text = flow(broker, SOURCE:format("f", "fc") .. ', start = "committed"', COPY:gsub('"out%-" .. e.t', '"out-fc"'))
      code, _, err = s.moonweir("run", folder, text, { "--state", "state", "--once", "--quiet" }, nil, 60)
      assert.equal(1, code)
      assert(err:find("the group has no position in in-f/", 1, true), err)
      assert.equal(0, count "out-fc")
    end
  end)

  it("ends at the end of what is there, where it runs once", function()
    local folder = s.folder()
    broker:produce("in-e", events("e", 1, 500, 10), true)
    local code, _, err =
      s.moonweir("run", folder, flow(broker, SOURCE:format("e", "e"), COPY), { "--state", "state", "--once", "--quiet" }, nil, 60)
    assert.equal(0, code, err)
    assert.equal(500, count "out-e")
  end)

  it("keeps what cannot be an event, and what Kafka refuses, whole", function()
    local folder = s.folder()
    broker:produce("in-p", { '{"t":"p","k":"a","n":1}', "poison", '{"t":"p","k":"a","n":2,"big":true}', '{"t":"p","k":"a","n":3}' }, false, "-p", "0")
    local p = s.router(folder, flow(broker, SOURCE:format("p", "p"), [[
      mw.rule("r", { from = input }, function(e)
        if e.n == 3 then out:send { to = "no topic!", k = e.k, n = e.n } end
        out:send { to = "out-p", k = e.k, n = e.n, text = e.big and ("x"):rep(2000000) or nil }
      end)
    ]]), { "--state", "state" })
    s.eventually(function() return count "out-p" == 2 end, 30, "the others arrive")
    local dead
    s.eventually(function()
      dead = s.events(folder .. "/state/dead-letters.ndjson")
      return #dead == 3
    end, 10, "three are in the dead letters")
    table.sort(dead, function(a, b) return a.position < b.position end)
    assert.same({ "source", "in-p/0", 1, "poison" }, { dead[1].stage, dead[1].partition, dead[1].position, dead[1].raw })
    assert.same({ "sink", 2, 2000000 }, { dead[2].stage, dead[2].event.n, #dead[2].event.text })
    assert.same({ "sink", 3, "no topic!" }, { dead[3].stage, dead[3].event.n, dead[3].event.to })
    assert(dead[2].error:find "Kafka" and dead[3].error:find "Kafka", dead[2].error .. dead[3].error)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("waits for a broker that is gone, or stands still", function()
    local folder = s.folder()
    local p = s.router(folder, flow(broker, SOURCE:format("w", "w"), COPY), { "--state", "state" })
    broker:produce("in-w", events("w", 1, 500, 10), true)
    s.eventually(function() return count "out-w" == 500 end, 30, "it works")
    broker.process:kill(s.SIGSTOP)
    s.sleep(3)
    broker.process:kill(s.SIGCONT)
    broker:produce("in-w", events("w", 501, 1000, 10), true)
    s.eventually(function() return count "out-w" >= 1000 end, 40, "it goes on")
    broker:kill()
    broker:restart()
    broker:produce("in-w", events("w", 1001, 1500, 10), true)
    s.eventually(function() return count "out-w" >= 1500 end, 60, "it goes on after a restart")
    p:kill()
    assert.equal(0, p:wait(30), p:stderr())
    local seen = read "out-w"
    for k, list in pairs(seen) do
      local last, all = 0, {}
      for _, n in ipairs(list) do
        all[n] = true
        last = math.max(last, n)
      end
      for n = last, 1, -10 do
        assert(all[n], k .. ": " .. n .. " is missing")
      end
    end
  end)

  it("chooses partitions as Java's clients do, and writes the time that it is told", function()
    local folder, lines = s.folder(), {}
    -- murmur2 as in the tests of Kafka's own clients: -973932308, -790332482, -985981536, -1486304829, -58897971
    local want = { ["21"] = 0, foobar = 2, ["a-little-bit-long-string"] = 0, ["a-little-bit-longer-string"] = 3,
      lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8 = 1 }
    for key in pairs(want) do
      lines[#lines + 1] = ('{"k":"%s"}\n'):format(key)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines))
    broker:produce("murmur", { "{}" }, false, "-p", "3") -- with its four partitions
    local code, _, err = s.moonweir("run", folder, ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.kafka("out", { brokers = "%s", topic = "murmur", key = "{k}" })
      mw.rule("r", { from = input }, function(e) out:send(e, nil, { timestamp = 1700000000.25 }) end)
    ]]):format(broker.address), { "--state", "state", "--quiet" }, nil, 60)
    assert.equal(0, code, err)
    local seen = 0
    for _, line in ipairs(broker:consume("murmur", "%p %T %k")) do
      local partition, time, key = line:match "^(%d+) (%d+) (%S+)$"
      if key then
        assert.same({ want[key], 1700000000250 }, { tonumber(partition), tonumber(time) }, key)
        seen = seen + 1
      end
    end
    assert.equal(5, seen)
  end)

  it("is paused while a sink takes nothing, and stays in its group", function()
    local folder, other = s.folder(), s.folder()
    local port = s.free_port()
    broker:produce("in-q", events("q", 1, 3000, 10), true)
    local p = s.router(folder, ([[
      local mw = require "moonweir"
      local input = mw.source.kafka("input", {
        brokers = "%s", topic = "in-q", group = "g-q", session = "6s", in_flight = "64KiB", config = { ["max.poll.interval.ms"] = "6000" },
      })
      local out = mw.sink.http("out", { url = "http://127.0.0.1:%d/", queue = "4KiB", batch = { count = 100, after = "5ms" }, retry = { most = "100ms" } })
      mw.rule("r", { from = input, by = "k" }, function(e) out:send(e) end)
    ]]):format(broker.address, port), { "--state", "state" })
    s.eventually(function() return p:stderr():find "trying again" end, 20, function() return p:stderr() end)
    s.sleep(8) -- longer than its session, and than librdkafka lets nobody poll
    local target = s.router(other, ([[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:%d" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(port), { "--state", "state" })
    s.eventually(function() return #s.events(other .. "/out.ndjson") >= 3000 end, 30, function() return p:stderr() end)
    assert.equal(3000, #s.events(other .. "/out.ndjson"))
    assert(not p:stderr():find "partitions went", p:stderr())
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
  end)

  it("goes on when topics are deleted that it reads and writes", function()
    local folder = s.folder()
    local text = flow(broker, [[topics = { "in-d", "in-d2" }, group = "g-d", commit = "50ms"]], COPY:gsub('"out%-" .. e.t', "e.t"))
    local function some(topic, to, from, last)
      local lines = {}
      for n = from, last do
        lines[#lines + 1] = ('k:{"t":"%s","k":"k","n":%d}'):format(to, n)
      end
      broker:produce(topic, lines, true)
    end
    some("in-d", "out-d", 1, 100)
    some("in-d2", "out-d2", 1, 100)
    local p = s.router(folder, text, { "--state", "state" })
    s.eventually(function() return count "out-d" == 100 and count "out-d2" == 100 end, 30, "it works")
    broker:delete "in-d"
    broker:delete "out-d"
    some("in-d2", "out-d2", 101, 200)
    some("in-d2", "out-d", 201, 300)
    s.eventually(function() return count "out-d2" == 200 end, 30, function() return "what is there still goes on: " .. p:stderr() end)
    s.eventually(function()
      return count "out-d" + #s.lines(folder .. "/state/dead-letters.ndjson") == 100
    end, 60, function() return "none is lost: " .. count "out-d" .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("makes another producer where one has ended of a fatal error, and loses nothing", function()
    local folder = s.folder()
    local function append(from, to)
      local lines = {}
      for n = from, to do
        lines[#lines + 1] = ('{"n":%d,"k":"k%d"}\n'):format(n, n % 10)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines))
    end
    append(1, 200)
    local p = s.router(folder, ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "10ms" })
      local out = mw.sink.kafka("out", {
        brokers = "%s", topic = "out-fatal", key = "{k}",
        config = { ["enable.gapless.guarantee"] = "true", ["message.timeout.ms"] = "1000", ["request.timeout.ms"] = "1000" },
      })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(broker.address), { "--state", "state" })
    s.eventually(function() return count "out-fatal" == 200 end, 30, function() return p:stderr() end)
    broker.process:kill(s.SIGSTOP)
    append(201, 700)
    s.eventually(function() return p:stderr():lower():find "fatal" or p:stderr():find "apless" end, 20, function() return p:stderr() end)
    broker.process:kill(s.SIGCONT)
    append(701, 800)
    local seen
    s.eventually(function()
      seen = {}
      for _, line in ipairs(broker:consume("out-fatal", "%s")) do
        seen[s.json.decode(line).n] = true
      end
      return #seen == 800
    end, 40, function() return #seen .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
  end)

  it("ends, though the broker is gone", function()
    local folder = s.folder()
    local p = s.router(folder, flow(broker, SOURCE:format("g", "g"), COPY), { "--state", "state" })
    broker:produce("in-g", events("g", 1, 100, 10), true)
    s.eventually(function() return count "out-g" == 100 end, 30, "it works")
    broker:kill()
    p:kill()
    local code = p:wait(25)
    broker:restart()
    assert.equal(0, code, p:stderr())
  end)

  it("says what is wrong in the flow", function()
    for _, case in ipairs {
      { [[group = "g"]], "'topic' or 'topics' must be given" },
      { [[topics = { "t" } ]], "the option 'group' is missing" },
      { [[topic = "t", group = "g", config = { ["no.such"] = "1" }]], "no.such" },
      { [[topic = "t", group = "g", start = "middle"]], "must be earliest, latest" },
    } do
      local folder = s.folder()
      local code, out, err = s.moonweir("run", folder, flow(broker, case[1], COPY), { "--state", "state", "--once" }, nil, 30)
      assert(code ~= 0)
      assert((out .. err):find(case[2], 1, true), out .. err)
    end
  end)
end)
