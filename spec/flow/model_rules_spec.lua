--- mw.model: trained models in rules, and how they are replaced.
local s = require "support"
local python = require "python"

local HEAD = [[
local mw = require "moonweir"
local input = mw.source.stdin("input", {})
local out = mw.sink.stdout("out", {})
]]

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    list[#list + 1] = s.json.decode(line)
  end
  return list
end

describe("mw.model", function()
  after_each(s.clean)

  local function model(folder, name, to)
    s.write(folder .. "/" .. to, s.read(python.made "trainers" .. "/" .. name))
    return folder
  end

  local function run(folder, rules, events, ...)
    return s.moonweir("run", folder, HEAD .. rules, { "--quiet", "--shards", "1", ... }, { stdin = s.write(folder .. "/in", events) })
  end

  local function alone(folder, file, row)
    local rows = s.write(folder .. "/rows", row .. "\n")
    local _, out = s.run({ s.program, "score", folder .. "/" .. file }, { stdin = rows }, 10)
    return tonumber(out) or s.json.decode(out)
  end

  it("scores events, changed events and tables as moonweir score does", function()
    local folder = model(s.folder(), "lgb-names.txt", "m.txt")
    local row = '{"a":{"b":1,"c":{"d":2}},"x_y":-1,"Z":0.5}'
    local want = alone(folder, "m.txt", row)
    local more = alone(folder, "m.txt", '{"a":{"b":-2,"c":{"d":2}},"x_y":-1,"Z":0.5,"größer":7}')
    local code, out, err = run(
      folder,
      [[
      local m = mw.model("m", { file = "m.txt" })
      mw.rule("r", { from = input }, function(e)
        local plain, table_ = m:score(e), m:score(mw.decode(e))
        local added = m:score(e, { ["a.b"] = -2, ["größer"] = 7 })
        e.a.b = -2
        e["größer"] = 7
        out:send { plain = plain, table = table_, added = added, changed = m:score(e), names = m:features(), version = m:version() }
      end)
    ]],
      row .. "\n"
    )
    assert.equal(0, code, err)
    local got = lines_of(out)[1]
    assert.equal(want, got.plain)
    assert.equal(want, got.table)
    assert.equal(more, got.added)
    assert.equal(more, got.changed)
    assert.are_not.equal(want, more)
    assert.equal("a.b", got.names[1])
    assert.matches("^%x+$", got.version)
  end)

  it("has a list for several outputs, categories, mapped features, ranges of iterations, and reasons", function()
    local folder = model(model(s.folder(), "xgb-range.json", "m.json"), "xgb-categories.json", "c.json")
    local row = '{"f0":0.5,"f1":-1,"f2":2,"f3":0.1,"f4":0,"f5":1}'
    local code, out, err = run(
      folder,
      [[
      local m = mw.model("m", { file = "m.json", features = { f0 = "device.temp" } })
      local some = mw.model("some", { file = "m.json", iterations = { 3, 9 }, features = { f0 = "device.temp" } })
      local c = mw.model("c", { file = "c.json" })
      mw.rule("r", { from = input }, function(e)
        local why = c:explain(e, { colour = "red" })
        out:send { all = m:score(e), some = some:score(e), red = c:score(e, { colour = "red" }), green = c:score(e, { colour = "green" }), why = why }
      end)
    ]],
      '{"device":{"temp":0.5},"f1":-1,"f2":2,"f3":0.1,"f4":0,"f5":1,"n0":1,"shop":"s7"}\n'
    )
    assert.equal(0, code, err)
    local got = lines_of(out)[1]
    assert.same(alone(folder, "m.json", row), got.all)
    assert.are_not.same(got.all, got.some)
    assert.equal(3, #got.some)
    assert.equal(alone(folder, "c.json", '{"n0":1,"shop":"s7","colour":"red"}'), got.red)
    assert.equal(alone(folder, "c.json", '{"n0":1,"shop":"s7","colour":"green"}'), got.green)
    local sum, last = got.why.base, math.huge
    for _, reason in ipairs(got.why.reasons) do
      assert.is_true(math.abs(reason.adds) <= last)
      sum, last = sum + reason.adds, math.abs(reason.adds)
    end
    assert.is_true(math.abs(sum - got.red) < 1e-4)
  end)

  it("scores the events of a batch together, and says of each what it says of it alone", function()
    local folder = model(model(s.folder(), "xgb-range.json", "m.json"), "lgb-names.txt", "n.txt")
    local rows, events, want = {}, {}, {}
    for n = 1, 1500 do
      local values = {}
      for f = 0, 5 do
        values[f + 1] = ('"f%d":%.3f'):format(f, math.sin(n * (f + 1)) * 2)
      end
      rows[n] = "{" .. table.concat(values, ",") .. "}"
      -- of some a feature is a list, of some one is missing, and of some the rule wants nothing
      events[n] = rows[n]:gsub("^{", ('{"n":%d,"wanted":%s,'):format(n, n % 7 < 4 and "true" or "false"))
      if n % 50 == 0 then events[n] = events[n]:gsub('"f2":[^,]*', '"f2":[1]') end
      if n % 11 == 0 then
        rows[n] = rows[n]:gsub('"f3":[^,]*,', "")
        events[n] = events[n]:gsub('"f3":[^,]*,', "")
      end
    end
    local path = s.write(folder .. "/rows", table.concat(rows, "\n") .. "\n")
    local _, scores = s.run({ s.program, "score", folder .. "/m.json" }, { stdin = path }, 10)
    for score in scores:gmatch "[^\n]+" do
      want[#want + 1] = s.json.decode(score)
    end
    local code, out, err = run(
      folder,
      [[
      local m = mw.model("m", { file = "m.json" })
      mw.rule("r", { from = input }, function(e)
        if not e.wanted then return end
        local score = m:score(e)
        local why = e.n % 5 == 0 and m:explain(e)
        out:send { n = e.n, score = score, why = why and why[1], again = m:score(e) }
      end)
      mw.rule("rare", { from = input }, function(e)
        if e.n % 400 == 1 then out:send { rare = e.n, score = m:score(e), twice = m:score(e, { f0 = 2 }) } end
      end)
    ]],
      table.concat(events, "\n") .. "\n",
      "--state",
      folder .. "/state"
    )
    assert.equal(0, code, err)
    local seen, rare, why = 0, 0, {}
    for _, e in ipairs(lines_of(out)) do
      if e.rare then
        rare = rare + 1
        assert.same(want[e.rare], e.score)
      else
        seen = seen + 1
        assert.same(want[e.n], e.score)
        assert.same(e.score, e.again)
        if e.n % 5 == 0 then why[e.n] = e.why end
      end
    end
    local dead, asked = s.events(folder .. "/state/dead-letters.ndjson"), 0
    for n = 1, 1500 do
      if n % 7 < 4 and n % 50 ~= 0 then asked = asked + 1 end
    end
    assert.same({ asked, 4 }, { seen, rare })
    local _, reasons = s.run({ s.program, "score", folder .. "/m.json", "--explain", "exact" }, { stdin = path }, 10)
    local n, compared = 0, 0
    for line in reasons:gmatch "[^\n]+" do
      n = n + 1
      local whole = s.json.decode(line)[1]
      for _, reason in ipairs(why[n] and why[n].reasons or {}) do
        assert.equal(whole.features[reason.feature], reason.adds)
        compared = compared + 1
      end
    end
    assert.is_true(compared > 500)
    assert.equal(select(2, table.concat(events, "\n"):gsub('"wanted":true[^\n]*"f2":%[1%]', "")), #dead)
    assert.is_true(#dead > 5)
    assert.matches("the feature 'f2' is a list", dead[1].error)
  end)

  it("makes dead letters of events that are no rows of it", function()
    local folder = model(s.folder(), "lgb-names.txt", "m.txt")
    local code = run(
      folder,
      [[
      local m = mw.model("m", { file = "m.txt" })
      mw.rule("r", { from = input }, function(e) out:send { m:score(e, e.more and { [e.more] = 1 } or nil) } end)
    ]],
      '{"x_y":"red"}\n{"x_y":[1]}\n{"more":"zz"}\n',
      "--state",
      "state"
    )
    assert.equal(0, code)
    local dead = s.read(folder .. "/state/dead-letters.ndjson")
    assert.matches("flow.lua:5: model 'm': the feature 'x_y' is a text, and the model knows no categories of it %(red%)", dead)
    assert.matches("the feature 'x_y' is a list", dead)
    assert.matches("the model has no feature 'zz'", dead)
  end)

  it("refuses what is wrong at its declaration", function()
    local folder = model(s.folder(), "lgb-names.txt", "m.txt")
    s.write(folder .. "/bad.json", "{}")
    for text, want in pairs {
      ['mw.model("m", { file = "none.txt" })'] = "flow.lua:4: model 'm': .*none.txt: No such file",
      ['mw.model("m", { file = "bad.json" })'] = "flow.lua:4: model 'm': .*bad.json: it has no learner",
      ['mw.model("m", {})'] = "flow.lua:4: model 'm': the option 'file' is missing",
      ['mw.model("m", { file = "m.txt", kind = "catboost" })'] = "there is no kind of model 'catboost'",
      ['mw.model("m", { file = "m.txt", features = { q = "x" } })'] = "the model has no feature 'q'",
      ['mw.model("m", { file = "m.txt", iterations = { 5, 500 } })'] = "iterations 6 to 500 are asked for, and it has 12",
      ['mw.model("m", { file = "m.txt", iterations = 5 })'] = "'iterations' is { FROM, TO }",
    } do
      local code, _, err = s.moonweir("check", folder, HEAD .. text .. '\nmw.rule("r", { from = input }, function() end)\n')
      assert.equal(2, code)
      assert.matches(want, err)
    end
  end)

  it("has a challenger that scores, too, and decides nothing", function()
    local folder = model(model(s.folder(), "lgb-binary.txt", "m.txt"), "lgb-goss.txt", "new.txt")
    model(folder, "xgb-multi-softprob.json", "three.json")
    local rules = [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local m = mw.model("m", { file = "m.txt", challenger = "new.txt" })
      mw.rule("r", { from = input }, function(e)
        local score
        if e.extra then score = m:score(e, { Column_0 = e.extra }) else score = m:score(e) end
        return mw.reply(e, { score = score })
      end)
    ]]
    local p = s.router(folder, rules, { "--shards", "1", "--admin", "127.0.0.1:0" })
    local host, port = p:address "input"
    local ahost, aport = p:address "admin"
    local apart, disagreed = 0, 0
    for n = 1, 40 do
      local x = (n * 7 % 20 - 10) / 4
      local row = ("[%g,%g,1,%g,0,1]"):format(x, n % 3 - 1, n % 5 - 2)
      local event = ('{"Column_1":%g,"Column_2":1,"Column_3":%g,"Column_4":0,"Column_5":1,%s:%g}'):format(n % 3 - 1, n % 5 - 2, n % 2 == 0 and '"extra"' or '"Column_0"', x)
      local one, two = alone(folder, "m.txt", row), alone(folder, "new.txt", row)
      local _, body = s.post(host, port, "/", event)
      assert.equal(one, s.json.decode(body).score)
      apart = apart + math.abs(one - two)
      if (one > 0.5) ~= (two > 0.5) then disagreed = disagreed + 1 end
    end
    assert.is_true(disagreed > 0 and apart > 1)
    s.eventually(function()
      local _, text = s.post(ahost, aport, "/metrics")
      local function metric(name) return tonumber(text:match("\nmoonweir_model_" .. name .. '{model="m"} ([%d%.e+-]+)')) end
      return metric "scores_total" == 40
        and metric "compared_total" == 40
        and metric "disagreements_total" == disagreed
        and math.abs(metric "difference_total" - apart) < 1e-6
        and text:match 'moonweir_model_info{model="m",version="%x+",challenger="%x+"} 1'
    end)
    p:kill()
    assert.equal(0, p:wait(10))
    local code, _, err = s.moonweir("check", folder, (rules:gsub("new.txt", "three.json")))
    assert.equal(2, code)
    assert.matches("the challenger of model 'm' has another number of outputs", err)
  end)

  it("tells how far its features and scores have moved from the training's histograms", function()
    local folder = model(s.folder(), "lgb-binary.txt", "m.txt")
    local function histogram(text) s.write(folder .. "/m.drift.json", text) end
    local rules = [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local m = mw.model("m", { file = "m.txt" })
      mw.rule("r", { from = input, by = "n" }, function(e) return mw.reply(e, { score = m:score(e) }) end)
    ]]
    for text, want in pairs {
      ['{"score":{"edges":[1,0],"shares":[1,1,1]}}'] = "m.drift.json: the histogram 'score' wants 'edges' that rise",
      ['{"features":{"none":{"edges":[0],"shares":[1,1]}}}'] = "m.drift.json: the model has no feature 'none'",
      ["{}"] = "m.drift.json: there is no histogram in it",
    } do
      histogram(text)
      local code, _, err = s.moonweir("check", folder, rules)
      assert.equal(2, code)
      assert.matches(want, err)
    end
    histogram '{"score":{"edges":[0.5],"shares":[60,40]},"features":{"Column_0":{"edges":[-1,0,1],"shares":[0.2,0.3,0.3,0.2]}}}'
    local p = s.router(folder, rules, { "--shards", "2", "--admin", "127.0.0.1:0" })
    local host, port = p:address "input"
    local ahost, aport = p:address "admin"
    local scores, column = { 0, 0 }, { 0, 0, 0, 0 }
    for n = 1, 50 do
      local x = (n * 13 % 40 - 10) / 10
      local _, body = s.post(host, port, "/", ('{"n":%d,"Column_0":%g,"Column_1":0,"Column_2":1,"Column_3":0}'):format(n, x))
      local bin = s.json.decode(body).score > 0.5 and 2 or 1
      scores[bin] = scores[bin] + 1
      bin = x <= -1 and 1 or x <= 0 and 2 or x <= 1 and 3 or 4
      column[bin] = column[bin] + 1
    end
    local function index(counts, shares)
      local sum = 0
      for i, share in ipairs(shares) do
        local live = math.max(counts[i], 0.5) / 50
        sum = sum + (live - share) * math.log(live / share)
      end
      return sum
    end
    s.eventually(function()
      local _, text = s.post(ahost, aport, "/metrics")
      local function drift(of) return tonumber(text:match('moonweir_model_drift{model="m",of="' .. of .. '"} ([%d%.e+-]+)') or -1) end
      return math.abs(drift "score" - index(scores, { 0.6, 0.4 })) < 1e-9
        and math.abs(drift "Column_0" - index(column, { 0.2, 0.3, 0.3, 0.2 })) < 1e-9
    end)
    p:kill()
    assert.equal(0, p:wait(10))
  end)

  it("is replaced when its file is, unless the rows that ship with it say otherwise", function()
    local folder = s.folder()
    model(folder, "lgb-regression.txt", "m.txt")
    local one = alone(folder, "m.txt", "[1,1,1,1,1,1]")
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })
      local m = mw.model("m", { file = "m.txt" })
      mw.rule("r", { from = input }, function(e) return mw.reply(e, { score = m:score(e) }) end)
    ]],
      { "--shards", "2", "--probation", "0" }
    )
    local host, port = p:address "input"
    local event = '{"Column_0":1,"Column_1":1,"Column_2":1,"Column_3":1,"Column_4":1,"Column_5":1}'
    local function score()
      local _, body = s.post(host, port, "/", event)
      return s.json.decode(body).score
    end
    assert.equal(one, score())
    -- a damaged model, and one that does not score its rows as they say: the running one stays
    s.write(folder .. "/m.txt", "tree\nnonsense")
    s.eventually(function() return p:stderr():match "max_feature_idx" end)
    assert.equal(one, score())
    s.write(folder .. "/m.golden.ndjson", '{"row":[1,1,1,1,1,1],"score":-5}\n')
    model(folder, "lgb-huber.txt", "m.txt")
    s.eventually(function() return p:stderr():match "m.golden.ndjson:1: the score is" end)
    assert.equal(one, score())
    local two = alone(folder, "m.txt", "[1,1,1,1,1,1]")
    s.write(folder .. "/m.golden.ndjson", ('{"row":[1,1,1,1,1,1],"score":%.17g}\n'):format(two))
    s.eventually(function() return score() == two end)
    p:kill()
    assert.equal(0, p:wait(10))
  end)
