-- Patterns, joins, tables, and the modules that flows may require.
local s = require "support"

local function test(flow, files)
  local folder = s.folder()
  for name, text in pairs(files or {}) do
    s.write(folder .. "/" .. name, text)
  end
  local code, out, err = s.moonweir("test", folder, flow)
  return code, out .. err
end

local HEAD = [[
  local mw = require "moonweir"
  local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
  local other = mw.source.http("other", { listen = "127.0.0.1:0", path = "/other" })
  local out = mw.sink.discard("out")
]]

local function passes(flow, files)
  local code, text = test(HEAD .. flow, files)
  assert.equal(0, code, text)
  assert(text:find "passed, 0 failed", text)
end

describe("a complete example", function()
  after_each(s.clean)
  for _, name in ipairs { "fraud", "personalization", "telemetry" } do
    it(name .. " passes its fixtures and is checked without complaint", function()
      local folder = s.root .. "/examples/" .. name
      local code, out, err = s.run({ s.program, "test", "flow.lua" }, { cwd = folder })
      assert.equal(0, code, out .. err)
      code, out, err = s.run({ s.program, "check", "flow.lua" }, { cwd = folder })
      assert.equal(0, code, out .. err)
      assert.equal("", err)
    end)
  end
end)

describe("a sequence", function()
  after_each(s.clean)
  it(
    "is one event, then another, within a time and without a third",
    function()
      passes [[
      local function is(kind) return function(e) return e.type == kind end end
      local seq = mw.sequence("seq", { by = "user", steps = { is "a", is "b", is "c" }, within = "1m", without = is "x" })
      mw.rule("r", { from = input, by = "user" }, function(e)
        local found = seq:add(e)
        if found then out:send { user = e.user, ids = { found[1].id, found[2].id, found[3].id } } end
      end)
      local function push(t, kind, id, user) t:push(input, { type = kind, id = id, user = user or "u" }) end
      mw.test("found", function(t)
        push(t, "a", 1) push(t, "b", 2) push(t, "z", 3) push(t, "a", 4, "v") push(t, "c", 5)
        t:expect(out, { { user = "u", ids = { 1, 2, 5 } } })
        push(t, "c", 6)
        t:expect(out, 1)
      end)
      mw.test("the latest first step counts", function(t)
        push(t, "a", 1) push(t, "a", 2) push(t, "b", 3) push(t, "c", 4)
        t:expect(out, { { ids = { 2, 3, 4 } } })
      end)
      mw.test("too late", function(t)
        push(t, "a", 1) push(t, "b", 2)
        t:advance "61s"
        push(t, "c", 3)
        t:expect(out, 0)
      end)
      mw.test("broken", function(t)
        push(t, "a", 1) push(t, "b", 2) push(t, "x", 3) push(t, "c", 4)
        t:expect(out, 0)
      end)
    ]]
    end
  )
end)

describe("a join", function()
  after_each(s.clean)
  it(
    "finds each pair of two streams once, within a time",
    function()
      passes [[
      local j = mw.join("j", { by = "k", within = "10s" })
      mw.rule("l", { from = input, by = "k" }, function(e)
        for _, o in ipairs(j:left(e)) do out:send { l = e.id, r = o.id } end
      end)
      mw.rule("r", { from = other, by = "k" }, function(e)
        for _, o in ipairs(j:right(e)) do out:send { l = o.id, r = e.id } end
      end)
      mw.test("pairs", function(t)
        t:push(input, { k = "a", id = 1 })
        t:push(other, { k = "b", id = 2 })
        t:push(other, { k = "a", id = 3 })
        t:advance "6s"
        t:push(input, { k = "a", id = 4 })
        t:advance "6s"
        t:push(other, { k = "a", id = 5 })
        t:expect(out, { { l = 1, r = 3 }, { l = 4, r = 3 }, { l = 4, r = 5 } })
      end)
    ]]
    end
  )
end)

