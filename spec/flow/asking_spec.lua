-- Rules that ask several things at once, of Redis and of other shards.
local s = require "support"
local redis = require "redis_server"

local function run(folder, server, rule, shards, more)
  local text = ([[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    local p = mw.shared("p", { url = mw.env.REDIS %s })
    local seen = mw.state "seen"
    mw.rule("r", { from = input, by = "user" }, function(e) %s end)
  ]]):format(more or "", rule)
  local code, _, err = s.moonweir(
    "run",
    folder,
    text,
    { "--state", "state", "--shards", tostring(shards), "--no-supervisor", "--quiet" },
    { env = { REDIS = server and server.url or "unix:///nowhere" } }
  )
  assert.equal(0, code, err)
  return s.events(folder .. "/out.ndjson"), s.events(folder .. "/state/dead-letters.ndjson")
end

local function events(folder, n, users)
  local lines = {}
  for i = 1, n do
    lines[i] = ('{"id":%d,"user":"u%d","card":"c%d"}'):format(
      i,
      math.random(users),
      math.random(users)
    )
  end
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
end

describe("several questions of one rule", function()
  after_each(s.clean)

  it("may be very many", function()
    local server = redis.start()
    local folder = s.folder()
    events(folder, 1, 1)
    local out, dead = run(
      folder,
      server,
      [[
      local keys = {}
      for i = 1, 20000 do keys[i] = "k" .. i end
      p:put("k20000", "n", 7)
      local all = p:get_all(keys)
      out:send { n = all.k20000.n, none = all.k1 == nil, why = tostring(select(2, pcall(p.get_all, p, "k1"))) }
    ]],
      1
    )
    assert.equal(0, #dead, dead[1] and dead[1].error)
    assert.equal(7, out[1].n)
    assert.is_true(out[1].none)
    assert(out[1].why:find("get_all wants a list of keys, not a string", 1, true), out[1].why)
  end)

  it("look up what a source and Redis tell, on several shards", function()
    local server = redis.start()
    for shards = 1, 3 do
      local folder = s.folder()
      events(folder, 500, 20)
      s.write(folder .. "/rates.ndjson", "")
      local rates = {}
      for i = 1, 20 do
        rates[i] = ('{"card":"c%d","rate":%d}'):format(i, i)
        server:command("HSET", "people:u" .. i, "name", "n" .. i)
      end
      s.write(folder .. "/rates.ndjson", table.concat(rates, "\n") .. "\n")
      local p = s.router(
        folder,
        [[
        local mw = require "moonweir"
        local told = mw.source.file("told", { path = "rates.ndjson", follow = true })
        local input = mw.source.file("input", { path = "wait.ndjson", follow = true, poll = "10ms" })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        local rates = mw.table("rates", { source = told, key = "card" })
        local people = mw.table("people", { url = mw.env.REDIS })
        mw.rule("r", { from = input, by = "user" }, function(e)
          local rate, who = rates:get(e.card), people:get(e.user)
          out:send(e, { rate = rate and rate.rate, who = who and who.name })
        end)
      ]],
        { "--state", "state", "--shards", tostring(shards), "--admin", "127.0.0.1:0" },
        { env = { REDIS = server.url } }
      )
      local host, port = p:address "admin"
      s.eventually(function()
        local metrics = select(2, s.post(host, port, "/metrics"))
        return metrics:find('moonweir_state_keys{sort="state",name="table.rates"} 20', 1, true)
      end, 10, "the rows are there")
      s.write(folder .. "/wait.ndjson", s.read(folder .. "/in.ndjson"))
      s.eventually(function()
        local _, lines = s.read(folder .. "/out.ndjson"):gsub("\n", "")
        return lines == 500
      end, 10, "all are looked up")
      for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
        assert.equal("c" .. e.rate, e.card)
        assert.equal("n" .. e.user:sub(2), e.who)
      end
      p:kill()
      assert.equal(0, p:wait(10))
    end
  end)

  it("each get their own answer, in whatever order those come", function()
    local server = redis.start()
    for shards = 1, 3 do
      local folder = s.folder()
      server:command "FLUSHALL"
      events(folder, 1000, 30)
      local out, dead = run(
        folder,
        server,
        [[
        e.mark = "set before"
        local a, b, c, d = mw.all(
          function() p:put("x" .. e.id, "id", e.id) return p:get("x" .. e.id, "id") end,
          function() return p:increment("u" .. e.user, "n") end,
          function() return seen:increment(e.card, "n") end,
          function() return "at once" end
        )
        local both, two = mw.all(
          function()
            local l, r = mw.all(function() return p:get("x" .. e.id, "id") end, function() return p:get("nobody", "x") end)
            return tostring(l) .. tostring(r)
          end,
          function() e.inside = e.id return p:command("ECHO", "e" .. e.id) end
        )
        out:send(e, { a = a, b = b, c = c, d = d, both = both, two = two })
      ]],
        shards
      )
      assert.equal(0, #dead, dead[1] and dead[1].error)
      assert.equal(1000, #out)
      local users, cards = {}, {}
      for _, e in ipairs(out) do
        assert.equal(e.id, e.a)
        assert.equal("at once", e.d)
        assert.equal(e.id .. "nil", e.both)
        assert.equal("e" .. e.id, e.two)
        assert.equal("set before", e.mark)
        assert.equal(e.id, e.inside)
        assert.equal((users[e.user] or 0) + 1, e.b, "the order of a key")
        users[e.user] = e.b
        cards[e.card] = cards[e.card] or {}
        assert.is_nil(cards[e.card][e.c], "a count that came twice")
        cards[e.card][e.c] = true
      end
      for card, counts in pairs(cards) do
        local n = 0
        for _ in pairs(counts) do
          n = n + 1
        end
        assert.equal(#counts, n, "the counts of " .. card)
      end
    end
  end)

  it("leave in one write", function()
    local server = redis.start()
    local folder = s.folder()
    events(folder, 1, 1)
    for i = 1, 50 do
      server:command("HSET", "p:k" .. i, "n", tostring(i))
    end
    server:command("CONFIG", "RESETSTAT")
    local out = run(
      folder,
      server,
      [[
      local keys = {}
      for i = 1, 51 do keys[i] = "k" .. i end
      local all = p:get_all(keys)
      local sum = 0
      for i = 1, 50 do sum = sum + all["k" .. i].n end
      out:send { sum = sum, none = all.k51 == nil }
    ]],
      1
    )
    assert.equal(1275, out[1].sum)
    assert.is_true(out[1].none)
    local reads = tonumber(server:command("INFO", "stats"):match "total_reads_processed:(%d+)")
    assert(reads < 10, reads .. " reads of the server for 51 questions")
  end)

  it("end together when one of them fails, and leave nothing behind", function()
    local server = redis.start()
    for shards = 1, 2 do
      local folder = s.folder()
      events(folder, 600, 20)
      local out, dead = run(
        folder,
        server,
        [[
        local a, b = mw.all(
          function() if e.id % 3 == 0 then p:get("x") error("three") end return p:get("y") end,
          function() return p:increment("n" .. e.id, "n") end,
          function() return seen:get(e.card) end
        )
        out:send(e, { b = b })
      ]],
        shards
      )
      assert.equal(400, #out)
      assert.equal(200, #dead)
      assert(dead[1].error:find("flow.lua:%d+: three$"), dead[1].error)
    end
  end)

  it("say what is wrong with what they are given", function()
    local folder = s.folder()
    events(folder, 1, 1)
    local _, dead = run(folder, nil, [[mw.all(function() end, 3)]], 1)
    assert(
      dead[1].error:find("mw.all runs functions; number 2 is a number", 1, true),
      dead[1].error
    )
  end)
end)
