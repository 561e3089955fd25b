-- Shared states, against a real Redis.
local s = require "support"
local redis = require "redis_server"

local function flow(options, rule)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    local p = mw.shared("p", { url = mw.env.REDIS %s })
    mw.rule("r", { from = input, by = "user" }, function(e) %s end)
  ]]):format(options, rule)
end

local function events(folder, n, users)
  local lines = {}
  for i = 1, n do
    lines[i] = ('{"id":%d,"user":"u%d"}'):format(i, math.random(users))
  end
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
end

local function run(folder, server, text, shards)
  local code, _, err = s.moonweir(
    "run",
    folder,
    text,
    { "--state", "state", "--shards", tostring(shards), "--no-supervisor", "--quiet" },
    { env = { REDIS = server.url } }
  )
  assert.equal(0, code, err)
  return s.events(folder .. "/out.ndjson")
end

describe("a shared state", function()
  local server
  before_each(function() server = redis.start() end)
  after_each(s.clean)

  it("keeps records of numbers, texts and whatever JSON has", function()
    local folder = s.folder()
    events(folder, 1, 1)
    local out = run(
      folder,
      server,
      flow(
        "",
        [[
        local none, nothing = p:get "a", p:get("a", "x")
        p:set("a", { n = 1.5, big = 123456789012345, text = "x y", yes = true, list = { 1, "b" }, null = mw.null, digits = "0123" })
        local a = p:get "a"
        p:put("a", "n", 2)
        p:put("a", "text", nil)
        local sum = p:increment("a", "n", 3)
        local first = p:increment("new", "n")
        local yes, no = p:compare_and_set("a", "n", 5, 6), p:compare_and_set("a", "n", 5, 7)
        local made = p:compare_and_set("made", "by", nil, "us")
        local gone, again = p:delete "new", p:delete "new"
        local total = p:eval("return redis.call('HGET', KEYS[1], 'n') + ARGV[1]", { "a" }, { 10 })
        out:send { none = none == nil, nothing = nothing == nil, a = a, sum = sum, first = first, yes = yes, no = no, made = made,
          gone = gone, again = again, total = total, after = p:get "a", ping = p:command("PING") }
      ]]
      ),
      1
    )
    local e = out[1]
    assert.same({
      n = 1.5,
      big = 123456789012345,
      text = "x y",
      yes = true,
      list = { 1, "b" },
      null = s.json.null,
      digits = 123,
    }, e.a)
    assert.same(
      { true, true, 5, 1, true, false, true },
      { e.none, e.nothing, e.sum, e.first, e.yes, e.no, e.made }
    )
    assert.same({ true, false, 16, "PONG" }, { e.gone, e.again, e.total, e.ping })
    assert.equal(6, e.after.n)
    assert.is_nil(e.after.text)
  end)

  it("lets records end when their time is over", function()
    local folder = s.folder()
    events(folder, 1, 1)
    run(
      folder,
      server,
      flow(
        ', ttl = "1h"',
        [[p:increment("a", "n") p:set("b", { x = 1 }, { ttl = "10s" }) out:send { done = true }]]
      ),
      1
    )
    local a, b = tonumber(server:command("PTTL", "p:a")), tonumber(server:command("PTTL", "p:b"))
    assert(a > 3500000 and a <= 3600000, a)
    assert(b > 9000 and b <= 10000, b)
  end)

  it("gives every event its own answer, and keeps the order of each key", function()
    for shards = 1, 3 do
      local folder = s.folder()
      events(folder, 3000, 40)
      server:command "FLUSHALL"
      local text = flow(
        "",
        [[
        e.before = p:increment(e.user, "n", 1)
        p:put("e" .. e.id, "id", e.id)
        local mine = p:get("e" .. e.id, "id")
        if e.id % 7 == 0 then error "seven" end
        out:send(e, { mine = mine })
      ]]
      )
      local out = run(folder, server, text, shards)
      local last, n = {}, {}
      for _, e in ipairs(out) do
        assert.equal(e.id, e.mine)
        assert((last[e.user] or 0) < e.id, "order of " .. e.user)
        assert((n[e.user] or 0) < e.before, "count of " .. e.user)
        last[e.user], n[e.user] = e.id, e.before
      end
      local dead = s.events(folder .. "/state/dead-letters.ndjson")
      assert.equal(3000, #out + #dead)
      assert.equal(math.floor(3000 / 7), #dead)
      assert(dead[1].error:find("seven", 1, true))
    end
  end)

  it("says where its URL is wrong", function()
    local folder = s.folder()
    events(folder, 1, 1)
    local code, _, err = s.moonweir(
      "run",
      folder,
      flow("", ""),
      { "--state", "state", "--no-supervisor" },
      { env = { REDIS = "http://x" } }
    )
    assert.equal(2, code)
    assert(err:find("flow.lua:4: shared 'p': 'http://x' is no URL of Redis", 1, true), err)
  end)
end)

describe("Redis that fails", function()
  after_each(s.clean)

  local function count(folder)
    local got, total = {}, 0
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      assert.is_nil(got[e.id], "event " .. e.id .. " came twice")
      got[e.id] = e
      total = total + 1
    end
    return got, total
  end

  it("makes dead letters where the flow does not say otherwise", function()
    local folder = s.folder()
    events(folder, 50, 5)
    local text = flow(', timeout = "50ms"', [[out:send(e, { n = p:increment(e.user, "n") })]])
    local code = s.moonweir(
      "run",
      folder,
      text,
      { "--state", "state", "--no-supervisor", "--quiet" },
      { env = { REDIS = "unix:///nowhere/redis.sock" } }
    )
    assert.equal(0, code)
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(50, #dead)
    assert(dead[1].error:find("shared 'p': increment: ", 1, true), dead[1].error)
    assert.equal("rule", dead[1].stage)
  end)

  local function through(title, trouble)
    it(title, function()
      local server = redis.start()
      local folder = s.folder()
      s.write(folder .. "/in.ndjson", "")
      local text = [[
        local mw = require "moonweir"
        local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        local p = mw.shared("p", { url = mw.env.REDIS, timeout = "100ms", on_failure = function(call, key, why) return why end })
        mw.rule("r", { from = input, by = "user" }, function(e)
          local put = p:put("e" .. e.id, "id", e.id)
          local mine = p:get("e" .. e.id, "id")
          out:send(e, { put = put, mine = mine })
        end)
      ]]
      local p = s.router(
        folder,
        text,
        { "--state", "state", "--shards", "2" },
        { env = { REDIS = server.url } }
      )
      local n = 0
      for round = 1, 30 do
        local lines = {}
        for i = 1, round <= 3 and 100 or 50 do
          n = n + 1
          lines[i] = ('{"id":%d,"user":"u%d"}'):format(n, math.random(20))
        end
        s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
        if round <= 3 then -- before the trouble
          s.eventually(function() return select(2, count(folder)) == n end, 20, "the first answers")
        end
        trouble(server, round)
        s.sleep(0.03)
      end
      s.eventually(function() return select(2, count(folder)) == n end, 20, "all events")
      local got = count(folder)
      local good, bad = 0, 0
      local last = {}
      for id = 1, n do
        local e = got[id]
        if type(e.mine) == "number" then
          good = good + 1
          assert.equal(id, e.mine, "the answer to another question")
        else
          bad = bad + 1
        end
      end
      for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
        assert((last[e.user] or 0) < e.id, "order of " .. e.user)
        last[e.user] = e.id
      end
      assert(good > 200, good .. " answers came")
      assert(bad > 0, "there was trouble")
      assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
      s.sleep(1.2)
      s.append(folder .. "/in.ndjson", ('{"id":%d,"user":"u1"}\n'):format(n + 1))
      s.eventually(function() return select(2, count(folder)) == n + 1 end, 10, "it goes on")
      assert.equal(n + 1, (count(folder))[n + 1].mine, "it answers again")
      p:kill()
      assert.equal(0, p:wait(10))
    end)
  end

  it("by a fail-over: Sentinel names the new master, and rules go on with it", function()
    local cluster = redis.sentinel()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      local p = mw.shared("p", { url = mw.env.REDIS, timeout = "200ms", on_failure = function(call, key, why) return why end })
      mw.rule("r", { from = input, by = "user" }, function(e) out:send(e, { n = p:increment("all", "n", 1) }) end)
    ]],
      { "--state", "state", "--shards", "1" },
      { env = { REDIS = cluster.url } }
    )
    local n = 0
    local function push()
      n = n + 1
      s.append(folder .. "/in.ndjson", ('{"id":%d,"user":"u"}\n'):format(n))
    end
    local function answered()
      local list = s.events(folder .. "/out.ndjson")
      return #list == n and type(list[n].n) == "number" and list[n].n
    end
    push()
    s.eventually(answered, 10, "the first answer")
    s.eventually(
      function() return cluster.ask(cluster.ports[2], "HGET p:all n"):find "\r\n1\r\n" end,
      10,
      "it is copied"
    )
    cluster.processes[1]:kill(s.SIGKILL)
    cluster.processes[1]:wait()
    local sum = s.eventually(function()
      push()
      s.eventually(
        function() return #s.events(folder .. "/out.ndjson") == n end,
        10,
        "an answer or a failure"
      )
      return answered()
    end, 30, "the new master answers")
    assert(sum >= 2, "what was counted is there")
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
    p:kill()
    assert.equal(0, p:wait(10))
  end)

  through("by kill -9: rules fall back, nothing is lost, order is kept", function(server, round)
    if round == 8 then server:kill() end
    if round == 18 then server:restart() end
  end)
  through("by standing still: the same", function(server, round)
    if round == 8 then server:pause() end
    if round == 20 then server:resume() end
  end)
  through("by cutting connections in the middle of replies: the same", function(server, round)
    if round % 3 == 0 then server:command("CLIENT", "KILL", "TYPE", "normal") end
    if round == 10 then server:pause() end
    if round == 15 then server:resume() end
  end)
  through("by having no memory left: the same", function(server, round)
    if round == 8 then server:command("CONFIG", "SET", "maxmemory", "1") end
    if round == 20 then server:command("CONFIG", "SET", "maxmemory", "0") end
  end)
end)
