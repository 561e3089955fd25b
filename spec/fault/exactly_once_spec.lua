-- Exactly once from file to file: a checker reads what went in and what came out, on its own.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  mw.flow { delivery = "exactly-once", checkpoint = "%s" }
  local input = mw.source.file("input", { path = "in*.ndjson", follow = %s, poll = "10ms", block = "16KiB", time = "t", time_format = "s" })
  local even = mw.sink.file("even", { path = "even.ndjson", rotate = { size = "100KiB", keep = 100 } })
  local odd = mw.sink.file("odd", { path = "odd-{k}.ndjson" })
  local count = mw.state "count"
  local minute = mw.window("minute", { by = "k", span = "100s", keep = { n = mw.count() } })
  local counts = mw.sink.file("counts", { path = "counts.ndjson" })
  mw.rule("r", { from = input, by = "k" }, function(e)
    if e.n %% 500 == 499 then error "dead" end
    minute:add(e)
    local sent = { n = e.n, k = e.k, count = count:increment(e.k, "n", 1) }
    if e.n %% 2 == 0 then even:send(sent) else odd:send(sent) end
  end)
  minute:on_close(function(w) counts:send { k = w.key, start = w.start, n = w.n } end)
]]

local KEYS = 7

local function line(n)
  return ('{"n":%d,"k":"k%d","t":%d,"pad":"%s"}\n'):format(n, n % KEYS, math.floor(n / 10), ("x"):rep(n % 50))
end

--- Everything that is in the outputs and the dead letters, by what it was made of.
local function check(folder, total, note)
  local seen, files = {}, io.popen("ls " .. folder .. "/even* " .. folder .. "/odd* " .. folder .. "/state/dead-letters.ndjson")
  for path in files:lines() do
    for text in io.lines(path) do
      local e = s.json.decode(text)
      local n = e.n or e.event.n
      assert(not seen[n], n .. " came twice, " .. note)
      seen[n] = e
    end
  end
  local counted = {}
  for n = 1, total do
    local k = n % KEYS
    local e = assert(seen[n], n .. " is missing, " .. note)
    if n % 500 == 499 then
      assert.equal("rule", e.stage)
    else
      counted[k] = (counted[k] or 0) + 1
      assert.equal(counted[k], e.count, note)
    end
  end
end

--- Windows that have closed: each once, with the right number.
local function check_windows(folder, total, note)
  local want, n = {}, 0
  for i = 1, total do
    if i % 500 ~= 499 then
      local id = "k" .. i % KEYS .. "/" .. math.floor(math.floor(i / 10) / 100) * 100
      want[id] = (want[id] or 0) + 1
    end
  end
  for _, w in ipairs(s.events(folder .. "/counts.ndjson")) do
    local id = w.k .. "/" .. w.start
    assert.equal(want[id], w.n, id .. ", " .. note)
    want[id] = nil
    n = n + 1
  end
  assert.same({}, want, note)
  assert(n > 0)
end

local function start(folder, flow, shards)
  return s.start(
    s.command("run", folder, flow, { "--state", "state", "--shards", tostring(shards), "--no-supervisor", "--quiet" }),
    { cwd = folder }
  )
end

