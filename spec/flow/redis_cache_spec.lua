-- What is kept of Redis's answers, until Redis says that it changed.
local s = require "support"
local redis = require "redis_server"

local text = [[
  local mw = require "moonweir"
  local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local p = mw.shared("p", { url = mw.env.REDIS, cache = "CACHE", timeout = "150ms", on_failure = function(call, key, why) return { why = why } end })
  mw.rule("r", { from = input, by = "user" }, function(e)
    if e.write then p:put(e.user, "n", e.write) end
    local got = p:get(e.user)
    out:send { id = e.id, got = got or mw.null, field = e.field and p:get(e.user, e.field) }
  end)
]]

describe("a cached shared state", function()
  local server, folder, router, n
  local function start(cache)
    server, folder, n = redis.start(), s.folder(), 0
    s.write(folder .. "/in.ndjson", "")
    router = s.router(
      folder,
      (text:gsub("CACHE", cache or "1MiB")),
      { "--state", "state", "--shards", "1" },
      { env = { REDIS = server.url } }
    )
  end
  after_each(function()
    router:kill()
    assert.equal(0, router:wait(10))
    s.clean()
  end)

  --- What a rule sees for a user.
  local function ask(user, more)
    n = n + 1
    s.append(folder .. "/in.ndjson", ('{"id":%d,"user":"%s"%s}\n'):format(n, user, more or ""))
    return s.eventually(function()
      local written = s.read(folder .. "/out.ndjson")
      if written:sub(-1) ~= "\n" then return false end -- it is being written
      local list = {} -- of the same look: another may find half a line more
      for line in written:gmatch "[^\n]+" do
        list[#list + 1] = line
      end
      return #list == n and s.json.decode(list[n])
    end, 10, "an answer")
  end
  local function calls(command)
    local stats = server:command("INFO", "commandstats")
    return tonumber(stats:match("cmdstat_" .. command .. ":calls=(%d+)") or 0)
  end
  --- Until reads are kept: the second of two is answered without Redis.
  local function warm(user)
    s.eventually(function()
      local before = calls "hgetall"
      ask(user)
      ask(user)
      return calls "hgetall" == before
    end, 10, "reads are kept")
  end

  it("asks Redis once, and again after somebody else changed the record", function()
    start()
    server:command("HSET", "p:a", "n", "1")
    warm "a"
    local before = calls "hgetall"
    for _ = 1, 20 do
      assert.same({ n = 1 }, ask("a").got)
    end
    assert.equal(1, ask("a", ',"field":"n"').field)
    assert.equal(before, calls "hgetall")
    for i = 2, 6 do
      server:command("HSET", "p:a", "n", tostring(i))
      s.eventually(function() return ask("a").got.n == i end, 5, "the change is seen")
    end
    server:command("DEL", "p:a")
    s.eventually(function() return ask("a").got == s.json.null end, 5, "the end is seen")
    server:command("HSET", "p:a", "n", "7")
    s.eventually(function() return ask("a").got ~= s.json.null end, 5, "a record made anew is seen")
    warm "a"
    server:command "FLUSHALL"
    s.eventually(function() return ask("a").got == s.json.null end, 5, "so is that all are gone")
  end)

  it("sees what the rule itself wrote", function()
    start()
    warm "a"
    for i = 1, 50 do
      assert.equal(i, ask("a", ',"write":' .. i).got.n)
      assert.equal(i, ask("a").got.n)
    end
  end)

  it("forgets all when either connection is lost", function()
    start()
    server:command("HSET", "p:a", "n", "1")
    for round = 1, 3 do
      warm "a"
      server:command("CLIENT", "KILL", "TYPE", round == 1 and "pubsub" or "normal")
      server:command("HSET", "p:a", "n", tostring(round + 1))
      s.eventually(function() return ask("a").got.n == round + 1 end, 5, "the change is seen")
    end
    server:kill()
    s.eventually(function() return ask("a").got.why end, 5, "nothing is answered from before")
    server:restart()
    s.eventually(function() return ask("a").got == s.json.null end, 10, "the new server's answer")
    warm "a"
  end)

  it("keeps to its room", function()
    start "20KiB"
    for i = 1, 200 do
      server:command("HSET", "p:u" .. i, "text", ("x"):rep(1000))
    end
    warm "u1"
    for i = 1, 200 do
      assert.equal(1000, #ask("u" .. i).got.text)
    end
    server:command("HSET", "p:huge", "text", ("x"):rep(100000))
    assert.equal(100000, #ask("huge").got.text) -- it alone has no room
    local before = calls "hgetall"
    ask "u200"
    ask "u199"
    assert.equal(before, calls "hgetall")
    ask "u1"
    assert.equal(before + 1, calls "hgetall")
  end)
end)
