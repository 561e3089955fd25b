-- moonweir state: what a flow keeps, looked at and moved.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local st = mw.state "st"
  local w = mw.window("w", { by = "k", span = "1h", keep = { n = mw.count(), kinds = mw.distinct("v"), last = mw.last("v") } })
  local later = mw.timer("later", function() end)
  mw.rule("r", { from = input, by = "k" }, function(e)
    st:put(e.k, "v", e.v)
    later:set(e.k, "1h", { v = e.v })
    out:send { n = st:increment(e.k, "n", 1), w = w:add(e).n }
  end)
]]

local function run(folder, lines, want)
  s.append(folder .. "/in.ndjson", lines)
  local p = s.router(folder, FLOW)
  s.eventually(function() return #s.lines(folder .. "/out.ndjson") == want end)
  p:kill()
  assert.equal(0, p:wait())
end

local function state(folder, ...)
  return s.run({ s.program, "state", folder .. "/state", ... }, { cwd = folder })
end

describe("moonweir state", function()
  after_each(s.clean)

  it("lists, shows, exports and imports", function()
    local folder = s.folder()
    run(folder, '{"k":"a","v":"x","t":1}\n{"k":7,"v":[1],"t":2}\n{"k":"a","v":"y","t":3}\n', 3)
    local code, out = state(folder, "list")
    assert.equal(0, code)
    local names = {}
    for line in out:gmatch "[^\n]+" do
      local e = s.json.decode(line)
      names[e.name] = e.keys
    end
    assert.same({ ["state/st"] = 2, ["window/w"] = 2, ["timer/later"] = 2 }, names)
    code, out = state(folder, "get", "state/st", "a")
    assert.equal(0, code)
    assert.same({ name = "state/st", key = "a", value = { n = 2, v = "y" } }, s.json.decode(out))
    out = select(2, state(folder, "get", "state/st", "7"))
    assert.same({ n = 1, v = { 1 } }, s.json.decode(out).value)
    out = select(2, state(folder, "get", "window/w", "a"))
    assert.same(
      { { start = 0, finish = 3600, n = 2, kinds = 2, last = "y" } },
      s.json.decode(out).value
    )
    out = select(2, state(folder, "get", "timer/later", "a"))
    assert.same({ at = 3603, data = { v = "y" } }, s.json.decode(out).value)

    local _, all = state(folder, "export")
    s.write(folder .. "/export.ndjson", all)
    local other = s.folder()
    run(other, '{"k":"z","v":"z","t":1}\n', 1)
    local _, _, err =
      s.run({ s.program, "state", other .. "/state", "import", folder .. "/export.ndjson" })
    assert(err:find "6 keys imported", err)
    run(other, '{"k":"a","v":"w","t":4}\n{"k":"z","v":"w","t":4}\n', 3)
    local events = s.events(other .. "/out.ndjson")
    local found = {}
    for i = 2, 3 do
      found[events[i].n .. "/" .. events[i].w] = true
    end
    assert.same({ ["3/3"] = true, ["2/2"] = true }, found)
  end)

  it("says what is wrong, and imports nothing then", function()
    local folder = s.folder()
    run(folder, '{"k":"a","v":"x","t":1}\n', 1)
    for _, case in ipairs {
      { { "get", "state/none", "a" }, 1, "nothing is kept under 'state/none'" },
      {
        { "import", folder .. "/flow.lua" },
        1,
        "flow.lua:1: this is no line of an export; nothing was imported",
      },
      { { "look" }, 2, "state wants: WHERE list" },
    } do
      local code, _, err = state(folder, unpack(case[1]))
      assert.equal(case[2], code, err)
      assert(err:find(case[3], 1, true), err)
    end
    local code, _, err = s.run { s.program, "state", folder, "list" }
    assert.equal(1, code)
    assert(err:find("is no state folder", 1, true), err)
    local p = s.router(folder, FLOW)
    code, _, err = state(folder, "list")
    assert.equal(1, code)
    assert(err:find("is in use by another router", 1, true), err)
    p:kill()
    p:wait()
  end)
end)

-- What windows emit is told by the sinks, so that what was moved is seen to work on.
local LIVE = [[
  local mw = require "moonweir"
  mw.flow { checkpoint = "1h" }
  local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local closed = mw.sink.file("closed", { path = "closed.ndjson" })
  local fired = mw.sink.file("fired", { path = "fired.ndjson" })
  local st = mw.state("st", { memory = "64KiB" })
  local w = mw.window("w", { by = "k", span = "20s", slide = "10s", keep = { n = mw.count(), kinds = mw.distinct("v") } })
  local visits = mw.window("visits", { by = "k", gap = "15s", keep = { n = mw.count() } })
  local later = mw.timer("later", function(key, data) fired:send { k = key, data = data } end)
  w:on_close(function(r) closed:send { k = r.key, at = r.finish, n = r.n, kinds = r.kinds } end)
  visits:on_close(function(r) closed:send { visit = r.key, from = r.start, to = r.finish, n = r.n } end)
  mw.rule("r", { from = input, by = "k" }, function(e)
    st:put(e.k, "v", e.v)
    later:set(e.k, "25s", { v = e.v })
    visits:add(e)
    out:send { k = e.k, n = st:increment(e.k, "n", 1), w = w:add(e).n }
  end)
]]

describe("moonweir state of a running router", function()
  after_each(s.clean)

  local function start(folder, shards)
    local p = s.router(folder, LIVE, { "--state", "state", "--admin", "127.0.0.1:0", "--shards", shards })
    local host, port = p:address "admin"
    return p, host .. ":" .. port
  end

  local function ask(address, ...) return s.run { s.program, "state", address, ... } end

  --- Gives the lines, waits until they are done.
  local function feed(folder, lines, want)
    s.append(folder .. "/in.ndjson", lines)
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == want end)
  end

  local function events(from, to, keys)
    local lines = {}
    for i = from, to do
      lines[#lines + 1] = ('{"k":"k%d","v":"v%d","t":%d}\n'):format(i % keys, i % 7, i)
    end
    return table.concat(lines)
  end

  it("shows what it keeps now", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p, address = start(folder, "2")
    feed(folder, events(1, 40, 3), 40)
    local code, out, err = ask(address, "get", "state/st", "k1")
    assert.equal(0, code, err)
    assert.same({ name = "state/st", key = "k1", value = { n = 14, v = "v5" } }, s.json.decode(out))
    feed(folder, events(43, 43, 3), 41)
    code, out, err = ask(address, "get", "state/st", "k1")
    assert.equal(0, code, err)
    assert.equal(15, s.json.decode(out).value.n, out)
    assert.equal("", select(2, ask(address, "get", "state/st", "k")))
    local names = {}
    for line in select(2, ask(address, "list")):gmatch "[^\n]+" do
      local e = s.json.decode(line)
      names[e.name] = e.keys
    end
    assert.same({ ["state/st"] = 3, ["window/w"] = 3, ["window/visits"] = 3, ["timer/later"] = 3 }, names)
    local live = select(2, ask(address, "export"))
    code, out, err = ask(address, "get", "state/none", "a")
    assert.same({ 1, "" }, { code, out })
    assert(err:find("nothing is kept under 'state/none'", 1, true), err)
    p:kill()
    assert.equal(0, p:wait(10), p:stderr())
    assert.equal(live, select(2, s.run { s.program, "state", folder .. "/state", "export" }))
    code, out, err = ask(address, "list")
    assert.same({ 1, "" }, { code, out })
    assert(err:find("no router answers at " .. address, 1, true), err)
  end)

  it("takes in what another has kept, which goes on as if it had been there", function()
    local one, other = s.folder(), s.folder()
    local seen = events(1, 400, 30)
    s.write(one .. "/in.ndjson", "")
    s.write(other .. "/in.ndjson", "")
    local p, address = start(one, "1")
    local q, to = start(other, "3")
    feed(one, seen, 400)
    --- The other is as far in time, and has other things under some keys: those of the first count.
    feed(other, events(390, 400, 30), 11)
    for _, at in ipairs { one, other } do -- and so far have they closed
      s.eventually(function()
        local n = 0
        for _, line in ipairs(s.lines(at .. "/closed.ndjson")) do
          n = n + (line:find('"at":400', 1, true) and 1 or 0)
        end
        return n == (at == one and 20 or 10)
      end)
    end
    local export = select(2, ask(address, "export"))
    s.write(one .. "/export.ndjson", export)
    local told, rung = s.lines(one .. "/closed.ndjson"), s.lines(one .. "/fired.ndjson")
    local other_told, other_rung = s.lines(other .. "/closed.ndjson"), s.lines(other .. "/fired.ndjson")

    local lines = {}
    for line in export:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    lines[50] = lines[50]:gsub('"bytes":"....', '"bytes":"')
    s.write(one .. "/damaged.ndjson", table.concat(lines, "\n") .. "\n")
    local before = select(2, ask(to, "export"))
    local code, _, err = ask(to, "import", one .. "/damaged.ndjson")
    assert.equal(1, code, err .. lines[50])
    assert(err:find("damaged.ndjson:50: this is no line of an export", 1, true), err)
    assert(err:find("nothing was imported", 1, true), err)
    s.write(one .. "/foreign.ndjson", (lines[1]:gsub("6b2f7374", "6b2f7375", 1)) .. "\n")
    code, _, err = ask(to, "import", one .. "/foreign.ndjson")
    assert.equal(1, code)
    assert(err:find("foreign.ndjson:1: ", 1, true), err)
    assert.equal(before, select(2, ask(to, "export")))

    for _ = 1, 2 do -- again is the same
      code, _, err = s.run({ s.program, "state", to, "import", "-" }, { stdin = one .. "/export.ndjson" })
      assert.equal(0, code, err)
      assert(err:find(#lines .. " keys imported", 1, true), err)
    end
    assert.equal(export, select(2, ask(to, "export")))

    --- What came of it since then is the same, line by line: what differs.
    local function difference(name, was, other_was)
      local counted = {}
      local function count(all, by)
        for _, line in ipairs(all) do
          counted[line] = (counted[line] or 0) + by
        end
      end
      count(s.lines(one .. name), 1)
      count(was, -1)
      count(s.lines(other .. name), -1)
      count(other_was, 1)
      for line, n in pairs(counted) do
        if n ~= 0 then return n .. " " .. line end
      end
    end
    local function differs() return difference("/closed.ndjson", told, other_told) or difference("/fired.ndjson", rung, other_rung) end
    for i = 5, 60, 5 do -- several shards look at the clock less often than one does at each event
      local more = events(396 + i, 400 + i, 30)
      feed(one, more, 400 + i)
      feed(other, more, 11 + i)
      s.eventually(function() return not differs() end, 10, differs)
    end
    assert(#s.lines(other .. "/closed.ndjson") > #other_told + 60)
    assert(#s.lines(other .. "/fired.ndjson") > #other_rung + 30)
    p:kill()
    q:kill()
    assert.equal(0, p:wait(10), p:stderr())
    assert.equal(0, q:wait(10), q:stderr())
    local a, b = s.lines(one .. "/out.ndjson"), s.lines(other .. "/out.ndjson")
    local tail_a, tail_b = {}, {}
    for i = 1, 60 do
      tail_a[i], tail_b[i] = a[400 + i], b[11 + i]
    end
    table.sort(tail_a)
    table.sort(tail_b)
    assert.same(tail_a, tail_b)
  end)
end)

describe("what is kept", function()
  after_each(s.clean)

  it("is counted in the metrics", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
      local w = mw.window("w", { by = "k", span = "10s", keep = { n = mw.count() } })
      local st = mw.state "st"
      mw.flow { checkpoint = "50ms" }
      mw.rule("r", { from = input, by = "k" }, function(e) w:add(e) st:put(e.k, "x", 1) end)
    ]], { "--state", "state", "--admin", "127.0.0.1:0", "--shards", "2" })
    local lines = {}
    for i = 1, 100 do
      lines[i] = ('{"k":"k%d","t":%d}'):format(i % 10, 1700000000 + i)
    end
    s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    local host, port = p:address "admin"
    local metrics
    s.eventually(function()
      metrics = select(2, s.post(host, port, "/metrics"))
      return metrics:find('moonweir_state_keys{sort="state",name="st"} 10', 1, true)
        and metrics:find "moonweir_watermark_seconds 17"
    end, 5, "keys are counted")
    s.append(folder .. "/in.ndjson", '{"k":"k1","t":1700000001}\n{"k":"k2","t":1700000002}\n')
    s.eventually(function()
      metrics = select(2, s.post(host, port, "/metrics"))
      return metrics:find('moonweir_window_late_events_total{sort="window",name="w"} 2', 1, true)
    end, 5, "late events are counted")
    assert(tonumber(metrics:match 'moonweir_state_bytes{sort="window",name="w"} (%d+)') > 1000)
    s.eventually(
      function() return tonumber(select(2, s.post(host, port, "/metrics")):match "\nmoonweir_checkpoint_seconds (%S+)") > 0 end,
      5,
      "a checkpoint took time"
    )
    s.write(folder .. "/metrics", metrics)
    local code, out, err = s.run { "sh", "-c", "promtool check metrics < " .. folder .. "/metrics" }
    assert.equal(0, code, out .. err)
    p:kill()
    assert.equal(0, p:wait(10))
  end)

  it("has all that a run kept, when its source has no position either", function()
    local rules = [[
      local st = mw.state("st")
      mw.rule("r", { from = input, by = "k" }, function(e)
        st:put(e.k, "n", e.n)
        return mw.reply and input_is_http and mw.reply(e, { good = true })
      end)
    ]]
    for _, shards in ipairs { "1", "2" } do
      local folder = s.folder()
      s.write(folder .. "/in", '{"k":"a","n":1}\n{"k":"b","n":2}\n{"k":"a","n":3}\n')
      local flow = 'local mw = require "moonweir"\nlocal input_is_http = false\nlocal input = mw.source.stdin("input", {})\n'
      local code, _, err = s.moonweir("run", folder, flow .. rules, { "--quiet", "--shards", shards, "--state", "state" }, { stdin = folder .. "/in" })
      assert.equal(0, code, err)
      assert.same({ n = 3 }, s.json.decode((select(2, state(folder, "get", "state/st", "a")))).value)

      folder = s.folder()
      flow = 'local mw = require "moonweir"\nlocal input_is_http = true\nlocal input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/" })\n'
      local p = s.router(folder, flow .. rules, { "--shards", shards, "--state", "state" })
      local host, port = p:address "input"
      assert.equal(200, (s.post(host, port, "/", '{"k":"a","n":7}')))
      p:kill()
      assert.equal(0, p:wait(10))
      assert.same({ n = 7 }, s.json.decode((select(2, state(folder, "get", "state/st", "a")))).value)
    end
  end)
end)