describe("a table", function()
  after_each(s.clean)

  it(
    "is looked up by a field of a csv or ndjson file",
    function()
      passes(
        [[
      local a = mw.table("a", { file = "a.csv", key = "id" })
      local b = mw.table("b", { file = "b.ndjson", key = "n" })
      mw.rule("r", { from = input }, function(e)
        local row = a:get(e.id)
        local ok, why = pcall(function() row.name = "x" end)
        out:send { name = row.name, n = b:get(2).list[1], none = a:get "x" == nil, count = a:count(), closed = not ok, row = row }
      end)
      mw.test("t", function(t)
        t:push(input, { id = "7" })
        t:expect(out, { { name = "seven, \"7\"", n = "x", none = true, count = 2, closed = true, row = { id = "7", name = "seven, \"7\"" } } })
      end)
    ]],
        {
          ["a.csv"] = 'id,name\n7,"seven, ""7"""\n8,eight\n',
          ["b.ndjson"] = '{"n":1}\n{"n":2,"list":["x"]}\n',
        }
      )
    end
  )

  it("says where its file is wrong", function()
    for text, why in pairs {
      ['mw.table("a", { file = "none.csv", key = "id" })'] = "table 'a': ",
      ['mw.table("a", { file = "b.ndjson", key = "id" })'] = "table 'a': b.ndjson:2: not valid JSON",
      ['mw.table("a", { file = "c.csv", key = "id" })'] = "table 'a': c.csv:3: there is no 'id'",
    } do
      local code, out =
        test(HEAD .. text, { ["b.ndjson"] = '{"id":1}\n{"id"\n', ["c.csv"] = "id,x\n1,2\n" })
      if text:find "c.csv" then
        code, out = test(HEAD .. text:gsub('"id"', '"nothing"'), { ["c.csv"] = "id,x\n1,2\n" })
        why = "table 'a': c.csv:2: there is no 'nothing'"
      end
      assert.equal(2, code, out)
      assert(out:find(why, 1, true), out)
    end
  end)

  it("is read again when its file changes", function()
    local folder = s.folder()
    s.write(folder .. "/t.csv", "id,v\n1,old\n")
    s.write(folder .. "/in.ndjson", '{"id":"1"}\n')
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      local t = mw.table("t", { file = "t.csv", key = "id" })
      mw.rule("r", { from = input }, function(e) out:send { v = t:get(e.id).v } end)
    ]]
    )
    s.eventually(function() return s.read(folder .. "/out.ndjson"):find "old" end)
    s.write(folder .. "/t.csv", "id,v\n1,new\n")
    s.eventually(function() return p:stderr():find "is live" end)
    s.append(folder .. "/in.ndjson", '{"id":"1"}\n')
    s.eventually(function() return s.read(folder .. "/out.ndjson"):find "new" end)
    p:kill()
    assert.equal(0, p:wait())
  end)
end)

