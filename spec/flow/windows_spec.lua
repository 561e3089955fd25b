-- Event time, windows, states and timers, as a flow uses them.
local s = require "support"

local function run(flow, lines, shards)
  local folder = s.folder()
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
  local code, _, err = s.moonweir(
    "run",
    folder,
    flow,
    { "--state", "state", "--shards", tostring(shards or 1), "--no-supervisor", "--quiet" }
  )
  assert.equal(0, code, err)
  return s.events(folder .. "/out.ndjson"), s.events(folder .. "/state/dead-letters.ndjson"), folder
end

local function head(options)
  return [[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson" ]] .. (options or "") .. [[ })
    local out = mw.sink.file("out", { path = "out.ndjson" })
  ]]
end

local function test(flow)
  local folder = s.folder()
  local code, out, err = s.moonweir("test", folder, flow)
  return code, out .. err
end

describe("event time", function()
  after_each(s.clean)

  local function time_of(format, value)
    local out, dead = run(
      head(', time = "t"' .. (format and (', time_format = "' .. format .. '"') or ""))
        .. [[mw.rule("r", { from = input }, function(e) out:send { now = mw.now() } end)]],
      { '{"t":' .. value .. "}" }
    )
    return out[1] and out[1].now, dead[1]
  end

  it("is read from numbers and texts of many kinds", function()
    for _, case in ipairs {
      { nil, "1700000000", 1700000000 },
      { nil, "1700000000.25", 1700000000.25 },
      { nil, "1700000000250", 1700000000.25 },
      { nil, "1700000000250000", 1700000000.25 },
      { nil, "1700000000250000000", 1700000000.25 },
      { nil, '"1700000000"', 1700000000 },
      { nil, '"2023-11-14T22:13:20Z"', 1700000000 },
      { nil, '"2023-11-14T23:13:20.250+01:00"', 1700000000.25 },
      { nil, '"2023-11-14 22:13:20"', 1700000000 },
      { "s", "17", 17 },
      { "ms", "17", 0.017 },
      { "us", "17000", 0.017 },
      { "ns", "1700000000250000000", 1700000000.25 },
      { "rfc3339", '"1969-12-31T23:59:59Z"', -1 },
      { "%d/%m/%Y %H:%M", '"14/11/2023 22:13"', 1699999980 },
      { "%Y-%m-%dT%H:%M:%S%z", '"2023-11-14T23:13:20+0100"', 1700000000 },
    } do
      local now = time_of(case[1], case[2])
      assert(
        now and math.abs(now - case[3]) < 1e-5,
        ("%s as %s is %s, not %s"):format(case[2], case[1] or "auto", tostring(now), case[3])
      )
    end
  end)

  it("makes dead letters of events without one, with what is wrong", function()
    for _, case in ipairs {
      { nil, '"yesterday"', "'t' is yesterday, which is not in the source's 'time_format'" },
      { nil, "null", "the event has no time" },
      { "rfc3339", "17", "the event has no time" },
      { "s", '"2023-11-14T22:13:20Z"', "the event has no time" },
      { nil, '"2023-13-14T22:13:20Z"', "the event has no time" },
    } do
      local now, dead = time_of(case[1], case[2])
      assert.is_nil(now)
      assert(dead.error:find(case[3], 1, true), dead.error)
    end
    local _, dead = run(
      head ', time = "at.t"' .. [[mw.rule("r", { from = input }, function(e) out:send(e) end)]],
      { '{"x":1}' }
    )
    assert.equal("the event has no time: there is no field 'at.t'", dead[1].error)
  end)

  it("is the time of arrival where there is no field", function()
    local before = os.time()
    local out = run(
      head() .. [[mw.rule("r", { from = input }, function(e) out:send { now = mw.now() } end)]],
      { "{}" }
    )
    assert(out[1].now >= before and out[1].now < before + 60)
  end)
end)

