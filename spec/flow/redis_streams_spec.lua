-- Redis as a source and as a sink: streams, lists, channels, keys.
local s = require "support"
local redis = require "redis_server"

local function run(folder, server, text, more)
  local arguments = { "--state", "state", "--no-supervisor", "--quiet" }
  for _, argument in ipairs(more or {}) do
    arguments[#arguments + 1] = argument
  end
  return s.moonweir("run", folder, text, arguments, { env = { REDIS = server.url } })
end

local function router(folder, server, text, more)
  local arguments = { "--state", "state" }
  for _, argument in ipairs(more or {}) do
    arguments[#arguments + 1] = argument
  end
  return s.router(folder, text, arguments, { env = { REDIS = server.url } })
end

local function events(folder, n)
  local lines = {}
  for i = 1, n do
    lines[i] = ('{"id":%d,"user":"u%d"}'):format(i, i % 7)
  end
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
end

local function to_redis(options, rule)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
    local out = mw.sink.redis("out", { url = mw.env.REDIS, %s })
    mw.rule("r", { from = input }, function(e) %s end)
  ]]):format(options, rule or "out:send(e)")
end

local function from_redis(options, more)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.redis("input", { url = mw.env.REDIS, %s })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    mw.rule("r", { from = input }, function(e) %s out:send(e) end)
  ]]):format(options, more or "")
end

--- Counts of the ids in what a flow wrote.
local function ids(folder)
  local got, n = {}, 0
  for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
    if not got[e.id] then n = n + 1 end
    got[e.id] = (got[e.id] or 0) + 1
  end
  return got, n
end