describe("the module", function()
  after_each(s.clean)

  it(
    "geo knows distances and geohashes",
    function()
      passes [[
      local geo = require "moonweir.geo"
      mw.rule("r", { from = input }, function(e)
        out:send { km = math.floor(geo.distance(48.8566, 2.3522, 51.5074, -0.1278) + 0.5), hash = geo.hash(57.64911, 10.40744, 11), same = geo.distance(1, 2, 1, 2) }
      end)
      mw.test("t", function(t)
        t:push(input, {})
        t:expect(out, { { km = 344, hash = "u4pruydqqvj", same = 0 } })
      end)
    ]]
    end
  )

  it(
    "limits has token buckets and stable samples",
    function()
      passes [[
      local limits = require "moonweir.limits"
      local tokens = limits.bucket("tokens", { rate = 2, burst = 3 })
      mw.rule("r", { from = input, by = "k" }, function(e)
        local n, again = 0, true
        for i = 1, 10000 do if limits.sample("user" .. i, 0.1) then n = n + 1 end end
        out:send { took = tokens:take(e.k), share = n > 850 and n < 1150, same = limits.sample("x", 0.5) == limits.sample("x", 0.5) }
      end)
      mw.test("t", function(t)
        for i = 1, 4 do t:push(input, { k = "a" }) end
        t:expect(out, { { took = true, share = true, same = true }, { took = true }, { took = true }, { took = false } })
        t:advance "500ms"
        t:push(input, { k = "a" })
        t:push(input, { k = "a" })
        t:expect(out, { {}, {}, {}, {}, { took = true }, { took = false } })
      end)
    ]]
    end
  )

  it(
    "privacy masks cards, addresses and names",
    function()
      passes [[
      local privacy = require "moonweir.privacy"
      mw.rule("r", { from = input }, function(e)
        privacy.apply(e, { card = privacy.card, email = privacy.email, ip = privacy.ip, none = privacy.tail })
        out:send(e)
      end)
      mw.test("t", function(t)
        t:push(input, { card = "4242 4242-4242 4242", email = "jane@example.org", ip = "10.1.2.3" })
        t:push(input, { card = 12, email = "nobody", ip = "2001:db8:1:2::3" })
        t:expect(out, { { card = "************4242", email = "j***@example.org", ip = "10.1.2.0" }, { card = "**", email = "***", ip = "2001:db8:1::" } })
      end)
    ]]
    end
  )

  it(
    "privacy gives pseudonyms that only the key explains",
    function()
      passes [[
      local privacy = require "moonweir.privacy"
      local pseudonym = privacy.pseudonyms "0123456789abcdef-secret"
      mw.rule("r", { from = input }, function(e)
        privacy.apply(e, { user = pseudonym, n = pseudonym })
        out:send(e, { plain = mw.digest "abc", keyed = mw.digest("what do ya want for nothing?", "Jefe") })
      end)
      mw.test("t", function(t)
        t:push(input, { user = "jane", n = 12 })
        t:push(input, { user = "jane", n = 13 })
        local sent = t:sent(out)
        assert(sent[1].user == sent[2].user and sent[1].n ~= sent[2].n and #sent[1].user == 32)
        assert(sent[1].plain == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        assert(sent[1].keyed == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        assert(not pcall(privacy.pseudonyms, "short"))
      end)
    ]]
    end
  )

  it(
    "enrich adds what a table knows",
    function()
      passes(
        [[
      local enrich = require "moonweir.enrich"
      local merchants = mw.table("merchants", { file = "m.csv", key = "id" })
      local add = enrich.from(merchants, "merchant", { country = "country", risk = "class" }, { class = "9" })
      mw.rule("r", { from = input }, function(e)
        local row = add(e)
        out:send(e, { found = row ~= nil and row.id ~= nil })
      end)
      mw.test("t", function(t)
        t:push(input, { merchant = "m1" })
        t:push(input, { merchant = "m2" })
        t:push(input, { none = 1 })
        t:expect(out, { { merchant = "m1", country = "FR", risk = "3", found = true }, { merchant = "m2", risk = "9", found = false }, { none = 1, found = false } })
      end)
    ]],
        { ["m.csv"] = "id,country,class\nm1,FR,3\n" }
      )
    end
  )

  it(
    "a table is kept up to date by a source, and by Redis",
    function()
      passes [[
      local rates = mw.table("rates", { source = other, key = "currency" })
      local people = mw.table("people", { url = "redis://127.0.0.1", on_failure = "default" })
      mw.rule("r", { from = input }, function(e)
        local rate = rates:get(e.currency)
        out:send { eur = rate and e.amount * rate.rate, nobody = people:get(e.currency) == nil }
      end)
      mw.test("t", function(t)
        t:push(input, { currency = "USD", amount = 10 })
        t:push(other, { currency = "USD", rate = 0.5 })
        t:push(input, { currency = "USD", amount = 10 })
        t:push(other, { currency = "USD", rate = 0.25 })
        t:push(input, { currency = "USD", amount = 10 })
        t:push(other, { rate = 1 })
        t:expect(out, { { nobody = true }, { eur = 5 }, { eur = 2.5 } })
        t:expect_dead(1, "the row has no 'currency'")
      end)
    ]]
    end
  )

  it(
    "alerts says a thing once",
    function()
      passes [[
      local alerts = require "moonweir.alerts"
      local once = alerts.once("once", { within = "10s" })
      mw.rule("r", { from = input, by = "k" }, function(e) out:send { first = once:first(e.k) } end)
      mw.test("t", function(t)
        t:push(input, { k = "a" })
        t:push(input, { k = "a" })
        t:advance "11s"
        t:push(input, { k = "a" })
        t:expect(out, { { first = true }, { first = false }, { first = true } })
      end)
    ]]
    end
  )

  it("decisions finds the first row that matches, as a look at every row would", function()
    local seed = os.time()
    math.randomseed(seed)
    local lines, rows = { "a,b,n,=>out" }, {}
    local function pick(list) return list[math.random(#list)] end
    for i = 1, 600 do
      local r = {
        a = pick { "", "*", "x", "y", "z|x", "w" },
        b = pick { "", "1", "2|3", "true", "!=1" },
        n = pick { "", ">5", "<=3", "2..7", "4", ">=9" },
      }
      rows[i] = r
      lines[#lines + 1] = ("%s,%s,%s,o%d"):format(r.a, r.b, r.n, i)
    end
    local function holds(cell, v)
      if cell == "" or cell == "*" then return true end
      local n = tonumber(v)
      if cell == ">5" then return n and n > 5 end
      if cell == "<=3" then return n and n <= 3 end
      if cell == ">=9" then return n and n >= 9 end
      if cell == "2..7" then return n and n >= 2 and n <= 7 end
      if cell == "!=1" then return v ~= 1 end
      for part in (cell .. "|"):gmatch "(.-)|" do
        if part == tostring(v) then return true end
      end
      return false
    end
    local pushes = {}
    for i = 1, 300 do
      local e =
        { a = pick { "x", "y", "z", "w", "q" }, b = pick { 1, 2, 3, 9 }, n = math.random(0, 12) }
      local want = "none"
      for k, r in ipairs(rows) do
        if holds(r.a, e.a) and holds(r.b, e.b) and holds(r.n, e.n) then
          want = "o" .. k
          break
        end
      end
      pushes[i] = ('t:push(input, { a = "%s", b = %d, n = %d, want = "%s" })'):format(
        e.a,
        e.b,
        e.n,
        want
      )
    end
    passes([[
      local policy = require("moonweir.decisions").table "policy.csv"
      mw.rule("r", { from = input }, function(e)
        local o = policy:decide(e)
        local got = o and o.out or "none"
        if got ~= e.want then error(got .. " instead of " .. e.want .. " (seed ]] .. seed .. [[)") end
      end)
      mw.test("t", function(t)
        ]] .. table.concat(pushes, "\n") .. [[
        t:expect_dead(0)
      end)
    ]], { ["policy.csv"] = table.concat(lines, "\n") .. "\n" })
  end)

  it("decisions says which line of its table is wrong", function()
    for csv, why in pairs {
      ["a,=>o\n>x,1\n"] = "policy.csv:2: column 'a': 'x' is no number",
      ["a,o\n1,1\n"] = "policy.csv:1: no column is an outcome",
    } do
      local code, out =
        test(HEAD .. 'require("moonweir.decisions").table "policy.csv"', { ["policy.csv"] = csv })
      assert.equal(2, code, out)
      assert(out:find(why, 1, true), out)
    end
  end)
end)