end)

describe("the guide to scoring", function()
  after_each(s.clean)

  it("begins with a script that trains and ends with the router's answer", function()
    local guide = s.read(s.root .. "/docs/guide/scoring.md")
    local example = s.root .. "/examples/scoring/"
    assert.equal(s.read(example .. "train.py"), guide:match "```python\n(.-)```")
    assert.equal(s.read(example .. "flow.lua"), guide:match "```lua\n(.-)```")
    local folder = s.folder()
    s.write(folder .. "/train.py", s.read(example .. "train.py"))
    local code, out, err = s.run({ python.ready(), "train.py" }, { cwd = folder }, 120)
    assert.equal(0, code, out .. err)
    local row = '{"card":"c1","amount":900,"channel":"web","device":{"age_days":1}}'
    s.write(folder .. "/row", (row:gsub('"card":"c1"', '"recent_count":1')) .. "\n")
    local _, alone = s.run({ s.program, "score", folder .. "/card-risk.json" }, { stdin = folder .. "/row" }, 10)
    local p = s.router(folder, s.read(example .. "flow.lua"), { "--shards", "2" }, { env = { LISTEN = "127.0.0.1:0" } })
    local host, port = p:address "payments"
    local status, body = s.post(host, port, "/payments", row)
    assert.equal(200, status)
    local answer = s.json.decode(body)
    assert.equal(tonumber(alone), answer.risk)
    assert.equal(answer.risk < 0.5 and "accept" or "review", answer.decision)
    p:kill()
    assert.equal(0, p:wait(10))
  end)
end)