describe("the sink redis", function()
  local server
  before_each(function() server = redis.start() end)
  after_each(s.clean)

  it("adds to a stream, in order, with the event as it came", function()
    local folder = s.folder()
    events(folder, 5000)
    assert.equal(0, (run(folder, server, to_redis [[stream = "s", identity = "who"]])))
    local list = server:list("XRANGE", "s", "-", "+")
    assert.equal(5000, #list)
    local seen = {}
    for i, entry in ipairs(list) do
      assert.same(
        { "who", "event", ('{"id":%d,"user":"u%d"}'):format(i, i % 7) },
        { entry[2][1], entry[2][3], entry[2][4] }
      )
      assert.is_nil(seen[entry[2][2]])
      seen[entry[2][2]] = true
    end
  end)

  it("keeps a stream about as long as it is told", function()
    local folder = s.folder()
    events(folder, 3000)
    assert.equal(0, (run(folder, server, to_redis [[stream = "s", max_length = 500]])))
    local n = tonumber(server:command("XLEN", "s"))
    assert(n >= 500 and n < 1000, n)
  end)

  it("adds to lists, sets keys, by fields of the event or as the rule says", function()
    local folder = s.folder()
    events(folder, 70)
    assert.equal(0, (run(folder, server, to_redis [[list = "of {user}"]])))
    assert.equal("10", server:command("LLEN", "of u3"))
    assert.equal('{"id":3,"user":"u3"}', server:command("LINDEX", "of u3", "0"))
    assert.equal('{"id":66,"user":"u3"}', server:command("LINDEX", "of u3", "-1"))
    folder = s.folder()
    events(folder, 70)
    assert.equal(
      0,
      (
        run(
          folder,
          server,
          to_redis(
            [[key = "last:{user}", ttl = "1h", only = { "id" }]],
            [[out:send(e, nil, e.id == 70 and { key = "seventy \"x\"" } or nil)]]
          )
        )
      )
    )
    assert.equal('{"id":69}', server:command("GET", "last:u6"))
    assert.equal('{"id":70}', server:command("GET", 'seventy "x"'))
    local ttl = tonumber(server:command("PTTL", "last:u6"))
    assert(ttl > 3500000 and ttl <= 3600000, ttl)
  end)

  it("publishes", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local listener = router(folder, server, from_redis [[channel = { "one", "many.*" }]])
    s.eventually(
      function() return server:command("PUBSUB", "NUMPAT") == "1" end,
      5,
      "somebody listens"
    )
    local other = s.folder()
    events(other, 700)
    assert.equal(
      0,
      (
        run(
          other,
          server,
          to_redis(
            [[channel = "many.{user}"]],
            [[if e.id > 70 then out:send(e) else out:send(e, nil, { key = "one" }) end]]
          )
        )
      )
    )
    s.eventually(function() return select(2, ids(folder)) == 700 end, 5, "all are heard")
    listener:kill()
    assert.equal(0, listener:wait(10))
    for id, n in pairs((ids(folder))) do
      assert.equal(1, n, id)
    end
  end)

  it("makes dead letters of what Redis refuses for good", function()
    local folder = s.folder()
    events(folder, 70)
    server:command("SET", "of u3", "no list")
    assert.equal(0, (run(folder, server, to_redis [[list = "of {user}"]])))
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(10, #dead)
    assert(dead[1].error:find("Redis refused it: WRONGTYPE", 1, true), dead[1].error)
    assert.equal("u3", dead[1].event.user)
    assert.equal("10", server:command("LLEN", "of u4"))
  end)

  it("delivers all in order through kills, pauses and no memory", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local text = to_redis(
      [[stream = "s", timeout = "200ms", concurrency = 50, retry = { first = "10ms", most = "100ms" }]]
    ):gsub('block = "4KiB"', 'follow = true, poll = "5ms"')
    local p = router(folder, server, text)
    local n = 0
    for round = 1, 40 do
      local lines = {}
      for i = 1, 50 do
        n = n + 1
        lines[i] = ('{"id":%d}'):format(n)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
      if round == 5 then server:command("CONFIG", "SET", "maxmemory", "1") end
      if round == 10 then server:command("CONFIG", "SET", "maxmemory", "0") end
      if round == 15 then server:pause() end
      if round == 25 then server:resume() end
      if round > 25 and round % 4 == 0 then server:command("CLIENT", "KILL", "TYPE", "normal") end
      s.sleep(0.02)
    end
    local first = {}
    s.eventually(function()
      local count = 0
      first = {}
      for i, entry in ipairs(server:list("XRANGE", "s", "-", "+")) do
        local id = tonumber(entry[2][2]:match '"id":(%d+)')
        if not first[id] then count = count + 1 end
        first[id] = i
      end
      return count == n
    end, 20, "all are there")
    for id = 2, n do
      assert(first[id] > first[id - 1], "the last of each stand in their order")
    end
    p:kill()
    assert.equal(0, p:wait(10))
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
  end)

  it("says what is wrong with its options", function()
    local folder = s.folder()
    events(folder, 1)
    local code, _, err = run(folder, server, to_redis "")
    assert.equal(2, code)
    assert(err:find("one of 'stream', 'list', 'channel' or 'key' must be given", 1, true), err)
    code, _, err = run(folder, server, to_redis [[stream = "a", key = "b"]])
    assert.equal(2, code)
    assert(err:find("'stream' and 'key' cannot both be given", 1, true), err)
    code, _, err = run(folder, server, from_redis "")
    assert.equal(2, code)
    assert(err:find("one of 'stream' and 'channel' must be given, and only one", 1, true), err)
  end)
end)

describe("the source redis", function()
  local server
  before_each(function() server = redis.start() end)
  after_each(s.clean)

  local function add(n, from)
    local folder = s.folder()
    local lines = {}
    for i = from or 1, n do
      lines[#lines + 1] = ('{"id":%d,"user":"u%d"}'):format(i, i % 7)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    assert.equal(0, (run(folder, server, to_redis [[stream = "s"]])))
  end

  it("reads a stream to its end, and later goes on where it was", function()
    local folder = s.folder()
    add(2000)
    local text = from_redis [[stream = "s"]]
    assert.equal(0, (run(folder, server, text, { "--once" })))
    add(2500, 2001)
    assert.equal(0, (run(folder, server, text, { "--once" })))
    assert.equal(0, (run(folder, server, text, { "--once" })))
    local list = s.events(folder .. "/out.ndjson")
    assert.equal(2500, #list)
    for i, e in ipairs(list) do
      assert.equal(i, e.id)
    end
  end)

  it(
    "makes an event of an entry's fields where none has it, and dead letters of what is none",
    function()
      local folder = s.folder()
      server:command("XADD", "s", "*", "user", 'u "1"', "amount", "3")
      server:command("XADD", "s", "*", "event", "{broken")
      server:command("XADD", "s", "*", "event", '{"id":1}')
      for _, more in ipairs { "", ', group = "g"' } do
        local text = from_redis(
          [[stream = "s"]] .. more,
          "local m = mw.meta(e) e.stream, e.last = m.stream, m.last ~= nil"
        )
        assert.equal(0, (run(folder, server, text, { "--once" })))
        local list = s.events(folder .. "/out.ndjson")
        assert.same({ user = 'u "1"', amount = "3", stream = "s", last = true }, list[1])
        assert.same({ id = 1, stream = "s", last = true }, list[2])
        assert.equal("{broken", s.events(folder .. "/state/dead-letters.ndjson")[1].raw)
        s.write(folder .. "/out.ndjson", "")
      end
      assert.equal(0, server:list("XPENDING", "s", "g")[1])
    end
  )

  it("begins at the end where it is told to", function()
    local folder = s.folder()
    add(100)
    local p = router(folder, server, from_redis [[stream = "s", from = "end"]])
    s.eventually(function()
      add(101, 101)
      return select(2, ids(folder)) > 0
    end, 10, "what comes is read")
    p:kill()
    assert.equal(0, p:wait(10))
    local got = ids(folder)
    assert.is_nil(got[100])
    assert(got[101])
  end)

  it("keeps positions with the flow's state: windows and counts are exact after kill -9", function()
    local folder = s.folder()
    local text = [[
      local mw = require "moonweir"
      local input = mw.source.redis("input", { url = mw.env.REDIS, stream = { "s", "t" }, count = 20 })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      local c = mw.state "c"
      mw.flow { checkpoint = "20ms" }
      mw.rule("r", { from = input, by = "user" }, function(e) out:send(e, { n = c:increment(e.user, "n") }) end)
    ]]
    local n = 0
    for round = 1, 6 do
      local p = router(folder, server, text, { "--shards", "2", "--no-supervisor" })
      for _ = 1, 100 do
        n = n + 1
        server:command(
          "XADD",
          n % 2 == 0 and "s" or "t",
          "*",
          "event",
          ('{"id":%d,"user":"u%d"}'):format(n, n % 5)
        )
      end
      if round == 6 then
        s.eventually(function() return select(2, ids(folder)) == n end, 10, "all are written")
        p:kill()
        assert.equal(0, p:wait(10))
      else
        s.sleep(0.05 * math.random())
        p:kill(s.SIGKILL)
        p:wait()
      end
    end
    local most = {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      most[e.user] = math.max(most[e.user] or 0, e.n)
    end
    local sum = 0
    for user, count in pairs(most) do
      assert.equal(n / 5, count, user)
      sum = sum + count
    end
    assert.equal(n, sum)
  end)

  it("shares a stream with others of its group; none is lost when one is killed", function()
    local folders, routers = {}, {}
    for i = 1, 3 do
      folders[i] = s.folder()
      routers[i] = router(
        folders[i],
        server,
        from_redis(
          ([[stream = "s", group = "g", consumer = "c%d", claim = "1s", count = 10]]):format(i)
        ),
        { "--no-supervisor" }
      )
    end
    add(1500)
    routers[1]:kill(s.SIGKILL)
    routers[1]:wait()
    add(3000, 1501)
    local function missing()
      local got = {}
      for i = 1, 3 do
        for id in pairs((ids(folders[i]))) do
          got[id] = true
        end
      end
      local n = 0
      for i = 1, 3000 do
        if not got[i] then n = n + 1 end
      end
      return n
    end
    s.eventually(function() return missing() == 0 end, 15, "all are read by somebody")
    s.eventually(
      function() return server:list("XPENDING", "s", "g")[1] == 0 end,
      10,
      "all are acknowledged"
    )
    for i = 2, 3 do
      routers[i]:kill()
      assert.equal(0, routers[i]:wait(10))
      assert(select(2, ids(folders[i])) > 100, "each has its share")
    end
  end)

  it("goes on through lost connections and a server that stands still", function()
    for _, more in ipairs { "", ', group = "g", consumer = "c"' } do
      server:command "FLUSHALL"
      local folder = s.folder()
      local p = router(folder, server, from_redis([[stream = "s", count = 10]] .. more))
      for i = 1, 400 do
        server:command("XADD", "s", "*", "event", ('{"id":%d}'):format(i))
        if i % 37 == 0 then server:command("CLIENT", "KILL", "TYPE", "normal") end
        if i == 200 then
          server:pause()
          s.sleep(0.3)
          server:resume()
        end
      end
      s.eventually(function() return select(2, ids(folder)) == 400 end, 15, "all are read")
      p:kill()
      assert.equal(0, p:wait(10))
      if more == "" then
        for id, n in pairs((ids(folder))) do
          assert.equal(1, n, id)
        end
      end
    end
  end)

  it(
    "acknowledges what is no event, whatever its ID, and reads a stream anew that was deleted",
    function()
      local folder = s.folder()
      local p = router(folder, server, from_redis [[stream = "s", group = "g", from = "end"]])
      s.eventually(function() return #server:list("XINFO", "GROUPS", "s") == 1 end, 5, "a group")
      server:command("XADD", "s", "1700000000000000000-1", "event", "{broken")
      server:command("XADD", "s", "1700000000000000001-1", "event", '{"id":1}')
      s.eventually(function() return (ids(folder))[1] end, 5, "it is read")
      s.eventually(
        function() return server:list("XPENDING", "s", "g")[1] == 0 end,
        5,
        "all are acknowledged"
      )
      assert.equal("{broken", s.events(folder .. "/state/dead-letters.ndjson")[1].raw)
      server:command("DEL", "s")
      server:command("XADD", "s", "*", "event", '{"id":2}')
      s.eventually(function() return (ids(folder))[2] end, 5, "nothing of the new stream is missed")
      p:kill()
      assert.equal(0, p:wait(10))
    end
  )

  it("ends at once where it is to read what is there, and listens to a channel", function()
    local folder = s.folder()
    assert.equal(0, (run(folder, server, from_redis [[channel = "c"]], { "--once" })))
    local code, _, err = run(folder, server, from_redis [[channel = "c", group = "g"]])
    assert.equal(2, code)
    assert(err:find("a 'channel' has no 'group': groups are of streams", 1, true), err)
  end)

  it("says when what it is to read is no stream", function()
    local folder = s.folder()
    server:command("SET", "s", "x")
    local code, _, err = run(folder, server, from_redis [[stream = "s"]])
    assert.equal(1, code)
    assert(err:find("stream 's': WRONGTYPE", 1, true), err)
  end)
end)
