--- mw.audit: a record of every decision, from which it can be proved again.
local s = require "support"

local HEAD = [[
local mw = require "moonweir"
local payments = mw.source.file("payments", { path = "in.ndjson" })
local review = mw.sink.file("review", { path = "review.ndjson" })
local log = mw.sink.file("log", { path = "audit.ndjson" })
]]

local RULES = [[
local seen = mw.state("seen")
local merchant = mw.window("merchant", { by = "merchant", span = "10m", keep = { count = mw.count() } })
local model = mw.model("risk", { file = "risk.json" })
local odd = mw.detector("odd", { by = "card", value = "amount", kind = "ewma", warm = 5 })
local passed = mw.channel "passed"
mw.audit("decisions", { to = log, rules = { "score" } })
mw.rule("score", { from = payments, by = "card" }, function(e)
  if e.n == 13 then error "unlucky" end
  local n = merchant:add(e).count
  local before = seen:get(e.card, "count") or 0
  seen:put(e.card, "count", before + 1)
  local risk = model:score(e, { recent_count = before })
  local a = odd:score(e).anomaly
  e.amount = -1
  if risk > 0.5 then review:send(e, { risk = risk, n_merchant = n, a = a }) elseif e.n % 2 == 0 then passed:send(e) end
end)
mw.rule("rest", { from = passed }, function(e)
  seen:get(e.card, "count")
  review:send { n = e.n }
end)
]]

local function events(count)
  local lines = {}
  for n = 1, count do
    lines[n] = ('{"n":%d,"card":"c%d","merchant":"m%d","amount":%d.50,"big":12345678901234567890,"channel":"%s","device":{"age_days":%d}}'):format(
      n,
      n % 7,
      n % 3,
      n * 37 % 900,
      n % 2 == 0 and "web" or "app",
      n * 11 % 300
    )
  end
  return lines
end

local function by_number(path)
  local list = {}
  for _, record in ipairs(s.events(path)) do
    list[record.event.n] = record
  end
  return list
end

describe("mw.audit", function()
  after_each(s.clean)

  for _, shards in ipairs { "1", "2" } do -- on two, rules wait for the merchant's shard
    it("writes what each decision was about, what the rule read, and what it decided, on " .. shards .. " shards", function()
      local folder, lines = s.folder(), events(60)
      s.write(folder .. "/risk.json", s.read(s.root .. "/examples/scoring/card-risk.json"))
      s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
      local code, _, err = s.moonweir("run", folder, HEAD .. RULES, { "--once", "--quiet", "--shards", shards, "--state", "state" })
      assert.equal(0, code, err)
      local records, reviewed = by_number(folder .. "/audit.ndjson"), {}
      for _, e in ipairs(s.events(folder .. "/review.ndjson")) do
        if e.risk then reviewed[e.n] = e end
      end
      local letters = s.events(folder .. "/state/dead-letters.ndjson")
      assert.equal(1, #letters)
      assert.is_nil(records[13]) -- it was not decided
      local counts, sent = {}, 0
      for n = 1, 60 do
        local card = "c" .. n % 7
        if n ~= 13 then
          local record = records[n]
          assert.equal("score", record.rule)
          assert.equal("payments", record.source)
          assert.matches("^%d+%-%d%d%-%d%dT", record.time)
          assert.equal("m" .. n % 3, record.event.merchant)
          assert.equal(n * 37 % 900 + 0.5, record.event.amount) -- as it came
          local kinds = {}
          for i, read in ipairs(record.read) do
            kinds[i] = read.kind .. "/" .. read.name
          end
          assert.same({ "window/merchant", "state/seen", "model/risk", "detector/odd" }, kinds)
          assert.equal(counts[card], record.read[2].says)
          counts[card] = (counts[card] or 0) + 1
          assert.matches("^%x+$", record.read[3].version)
          local risk = record.read[3].says
          if risk > 0.5 then
            sent = sent + 1
            assert.equal(1, #record.decided)
            assert.equal("review", record.decided[1].sink)
            assert.same(reviewed[n], record.decided[1].event)
            assert.equal(record.read[1].says.count, record.decided[1].event.n_merchant)
          elseif n % 2 == 0 then
            assert.equal("passed", record.decided[1].channel)
          else
            assert.same({}, record.decided)
          end
        end
      end
      assert.is_true(sent > 5)
      local raw = s.read(folder .. "/audit.ndjson")
      assert.matches('"event":' .. lines[1]:gsub("[%p]", "%%%0"), raw)

      -- the record proves the decision: replayed, the same flow decides the same
      s.write(folder .. "/proof.ndjson", raw)
      if shards == "1" then
        code, _, err = s.run({ s.program, "replay", "flow.lua", "proof.ndjson", "--deliver", "--shards", "1", "--state", "replayed" }, { cwd = folder }, 20)
        assert.equal(0, code, err)
        local all = s.events(folder .. "/audit.ndjson")
        assert.equal(118, #all)
        for i = 1, 59 do
          assert.same(all[i].decided, all[59 + i].decided)
          assert.same(all[i].read[3], all[59 + i].read[3])
        end
      end
    end)
  end

  it("has replies, too, and refuses what is wrong", function()
    local folder = s.folder()
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local log = mw.sink.file("log", { path = "audit.ndjson" })
      mw.rule("answer", { from = input }, function(e) return mw.reply(e, { good = e.n > 1 }, 201) end)
      mw.audit("all", { to = log })
    ]]
    )
    local host, port = p:address "input"
    s.post(host, port, "/", '{"n":2}')
    s.eventually(function() return #s.events(folder .. "/audit.ndjson") == 1 end)
    local record = s.events(folder .. "/audit.ndjson")[1]
    assert.same({ { reply = { good = true }, status = 201 } }, record.decided)
    assert.equal("/", record.meta.path)
    p:kill()
    assert.equal(0, p:wait(10))
    for text, want in pairs {
      ['mw.audit("a", { to = log, rules = { "none" } })'] = "flow.lua:5: audit 'a': there is no rule 'none'",
      ['mw.audit("a", {})'] = "flow.lua:5: audit 'a': 'to' is the sink that the records go to",
      ['mw.audit("a", { to = log, form = 1 })'] = "flow.lua:5: audit 'a': there is no option 'form'",
    } do
      local code, _, err = s.moonweir("check", folder, HEAD .. text .. '\nmw.rule("r", { from = payments }, function() end)\n')
      assert.equal(2, code)
      assert.matches(want, err)
    end
  end)
end)
