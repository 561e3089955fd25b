local s = require "support"

local function flow(least, more)
  return ([[
local mw = require "moonweir"
local input = mw.source.file("input", { path = "in.ndjson" })
local high = mw.sink.file("high", { path = "high.ndjson" })
local low = mw.sink.file("low", { path = "low.ndjson" })
%s
mw.rule("route", { from = input, by = "k" }, function(e)
  if e.fail then error("failed") end
  if e.n > %d then high:send(e) elseif e.n %% 2 == 0 then low:send(e, { at = mw.now(), low = true }) end
end)
]]):format(more or "", least)
end

local CAPTURE = 'mw.capture("kept", { from = input })'

local function captured(count, text, options)
  local folder = s.folder()
  local lines = {}
  for n = 1, count do
    lines[n] = n % 100 == 0 and ('{"n":%d,"k":%d,"fail":true}'):format(n, n % 7)
      or n % 101 == 0 and '{"n":' or ('{"n":%d,"k":%d,"pad":"%s"}'):format(n, n % 7, ("x"):rep(n % 90))
  end
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
  local code, _, err = s.moonweir("run", folder, text or flow(count / 2, CAPTURE), { "--state", "state", "--shards", "2" }, options)
  assert.equal(0, code, err)
  return folder, folder .. "/state/captures/kept"
end

local function replay(folder, ...)
  return s.run({ s.program, "replay", ... }, { cwd = folder })
end