describe("the maintenance example", function()
  after_each(s.clean)

  it("raises one incident a failure, and has each action done once", function()
    local folder, lines, x = s.folder(), { "timestamp,value" }, 1
    for n = 0, 1999 do
      x = (x * 16807) % 2147483647
      local value = 70 + x / 2147483647 * 4 + ((n >= 1000 and n < 1020 or n >= 1500 and n < 1503) and 60 or 0)
      lines[n + 2] = os.date("!%Y-%m-%d %H:%M:%S", 1700000000 + n * 300) .. (",%.3f"):format(value)
    end
    s.write(folder .. "/series.csv", table.concat(lines, "\n") .. "\n")
    local code, out, err = s.run({ "sh", s.root .. "/examples/maintenance/run.sh", folder .. "/series.csv" }, nil, 60)
    assert.equal(0, code, out .. err)
    local seen, drains = {}, 0
    for line in out:gmatch "   ({[^\n]+)" do
      local action = s.json.decode(line)
      assert.is_nil(seen[action.id])
      seen[action.id] = true
      if action.action == "drain" then drains = drains + 1 end
    end
    assert.is_true(drains >= 2 and drains <= 4, out)
    for n = 1, drains do
      for _, action in ipairs { "drain", "page", "return to service" } do
        assert.is_true(seen[("m1-%d-%s"):format(n, action)], out)
      end
    end
  end)
end)