describe("a window", function()
  after_each(s.clean)

  local spend = head ', time = "t", lateness = "5s"'
    .. [[
    local late = mw.channel "late"
    local w = mw.window("w", { by = "k", span = "10s", late = late, keep = { n = mw.count(), total = mw.sum("x") } })
    mw.rule("r", { from = input, by = "k" }, function(e)
      local r = w:add(e)
      if r then out:send { id = e.id, n = r.n, total = r.total, start = r.start } end
    end)
    mw.rule("too-late", { from = late }, function(e) out:send { late = e.id } end)
    w:on_close(function(r) out:send(r) end)
  ]]

  it("is read as it is added to, and told of when event time has passed its end", function()
    local out = run(spend, {
      '{"id":1,"k":"a","x":1,"t":1700000000}',
      '{"id":2,"k":"a","x":2,"t":1700000009}',
      '{"id":3,"k":"a","x":4,"t":1700000011}',
      '{"id":4,"k":"a","x":8,"t":1700000008}',
      '{"id":5,"k":"b","x":1,"t":1700000015}',
      '{"id":6,"k":"a","x":1,"t":1700000004}',
    })
    assert.same({
      { id = 1, n = 1, total = 1, start = 1700000000 },
      { id = 2, n = 2, total = 3, start = 1700000000 },
      { id = 3, n = 1, total = 4, start = 1700000010 },
      { id = 4, n = 3, total = 11, start = 1700000000 },
      { key = "a", n = 3, total = 11, start = 1700000000, finish = 1700000010 },
      { id = 5, n = 1, total = 1, start = 1700000010 },
      { late = 6 },
      { key = "a", n = 1, total = 4, start = 1700000010, finish = 1700000020 },
      { key = "b", n = 1, total = 1, start = 1700000010, finish = 1700000020 },
    }, out)
  end)

  it("says in dead letters what it cannot add", function()
    local out, dead = run(spend, {
      '{"id":1,"k":"a","x":"1","t":1700000000}',
      '{"id":2,"x":1,"t":1700000000}',
      '{"id":3,"k":{},"x":1,"t":1700000000}',
      '{"id":4,"k":"' .. ("k"):rep(401) .. '","x":1,"t":1700000000}',
      '{"id":5,"k":"a","t":1700000000}',
    })
    assert.same({ id = 5, n = 1, total = 0, start = 1700000000 }, out[1])
    for i, why in ipairs {
      "window 'w': 'x' is no number",
      "window 'w': the key 'k' is missing",
      "window 'w': the key 'k' is an object or a list; keys are plain values",
      "window 'w': the key 'k' is longer than 400 bytes",
    } do
      assert(dead[i].error:find(why, 1, true), dead[i].error)
      assert.equal(i, dead[i].event.id)
    end
  end)

  it("keeps the same key for equal values, and its parts apart", function()
    local out = run(head ', time = "t"' .. [[
      local w = mw.window("w", { by = { "a", "b.c" }, span = "10s", keep = { n = mw.count() } })
      mw.rule("r", { from = input }, function(e) w:add(e) end)
      w:on_close(function(r) out:send(r) end)
    ]], {
      '{"a":1,"b":{"c":"x"},"t":1}',
      '{"a":1.0,"b":{"c":"\\u0078"},"t":1}',
      '{"a":"1","b":{"c":"x"},"t":1}',
      '{"a":true,"b":{"c":12345678901234567890},"t":1}',
    })
    table.sort(out, function(x, y) return x.n > y.n end)
    assert.equal(3, #out)
    assert.same({ 1, "x" }, out[1].key)
    assert.equal(2, out[1].n)
  end)

  it("works on changed events and on tables", function()
    local out = run(head ', time = "t"' .. [[
      local w = mw.window("w", { by = "k", span = "1h", keep = { n = mw.count(), total = mw.sum("x"), last = mw.last("y") } })
      mw.rule("r", { from = input }, function(e)
        e.x = e.x * 10
        w:add(e)
        w:add { k = "a", x = 1, y = { 1 } }
        local r = w:get "a"
        out:send { total = r.total, n = r.n, last = r.last, none = w:get "nobody" == nil }
      end)
    ]], { '{"k":"a","x":2,"y":"z","t":1}' })
    assert.same({ { total = 21, n = 2, last = { 1 }, none = true } }, out)
  end)

  it("of several spans shares its key", function()
    local out = run(head ', time = "t"' .. [[
      local w = mw.window("w", { by = "k", span = { "1m", "1h" }, keep = { n = mw.count() } })
      mw.rule("r", { from = input, by = "k" }, function(e)
        local r = w:add(e)
        out:send { m = r["1m"].n, h = r["1h"].n }
      end)
      w:on_close(function(r) out:send(r) end)
    ]], { '{"k":"a","t":10}', '{"k":"a","t":70}', '{"k":"a","t":80}' })
    assert.same({ m = 2, h = 3 }, out[4])
    assert.same({ key = "a", span = "1m", n = 1, start = 0, finish = 60 }, out[2])
    assert.same({ key = "a", span = "1h", n = 3, start = 0, finish = 3600 }, out[6])
  end)

  it("that fails when it closes leaves a dead letter with its result", function()
    local out, dead = run(head ', time = "t"' .. [[
      local w = mw.window("w", { by = "k", span = "10s", keep = { n = mw.count() } })
      mw.rule("r", { from = input, by = "k" }, function(e) w:add(e) end)
      w:on_close(function(r) out:send(r) if r.key == "b" then error("no b") end end)
    ]], { '{"k":"a","t":1}', '{"k":"b","t":2}' })
    assert.equal(1, #out)
    assert.equal("w.on_close", dead[1].name)
    assert(dead[1].error:find("no b", 1, true))
    assert.same({ key = "b", n = 1, start = 0, finish = 10 }, dead[1].event)
  end)

  it("is checked where it is declared", function()
    for options, why in pairs {
      ['{ by = "k", keep = { n = mw.count() } }'] = "the option 'span' is missing (or 'gap', for sessions)",
      ['{ by = "k", span = "1s" }'] = "'keep' is a table of names and aggregates",
      ['{ by = "k", span = "1s", keep = { n = 1 } }'] = "in 'keep', 'n' is no aggregate",
      ['{ by = "k", span = "1s", keep = { key = mw.count() } }'] = "'key' is a name that every result has",
      ['{ by = "k", span = "1s", slide = "300ms", keep = { n = mw.count() } }'] = "'span' must be a multiple of 'slide'",
      ['{ by = "k", span = "1s", gap = "1s", keep = { n = mw.count() } }'] = "a session has a 'gap', and no 'span'",
      ['{ by = "k", spam = "1s", keep = { n = mw.count() } }'] = "there is no option 'spam'; did you mean 'span'?",
      ['{ by = "k", span = "1s", keep = { n = mw.quantile("x", 2) } }'] = "mw.quantile: the share is a number from 0 to 1",
    } do
      local folder = s.folder()
      local code, out, err =
        s.moonweir("check", folder, head() .. 'mw.window("w", ' .. options .. ")")
      assert.equal(2, code)
      assert((out .. err):find(why, 1, true), out .. err)
      assert((out .. err):find("flow.lua:4", 1, true), out .. err)
    end
  end)
end)

describe("keys of other shards", function()
  after_each(s.clean)

  it("are reached from any rule, with exact results", function()
    local lines = {}
    for i = 1, 4000 do
      lines[i] = ('{"id":%d,"card":"c%d","shop":"s%d","x":%d,"t":%.3f}'):format(
        i,
        math.random(50),
        math.random(20),
        math.random(9),
        i / 1000
      )
    end
    for shards = 1, 3 do
      local out, dead = run(head ', time = "t", block = "4KiB"' .. [[
        local card = mw.window("card", { by = "card", span = "1h", keep = { n = mw.count() } })
        local shop = mw.window("shop", { by = "shop", span = "1h", keep = { n = mw.count(), total = mw.sum("x"), cards = mw.distinct("card"), last = mw.last("id") } })
        local all = mw.state("all")
        mw.rule("r", { from = input, by = "card" }, function(e)
          local c, s = card:add(e), shop:add(e)
          local n = all:increment("all", "n", 1)
          all:put("last" .. e.shop, "id", { e.id })
          out:send { id = e.id, card = e.card, shop = e.shop, c = c.n, s = s.n, n = n, last = s.last, mine = shop:get(e.shop).n >= s.n }
        end)
        shop:on_close(function(w) out:send { closed = w } end)
      ]], lines, shards)
      assert.equal(0, #dead, dead[1] and dead[1].error)
      local seen, cards, last, closed, total = {}, {}, {}, 0, 0
      for _, e in ipairs(out) do
        if e.closed then
          closed, total = closed + 1, total + e.closed.n
        else
          assert.is_nil(seen[e.n], "a count came twice")
          seen[e.n] = true
          cards[e.card] = (cards[e.card] or 0) + 1
          assert.equal(cards[e.card], e.c)
          assert((last[e.card] or 0) < e.id, "order of " .. e.card)
          last[e.card] = e.id
          assert(e.mine)
        end
      end
      assert.equal(4000, #seen)
      assert.equal(4000, total)
      assert.equal(20, closed)
    end
  end)
end)

describe("states and timers by keys of other shards", function()
  after_each(s.clean)

  it("do everything in one step each", function()
    local lines = {}
    for i = 1, 3000 do
      lines[i] = ('{"id":%d,"card":"c%d","shop":"s\\"%d","t":%.3f}'):format(
        i,
        math.random(30),
        math.random(20),
        i / 1000
      )
    end
    lines[3001] = '{"id":3001,"card":"c1","shop":"s","t":100}'
    for shards = 1, 3, 2 do
      local out, dead = run(head ', time = "t", block = "4KiB"' .. [[
        local st, sets, short, times = mw.state "st", mw.state "sets", mw.state "short", mw.state "times"
        local soon = mw.timer("soon", function(key, data) out:send { fired = key, data = data, at = mw.now() } end)
        local never = mw.timer("never", function(key) out:send { never = key } end)
        mw.rule("r", { from = input, by = "card" }, function(e)
          if e.shop == "s" then return end
          local first = st:compare_and_set(e.shop, "by", nil, e.id)
          local second = not first and st:compare_and_set(e.shop, "by", -1, e.id, { ttl = "1ms" })
          if second == false and not st:get(e.shop, "by") then error("what was not done took the record's time") end
          local list = st:push(e.shop, "last", { e.id, "x\"y" }, 3)
          local all = st:push({ e.shop, "all" }, "ids", e.id)
          sets:set("s" .. e.id, { id = e.id, text = "a\"b\n", list = { 1, "z" }, null = mw.null })
          local set = sets:get("s" .. e.id)
          sets:set("s" .. e.id, {})
          local empty, gone = sets:get("s" .. e.id), sets:delete("s" .. e.id)
          short:put("t" .. e.id, "id", e.id, { ttl = "10s" })
          if first then soon:set(e.shop, "5s", { id = e.id }) never:at(e.shop, 90) end
          local cancelled = not first and never:cancel(e.shop)
          out:send { id = e.id, card = e.card, shop = e.shop, first = first, second = second, list = list, n = #all, set = set,
            empty = empty ~= nil and next(empty) == nil, gone = gone, cancelled = cancelled, lives = short:get("t" .. (e.id - 1), "id") }
        end)
        mw.rule("end", { from = input, when = { shop = "s" }, by = "card" }, function(e)
          local left = 0
          for i = 1, 3000 do if short:get("t" .. i) then left = left + 1 end end
          out:send { left = left }
        end)
      ]], lines, shards)
      assert.equal(0, #dead, dead[1] and dead[1].error)
      local firsts, lists, fired, cancelled, most, ends = {}, {}, {}, {}, {}, 0
      for _, e in ipairs(out) do
        if e.fired then
          assert.is_nil(fired[e.fired])
          fired[e.fired] = e
        elseif e.left then
          ends = ends + 1
          assert.equal(0, e.left, "records live for ten seconds")
        elseif e.id then
          if e.first then
            assert.is_nil(firsts[e.shop], "two were first")
            firsts[e.shop] = e.id
          end
          assert.is_false(e.second or false)
          assert.equal(e.id, e.list[#e.list][1])
          assert.equal('x"y', e.list[#e.list][2])
          assert(#e.list <= 3)
          lists[e.shop] = (lists[e.shop] or 0) + 1
          most[e.shop] = math.max(most[e.shop] or 0, e.n)
          assert.same({ id = e.id, text = 'a"b\n', list = { 1, "z" }, null = s.json.null }, e.set)
          assert.is_true(e.empty)
          assert.is_true(e.gone)
          if e.cancelled then
            assert.is_nil(cancelled[e.shop], "a timer was cancelled twice")
            cancelled[e.shop] = true
          end
        else
          error("a timer that was cancelled fired: " .. e.never)
        end
      end
      assert.equal(1, ends)
      for shop, id in pairs(firsts) do
        assert.equal(id, fired[shop].data.id)
        assert.equal(lists[shop], most[shop], "a value of a list was lost")
        assert.is_true(cancelled[shop])
      end
      assert.equal(20, (function() local n = 0 for _ in pairs(firsts) do n = n + 1 end return n end)())
    end
  end)
end)

describe("a rule whose key is a function, and a state's key of another shard", function()
  after_each(s.clean)

  it("keeps the order of its key while it waits; what must be read first is refused", function()
    local lines = {}
    for i = 1, 3000 do
      lines[i] = ('{"id":%d,"card":"c%d","shop":"s%d"}'):format(i, math.random(30), math.random(20))
    end
    local out, dead = run(
      head ', block = "4KiB"'
        .. [[
        local st = mw.state "st"
        mw.rule("r", { from = input, by = function(e) return e.card end }, function(e)
          local n = st:increment(e.shop, "n", 1)
          local here, ok, why = st:is_here(e.shop), pcall(function() return st:want_here(e.shop) end)
          if not here and (ok or not tostring(why):find "another shard") then error("it was done: " .. tostring(why)) end
          out:send { id = e.id, card = e.card, shop = e.shop, n = n }
        end)
      ]],
      lines,
      3
    )
    assert.equal(0, #dead, dead[1] and dead[1].error)
    local last, count = {}, {}
    for _, e in ipairs(out) do
      assert((last[e.card] or 0) < e.id, "order of " .. e.card)
      last[e.card] = e.id
      count[e.shop .. "/" .. e.n] = (count[e.shop .. "/" .. e.n] or 0) + 1
      assert.equal(1, count[e.shop .. "/" .. e.n])
    end
    assert.equal(3000, #out)
  end)
end)

describe("a state", function()
  after_each(s.clean)

  it("keeps records, counts, lists, and what is compared before it is set", function()
    local out = run(head() .. [[
      local st = mw.state "st"
      mw.rule("r", { from = input }, function(e)
        local none = st:get "a"
        st:set("a", { n = 1, text = "x", yes = true, list = { 1, 2 }, big = 12345678901234567890ULL and e.big, null = mw.null })
        local a = st:get "a"
        local n = st:increment("a", "n", 2.5)
        st:put("a", "text", nil)
        for i = 1, 5 do st:push("a", "last", i, 3) end
        local yes, no = st:compare_and_set("a", "n", 3.5, "new"), st:compare_and_set("a", "n", 3.5, "other")
        local keys = {}
        st:increment("b", "n")
        for key, record in st:each() do keys[#keys + 1] = key .. tostring(record.n) end
        table.sort(keys)
        out:send { none = none == nil, a = a, n = n, text = st:get("a", "text") == nil, last = st:get("a", "last"), yes = yes, no = no,
          now = st:get("a", "n"), keys = keys, gone = st:delete "b", again = st:delete "b" }
      end)
    ]], { '{"big":12345678901234567890}' })
    local e = out[1]
    assert.same(
      {
        n = 1,
        text = "x",
        yes = true,
        list = { 1, 2 },
        big = 12345678901234567890,
        null = s.json.null,
      },
      e.a
    )
    assert.same(
      { true, 3.5, true, true, false, "new", true, false },
      { e.none, e.n, e.text, e.yes, e.no, e.now, e.gone, e.again }
    )
    assert.same({ 3, 4, 5 }, e.last)
    assert.same({ "anew", "b1" }, e.keys)
  end)

  it("forgets records whose time to live is over", function()
    local code, out = test [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local sink = mw.sink.discard("sink")
      local st = mw.state("st", { ttl = "10s" })
      mw.rule("r", { from = input, by = "k" }, function(e) sink:send { n = st:increment(e.k, "n", 1) } end)
      mw.test("ttl", function(t)
        t:push(input, { k = "a" })
        t:advance "9s"
        t:push(input, { k = "a" })
        t:advance "11s"
        t:push(input, { k = "a" })
        t:expect(sink, { { n = 1 }, { n = 2 }, { n = 1 } })
      end)
    ]]
    assert.equal(0, code, out)
  end)
end)

describe("timers", function()
  after_each(s.clean)

  it("fire when their time has come, once, where they were set last", function()
    local code, out = test [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local sink = mw.sink.discard("sink")
      local idle = mw.timer("idle", function(key, data) sink:send { key = key, data = data, at = mw.now() } end)
      local clock = mw.timer("clock", function(key) sink:send { clock = key } end, { time = "clock" })
      mw.every("beat", "1m", function(now) sink:send { beat = now } end)
      mw.rule("r", { from = input, by = "k" }, function(e)
        if e.stop then return idle:cancel(e.k) end
        idle:set(e.k, "30s", { n = e.n })
        if e.k == "c" then clock:at("x", 1700000100) end
      end)
      mw.test("timers", function(t)
        t:push(input, { k = "a", n = 1 })
        t:push(input, { k = "b", n = 2 })
        t:advance "20s"
        t:push(input, { k = "a", n = 3 })
        t:push(input, { k = "b", stop = true })
        t:advance "29s"
        t:expect(sink, 0)
        t:advance "2s"
        t:expect(sink, { { key = "a", data = { n = 3 }, at = 1700000050 } })
        t:push(input, { k = "c" })
        t:advance "60s"
        t:expect(sink, { { key = "a" }, { key = "c", at = 1700000081 }, { clock = "x" } }, { any_order = true })
      end)
    ]]
    assert.equal(0, code, out)
  end)

  it("that were due while the router was down fire when it starts", function()
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      local later = mw.timer("later", function(key, data) out:send { key = key, data = data } end, { time = "clock" })
      local beats = 0
      mw.every("beat", "50ms", function() out:send { beat = true } end)
      mw.rule("r", { from = input, by = "k" }, function(e) later:set(e.k, "600ms", e.n) out:send { set = e.k } end)
    ]]
    s.write(folder .. "/in.ndjson", '{"k":"a","n":7}\n')
    local p = s.router(folder, flow)
    s.eventually(function() return s.read(folder .. "/out.ndjson"):find "set" end)
    p:kill()
    assert.equal(0, p:wait())
    s.sleep(0.7)
    assert.is_nil(s.read(folder .. "/out.ndjson"):find '"key"')
    p = s.router(folder, flow)
    s.eventually(
      function() return s.read(folder .. "/out.ndjson"):find('{"data":7,"key":"a"}', 1, true) end
    )
    s.eventually(
      function() return select(2, s.read(folder .. "/out.ndjson"):gsub("beat", "")) > 5 end
    )
    p:kill()
    assert.equal(0, p:wait())
  end)
end)

describe("a reload", function()
  after_each(s.clean)

  it("keeps what is declared as it was, begins anew what is not, and says so", function()
    local folder = s.folder()
    local function flow(span, send)
      return [[
        local mw = require "moonweir"
        local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        local st = mw.state("st")
        local a = mw.window("a", { by = "k", span = "1h", keep = { n = mw.count() } })
        local b = mw.window("b", { by = "k", span = "]] .. span .. [[", keep = { n = mw.count() } })
        mw.rule("r", { from = input, by = "k" }, function(e)
          ]] .. send .. [[:send { version = "]] .. span .. [[", st = st:increment(e.k, "n"), a = a:add(e).n, b = b:add(e).n }
        end)
      ]]
    end
    s.write(folder .. "/in.ndjson", '{"k":"x","t":1}\n{"k":"x","t":2}\n')
    local p = s.router(
      folder,
      flow("1h", "out"),
      { "--state", "state", "--shards", "2", "--admin", "127.0.0.1:0" }
    )
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 2 end)
    s.write(folder .. "/flow.lua", flow("2h", "out"))
    local host, port = p:address "admin"
    s.eventually(function() return p:stderr():find "is live" end)
    local c = s.connect(host, port)
    local _, body = s.request(c, "GET", "/status")
    c:close()
    local report = s.json.decode(body).last_reload
    assert.same(
      { "state st", "window a" },
      (function(list)
        table.sort(list)
        return list
      end)(report.states.kept)
    )
    assert.same({ "window b" }, report.states.reset)
    s.append(folder .. "/in.ndjson", '{"k":"x","t":3}\n')
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 3 end)
    local out = s.events(folder .. "/out.ndjson")
    assert.same({ version = "1h", st = 2, a = 2, b = 2 }, out[2])
    assert.same({ version = "2h", st = 3, a = 3, b = 1 }, out[3])
    p:kill()
    assert.equal(0, p:wait())
    p = s.router(folder, flow("2h", "out"))
    s.append(folder .. "/in.ndjson", '{"k":"x","t":4}\n')
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 4 end)
    assert.same({ version = "2h", st = 4, a = 4, b = 2 }, s.events(folder .. "/out.ndjson")[4])
    p:kill()
    assert.equal(0, p:wait())
  end)
end)