describe("moonweir replay", function()
  after_each(s.clean)

  it("decides as the run did, and byte for byte the same whatever the number of shards", function()
    local folder, capture = captured(3000)
    local code, out, err = replay(folder, "flow.lua", capture)
    assert.equal(0, code, err)
    assert.matches("3000 events", out)
    for _, name in ipairs { "high", "low" } do
      assert.matches(("sink %s: %d\n"):format(name, #s.lines(folder .. "/" .. name .. ".ndjson")), out, 1, true)
    end
    assert.matches(("dead letters: %d\n"):format(#s.lines(folder .. "/state/dead-letters.ndjson")), out, 1, true)
    local first
    for shards = 1, 5 do
      code, out, err = replay(folder, "flow.lua", capture, "--decisions", "decisions", "--shards", tostring(shards))
      assert.equal(0, code, out .. err)
      local text = s.read(folder .. "/decisions")
      assert.equal(3000, select(2, text:gsub("\n", "")))
      if first then assert.is_true(first == text, "other decisions on " .. shards .. " shards") end
      first = text
    end
    -- what was sent, in the order of its source
    local sent, n = {}, 0
    for line in first:gmatch "[^\n]+" do
      local d = s.json.decode(line)
      for _, send in ipairs(d.sends) do
        n = n + 1
        sent[send.sink] = (sent[send.sink] or 0) + 1
        if send.sink == "low" then assert.equal(true, send.event.low) else assert.equal(true, send.unchanged) end
      end
    end
    assert.equal(#s.lines(folder .. "/high.ndjson"), sent.high)
    -- the run's own time, not that of the replay
    local times = {}
    for _, e in ipairs(s.events(folder .. "/low.ndjson")) do
      times[e.n] = e.at
    end
    for line in first:gmatch "[^\n]+" do
      local send = s.json.decode(line).sends[1]
      if send and send.event then assert.equal(times[send.event.n], send.event.at) end
    end
  end)

  it("says which decisions differ from another flow's, with examples, and exits with 3", function()
    local folder, capture = captured(2000)
    s.write(folder .. "/new.lua", flow(900))
    s.write(folder .. "/old.lua", flow(1000))
    local code, out, err = replay(folder, "new.lua", capture, "--against", "old.lua")
    assert.equal(3, code, err)
    -- 901 to 1000, but for one that fails and one that is broken
    local want = 0
    for n = 901, 1000 do
      if n % 100 ~= 0 and n % 101 ~= 0 then want = want + 1 end
    end
    assert.matches(("against old.lua: %d of 2000 decisions differ"):format(want), out)
    assert.matches(("rule route: %d\n"):format(want), out)
    assert.matches(("sink high: %d\n"):format(want), out)
    assert.matches('%- {"source":"input"', out)
    code, out = replay(folder, "new.lua", capture, "--against", "old.lua", "--json")
    assert.equal(3, code)
    local report = s.json.decode(out)
    assert.same({ 2000, want, want }, { report.comparison.events, report.comparison.differ, report.comparison.by["sink high"] })
    assert.equal(10, #report.comparison.examples)
    code, out = replay(folder, "old.lua", capture, "--against", "old.lua")
    assert.equal(0, code)
    assert.matches("0 of 2000 decisions differ", out)
    s.write(folder .. "/fails.lua", (flow(1000):gsub("if e.fail", "if e.n < 10")))
    code, out = replay(folder, "fails.lua", capture, "--against", "old.lua")
    assert.equal(3, code)
    assert.matches("dead_letter: 29\n", out)
  end)

  it("answers as the run did, with what the source knew of the request", function()
    local folder = s.folder()
    local p = s.router(folder, [[
local mw = require "moonweir"
local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/in" })
mw.capture("kept", { from = input, path = "kept" })
mw.rule("r", { from = input }, function(e)
  local m = mw.meta(e)
  mw.reply(e, { n = e.n, who = m.headers["x-who"], q = m.query.q, path = m.path, secret = m.headers.authorization }, 201)
end)]])
    local host, port = p:address "input"
    for n = 1, 20 do
      local status = s.post(host, port, "/in?q=" .. n, ('{"n":%d}'):format(n), { ["X-Who"] = "w" .. n, Authorization = "s" })
      assert.equal(201, status)
    end
    p:kill()
    assert.equal(0, p:wait(10))
    local code, _, err = replay(folder, "flow.lua", "kept", "--decisions", "decisions")
    assert.equal(0, code, err)
    local seen = {}
    for _, d in ipairs(s.events(folder .. "/decisions")) do
      assert.equal(201, d.reply.status)
      local b = d.reply.body
      assert.same({ "w" .. b.n, tostring(b.n), "/in", "(left out)" }, { b.who, b.q, b.path, b.secret })
      seen[b.n] = true
    end
    assert.equal(20, #seen)
  end)

  it("takes dead letters, after a fix, and delivers what comes of them when it is told to", function()
    local folder = captured(1000)
    local dead = folder .. "/state/dead-letters.ndjson"
    local failed = 0
    for _, letter in ipairs(s.events(dead)) do
      failed = failed + (letter.stage == "rule" and 1 or 0)
    end
    s.write(folder .. "/fixed.lua", (flow(500):gsub("if e.fail then.-end\n", "")))
    local code, out, err = replay(folder, "fixed.lua", dead)
    assert.equal(0, code, err)
    assert.matches(("dead letters: %d\n"):format(#s.lines(dead) - failed), out) -- those that are no JSON stay
    local before = #s.lines(folder .. "/high.ndjson") + #s.lines(folder .. "/low.ndjson")
    code, out, err = replay(folder, "fixed.lua", dead, "--deliver", "--state", "replayed")
    assert.equal(0, code, out .. err)
    assert.equal(before + failed, #s.lines(folder .. "/high.ndjson") + #s.lines(folder .. "/low.ndjson"))
  end)

  it("keeps csv and lines as they came, and a share of the events where that is asked", function()
    local folder = s.folder()
    local lines = { "n,name" }
    for n = 1, 2000 do
      lines[#lines + 1] = ('%d,"a ""b"" %d"'):format(n, n)
    end
    s.write(folder .. "/in.csv", table.concat(lines, "\n") .. "\n")
    local function text(rate)
      return ([[
local mw = require "moonweir"
local input = mw.source.file("input", { path = "in.csv", format = "csv", block = "4KiB" })
local out = mw.sink.file("out", { path = "out.ndjson" })
mw.capture("kept", { from = input, path = "kept%s", rate = %s })
mw.rule("r", { from = input }, function(e) out:send(e) end)]]):format(rate, rate)
    end
    assert.equal(0, (s.moonweir("run", folder, text "1", { "--state", "state", "--shards", "2" })))
    local code = replay(folder, "flow.lua", "kept1", "--decisions", "decisions", "--shards", "2")
    assert.equal(0, code)
    local seen = 0
    for _, d in ipairs(s.events(folder .. "/decisions")) do
      seen = seen + #d.sends
    end
    assert.equal(2000, seen)
    s.write(folder .. "/in.ndjson", "")
    local body = {}
    for n = 1, 4000 do
      body[n] = ('{"n":%d}'):format(n)
    end
    s.write(folder .. "/in.ndjson", table.concat(body, "\n") .. "\n")
    local sampled = text("0.25"):gsub("in.csv", "in.ndjson"):gsub('format = "csv", ', "")
    assert.equal(0, (s.moonweir("run", folder, sampled, { "--state", "state2", "--shards", "2" })))
    local _, out = replay(folder, "flow.lua", "kept0.25", "--json")
    local events = s.json.decode(out).events
    assert.is_true(events > 850 and events < 1150, events .. " of 4000")
  end)

  it("keeps no more than it may, the newest", function()
    local folder = s.folder()
    local lines = {}
    for n = 1, 20000 do
      lines[n] = ('{"n":%d,"pad":"%s"}'):format(n, ("x"):rep(100))
    end
    s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    local text = flow(0, 'mw.capture("kept", { from = input, path = "kept", keep = "512KiB" })')
      :gsub('path = "in.ndjson"', 'path = "in.ndjson", block = "16KiB"')
    assert.equal(0, (s.moonweir("run", folder, text, { "--state", "state", "--shards", "2" })))
    local size = io.popen("cat " .. folder .. "/kept/* | wc -c"):read "*n"
    assert.is_true(size <= 600 * 1024, size .. " bytes")
    assert.equal(0, (replay(folder, "flow.lua", "kept", "--decisions", "decisions")))
    local decisions = s.events(folder .. "/decisions")
    assert.is_true(#decisions > 2000 and #decisions < 6000)
    assert.is_true(decisions[#decisions].position > 2e6)
  end)

  it("says what is of a source that the flow does not declare", function()
    local folder, capture = captured(500)
    s.write(folder .. "/renamed.lua", (flow(250):gsub('file%("input"', 'file("renamed"')))
    local code, out, err = replay(folder, "renamed.lua", capture)
    assert.equal(0, code)
    assert.matches("no source 'input': what was captured of it is left out", err)
    assert.matches("1 records are of sources that the flow does not declare", out)
  end)

  it("reads up to a torn record, and says what it cannot read", function()
    local folder, capture = captured(3000)
    local segment = io.popen("ls " .. capture .. "/*"):read "*l"
    local bytes = s.read(segment)
    s.write(segment, bytes:sub(1, #bytes - 5))
    local code, out, err = replay(folder, "flow.lua", capture)
    assert.equal(0, code)
    assert.matches("the record is torn", err)
    assert.matches("1 records of the capture could not be read", out)
    local _
    code, _, err = replay(folder, "flow.lua", folder .. "/nothing")
    assert.same({ 2, true }, { code == 2 and 2 or code, err:find("cannot read", 1, true) ~= nil })
    s.write(folder .. "/text", "this is no capture\n")
    _, out, err = replay(folder, "flow.lua", "text")
    assert.matches("text:1: it is no capture, and this line is no dead letter", err)
    assert.matches("0 events", out)
  end)
end)
