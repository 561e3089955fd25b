-- Three brokers, of which some die, stand still, or change their part; and two routers of one group that come and go.
local s = require "support"
local kafka = require "kafka_broker"

local KEYS = 20
local FLOW = [[
  local mw = require "moonweir"
  mw.flow { delivery = "%DELIVERY%", checkpoint = "100ms" }
  local input = mw.source.kafka("input", { brokers = "%BROKER%", topic = "in-%T%", group = "g-%T%", session = "6s" %MORE% })
  local out = mw.sink.kafka("out", { brokers = "%BROKER%", topic = "out-%T%", key = "{k}", linger = "1ms" })
  mw.rule("r", { from = input, by = "k" }, function(e) out:send(e) end)
]]

local function flow(cluster, topic, delivery, more)
  return kafka.fill(FLOW, { BROKER = cluster.address, T = topic, DELIVERY = delivery, MORE = more or "" })
end

local function events(from, to) return kafka.events(from, to, KEYS) end

describe("a cluster of Kafka", function()
  local cluster
  setup(function() cluster = kafka.cluster(3) end)
  teardown(function()
    cluster:kill()
    s.clean()
  end)

  local routers = {}
  before_each(function() cluster:revive() end)
  after_each(function() -- of a test that failed
    for _, p in ipairs(routers) do
      if not p:poll() then
        p:kill(s.SIGKILL)
        p:wait(10)
      end
    end
    routers = {}
  end)

  local function start(folder, text)
    local p = s.start(s.command("run", folder, text, { "--state", "state", "--shards", "2", "--no-watch" }), { cwd = folder })
    routers[#routers + 1] = p
    return p
  end

  --- What is in the topic: how many, how many twice, whether the first of each comes in the order of its key.
  local function look(topic)
    local seen, count, twice, last = {}, 0, 0, {}
    for _, line in ipairs(cluster:consume("out-" .. topic, "%s")) do
      local e = s.json.decode(line)
      if seen[e.n] then
        twice = twice + 1
      else
        count = count + 1
        assert((last[e.k] or 0) < e.n, topic .. ": out of order: " .. e.n)
        last[e.k] = e.n
      end
      seen[e.n] = true
    end
    return count, twice
  end

  --- What went in went in once, or the test is none.
  local function check_input(topic, total)
    local seen, count = {}, 0
    for _, line in ipairs(cluster:consume("in-" .. topic, "%s")) do
      local n = s.json.decode(line).n
      assert(not seen[n], n .. " went in twice")
      seen[n], count = true, count + 1
    end
    assert.equal(total, count)
  end

  for _, delivery in ipairs { "at-least-once", "exactly-once" } do
    local topic = delivery:sub(1, 1)

    it("loses nothing when brokers are killed in turn, the leader first (" .. delivery .. ")", function()
      local folder = s.folder()
      cluster:produce("in-" .. topic, events(1, 2000), true)
      local p = start(folder, flow(cluster, topic, delivery, ', member = "one"'))
      s.eventually(function() return look(topic) > 500 end, 60, function() return p:stderr() end)
      local total, order = 2000, { cluster:leader("out-" .. topic) }
      for _, b in ipairs(cluster.brokers) do -- who coordinates the group and the transactions is among them
        if b ~= order[1] then order[#order + 1] = b end
      end
      for i = 1, delivery == "exactly-once" and 3 or 2 do
        local feed = cluster:feed("in-" .. topic, events(total + 1, total + 2000), 10)
        total = total + 2000
        s.sleep(0.3)
        order[i]:kill()
        assert.equal(0, feed:wait(90), feed:stderr())
        s.eventually(function() return look(topic) == total end, 90, function() return look(topic) .. " " .. p:stderr() end)
        order[i]:restart()
        cluster:whole()
      end
      p:kill()
      assert.equal(0, p:wait(30), p:stderr())
      check_input(topic, total)
      local count, twice = look(topic)
      assert.equal(total, count)
      if delivery == "exactly-once" then assert.equal(0, twice, p:stderr()) end
    end)
  end

  it("waits for a broker that stands still for twenty seconds", function()
    local folder = s.folder()
    cluster:produce("in-w", events(1, 1000), true)
    local p = start(folder, flow(cluster, "w", "exactly-once", ', member = "one"'))
    s.eventually(function() return look "w" == 1000 end, 60, function() return p:stderr() end)
    local still = cluster:leader "out-w"
    still.process:kill(s.SIGSTOP)
    local feed = cluster:feed("in-w", events(1001, 3000), 10)
    s.sleep(20)
    still.process:kill(s.SIGCONT)
    assert.equal(0, feed:wait(90), feed:stderr())
    s.eventually(function() return look "w" == 3000 end, 90, function() return look "w" .. " " .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(30), p:stderr())
    local count, twice
    s.eventually(function() -- a reader comes to its end early where a new leader does not know yet how far all have come
      count, twice = look "w"
      return count >= 3000
    end, 60, function() return count .. " of 3000" end)
    assert.same({ 3000, 0 }, { count, twice })
    cluster:whole()
  end)

  for _, delivery in ipairs { "at-least-once", "exactly-once" } do
    local topic = "g" .. delivery:sub(1, 1)

    it("shares a group between two routers that come, go and die (" .. delivery .. ")", function()
      local one, other = s.folder(), s.folder()
      local text = flow(cluster, topic, delivery)
      cluster:produce("in-" .. topic, events(1, 1000), true)
      local total, p, q = 1000, start(one, text), nil
      s.eventually(function() return look(topic) == total end, 60, function() return p:stderr() end)
      for round = 1, 4 do
        local feed = cluster:feed("in-" .. topic, events(total + 1, total + 2000), 20)
        total = total + 2000
        if round == 1 or round == 3 then
          q = start(other, text) -- the second comes
          s.eventually(function() return q:stderr():find "partitions came" end, 60, function() return q:stderr() end)
        else
          q:kill(round == 2 and s.SIGTERM or s.SIGKILL) -- it goes, or dies
          q:wait(30)
          if round == 2 then assert.equal(0, q:poll(), q:stderr()) end
        end
        assert.equal(0, feed:wait(60), feed:stderr())
        s.eventually(
          function() return look(topic) == total end, 60,
          function() return ("%d of %d: %s\n%s"):format(look(topic), total, p:stderr(), q:stderr()) end
        )
      end
      p:kill()
      assert.equal(0, p:wait(30), p:stderr())
      check_input(topic, total)
      local count, twice = look(topic)
      assert.equal(total, count)
      if delivery == "exactly-once" then assert.equal(0, twice, p:stderr()) end
    end)
  end
end)
