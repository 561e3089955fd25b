local s = require "support"

local function run(rules, input, arguments)
  local folder = s.folder()
  s.write(folder .. "/in.ndjson", input)
  local code, _, err = s.moonweir("run", folder, [[
local mw = require "moonweir"
local input = mw.source.file("input", { path = "in.ndjson" })
local out = mw.sink.file("out", { path = "out.ndjson" })
local other = mw.sink.file("other", { path = "other.ndjson" })
local channel = mw.channel("channel")
mw.rule("sink", { from = channel }, function(e) other:send(e) end)
]] .. rules, arguments or { "--state", "state", "--shards", "2", "--quiet" })
  assert.equal(0, code, err)
  return folder
end

local function numbered(count)
  local lines = {}
  for n = 1, count do
    lines[n] = ('{"n":%d,"k":"k%d"}\n'):format(n, n % 1000)
  end
  return table.concat(lines)
end

--- Keeps a router of rules running over an HTTP source, and gives its status.
local function serve(rules, events)
  local folder = s.folder()
  local p = s.router(folder, [[
local mw = require "moonweir"
local input = mw.source.http("input", { listen = "127.0.0.1:0" })
local out = mw.sink.file("out", { path = "out.ndjson" })
local other = mw.sink.file("other", { path = "other.ndjson" })
]] .. rules, { "--state", "state", "--shards", "2", "--admin", "127.0.0.1:0" })
  local host, port = p:address "input"
  local answers = {}
  for i, e in ipairs(events) do
    local _, body = s.post(host, port, "/", e)
    answers[i] = s.json.decode(body)
  end
  host, port = p:address "admin"
  s.sleep(0.2)
  local _, status = s.post(host, port, "/status")
  local _, metrics = s.post(host, port, "/metrics")
  local _, text = s.run { s.program, "status", host .. ":" .. port }
  p:kill()
  assert.equal(0, p:wait(10), p:stderr())
  return s.json.decode(status).trials, metrics, answers, folder, text
end