describe("exactly once from file to file", function()
  after_each(s.clean)

  it("has everything once when all goes well", function()
    local folder, lines = s.folder(), {}
    for n = 1, 20000 do
      lines[n] = line(n)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines))
    for _, shards in ipairs { 1, 3 } do
      local code, _, err =
        s.moonweir("run", folder, FLOW:format("100ms", "false"), { "--state", "state", "--shards", tostring(shards), "--quiet" })
      assert.equal(0, code, err)
      check(folder, 20000, "whole")
      check_windows(folder, 20000, "whole")
    end
  end)

  it("loses nothing and repeats nothing in thirty rounds of kill -9, and windows are exact", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local folder, note, n, file = s.folder(), "seed " .. seed, 0, 1
    for round = 1, 30 do
      local lines = {}
      for _ = 1, 2000 do
        n = n + 1
        lines[#lines + 1] = line(n)
      end
      if round % 10 == 0 then file = file + 1 end
      s.append(folder .. ("/in%d.ndjson"):format(file), table.concat(lines))
      local p = start(folder, FLOW:format("20ms", "true"), math.random(1, 3))
      s.sleep(math.random() * 0.25)
      p:kill(s.SIGKILL)
      assert.equal(-9, p:wait(), p:stderr())
    end
    local p = start(folder, FLOW:format("20ms", "false"), 2)
    assert.equal(0, p:wait(60), p:stderr())
    check(folder, n, note)
    check_windows(folder, n, note)
  end)

  it("has each window, session and timer tell once, where a checkpoint comes while thousands of them close", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local COUNT, PANES = 15000, 5
    for shards = 1, 3 do
      local folder, lines = s.folder(), {}
      for pane = 1, PANES do
        for k = 1, COUNT do
          lines[#lines + 1] = ('{"k":%d,"t":%d}\n'):format(k, pane * 100)
        end
      end
      lines[#lines + 1] = '{"k":1,"t":15000}\n'
      s.write(folder .. "/in.ndjson", table.concat(lines))
      local flow = [[
        local mw = require "moonweir"
        mw.flow { delivery = "exactly-once", checkpoint = "5ms" }
        local input = mw.source.file("input", { path = "in.ndjson", follow = %s, poll = "5ms", time = "t", time_format = "s", lateness = "5000s" })
        local w = mw.window("w", { by = "k", span = "100s", lateness = "1s", keep = { n = mw.count() } })
        local g = mw.window("g", { by = "k", gap = "50s", keep = { n = mw.count() } })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        local t = mw.timer("t", function(k) out:send { id = "t" .. k, n = 1 } end)
        mw.rule("r", { from = input, by = "k" }, function(e)
          w:add(e)
          g:add(e)
          if e.t == 100 then t:set(e.k, "1s") end
        end)
        w:on_close(function(x) out:send { id = "w" .. x.key .. "/" .. x.start, n = x.n } end)
        g:on_close(function(x) out:send { id = "g" .. x.key .. "/" .. x.start, n = x.n } end)
      ]]
      local p = start(folder, flow:format "true", shards)
      s.eventually(function() return #s.read(folder .. "/out.ndjson") > 0 end, 60)
      s.sleep(math.random() * 0.3)
      p:kill(s.SIGKILL)
      p:wait()
      p = start(folder, flow:format "false", shards % 3 + 1)
      assert.equal(0, p:wait(60), p:stderr())
      local seen, count, note = {}, 0, ("%d shards, seed %d"):format(shards, seed)
      for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
        assert.is_nil(seen[e.id], tostring(e.id) .. " was told twice, " .. note)
        assert.equal(1, e.n, note)
        seen[e.id], count = true, count + 1
      end
      assert.equal(2 * (COUNT * PANES + 1) + COUNT, count, note)
    end
  end)

  it("refuses what it cannot keep, and says what is promised on each path", function()
    local folder = s.folder()
    local file, http = [[source.file("in", { path = "in*" })]], [[source.http("in", { listen = "127.0.0.1:0" })]]
    for _, case in ipairs {
      { http, [[file("out", { path = "out" })]], "flow.lua:3: the flow cannot be exactly once: source 'in' (http) cannot give again" },
      { file, [[tcp("out", { connect = "127.0.0.1:9" })]], "flow.lua:4: the flow cannot be exactly once: sink 'out' (tcp) cannot take" },
      { file, [[tcp("out", { connect = "127.0.0.1:9", delivery = "at-least-once" })]], nil, "(tcp): at least once\n" },
      { file, [[file("out", { path = "out" })]], nil, "in (file) to out (file): exactly once\n" },
      { file, [[http("out", { url = "http://127.0.0.1:9" })]], nil, "(http): at least once; what comes again has the same Idempotency-Key\n" },
    } do
      local head, rule = 'local mw = require "moonweir"\nmw.flow { delivery = "exactly-once" }\n', 'mw.rule("r", { from = i }, function(e) o:send(e) end)'
      local flow = ("%slocal i = mw.%s\nlocal o = mw.sink.%s\n%s"):format(head, case[1], case[2], rule)
      local code, out, err = s.moonweir("check", folder, flow)
      assert.equal(case[3] and 2 or 0, code, err)
      if case[3] then
        assert(err:find(case[3], 1, true), err)
      else
        assert(out:find(case[4], 1, true), out)
      end
    end
  end)

  it("sends over HTTP with a key that is the same when an event comes again", function()
    local folder, other = s.folder(), s.folder()
    local target = s.router(other, [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e, { key = mw.meta(e).headers["idempotency-key"] }) end)
    ]], { "--state", "state" })
    local flow = ([[
      local mw = require "moonweir"
      mw.flow { delivery = "exactly-once", checkpoint = "20ms" }
      local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB", in_flight = "64KiB" })
      local out = mw.sink.http("out", { url = "http://%s:%d/", retry = { first = "10ms", most = "50ms" } })
      mw.rule("r", { from = input, by = "k" }, function(e) out:send(e) out:send(e, { second = true }) end)
    ]]):format(target:address "input")
    local lines, total = {}, 3000
    for n = 1, total do
      lines[n] = line(n)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines))
    for round = 1, 4 do
      local p = start(folder, flow, round % 2 + 1)
      s.sleep(0.15 + round * 0.03)
      p:kill(s.SIGKILL)
      p:wait()
    end
    assert.equal(0, start(folder, flow, 2):wait(60))
    local keys, of, again = {}, {}, 0
    for _, e in ipairs(s.events(other .. "/out.ndjson")) do
      local id = e.n .. (e.second and "b" or "a")
      if of[id] then again = again + 1 end
      assert(not of[id] or of[id] == e.key, id .. " has come with two keys")
      assert(not keys[e.key] or keys[e.key] == id, e.key .. " is of two events")
      of[id], keys[e.key] = e.key, id
    end
    for n = 1, total do
      assert(of[n .. "a"] and of[n .. "b"], n .. " is missing")
    end
    print(("      (%d came again, each with its key)"):format(again))
    target:kill()
    target:wait(10)
  end)

  it("takes new rules while it runs, but no other sinks", function()
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      mw.flow { delivery = "exactly-once", checkpoint = "50ms" }
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "10ms" })
      local out = mw.sink.file("%s", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e, { v = %d }) end)
    ]]
    s.write(folder .. "/in.ndjson", '{"n":1}\n')
    local p = s.router(folder, flow:format("out", 1), { "--state", "state", "--no-watch" })
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 1 end)
    s.write(folder .. "/flow.lua", flow:format("other", 2))
    p:kill(1)
    s.eventually(function() return p:stderr():find "sources and sinks change with a restart only" end)
    s.write(folder .. "/flow.lua", flow:format("out", 3))
    p:kill(1)
    s.eventually(function() return p:stderr():find "is live" end)
    s.append(folder .. "/in.ndjson", '{"n":2}\n')
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 2 end)
    p:kill()
    assert.equal(0, p:wait(10), p:stderr())
    assert.equal('{"n":1,"v":1}\n{"n":2,"v":3}\n', s.read(folder .. "/out.ndjson"))
  end)

  it("forgets its marks when a flow is not exactly once any more", function()
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      mw.flow { delivery = "%s" }
      local input = mw.source.file("input", { path = "in.ndjson", follow = true })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]
    local text = ""
    for n, delivery in ipairs { "exactly-once", "at-least-once", "exactly-once", "exactly-once" } do
      text = text .. ('{"n":%d}\n'):format(n)
      s.write(folder .. "/in.ndjson", text)
      local code, _, err = s.moonweir("run", folder, flow:format(delivery), { "--state", "state", "--once" })
      assert.equal(0, code, err)
      assert.equal(text, s.read(folder .. "/out.ndjson"))
    end
  end)
end)