describe("a shadow rule", function()
  after_each(s.clean)

  it("runs, and nothing that it does is delivered: no send, no reply, no dead letter, no channel", function()
    local folder = run([[
mw.rule("live", { from = input, by = "k" }, function(e) out:send(e) end)
mw.rule("shadow", { from = input, by = "k", shadow = true }, function(e)
  other:send(e) channel:send(e) if e.n % 3 == 0 then error("bad") end
end)]], numbered(300))
    assert.equal(300, #s.events(folder .. "/out.ndjson"))
    assert.equal("", s.read(folder .. "/other.ndjson"))
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
  end)

  it("is compared with what was decided: differences are counted by kind, and sampled", function()
    local trials, metrics, answers, folder, text = serve([[
mw.rule("live", { from = input }, function(e) out:send(e, { v = 1 }) mw.reply(e, { v = 1 }) end)
mw.rule("trial", { from = input, shadow = "live" }, function(e)
  if e.kind == "error" then error("trial") end
  if e.kind == "sink" then other:send(e, { v = 1 }) mw.reply(e, { v = 1 }) return end
  out:send(e, { v = e.kind == "fields" and 2 or 1 })
  if e.kind ~= "silent" then mw.reply(e, { v = e.kind == "reply" and 2 or 1 }) end
end)]], {
      '{"kind":"same"}', '{"kind":"fields"}', '{"kind":"sink"}', '{"kind":"reply"}', '{"kind":"silent"}', '{"kind":"error"}', '{"kind":"same"}',
    })
    for _, a in ipairs(answers) do
      assert.equal(1, a.v)
    end
    assert.equal(7, #s.events(folder .. "/out.ndjson"))
    local t = trials[1]
    assert.same({ "trial", 7, { error = 1, sink = 1, reply = 2, fields = 1 } }, { t.rule, t.compared, t.differs })
    assert.equal(5, #t.samples)
    for _, sample in ipairs(t.samples) do
      if sample.differs == "fields" then
        assert.equal("fields", sample.event.kind)
        assert.equal(1, sample.decided[1].event.v)
        assert.equal(2, sample.tried[1].event.v)
      end
    end
    assert.matches('moonweir_trial_differences_total{rule="trial",kind="reply"} 2', metrics, 1, true)
    assert.matches('moonweir_trial_events_total{rule="trial"} 7', metrics, 1, true)
    assert.matches("on trial: trial compared on 7 events", text)
  end)

  it("is compared with all rules that decide, where none is named", function()
    local trials = serve([[
mw.rule("a", { from = input }, function(e) out:send(e) end)
mw.rule("b", { from = input }, function(e) if e.n > 1 then other:send(e) end end)
mw.rule("trial", { from = input, shadow = true }, function(e) out:send(e) if e.n > 2 then other:send(e) end end)
]], { '{"n":1}', '{"n":2}', '{"n":3}' })
    assert.same({ 3, 1 }, { trials[1].compared, trials[1].differs.sink })
  end)

  it("sees only what its condition lets through, and reads channels too", function()
    local trials = serve([[
local c = mw.channel("c")
mw.rule("in", { from = input }, function(e) c:send(e) end)
mw.rule("live", { from = c }, function(e) out:send(e) end)
mw.rule("trial", { from = c, shadow = "live", when = { type = "a" } }, function(e) out:send(e, { x = 1 }) end)
]], { '{"type":"a"}', '{"type":"b"}', '{"type":"a"}' })
    assert.same({ 2, 2 }, { trials[1].compared, trials[1].differs.fields })
  end)
end)

describe("a canary", function()
  after_each(s.clean)

  local RULES = [[
mw.rule("live", { from = input, by = "k" }, function(e) out:send(e) end)
mw.rule("canary", { from = input, by = "k", canary = 0.2 }, function(e) other:send(e) end)
]]

  it("decides its share of the keys, each key by one rule, the same in every run", function()
    local first
    for _, shards in ipairs { "1", "2", "3" } do
      local folder = run(RULES, numbered(20000), { "--state", "state", "--shards", shards, "--quiet" })
      local by = {}
      for name, which in pairs { out = "live", other = "canary" } do
        for _, e in ipairs(s.events(folder .. "/" .. name .. ".ndjson")) do
          assert.is_true(by[e.k] == nil or by[e.k] == which, "key " .. e.k .. " was decided by both")
          by[e.k] = which
        end
      end
      local share = 0
      for _, which in pairs(by) do
        share = share + (which == "canary" and 1 or 0)
      end
      assert.is_true(share > 150 and share < 250, share .. " of 1000 keys")
      if first then assert.same(first, by) end
      first = by
    end
  end)

  it("fails into the dead letters where it decides, and only there", function()
    local folder = run([[
mw.rule("live", { from = input, by = "k" }, function(e) out:send(e) end)
mw.rule("canary", { from = input, by = "k", canary = 0.5 }, function(e) error("canary") end)
]], numbered(2000))
    local out, dead = #s.events(folder .. "/out.ndjson"), #s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(2000, out + dead)
    assert.is_true(dead > 800 and dead < 1200)
  end)

  it("is declared with what it needs", function()
    local HEAD = 'local mw = require "moonweir"\nlocal input = mw.source.stdin("input")\n'
    for text, why in pairs {
      ['mw.rule("r", { from = input, canary = 0.1 }, function() end)'] = "a 'canary' decides a share of the keys, so it needs 'by'",
      ['mw.rule("r", { from = input, by = "k", canary = 2 }, function() end)'] = "'canary' must be a share from 0 to 1",
      ['mw.rule("r", { from = input, by = function() end, canary = 0.1 }, function() end)'] = "a canary's key %('by'%) is made of fields",
      ['mw.rule("r", { from = input, shadow = "x" }, function() end)'] = "there is no rule 'x' that decides",
      ['mw.rule("r", { from = input, shadow = true, by = "k", canary = 0.1 }, function() end)'] = "a rule is a 'shadow' or a 'canary', not both",
    } do
      local code, _, err = s.moonweir("check", s.folder(), HEAD .. text)
      assert.equal(2, code)
      assert.matches("flow.lua:3: rule 'r': " .. why, err)
    end
  end)
end)
